//! The gate of a listener: what it asks for is what the files say now.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use tokio_rustls::rustls::ServerConfig;
use tracing::{error, info, warn};

use super::files::Reader;
use super::rate::Buckets;
use super::token::{Token, TokenError};
use super::users::Doorkeeper;
use super::web::{Web, WebError};
use crate::logging::chain;
use crate::telemetry::Telemetry;

/// How long files that were looked at are trusted. Nobody looks while nobody asks.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Which listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that is read from.
    Metrics,
    /// The one that takes what is pushed.
    Control,
}

impl Side {
    /// The value of the `listener` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Control => "control",
        }
    }

    /// The flag of its web configuration file.
    pub fn web_flag(self) -> &'static str {
        match self {
            Self::Metrics => "--web.config.file",
            Self::Control => "--control.config.file",
        }
    }

    /// The flag of its token.
    pub fn token_flag(self) -> &'static str {
        match self {
            Self::Metrics => "--web.token-file",
            Self::Control => "--control.token-file",
        }
    }
}

/// The files that say who gets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Means {
    /// The web configuration file.
    pub web_config: Option<PathBuf>,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
}

/// Why files that say who gets in are refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The web configuration file is.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The token's file is.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Everybody would get in.
    #[error(
        "nobody would be asked for anything any more, and user ids are shown as they are because \
         everybody was: restart to open the listener"
    )]
    Opened,
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It does not say, or not truly, who sends it.
    #[error("{}", invitation(*side, *users, *token))]
    Unknown {
        /// Where.
        side: Side,
        /// Whether names and passwords are known.
        users: bool,
        /// Whether a token is known.
        token: bool,
    },
    /// Its sender asks too often.
    #[error("more requests than rate_limit of {} allows", .0.web_flag())]
    TooOften(Side, Duration),
    /// Too many passwords are being compared.
    #[error("too many passwords are being compared at once; try again")]
    Busy,
}

fn invitation(side: Side, users: bool, token: bool) -> String {
    let token =
        token.then(|| format!("the token of {}: Authorization: Bearer TOKEN", side.token_flag()));
    let users = users.then(|| format!("a name and password of {}", side.web_flag()));
    let both: Vec<_> = token.into_iter().chain(users).collect();
    format!("show {}", both.join("; or "))
}

/// What is in force.
#[derive(Debug, Default)]
struct Force {
    web: Web,
    wants_token: bool,
    /// Without it, nobody knows the token.
    token: Option<Token>,
}

impl Force {
    fn asks(&self) -> bool {
        self.wants_token || self.web.verifies_clients || !self.web.users.is_empty()
    }
}

/// What could be in force, looked through.
#[derive(Debug)]
pub struct Prepared {
    means: Means,
    force: Force,
    seen: Reader,
}

#[derive(Debug)]
struct Held {
    means: Means,
    force: Arc<Force>,
    seen: Reader,
    looked: Instant,
    must_ask: bool,
}

/// The gate of a listener.
#[derive(Debug)]
pub struct Gate {
    side: Side,
    telemetry: Arc<Telemetry>,
    held: Mutex<Held>,
    keeper: Doorkeeper,
    buckets: Mutex<Buckets>,
}

impl Gate {
    /// Asks for what these files say. One that is refused is an error; a token that is not there yet may
    /// come, and until then nobody knows it.
    pub fn open(
        side: Side,
        means: Means,
        telemetry: Arc<Telemetry>,
    ) -> Result<Arc<Self>, AccessError> {
        let mut seen = Reader::default();
        let force = load(&mut seen, side, &means, None)?;
        note(side, &force);
        telemetry.lock().config.access.insert(side.label(), true);
        let held =
            Held { means, force: Arc::new(force), seen, looked: Instant::now(), must_ask: false };
        Ok(Arc::new(Self {
            side,
            telemetry,
            held: Mutex::new(held),
            keeper: Doorkeeper::default(),
            buckets: Mutex::default(),
        }))
    }

    /// Whether anything is asked of those who come.
    pub fn asks(&self) -> bool {
        self.current().asks()
    }

    /// Refuses files from now on that would let everybody in.
    pub fn stay_closed(&self) {
        self.hold().must_ask = true;
    }

    /// Looks through other files, or the same anew.
    pub fn prepare(&self, means: Means) -> Result<Prepared, AccessError> {
        let (before, must_ask) = {
            let held = self.hold();
            (Arc::clone(&held.force), held.must_ask)
        };
        let mut seen = Reader::default();
        let force = load(&mut seen, self.side, &means, Some((&before, must_ask)))?;
        Ok(Prepared { means, force, seen })
    }

