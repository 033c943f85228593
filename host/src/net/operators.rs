//! The socket in the data folder that operators come through: whoever may open it may tell the host what to do.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
            net::UnixListener as StdListener,
        },
    },
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use protocol::{ErrorCode, encoder, limits::OPERATORS_SOCKET};
use rustix::{
    fs::{Mode, OFlags, fchmod},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use super::{Hub, admission::Admission, connection, transport::Stream};
use crate::coordinator::Peer;

/// The socket, bound and not yet listened to.
pub struct OperatorsSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// The socket's file. Dropped, it is removed, unless another one lies there by now.
pub struct SocketFile {
    path: PathBuf,
    /// The socket's device and inode, so that another file of its name is not taken for it.
    identity: (u64, u64),
}

/// Why operators have no socket.
#[derive(Debug, thiserror::Error)]
pub enum OperatorsError {
    /// Something lies there that no host made.
    #[error(
        "{} is no socket, and is left alone: expected nothing there, or the socket of an earlier run; move it away",
        .0.display()
    )]
    Taken(PathBuf),
    /// Others could open the socket.
    #[error(
        "{} can be opened by others than the host's user, mode {mode:o} where 600 was set: this file system does not keep \
         modes; choose a data folder on another one",
        path.display()
    )]
    Open {
        /// The socket.
        path: PathBuf,
        /// The mode that the socket has.
        mode: u32,
    },
    /// The system says no.
    #[error("{} cannot be made: {cause}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// Operators that the system keeps until they are accepted.
const BACKLOG: i32 = 16;

/// After a failed accept, which mostly means that there is no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl OperatorsSocket {
    /// Binds the socket in a data folder that this process has to itself: a socket that lies there is of a host that was
    /// killed.
    ///
    /// # Errors
    /// See [`OperatorsError`].
    pub fn bind(folder: &Path) -> Result<Self, OperatorsError> {
        let path = folder.join(OPERATORS_SOCKET);
        let failed = |cause: io::Error| OperatorsError::Io {
            path: path.clone(),
            cause,
        };
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(&path).map_err(failed)?;
            }
            Ok(_) => return Err(OperatorsError::Taken(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let socket = bound(folder, &path).map_err(failed)?;
        let made = fs::symlink_metadata(&path).map_err(failed)?;
        let file = SocketFile {
            identity: (made.dev(), made.ino()),
            path: path.clone(),
        };
        let mode = made.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(OperatorsError::Open { path, mode });
        }
        let listener = StdListener::from(socket);
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, file })
    }

    /// The same. A host that operators cannot reach serves all the same, and says so.
    pub fn bind_or_warn(folder: &Path) -> Option<Self> {
        match Self::bind(folder) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(
                    "there is no socket for operators, so none of them can disable, reload or roll back a plugin: {error}; \
                     mend that and start again, or let clients do it with --operators-over-tcp"
                );
                None
            }
        }
    }

    /// Accepts operators from now on, until the task is aborted. The file goes with what is returned beside it.
    pub fn accept(self, hub: &Rc<Hub>, admission: &Rc<Admission>) -> (JoinHandle<()>, SocketFile) {
        let accept = accept(self.listener, Rc::clone(hub), Rc::clone(admission));
        (tokio::task::spawn_local(accept), self.file)
    }
}

impl SocketFile {
    /// The socket's path, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            // The next host takes it for what it is.
            tracing::debug!("{} cannot be removed: {error}", self.path.display());
        }
    }
}

