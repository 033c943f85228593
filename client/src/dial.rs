//! How a connection to a host is made.

use std::time::Duration;

use rustix::net::sockopt;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    error::ClientError,
    limits::{KEEP_ALIVE_AFTER, KEEP_ALIVE_EVERY, KEEP_ALIVE_TRIES_MAX, UNACKNOWLEDGED_MAX},
    server::Server,
};

impl Server {
    /// A bare connection to the first of the server's addresses that answers, for who speaks the protocol itself; small
    /// messages leave at once. `wait` holds for all addresses together; `None`: without end.
    ///
    /// # Errors
    /// [`ClientError::NoConnection`], naming every address tried.
    pub async fn connect(&self, wait: Option<Duration>) -> Result<TcpStream, ClientError> {
        let failed = |tried: String| ClientError::NoConnection {
            server: self.clone(),
            tried,
        };
        // A limit so far away that the clock cannot tell it is none.
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let addresses = within(until, lookup)
            .await
            .map_err(|reason| failed(format!("its name: {reason}")))?;
        let mut tried = Vec::new();
        for address in addresses {
            match within(until, TcpStream::connect(address)).await {
                Ok(stream) => {
                    tracing::debug!(%address, "connected");
                    if let Err(error) = prepare(&stream) {
                        // Only slower without, to send as to notice that the host is gone.
                        tracing::debug!(%error, "the socket's options cannot be set");
                    }
                    return Ok(stream);
                }
                Err(reason) => tried.push(format!("{address}: {reason}")),
            }
        }
        Err(failed(if tried.is_empty() {
            "it has no address".to_owned()
        } else {
            tried.join(", ")
        }))
    }
}

/// Small messages leave at once, and the system notices when the host's machine is gone.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_TRIES_MAX)?;
    let gone_ms = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).expect("a constant");
    sockopt::set_tcp_user_timeout(stream, gone_ms)?;
    Ok(())
}

/// The result within the time, or a sentence.
async fn within<T>(
    until: Option<Instant>,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, String> {
    let result = match until {
        Some(until) => timeout_at(until, work)
            .await
            .map_err(|_| "no answer in time".to_owned())?,
        None => work.await,
    };
    result.map_err(|error| error.to_string())
}
