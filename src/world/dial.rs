//! Whether something on the network takes connections from here.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connects and hangs up.
///
/// # Errors
/// Why nothing is reached, in the system's words; a time-out where nothing is heard.
pub async fn dial(address: SocketAddr, within: Duration) -> io::Result<()> {
    timeout(within, TcpStream::connect(address)).await?.map(drop)
}
