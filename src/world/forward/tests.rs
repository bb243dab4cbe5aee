//! On real sockets: each back end is an address of the loopback network.

#![expect(clippy::disallowed_methods, reason = "servers and the forwarder end with their test")]

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

/// Longest wait for something that takes a second or two.
const SOON: Duration = Duration::from_secs(20);

/// A server at `address` that says its name to each client and then repeats what it hears.
async fn server(address: &str, port: u16, name: &'static str) -> JoinHandle<()> {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    tokio::spawn(async move {
        let mut clients = tokio::task::JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            clients.spawn(async move {
                let (mut reader, mut writer) = client.split();
                let _said = writer.write_all(name.as_bytes()).await;
                let _echoed = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    })
}

/// The forwarder under test.
struct Running {
    port: u16,
    file: tempfile::NamedTempFile,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
    said: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Running {
    async fn start(port: u16, backends: &[&str]) -> Running {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text(backends)).unwrap();
        let doors = Doors { address: "127.0.0.10".parse().unwrap(), ports: vec![port], api: 1 };
        let (stop, said) = (CancellationToken::new(), Arc::default());
        let (path, token, heard) = (file.path().to_owned(), stop.clone(), Arc::clone(&said));
        let task = tokio::spawn(async move {
            let heard: Arc<std::sync::Mutex<Vec<String>>> = heard;
            serve(&doors, &path, &token, |line| heard.lock().unwrap().push(line)).await
        });
        let running = Running { port, file, stop, task, said };
        let deadline = Instant::now() + SOON;
        while TcpStream::connect(("127.0.0.10", port)).await.is_err() {
            assert!(Instant::now() < deadline, "it never listened");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.10", self.port)).await.unwrap()
    }

    /// What the back end that takes a connection calls itself; empty if none does.
    async fn greeting(&self) -> String {
        let mut client = self.connect().await;
        let mut name = [0; 1];
        match client.read(&mut name).await {
            Ok(1) => String::from_utf8_lossy(&name).into_owned(),
            _ => String::new(),
        }
    }
}

fn text(backends: &[&str]) -> String {
    let backends = backends.iter().map(|address| address.parse().unwrap()).collect();
    Backends { backends }.to_text()
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.10:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_back_end_that_refuses_is_passed_over_and_the_file_is_read_again() {
    let port = free_port().await;
    let first = server("127.0.0.11", port, "1").await;
    let _second = server("127.0.0.12", port, "2").await;
    let forward = Running::start(port, &["127.0.0.11", "127.0.0.12"]).await;
    assert_eq!(forward.greeting().await, "1");
    first.abort();
    let _ended = first.await;
    assert_eq!(forward.greeting().await, "2");

    // Both ways, and the end too.
    let mut client = forward.connect().await;
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "2hello");

    // A back end that leaves the file loses its connections, and one that comes gets some.
    let _third = server("127.0.0.13", port, "3").await;
    let mut old = forward.connect().await;
    let mut name = [0; 1];
    old.read_exact(&mut name).await.unwrap();
    std::fs::write(forward.file.path(), text(&["127.0.0.13"])).unwrap();
    let cut = tokio::time::timeout(SOON, old.read(&mut name)).await.expect("it is cut");
    assert!(matches!(cut, Ok(0) | Err(_)), "{cut:?}");
    assert_eq!(forward.greeting().await, "3");

    // A file that is half written changes nothing.
    std::fs::write(forward.file.path(), "{").unwrap();
    let deadline = Instant::now() + SOON;
    while !forward.said.lock().unwrap().iter().any(|line| line.contains("cannot be used")) {
        assert!(Instant::now() < deadline, "nothing was said");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(forward.greeting().await, "3");

    // After a stop, what is open may end; nothing new is taken.
    let mut last = forward.connect().await;
    last.read_exact(&mut name).await.unwrap();
    forward.stop.cancel();
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(("127.0.0.10", port)).await.is_ok() {
        assert!(Instant::now() < deadline, "it goes on listening");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    last.write_all(b"x").await.unwrap();
    last.read_exact(&mut name).await.unwrap();
    assert_eq!(&name, b"x");
    drop(last);
    tokio::time::timeout(DRAIN, forward.task).await.expect("it ends").unwrap().unwrap();
}

#[test]
fn ready_back_ends_take_turns_and_come_first() {
    let pool = Pool::default();
    let backends = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| text.parse().unwrap());
    pool.update(&Backends { backends: backends.to_vec() });
    let order = || -> Vec<String> {
        pool.in_order().iter().map(|backend| backend.address.to_string()).collect()
    };
    assert_eq!(order(), ["10.0.0.1", "10.0.0.2", "10.0.0.3"], "none is ready: all are tried");
    let all = pool.in_order();
    assert_eq!(all[1].note(true).as_deref(), Some("10.0.0.2 is ready"));
    assert_eq!(all[2].note(true).as_deref(), Some("10.0.0.3 is ready"));
    assert_eq!(all[2].note(true), None);
    let firsts: Vec<String> = (0..4).map(|_| order().swap_remove(0)).collect();
    assert_eq!(firsts.iter().filter(|first| *first == "10.0.0.2").count(), 2);
    assert!(!firsts.contains(&"10.0.0.1".to_owned()));

    let gone = all[1].gone();
    assert_eq!(all[1].note(false), None, "once may be an accident");
    assert!(!gone.is_cancelled());
    assert_eq!(all[1].note(false).as_deref(), Some("10.0.0.2 is not ready any more"));
    assert!(gone.is_cancelled() && !all[1].gone().is_cancelled());
    assert_eq!(all[1].note(false), None);
    assert_eq!(order(), ["10.0.0.3", "10.0.0.1", "10.0.0.2"]);
}
