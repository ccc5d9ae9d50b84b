//! Names and passwords: bcrypt takes its time on purpose, so what came of it is remembered.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use ring::{hmac, rand};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Comparisons at once: each keeps a core busy.
const AT_ONCE: usize = 1;
/// Requests that wait for their comparison, beyond which they are told to come again.
const MAX_WAITING: usize = 32;
/// Outcomes that are remembered, of each kind.
const MAX_REMEMBERED: usize = 1024;

/// Users with the hashes of their passwords.
#[derive(Default, Clone, PartialEq, Eq)]
pub(super) struct Users(BTreeMap<String, String>);

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({})", self.0.len())
    }
}

impl Users {
    /// These, with hashes that were looked through.
    pub(super) fn new(users: BTreeMap<String, String>) -> Self {
        Self(users)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash to compare with, and whether it is that of the user. For somebody unknown it is the
    /// costliest that there is, so that the time it takes does not tell who is known.
    fn hash_for(&self, name: &str) -> Option<(&str, bool)> {
        if let Some(hash) = self.0.get(name) {
            return Some((hash, true));
        }
        // The cost stands at the same place in all of them.
        let costliest = self.0.values().max_by_key(|hash| hash.get(4..6).map(str::to_owned));
        costliest.map(|hash| (hash.as_str(), false))
    }
}

/// Too many passwords wait to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy;

/// Compares passwords.
pub(super) struct Doorkeeper {
    /// Known to this process alone.
    key: Option<hmac::Key>,
    turn: Arc<Semaphore>,
    places: Semaphore,
    right: Mutex<Memory>,
    wrong: Mutex<Memory>,
}

impl std::fmt::Debug for Doorkeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doorkeeper")
    }
}

impl Default for Doorkeeper {
    fn default() -> Self {
        Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok(),
            turn: Arc::new(Semaphore::new(AT_ONCE)),
            places: Semaphore::new(AT_ONCE + MAX_WAITING),
            right: Mutex::default(),
            wrong: Mutex::default(),
        }
    }
}

impl Doorkeeper {
    /// Whether the password is the user's.
    pub(super) async fn knows(
        &self,
        users: &Users,
        name: &str,
        password: &[u8],
    ) -> Result<bool, Busy> {
        let Some((hash, is_known)) = users.hash_for(name) else { return Ok(false) };
        let tag = self.key.as_ref().map(|key| tag(key, name, hash, password));
        if let Some(known) = self.recall(tag.as_ref()) {
            return Ok(known);
        }
        let _place = self.places.try_acquire().map_err(|_| Busy)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Busy)?;
        // Somebody may have asked the same meanwhile.
        if let Some(known) = self.recall(tag.as_ref()) {
            return Ok(known);
        }
        let (hash, password) = (hash.to_owned(), password.to_owned());
        let compared = spawn_blocking(move || {
            // Held until it is done, whether or not anybody still waits for it.
            let _turn = turn;
            bcrypt::verify(password, &hash).unwrap_or(false)
        });
        let is_right = compared.await.map_err(|_| Busy)? && is_known;
        if let Some(tag) = tag {
            let memory = if is_right { &self.right } else { &self.wrong };
            memory.lock().unwrap_or_else(PoisonError::into_inner).keep(tag);
        }
        Ok(is_right)
    }

    fn recall(&self, tag: Option<&Tag>) -> Option<bool> {
        let tag = tag?;
        let knows = |memory: &Mutex<Memory>| {
            memory.lock().unwrap_or_else(PoisonError::into_inner).tags.contains(tag)
        };
        if knows(&self.right) {
            return Some(true);
        }
        knows(&self.wrong).then_some(false)
    }
}

/// An attempt, under a key that nobody knows: neither the password nor the name can be read out of it.
type Tag = [u8; 32];

fn tag(key: &hmac::Key, name: &str, hash: &str, password: &[u8]) -> Tag {
    let mut context = hmac::Context::with_key(key);
    for part in [name.as_bytes(), hash.as_bytes(), password] {
        // The lengths keep parts from running into each other.
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    let mut tag = [0; 32];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}

/// The last attempts of one outcome. Wrong ones have their own, so that they do not drive out right ones.
#[derive(Debug, Default)]
struct Memory {
    tags: HashSet<Tag>,
    order: VecDeque<Tag>,
}

impl Memory {
    fn keep(&mut self, tag: Tag) {
        if !self.tags.insert(tag) {
            return;
        }
        self.order.push_back(tag);
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.tags.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let hash = |password| bcrypt::hash(password, 4).unwrap();
        Users::new([("ada".to_owned(), hash("first")), ("bob".to_owned(), hash("second"))].into())
    }

    #[tokio::test]
    async fn only_the_own_password_opens_and_is_compared_once() {
        let (users, keeper) = (users(), Doorkeeper::default());
        for _ in 0..2 {
            assert_eq!(keeper.knows(&users, "ada", b"first").await, Ok(true));
            for (name, password) in
                [("ada", &b"second"[..]), ("bob", b"first"), ("ada", b""), ("eve", b"first")]
            {
                assert_eq!(keeper.knows(&users, name, password).await, Ok(false), "{name}");
            }
        }
        let remembered = |memory: &Mutex<Memory>| memory.lock().unwrap().order.len();
        assert_eq!((remembered(&keeper.right), remembered(&keeper.wrong)), (1, 4));
        assert_eq!(keeper.knows(&Users::default(), "ada", b"first").await, Ok(false));
    }

    #[tokio::test]
    async fn another_hash_is_another_password() {
        let (before, keeper) = (users(), Doorkeeper::default());
        assert_eq!(keeper.knows(&before, "ada", b"first").await, Ok(true));
        let after = users();
        let changed = Users::new([("ada".to_owned(), after.0["bob"].clone())].into());
        assert_eq!(keeper.knows(&changed, "ada", b"first").await, Ok(false));
        assert_eq!(keeper.knows(&changed, "ada", b"second").await, Ok(true));
    }

    #[test]
    fn somebody_unknown_costs_as_much_as_the_costliest() {
        let cheap = bcrypt::hash("a", 4).unwrap();
        let dear = cheap.replacen("$04$", "$11$", 1);
        let users = Users::new([("a".to_owned(), cheap), ("b".to_owned(), dear.clone())].into());
        assert_eq!(users.hash_for("nobody"), Some((dear.as_str(), false)));
    }

    #[tokio::test]
    async fn who_would_wait_too_long_is_told_so() {
        let (users, keeper) = (users(), Doorkeeper::default());
        let _all = keeper.places.try_acquire_many(33).unwrap();
        assert_eq!(keeper.knows(&users, "ada", b"first").await, Err(Busy));
    }

    #[test]
    fn memory_has_a_bound() {
        let mut memory = Memory::default();
        for number in 0..2 * MAX_REMEMBERED {
            let mut tag = Tag::default();
            tag[..8].copy_from_slice(&number.to_le_bytes());
            memory.keep(tag);
        }
        assert_eq!((memory.tags.len(), memory.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }
}
