//! Names of fields and variables: which of them hold secrets.

/// The longest name that is looked at, in bytes. Also what keeps a text that is all one word cheap.
pub(super) const LONGEST_KEY: usize = 128;
/// What stands before `key` where the key is a secret one.
const KEYS: &[&[u8]] = &[
    b"access",
    b"account",
    b"api",
    b"encryption",
    b"master",
    b"private",
    b"shared",
    b"signing",
    b"subscription",
];
/// Last words of names that speak about a secret and do not hold it, or that are names of source
/// files, as in `token.py:12`.
const ABOUT: &[&[u8]] = &[
    b"count",
    b"counts",
    b"expires",
    b"expiry",
    b"file",
    b"length",
    b"limit",
    b"limits",
    b"mechanism",
    b"method",
    b"mode",
    b"name",
    b"path",
    b"py",
    b"rs",
    b"source",
    b"status",
    b"type",
    b"usage",
];

/// What kind of secret a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Chosen by people: nothing of it is shown, and digits may be all of it.
    Password,
    /// May begin with the name of a scheme, as in `Authorization: Basic …`.
    Authorization,
    /// The word `bearer`, which the secret may follow without a separator.
    Bearer,
    /// Issued by machines.
    Other,
}

/// A word in a name that makes it the name of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Core {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) class: Class,
    /// A word of everyday language, too: only `=` or quotes make a name of it.
    pub(super) is_common: bool,
}

/// The word whose net fragment is at `at`.
pub(super) fn core_at(text: &[u8], at: usize) -> Option<Core> {
    let core = |start, end, class| Some(Core { start, end, class, is_common: false });
    match text.get(at)?.to_ascii_lowercase() {
        b't' => {
            let end = word(text, at, b"token")?;
            let rest = rest(text, end);
            // `tokens` are counted, and a tokenizer counts them.
            let counted = is(rest, b"s") || begins(rest, b"iz") || begins(rest, b"is");
            if counted { None } else { core(at, end, Class::Other) }
        }
        b'c' => {
            if let Some(end) = word(text, at, b"credential") {
                return core(at, end, Class::Other);
            }
            let start = at.checked_sub(2)?;
            let end = word(text, start, b"secret")?;
            if begins(rest(text, end), b"ar") { None } else { core(start, end, Class::Other) }
        }
        b'k' => {
            let end = word(text, at, b"key")?;
            let before = text.get(..at)?;
            let before = match before.split_last() {
                Some((gap, name)) if b" _.-".contains(gap) => name,
                _ => before,
            };
            let named = KEYS.iter().find(|name| ends(before, name))?;
            let rest = rest(text, end);
            let other = [&b"word"[..], b"board", b"stroke"].iter().any(|word| begins(rest, word));
            if other { None } else { core(before.len() - named.len(), end, Class::Other) }
        }
        b'p' => {
            if let Some(end) = word(text, at, b"pwd") {
                return core(at, end, Class::Password);
            }
            let end = word(text, at, b"pass")?;
            let rest = rest(text, end);
            let is_common = rest.is_empty();
            let named = [&b"wo"[..], b"wd", b"phrase", b"code"];
            let fits = if is_common {
                begins_word(text, at)
            } else {
                named.iter().any(|word| begins(rest, word)) && !begins(rest, b"wordless")
            };
            fits.then_some(Core { start: at, end, class: Class::Password, is_common })
        }
        b'a' => {
            let end = word(text, at, b"auth")?;
            let rest = rest(text, end);
            let whole = [&b""[..], b"z", b"n", b"key", b"code", b"header"];
            let fits = whole.iter().any(|word| is(rest, word))
                || begins(rest, b"orization")
                || begins(rest, b"orisation");
            if fits { core(at, end, Class::Authorization) } else { None }
        }
        b'o' => {
            let start = at.checked_sub(1)?;
            let end = word(text, start, b"connection").or_else(|| word(text, start, b"conn"))?;
            let gap = text.get(end).is_some_and(|byte| b" _.-".contains(byte));
            let end = word(text, end + usize::from(gap), b"str")?;
            let rest = rest(text, end);
            if rest.is_empty() || begins(rest, b"ing") {
                core(start, end, Class::Other)
            } else {
                None
            }
        }
        b'b' => {
            let end = word(text, at, b"bearer")?;
            let alone = begins_word(text, at) && rest(text, end).is_empty();
            if alone { core(at, end, Class::Bearer) } else { None }
        }
        _ => None,
    }
}

/// What a whole name promises; `None` where it is not the name of a secret.
pub(super) fn class_of(key: &[u8]) -> Option<Class> {
    if ABOUT.iter().any(|about| is(last_word(key), about)) {
        return None;
    }
    let mut classes = (0..key.len()).filter_map(|at| core_at(key, at)).map(|core| core.class);
    let first = classes.next()?;
    let is_password = first == Class::Password || classes.any(|class| class == Class::Password);
    Some(if is_password { Class::Password } else { first })
}

/// Where the name that goes on at `from` ends. `None` where it is longer than any name.
pub(super) fn key_end(text: &[u8], from: usize) -> Option<usize> {
    let length =
        text.get(from..)?.iter().take_while(|byte| is_key(**byte)).take(LONGEST_KEY).count();
    (length < LONGEST_KEY).then_some(from + length)
}

/// Whether the name that has `at` inside is that of a long flag, as in `--password`.
pub(super) fn is_flag(text: &[u8], at: usize) -> bool {
    let from = at.saturating_sub(LONGEST_KEY);
    let before = text.get(from..at).unwrap_or_default();
    let length = before.iter().rev().take_while(|byte| is_key(**byte)).count();
    text.get(at - length..).is_some_and(|name| name.starts_with(b"--"))
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

/// Where `wanted` ends if it stands at `start`, in upper or lower case.
pub(super) fn word(text: &[u8], start: usize, wanted: &[u8]) -> Option<usize> {
    let end = start + wanted.len();
    text.get(start..end)?.eq_ignore_ascii_case(wanted).then_some(end)
}

/// The letters that go on a word at `end`, up to the next hump of `camelCase`.
fn rest(text: &[u8], end: usize) -> &[u8] {
    let tail = text.get(end..).unwrap_or_default();
    let mut length = 0;
    while length < LONGEST_KEY
        && tail.get(length).is_some_and(u8::is_ascii_alphabetic)
        && !is_hump(text, end + length)
    {
        length += 1;
    }
    tail.get(..length).unwrap_or_default()
}

/// Whether an upper letter follows a lower one there.
fn is_hump(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    before.is_some_and(u8::is_ascii_lowercase) && text.get(at).is_some_and(u8::is_ascii_uppercase)
}

/// Whether no letter goes before, or `at` is a hump.
fn begins_word(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    !before.is_some_and(u8::is_ascii_alphabetic) || is_hump(text, at)
}

fn last_word(key: &[u8]) -> &[u8] {
    let letters = key.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let start = key.len() - letters;
    let hump = (start..key.len()).rev().find(|at| is_hump(key, *at));
    key.get(hump.unwrap_or(start)..).unwrap_or_default()
}

fn is(rest: &[u8], word: &[u8]) -> bool {
    rest.eq_ignore_ascii_case(word)
}

fn begins(rest: &[u8], word: &[u8]) -> bool {
    rest.get(..word.len()).is_some_and(|head| is(head, word))
}

fn ends(text: &[u8], word: &[u8]) -> bool {
    text.len().checked_sub(word.len()).and_then(|at| text.get(at..)).is_some_and(|t| is(t, word))
}
