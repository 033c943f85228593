//! Where a host listens: a name or an address, and a port.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use protocol::limits::DEFAULT_PORT;
use rustix::net::sockopt;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    error::ClientError,
    limits::{KEEP_ALIVE_AFTER, KEEP_ALIVE_EVERY, KEEP_ALIVE_TRIES_MAX, UNACKNOWLEDGED_MAX},
};

/// A host's name or address with its port. By default `localhost` and the protocol's port.
///
/// ```
/// use client::Server;
///
/// assert_eq!("tickets.example:5000".parse::<Server>()?.to_string(), "tickets.example:5000");
/// assert_eq!("[::1]".parse::<Server>()?.to_string(), "[::1]:41969");
/// assert_eq!(Server::default().to_string(), "localhost:41969");
/// # Ok::<(), client::BadServer>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A text that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT as in `localhost:41969` or `[::1]:41969`, got `{0}`")]
pub struct BadServer(String);

impl Default for Server {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: DEFAULT_PORT,
        }
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl FromStr for Server {
    type Err = BadServer;

    /// Reads `HOST:PORT`; without a port it is the protocol's. An IPv6 address with a port stands in brackets.
    fn from_str(text: &str) -> Result<Self, BadServer> {
        let bad = || BadServer(text.to_owned());
        let bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !bare_v6 && !text.ends_with(']') => {
                (host, port.parse().map_err(|_| bad())?)
            }
            _ => (text, DEFAULT_PORT),
        };
        let bracketed = host
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
        let misplaced = |letter: char| {
            letter.is_whitespace() || "[]/@".contains(letter) || (letter == ':' && !is_v6)
        };
        if host.is_empty()
            || port == 0
            || (bracketed.is_some() && !is_v6)
            || host.contains(misplaced)
        {
            return Err(bad());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

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

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_with_and_without_a_port() {
        let cases = [
            ("localhost", "localhost:41969"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("::1", "[::1]:41969"),
            ("[::1]", "[::1]:41969"),
            ("[fe80::2]:9", "[fe80::2]:9"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Server>().expect(text).to_string(), expected);
        }
    }

    #[test]
    fn what_names_no_server_is_refused() {
        for text in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:0",
            "a:70000",
            "http://a:80",
            "a b:80",
            "[a]:80",
            "[::1",
            "x::y",
        ] {
            assert_eq!(text.parse::<Server>(), Err(BadServer(text.to_owned())));
        }
    }
}
