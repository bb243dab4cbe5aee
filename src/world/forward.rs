//! The load balancer of a cluster with several control planes: TCP from each door to whichever
//! control plane is ready. It runs in a container of its own, from this same program.
//!
//! ```text
//!            each second: the file of back ends again, then GET https://<back end>:<api>/readyz
//!                                        │
//!  client ──▶ door ──▶ first ready back end that takes the connection (ready ones in turn, then the
//!                      others: while a cluster is being made, none is ready yet)
//! ```
//!
//! A back end that fails twice loses its connections, so that clients come again and get another.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Error, Result};

mod pool;

pub use pool::Backends;
use pool::{Backend, Pool};

/// Pause between two looks at the file and the back ends.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a back end may take to accept a connection or to say that it is ready.
const ANSWER: Duration = Duration::from_secs(2);

/// How long connections may go on after a stop.
const DRAIN: Duration = Duration::from_secs(5);

/// What is forwarded.
#[derive(Clone, Debug)]
pub struct Doors {
    /// Where to listen; all addresses in the container.
    pub address: IpAddr,
    /// Ports to listen on, each for the same port of the back ends.
    pub ports: Vec<u16>,
    /// The port of the API server, which says whether a back end is ready.
    pub api: u16,
}

impl Doors {
    /// Doors on every address.
    pub fn everywhere(ports: Vec<u16>, api: u16) -> Doors {
        Doors { address: Ipv4Addr::UNSPECIFIED.into(), ports, api }
    }
}

/// Forwards until `stop`, then lets connections end for a moment. `say` hears what changes.
///
/// # Errors
/// The file cannot be read, or a port cannot be listened on.
pub async fn serve(
    doors: &Doors,
    file: &Path,
    stop: &CancellationToken,
    say: impl Fn(String),
) -> Result<()> {
    let pool = Arc::new(Pool::default());
    for line in pool.update(&Backends::read(file)?) {
        say(line);
    }
    let connections = TaskTracker::new();
    let mut listening = JoinSet::new();
    for port in &doors.ports {
        let listener = TcpListener::bind((doors.address, *port)).await.map_err(|error| {
            Error::host("forward-listen", format!("port {port} cannot be listened on"))
                .because(error)
        })?;
        let (pool, connections) = (Arc::clone(&pool), connections.clone());
        listening.spawn(accept(listener, *port, pool, connections));
    }
    let client = pool::client()?;
    loop {
        match Backends::read(file) {
            Ok(backends) => pool.update(&backends).into_iter().for_each(&say),
            // It is being replaced; what is known goes on.
            Err(error) => say(error.to_string()),
        }
        pool.look(&client, doors.api, ANSWER).await.into_iter().for_each(&say);
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => break,
        }
    }
    listening.abort_all();
    connections.close();
    // Those that are still open then end with the process.
    let _drained = tokio::time::timeout(DRAIN, connections.wait()).await;
    Ok(())
}

async fn accept(listener: TcpListener, port: u16, pool: Arc<Pool>, connections: TaskTracker) {
    loop {
        match listener.accept().await {
            Ok((client, _from)) => {
                let pool = Arc::clone(&pool);
                connections.spawn(async move { forward(client, port, &pool).await });
            }
            // Out of file handles, or the client went away: the next may be luckier.
            Err(_error) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Carries one connection. Whatever ends it, the client sees an end and comes again.
async fn forward(mut client: TcpStream, port: u16, pool: &Pool) {
    for backend in pool.in_order() {
        let gone = backend.gone();
        let Ok(mut server) = connect(&backend, port).await else { continue };
        let _delays = (client.set_nodelay(true), server.set_nodelay(true));
        tokio::select! {
            _copied = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
            () = gone.cancelled() => {}
        }
        return;
    }
}

async fn connect(backend: &Backend, port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::new(backend.address, port);
    tokio::time::timeout(ANSWER, TcpStream::connect(address)).await?
}

#[cfg(test)]
mod tests;
