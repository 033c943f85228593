//! Who is at the other end of a connection.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// As the system tells it; shown as the log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whoever reached one of the host's addresses.
    Client(SocketAddr),
    /// A process of this machine that may open the operators' socket.
    Operator {
        /// The user that the operator's process runs as.
        uid: u32,
        /// Its id, where the system tells.
        process: Option<i32>,
    },
}

impl Peer {
    /// Whether it came through the operators' socket.
    pub fn is_operator(self) -> bool {
        matches!(self, Self::Operator { .. })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(address) => address.fmt(f),
            Self::Operator { uid, process: None } => write!(f, "uid {uid}"),
            Self::Operator {
                uid,
                process: Some(process),
            } => write!(f, "uid {uid}, process {process}"),
        }
    }
}

/// What an address counts as where each peer has a share: itself, or its network of 64 bits, since one machine of IPv6 may
/// have all of that.
pub fn peer_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        address => address,
    }
}
