//! Where to look: the places that may have to do with a secret.
//!
//! Two nets of short literals go over the text; nearly all of a log slips through them at the
//! speed of memory. Only what is caught is looked at by hand. The literals have no repetitions, so
//! that finding the next one never reads on past it, and what follows one is read once.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::key::{self, Class};

/// Fragments of words, in any mix of cases: `secret` and `credential` share one. There are seven
/// because sixty-four literals are what the vector search takes.
static WORDS: LazyLock<Regex> = LazyLock::new(|| net("(?i:tok|cre|key|pas|pwd|aut|bea)"));
/// Beginnings of secrets that show by themselves, and fragments of rarer words.
static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
    let shapes: Vec<_> = SHAPE.iter().map(|shape| regex::escape(shape.prefix)).collect();
    net(&format!(
        r"{}|eyJ|hooks\.slack\.com/services/|://|:\\/\\/|-----BEGIN |(?i:ic |onn|ig=|re=)",
        shapes.join("|")
    ))
});

#[expect(clippy::expect_used, reason = "the patterns are part of the program, and tested")]
fn net(literals: &str) -> Regex {
    Regex::new(&format!("(?-u){literals}")).expect("the pattern is right")
}

/// A secret that begins in a way of its own.
#[derive(Debug)]
pub(super) struct Shape {
    prefix: &'static str,
    /// The least number of characters that follow the prefix.
    least: usize,
    /// As `least`, if a digit is among them.
    least_with_digit: usize,
}

const fn shape(prefix: &'static str, least: usize) -> Shape {
    Shape { prefix, least, least_with_digit: least }
}

/// What follows is of letters, digits, `_` and `-`. The lengths keep words such as `sk-learn` whole.
const SHAPE: &[Shape] = &[
    // OpenAI (`sk-proj-` and older) and Anthropic (`sk-ant-`).
    Shape { prefix: "sk-", least: 16, least_with_digit: 6 },
    // AWS: long-term and temporary key ids.
    shape("AKIA", 16),
    shape("ASIA", 16),
    // GitHub: personal, OAuth, user, server, refresh, fine-grained.
    shape("ghp_", 16),
    shape("gho_", 16),
    shape("ghu_", 16),
    shape("ghs_", 16),
    shape("ghr_", 16),
    shape("github_pat_", 16),
    shape("glpat-", 16),
    // Slack: bot, user, workspace, refresh, cookie, app.
    shape("xoxb-", 8),
    shape("xoxp-", 8),
    shape("xoxa-", 8),
    shape("xoxr-", 8),
    shape("xoxs-", 8),
    shape("xoxe-", 8),
    shape("xapp-", 8),
    // Google, Hugging Face, Groq.
    shape("AIza", 30),
    shape("hf_", 20),
    shape("gsk_", 20),
];

/// What may be at a place.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// The name of a secret.
    Key { class: Class, is_common: bool },
    /// `Basic `, which credentials may follow.
    Basic,
    /// `sig=` or `signature=`, as in signed addresses.
    Signature,
    /// `://`, which a user and a password may follow.
    Address,
    /// `-----BEGIN `.
    Pem,
    /// The address of a Slack webhook.
    Webhook,
    /// `eyJ`: Base64 of `{"`, as JSON web tokens begin.
    WebToken,
    /// A prefix of [`SHAPE`].
    Shape(&'static Shape),
}

/// A place to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Where the literal was caught; the next search begins after it.
    pub(super) at: usize,
    /// The word that it belongs to.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) what: What,
}

/// The places of a text, in order.
#[derive(Debug)]
pub(super) struct Triggers<'a> {
    text: &'a [u8],
    nets: [(&'static Regex, Option<usize>); 2],
}

impl<'a> Triggers<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, nets: [(&WORDS, None), (&SHAPES, None)] }
    }

    /// The first place whose literal begins at `from` or later. `from` never goes back.
    pub(super) fn next(&mut self, mut from: usize) -> Option<Found> {
        loop {
            let text = self.text;
            let [words, shapes] = self.nets.each_mut().map(|(net, caught)| match *caught {
                Some(at) if at >= from => at,
                _ => {
                    let at = net.find_at(text, from).map_or(usize::MAX, |literal| literal.start());
                    *caught = Some(at);
                    at
                }
            });
            let at = words.min(shapes);
            if at == usize::MAX {
                return None;
            }
            let found = if words <= shapes { at_word(text, at) } else { at_shape(text, at) };
            if found.is_some() {
                return found;
            }
            from = at + 1;
        }
    }
}

/// Whether anything in `text` would be looked at.
pub(super) fn is_near(text: &[u8]) -> bool {
    WORDS.is_match(text) || SHAPES.is_match(text)
}

/// Whether a secret with a shape of its own begins in `text`.
pub(super) fn has_shape(text: &[u8]) -> bool {
    let mut from = 0;
    while let Some(literal) = SHAPES.find_at(text, from) {
        if let Some(Found { what: What::Shape(_) | What::WebToken, .. }) =
            at_shape(text, literal.start())
        {
            return true;
        }
        from = literal.start() + 1;
    }
    false
}

fn at_word(text: &[u8], at: usize) -> Option<Found> {
    let core = key::core_at(text, at)?;
    let what = What::Key { class: core.class, is_common: core.is_common };
    Some(Found { at, start: core.start, end: core.end, what })
}

fn at_shape(text: &[u8], at: usize) -> Option<Found> {
    let rest = text.get(at..)?;
    let found = |start, end, what| Some(Found { at, start, end, what });
    // A word whose fragment was caught, `before` bytes after its start.
    let around = |word: &[u8], before: usize, what| {
        let start = at.checked_sub(before)?;
        found(start, key::word(text, start, word)?, what)
    };
    match rest {
        [b':', b'/', ..] => found(at, at + 3, What::Address),
        [b':', ..] => found(at, at + 5, What::Address),
        [b'-', ..] => found(at, at + 11, What::Pem),
        [b'e', b'y', ..] => found(at, at + 3, What::WebToken),
        [b'h', b'o', ..] => found(at, at + 25, What::Webhook),
        [b'i' | b'I', _, b' ', ..] => around(b"basic ", 3, What::Basic),
        [b'i' | b'I', ..] => around(b"sig=", 1, What::Signature),
        [b'r' | b'R', ..] => around(b"signature=", 7, What::Signature),
        [b'o' | b'O', ..] => at_word(text, at),
        _ => {
            let shape = SHAPE.iter().find(|shape| rest.starts_with(shape.prefix.as_bytes()))?;
            found(at, at + shape.prefix.len(), What::Shape(shape))
        }
    }
}

impl Shape {
    /// Whether these characters after the prefix make a secret.
    pub(super) fn takes(&self, following: &[u8]) -> bool {
        following.len() >= self.least
            || (following.len() >= self.least_with_digit
                && following.iter().any(u8::is_ascii_digit))
    }
}
