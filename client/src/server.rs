//! Where a host listens: a name or an address, and a port.

use std::{fmt, net::SocketAddr, str::FromStr};

use protocol::limits::DEFAULT_PORT;

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
