//! The sockets that clients connect to.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};

use super::{Hub, admission::Admission, connection, port_holder::PortHolder, transport::Stream};
use crate::coordinator::Peer;

/// The sockets of all addresses that the host listens on.
pub struct Listeners(Vec<TcpListener>);

/// Why the host cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be had.
    #[error("cannot listen on {address}: {cause}{remedy}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
        /// What to do.
        remedy: String,
    },
}

/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// After a failed accept, which mostly means that there is no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Listeners {
    /// Binds all addresses. With `by_default`, one that this machine does not have is only warned of.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(addresses: &[SocketAddr], by_default: bool) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for &address in addresses {
            match bind(address) {
                Ok(listener) => listeners.push(listener),
                Err(cause) if by_default && is_missing(&cause) => {
                    tracing::warn!("not listening on {address}: {cause}");
                }
                Err(cause) => {
                    let remedy = match cause.kind() {
                        io::ErrorKind::AddrInUse => format!("; {}", PortHolder::of(address)),
                        io::ErrorKind::PermissionDenied => {
                            "; choose a port of 1024 or more with --listen".to_owned()
                        }
                        io::ErrorKind::AddrNotAvailable => {
                            "; choose an address of this machine with --listen".to_owned()
                        }
                        _ => String::new(),
                    };
                    return Err(ListenError::Bind {
                        address,
                        cause,
                        remedy,
                    });
                }
            }
        }
        Ok(Self(listeners))
    }

    /// The addresses with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0
            .iter()
            .filter_map(|of| of.local_addr().ok())
            .collect()
    }

    /// Accepts clients from now on. Ends with the handles' abortion.
    pub fn accept(self, hub: &Rc<Hub>, admission: &Rc<Admission>) -> Vec<JoinHandle<()>> {
        let accept = |listener| {
            tokio::task::spawn_local(accept(listener, Rc::clone(hub), Rc::clone(admission)))
        };
        self.0.into_iter().map(accept).collect()
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restarted host must not wait for the connections of the last one to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_missing(cause: &io::Error) -> bool {
    let code = cause
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    cause.kind() == io::ErrorKind::AddrNotAvailable || code == Some(rustix::io::Errno::AFNOSUPPORT)
}

async fn accept(listener: TcpListener, hub: Rc<Hub>, admission: Rc<Admission>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (stream, peer) = (Stream::Tcp(stream), Peer::Client(peer));
                connection::begin(&hub, &admission, stream, peer);
            }
            Err(error) => {
                admission.failed(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