/// A socket that has its mode before it has its name: nobody can come through it in between.
fn bound(folder: &Path, path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    match SocketAddrUnix::new(path) {
        Ok(address) => bind(&socket, &address)?,
        // The path is longer than an address may be. The folder's descriptor is a short name for it.
        Err(rustix::io::Errno::NAMETOOLONG) => {
            use std::os::fd::AsRawFd as _;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let flags = i32::try_from(flags.bits()).expect("flags of the system are few");
            let folder = fs::File::options()
                .read(true)
                .custom_flags(flags)
                .open(folder)?;
            let short = format!("/proc/self/fd/{}/{OPERATORS_SOCKET}", folder.as_raw_fd());
            bind(&socket, &SocketAddrUnix::new(short)?)?;
        }
        Err(error) => return Err(error.into()),
    }
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

async fn accept(listener: UnixListener, hub: Rc<Hub>, admission: Rc<Admission>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match peer_of(&stream) {
                Ok(peer) => {
                    let stream = Stream::Unix(stream);
                    connection::begin(&hub, &admission, stream, peer);
                }
                Err(reason) => refuse(&stream, &reason),
            },
            Err(error) => {
                admission.failed(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The socket's mode keeps others out; where that is not so after all, the system still tells who comes.
fn peer_of(stream: &UnixStream) -> Result<Peer, String> {
    let told = stream.peer_cred();
    let told = told.map_err(|error| format!("the system does not tell who came: {error}"))?;
    let (uid, own) = (told.uid(), rustix::process::geteuid().as_raw());
    if uid != own && uid != 0 {
        return Err(format!(
            "expected the host's own user, {own}, or root, got the user {uid}"
        ));
    }
    Ok(Peer::Operator {
        uid,
        process: told.pid(),
    })
}

fn refuse(stream: &UnixStream, reason: &str) {
    tracing::warn!("turned away at the operators' socket: {reason}");
    let mut words = Vec::new();
    let code = ErrorCode::OperatorsOnly.as_str();
    encoder::error(&mut words, encoder::BAD_MESSAGE_TYPE, "0", code, reason);
    // The words are only a courtesy: who does not read them is turned away all the same.
    let _ = stream.try_write(&words);
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt as _, net::UnixStream};

    use super::*;

    fn within_a_runtime(test: impl FnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        test();
    }

    #[test]
    fn the_socket_is_its_users_alone_and_goes_with_the_host() {
        within_a_runtime(|| {
            let folder = tempfile::tempdir().unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
            let socket = OperatorsSocket::bind(folder.path()).unwrap();
            let path = folder.path().join(OPERATORS_SOCKET);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            drop(socket);
            assert!(!path.exists());
        });
    }

    #[test]
    fn the_socket_of_a_host_that_was_killed_is_replaced_and_a_file_is_not() {
        within_a_runtime(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(OPERATORS_SOCKET);
            drop(StdListener::bind(&path).unwrap());
            let socket = OperatorsSocket::bind(folder.path()).unwrap();
            UnixStream::connect(&path).unwrap();
            drop(socket);
            fs::write(&path, "mine").unwrap();
            let refusal = OperatorsSocket::bind(folder.path()).err().unwrap();
            let refusal = refusal.to_string();
            for part in [OPERATORS_SOCKET, "no socket", "move it away"] {
                assert!(refusal.contains(part), "{refusal}");
            }
            assert_eq!(fs::read(&path).unwrap(), b"mine");
        });
    }

    #[test]
    fn another_hosts_socket_that_lies_there_by_now_stays() {
        within_a_runtime(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(OPERATORS_SOCKET);
            let first = OperatorsSocket::bind(folder.path()).unwrap();
            let second = OperatorsSocket::bind(folder.path()).unwrap();
            drop(first);
            assert!(path.exists());
            drop(second);
        });
    }

    #[test]
    fn a_data_folder_may_have_a_longer_path_than_an_address() {
        within_a_runtime(|| {
            let folder = tempfile::tempdir().unwrap();
            let deep = folder.path().join("d".repeat(120)).join("e".repeat(120));
            fs::create_dir_all(&deep).unwrap();
            let socket = OperatorsSocket::bind(&deep).unwrap();
            assert!(deep.join(OPERATORS_SOCKET).exists());
            drop(socket);
            assert!(!deep.join(OPERATORS_SOCKET).exists());
        });
    }
}
