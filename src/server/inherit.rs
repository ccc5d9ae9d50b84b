//! Sockets that the service manager has opened and hands over (systemd's socket activation).

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use super::Listener;

/// Says how the sockets are called: `FileDescriptorName=` of the socket unit, else the unit itself.
const NAMES: &str = "LISTEN_FDNAMES";

/// A socket that was handed over.
#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The sockets that were handed over, by name.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(String, Socket)>);

impl Inherited {
    /// Takes what the environment says is there. Before there are threads: variables are removed.
    pub fn from_service_manager() -> Self {
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..fds.len() {
            let name = names.next().unwrap_or_default().to_owned();
            // What is neither is somebody else's.
            if let Ok(Some(socket)) = fds.take_tcp_listener(index) {
                sockets.push((name, Socket::Tcp(socket)));
            } else if let Ok(Some(socket)) = fds.take_unix_listener(index) {
                sockets.push((name, Socket::Unix(socket)));
            }
        }
        Self(sockets)
    }

    /// Takes the sockets of that name.
    pub fn take(&mut self, name: &str) -> io::Result<Vec<Listener>> {
        let (wanted, others) =
            std::mem::take(&mut self.0).into_iter().partition(|(known, _)| known == name);
        let wanted: Vec<(String, Socket)> = wanted;
        self.0 = others;
        if wanted.is_empty() {
            let known: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(io::Error::other(format!(
                "the service manager hands over no socket of that name (FileDescriptorName=); \
                 there is {known}"
            )));
        }
        wanted.into_iter().map(|(_, socket)| adopt(socket)).collect()
    }
}

fn adopt(socket: Socket) -> io::Result<Listener> {
    match socket {
        Socket::Tcp(socket) => {
            socket.set_nonblocking(true)?;
            Ok(Listener::Tcp(tokio::net::TcpListener::from_std(socket)?))
        }
        Socket::Unix(socket) => {
            socket.set_nonblocking(true)?;
            Ok(Listener::Unix(tokio::net::UnixListener::from_std(socket)?, None))
        }
    }
}