    /// Puts what was looked through in force. Returns whether that is something else than before.
    pub fn commit(&self, prepared: Prepared) -> bool {
        let Prepared { means, force, seen } = prepared;
        let mut held = self.hold();
        if held.means == means && held.seen == seen {
            return false;
        }
        note(self.side, &force);
        let (force, looked, must_ask) = (Arc::new(force), Instant::now(), held.must_ask);
        *held = Held { means, force, seen, looked, must_ask };
        drop(held);
        self.tell(true);
        true
    }

    /// How connections are encrypted, if they are.
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.current().web.tls.clone()
    }

    /// Puts the headers of every answer on one.
    pub fn dress(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.current().web.headers {
            headers.insert(name, value.clone());
        }
    }

    /// Lets a request in, or says why not.
    pub async fn admit(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<(), Denied> {
        let force = self.current();
        if let Some(rate) = force.web.rate {
            // All who come by a socket of this machine are one.
            let peer = peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
            let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = buckets.take(rate, peer, Instant::now());
            taken.map_err(|wait| Denied::TooOften(self.side, wait))?;
        }
        let users = &force.web.users;
        if users.is_empty() && !force.wants_token {
            return Ok(());
        }
        let shown = headers.get(AUTHORIZATION).and_then(|value| Shown::read(value.as_bytes()));
        if let (Some(shown), Some(token)) = (&shown, &force.token)
            && token.is(shown.secret())
        {
            return Ok(());
        }
        if let Some(Shown::Basic { name, password }) = &shown {
            match self.keeper.knows(users, name, password).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_) => return Err(Denied::Busy),
            }
        }
        let (users, token) = (!users.is_empty(), force.wants_token);
        Err(Denied::Unknown { side: self.side, users, token })
    }

    /// What is in force, after a look at the files where the last one is long ago.
    fn current(&self) -> Arc<Force> {
        let mut held = self.hold();
        if held.looked.elapsed() < LOOK_AGAIN {
            return Arc::clone(&held.force);
        }
        held.looked = Instant::now();
        if held.seen.is_outdated() {
            let mut seen = Reader::default();
            let before = Some((&*held.force, held.must_ask));
            let loaded = load(&mut seen, self.side, &held.means, before);
            // One that is refused is not looked through again before it changes.
            held.seen = seen;
            let is_good = loaded.is_ok();
            match loaded {
                Ok(force) => {
                    note(self.side, &force);
                    info!(listener = self.side.label(), "who gets in was read anew");
                    held.force = Arc::new(force);
                }
                Err(error) => {
                    let listener = self.side.label();
                    let error = chain(&error);
                    error!(listener, %error, "who gets in stays as it was");
                }
            }
            self.tell(is_good);
        }
        Arc::clone(&held.force)
    }

    fn tell(&self, is_good: bool) {
        self.telemetry.lock().config.access.insert(self.side.label(), is_good);
    }

    fn hold(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what the files say. `before` is what they said, and whether they have to ask for something.
fn load(
    seen: &mut Reader,
    side: Side,
    means: &Means,
    before: Option<(&Force, bool)>,
) -> Result<Force, AccessError> {
    let web = match &means.web_config {
        Some(path) => Web::read(seen, side.web_flag(), path)?,
        None => Web::default(),
    };
    let token = means.token_file.as_deref().map(|path| Token::read(seen, side.token_flag(), path));
    let wants_token = token.is_some();
    let had_token = before.is_some_and(|(before, _)| before.token.is_some());
    let token = match token {
        None => None,
        Some(Ok(token)) => Some(token),
        Some(Err(error)) if had_token => return Err(error.into()),
        Some(Err(error)) => {
            let error = chain(&error);
            warn!(listener = side.label(), %error, "nobody knows the token");
            None
        }
    };
    let force = Force { web, wants_token, token };
    if before.is_some_and(|(_, must_ask)| must_ask) && !force.asks() {
        return Err(AccessError::Opened);
    }
    Ok(force)
}

/// Says what is not done as it is written.
fn note(side: Side, force: &Force) {
    for note in &force.web.notes {
        warn!(listener = side.label(), "{}: {note}", side.web_flag());
    }
}

/// What a request shows in `Authorization`.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Bearer(Vec<u8>),
    Basic { name: String, password: Vec<u8> },
}

impl Shown {
    fn read(value: &[u8]) -> Option<Self> {
        let space = value.iter().position(|byte| *byte == b' ')?;
        let (scheme, rest) = (value.get(..space)?, value.get(space..)?.trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Some(Self::Bearer(rest.to_vec()));
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let decoded = STANDARD.decode(rest).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8_lossy(decoded.get(..colon)?).into_owned();
        Some(Self::Basic { name, password: decoded.get(colon + 1..)?.to_vec() })
    }

    /// What may be the token: it may stand where a password does, as in `http://any:TOKEN@host/`.
    fn secret(&self) -> &[u8] {
        match self {
            Self::Bearer(token) => token,
            Self::Basic { password, .. } => password,
        }
    }
}

#[cfg(test)]
mod tests;
