//! Where a listener listens, and the connections that come.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::model::UNIX_SOCKET;

/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// A socket that connections come to.
#[derive(Debug)]
pub enum Listener {
    /// Of the network.
    Tcp(TcpListener),
    /// Of the file system; its file is removed in the end if it is ours.
    Unix(UnixListener, Option<SocketFile>),
}

/// A socket's file.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing depends on it: the next one to listen there removes it.
        fs::remove_file(&self.0).ok();
    }
}

/// A connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Whatever is spoken over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Stream {
    /// Takes its kind off it.
    pub(super) fn boxed(self) -> Box<dyn Wire> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Unix(stream) => Box::new(stream),
        }
    }

    /// The first byte that comes, which stays there. None where it cannot be looked at.
    pub(super) async fn first_byte(&self) -> Option<u8> {
        let Self::Tcp(stream) = self else { return None };
        let mut byte = [0];
        let seen = stream.peek(&mut byte).await.ok()?;
        (seen > 0).then_some(byte[0])
    }
}

impl Listener {
    /// Listens at `HOST:PORT`, `:PORT` (any address, as Prometheus' own programs write it) or
    /// `unix:PATH`.
    pub async fn bind(address: &str) -> io::Result<Self> {
        if let Some(path) = address.strip_prefix(UNIX_SOCKET) {
            return bind_unix(Path::new(path));
        }
        let target = match address.strip_prefix(':') {
            Some(port) => format!("0.0.0.0:{port}"),
            None => address.to_owned(),
        };
        TcpListener::bind(&target).await.map(Self::Tcp)
    }

    /// The address of the network, where it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// Where it listens, for people.
    pub fn shown(&self) -> String {
        match self {
            Self::Tcp(_) => self.address().map(|address| address.to_string()).unwrap_or_default(),
            Self::Unix(listener, _) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("{UNIX_SOCKET}{}", path.unwrap_or(Path::new("")).display())
            }
        }
    }

    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        self.address().is_none_or(|address| address.ip().is_loopback())
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are written whole; waiting for more would only delay them. Not vital if
                // refused.
                stream.set_nodelay(true).ok();
                Ok((Stream::Tcp(stream), Some(address.ip())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let bound = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_forsaken(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(Listener::Unix(bound, Some(file)))
}

/// Whether a socket's file was left behind by a process that is gone.
fn is_forsaken(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_taken_over_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let address = format!("{UNIX_SOCKET}{}", path.display());
        let first = Listener::bind(&address).await.unwrap();
        assert!(first.is_local() && first.shown() == address);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        let error = Listener::bind(&address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        Listener::bind(&address).await.unwrap();
        fs::write(&path, "a file of somebody").unwrap();
        let error = Listener::bind(&address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file of somebody");
    }
}
