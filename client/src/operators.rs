//! The operators' socket in a host's data folder.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::AsRawFd as _,
    path::Path,
    time::Duration,
};

use protocol::limits::OPERATORS_SOCKET;
use tokio::{net::UnixStream, time::timeout};

use crate::error::ClientError;

/// Connects within `wait`.
pub(crate) async fn connect(
    data: &Path,
    wait: Option<Duration>,
) -> Result<UnixStream, ClientError> {
    let socket = data.join(OPERATORS_SOCKET);
    let connected = match wait {
        Some(wait) => timeout(wait, open(data, &socket))
            .await
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())),
        None => open(data, &socket).await,
    };
    connected.map_err(|error| ClientError::NoSocket {
        socket,
        reason: error.to_string(),
    })
}

async fn open(data: &Path, socket: &Path) -> io::Result<UnixStream> {
    match UnixStream::connect(socket).await {
        // The path is longer than an address may be. The folder's descriptor is a short name for it.
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let folder = File::open(data)?;
            let short = format!("/proc/self/fd/{}/{OPERATORS_SOCKET}", folder.as_raw_fd());
            UnixStream::connect(short).await
        }
        connected => connected,
    }
}
