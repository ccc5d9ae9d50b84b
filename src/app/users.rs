//! How user ids are shown, and the key of their hashes.

use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::access::Gate;
use crate::cli::Users;
use crate::metrics::UserPolicy;
use crate::server::Listener;

/// Name of the key of user hashes in the state directory.
const USER_KEY: &str = "user-hash.key";
/// Its length: that of the hash, as RFC 2104 advises.
const USER_KEY_BYTES: usize = 32;

/// Where anybody may ask, users are not named unless somebody wants them to be. Where others may reach
/// the listener, but have to say who they are, it stays that way as long as users are named.
pub(super) fn user_policy(
    wanted: Option<Users>,
    listeners: &[Listener],
    gate: &Gate,
    dir: Option<&Path>,
) -> UserPolicy {
    let in_reach = listeners.iter().any(|listener| !listener.is_local());
    match Users::effective(wanted, in_reach, gate.asks()) {
        Users::Plain => {
            if wanted.is_none() && in_reach {
                gate.stay_closed();
                info!("whoever asks says who he is, so user ids are shown as they are (--users)");
            }
            UserPolicy::Plain
        }
        Users::None => UserPolicy::None,
        Users::Hash => {
            if wanted.is_none() {
                info!("the listener is open to others, so user ids are hashed (--users)");
            }
            let key = user_key(dir.map(|dir| dir.join(USER_KEY)));
            UserPolicy::Hash(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key))
        }
    }
}

/// The kept key, or a new one.
fn user_key(path: Option<PathBuf>) -> Vec<u8> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let fresh = || {
        use ring::rand::SecureRandom as _;
        let mut key = vec![0; USER_KEY_BYTES];
        if ring::rand::SystemRandom::new().fill(&mut key).is_err() {
            warn!("the system gives no random numbers; user hashes can be guessed");
        }
        key
    };
    let Some(path) = path else {
        warn!("user hashes change with each start, since there is no place for their key");
        return fresh();
    };
    match std::fs::read(&path) {
        Ok(key) if key.len() == USER_KEY_BYTES => key,
        _ => {
            let key = fresh();
            let mut options = std::fs::File::options();
            let file = options.create(true).truncate(true).write(true).mode(0o600).open(&path);
            if let Err(error) = file.and_then(|mut file| file.write_all(&key)) {
                let path = path.display();
                warn!(%path, %error, "user hashes change with each start: their key is not kept");
            }
            key
        }
    }
}
