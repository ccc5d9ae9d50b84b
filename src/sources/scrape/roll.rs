//! An answer with many chats, held against the last one.
//!
//! A runtime tells every chat it ever had, each time, in the order in which they began; most have not
//! changed. A chat whose bytes are those of the last answer, but for `runtime_sec`, which grows by
//! itself and is not used, is neither read nor booked: it costs a fingerprint, and in the ledger a
//! note that it is still there. That is a fifth of reading and booking it. Of each chat 56 bytes
//! are kept for it, and no copy of the answer.

use serde_json::value::RawValue;

use super::wire::{self, ChatWire, Told};
use crate::model::{ChatSnapshot, Counters, Hear, Key, Mark, Mention, NameRule, Print};
use crate::sources::flat::{Walk, fields, tidy};
use crate::sources::value::Refusal;

/// Chats that are read before the ledger is taken hold of, so that others need not wait for that:
/// some 5 MB. Those beyond it are read twice, the first time only to know that all can be read.
const AHEAD: usize = 16_384;
/// Chats that are known again, at most: 56 MB. Those beyond it are read each time.
const SEATS: usize = 1 << 20;
/// The longest text of a chat that is known again. Others are read each time.
const LONGEST: usize = 1024;
/// Grows by itself while a chat lives.
const VARYING: &str = "runtime_sec";

/// How chats stand in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As in that of `/metrics/perf/aggregate`, beside sums.
    Aggregate,
    /// As in that of `/metrics/perf/chats`, alone.
    Chats,
}

/// The last answer, place by place.
#[derive(Debug)]
pub struct Last {
    key: Key,
    seats: Vec<Seat>,
}

/// What stood in one place.
#[derive(Debug, Clone, Copy, Default)]
struct Seat {
    /// Where it begins in the answer.
    at: u32,
    /// Bytes before what varies; zero where it has no fingerprint.
    before: u16,
    /// Bytes after what varies; zero where nothing does.
    after: u16,
    /// The fingerprint of both.
    print: Print,
    /// What the ledger made of it.
    mark: Option<Mark>,
}

impl Default for Last {
    fn default() -> Self {
        Self { key: Key::random(LONGEST), seats: Vec::new() }
    }
}

impl Last {
    /// Forgets it: whatever comes next is read and booked.
    pub fn forget(&mut self) {
        self.seats = Vec::new();
    }

    /// Where the chat that begins there ends, if it is the one that stood in that place.
    fn same(&self, place: usize, text: &str, at: usize) -> Option<usize> {
        let seat = self.seats.get(place).filter(|seat| seat.mark.is_some() && seat.before > 0)?;
        let bytes = text.as_bytes();
        let varying = at + usize::from(seat.before);
        let mut end = varying;
        if seat.after > 0 {
            let mut walk = Walk::new(text, varying);
            walk.number()?;
            end = walk.at() + usize::from(seat.after);
        }
        let parts = [bytes.get(at..varying)?, bytes.get(end - usize::from(seat.after)..end)?];
        (self.key.print(parts)? == seat.print).then_some(end)
    }

    /// Keeps what stands in a place from now on, if it can be known again.
    fn seat(&mut self, place: usize, seat: Seat) {
        match self.seats.get_mut(place) {
            Some(old) => *old = seat,
            None if place < SEATS => self.seats.push(seat),
            None => {}
        }
    }

    /// A chat that begins at `at`, has what varies at `varying`, and ends at `end`.
    fn print(&self, text: &str, at: usize, varying: Option<(usize, usize)>, end: usize) -> Seat {
        let unknown = Seat { at: u32::try_from(at).unwrap_or(0), ..Seat::default() };
        let (stop, go_on) = varying.unwrap_or((end, end));
        let bytes = text.as_bytes();
        let parts = bytes.get(at..stop).zip(bytes.get(go_on..end));
        let print = parts.and_then(|(before, after)| self.key.print([before, after]));
        let sizes = u16::try_from(stop - at).ok().zip(u16::try_from(end - go_on).ok());
        match print.zip(sizes) {
            Some((print, (before, after))) => Seat { before, after, print, ..unknown },
            None => unknown,
        }
    }
}

/// What an answer says, as far as it is not what the last one said.
#[derive(Debug)]
pub struct Roll<'a> {
    /// What could not be read, and the sums. Its chats are told one by one.
    pub told: Told<'a>,
    /// How many chats stand in it, whether or not they could be read.
    pub places: usize,
    text: &'a str,
    names: NameRule,
    /// What was read, by its place.
    ahead: Vec<(usize, ChatSnapshot<'a>)>,
}

fields! {
    /// What the runtime states of all its chats.
    #[expect(clippy::struct_field_names, reason = "they are the runtime's")]
    struct Sums {
        total_agent_turns,
        total_tool_calls,
        total_errors,
        total_prompt_tokens,
        total_completion_tokens,
        total_cost,
    }
}

impl<'a> Roll<'a> {
    /// Reads an answer. `whole` says that its chats have to be known before the first is told.
    pub fn read(
        body: &'a [u8],
        shape: Shape,
        last: &mut Last,
        names: NameRule,
        whole: bool,
    ) -> Result<Self, serde_json::Error> {
        let ahead = if whole { usize::MAX } else { AHEAD };
        let text = str::from_utf8(body).ok().filter(|text| u32::try_from(text.len()).is_ok());
        if let Some(roll) = text.and_then(|text| Self::walk(text, shape, last, names, ahead)) {
            return Ok(roll);
        }
        last.forget();
        let mut told = match shape {
            Shape::Aggregate => wire::aggregate(body, names),
            Shape::Chats => wire::chats(body, names),
        }?;
        let ahead: Vec<_> = std::mem::take(&mut told.chats).into_iter().enumerate().collect();
        let places = ahead.len() + told.refused.len();
        Ok(Self { told, places, text: "", names, ahead })
    }

    /// `None` where anything is unusual.
    fn walk(
        text: &'a str,
        shape: Shape,
        last: &mut Last,
        names: NameRule,
        ahead: usize,
    ) -> Option<Self> {
        let mut roll = Self { told: Told::default(), places: 0, text, names, ahead: Vec::new() };
        let mut walk = Walk::new(text, 0);
        let mut sums = Sums::default();
        let mut seen = false;
        match shape {
            Shape::Chats => walk.items(|walk| roll.place(walk, last, ahead))?,
            Shape::Aggregate => walk.entries(|walk, key| {
                if key == "chats" {
                    (!std::mem::replace(&mut seen, true)).then_some(())?;
                    return walk.items(|walk| roll.place(walk, last, ahead));
                }
                walk.field(&mut sums, key)
            })?,
        }
        (walk.is_over() && (seen || shape == Shape::Chats)).then_some(())?;
        last.seats.truncate(roll.places);
        last.seats.shrink_to(roll.places * 2);
        tidy(&mut sums);
        let Sums {
            total_agent_turns: turns, total_tool_calls: calls, total_errors: errors, ..
        } = sums;
        let counts = [turns, calls, errors, sums.total_prompt_tokens, sums.total_completion_tokens];
        roll.told.stated = wire::stated_totals(counts, sums.total_cost);
        Some(roll)
    }

    /// The chat that begins here.
    fn place(&mut self, walk: &mut Walk<'a>, last: &mut Last, ahead: usize) -> Option<()> {
        let (at, place) = (walk.at(), self.places);
        self.places += 1;
        if let Some(end) = last.same(place, self.text, at) {
            last.seats[place].at = u32::try_from(at).unwrap_or(0);
            *walk = Walk::new(self.text, end);
            return Some(());
        }
        let ignored = self.told.ignored.len();
        let (snapshot, varying) = chat(walk, self.text, self.names, &mut self.told)?;
        let seat = last.print(self.text, at, varying, walk.at());
        // What is ignored is counted each time that it is told.
        let is_clean = self.told.ignored.len() == ignored;
        last.seat(place, if is_clean { seat } else { Seat { before: 0, ..seat } });
        match snapshot {
            // What has no seat cannot be found again.
            Ok(snapshot) if self.ahead.len() < ahead || place >= SEATS => {
                self.ahead.push((place, snapshot));
            }
            Ok(_) => {}
            Err(refusal) => self.told.refused.push((place, refusal)),
        }
        Some(())
    }

    /// Its chats that have to be told anew, as far as they were read.
    pub fn news(&self) -> usize {
        self.ahead.len()
    }

    /// What stands in it, in any order; not all of it unless it was read as a whole.
    pub fn mentions<'m>(&'m self, last: &'m Last) -> impl Iterator<Item = Mention<'m>> {
        let marks = last.seats.iter().filter_map(|seat| seat.mark.as_ref()).map(Mention::Same);
        marks.chain(self.ahead.iter().map(|(_, chat)| Mention::New(chat)))
    }

    /// Tells it. Returns the sum of all chats as they were said to stand.
    pub fn tell(self, last: &mut Last, mut hearing: impl Hear) -> Counters {
        let mut ahead = self.ahead.into_iter().peekable();
        for place in 0..self.places {
            let seat = last.seats.get_mut(place);
            let mark = seat.as_ref().and_then(|seat| seat.mark);
            if mark.is_some_and(|mark| hearing.still(&mark)) {
                continue;
            }
            let snapshot = match (ahead.next_if(|(next, _)| *next == place), &seat) {
                (Some((_, snapshot)), _) => Some(snapshot),
                (None, Some(seat)) => again(self.text, seat.at as usize, self.names),
                (None, None) => None,
            };
            let mark = snapshot.and_then(|snapshot| hearing.say(&snapshot));
            if let Some(seat) = seat {
                seat.mark = mark;
            }
        }
        let heard = hearing.end();
        if !heard.distinct {
            last.forget();
        }
        heard.sum
    }
}

type Varying = Option<(usize, usize)>;

/// Reads the chat that begins here, and says where what varies in it stands.
fn chat<'a>(
    walk: &mut Walk<'a>,
    text: &'a str,
    names: NameRule,
    told: &mut Told<'a>,
) -> Option<(Result<ChatSnapshot<'a>, Refusal>, Varying)> {
    let start = walk.at();
    let mut varying = None;
    let mut fields = ChatWire::default();
    let read = walk.entries(|walk, key| {
        let from = walk.at();
        walk.field(&mut fields, key)?;
        let is_number = text.as_bytes().get(from).is_some_and(|b| matches!(b, b'-' | b'0'..=b'9'));
        if key == VARYING && is_number {
            varying = Some((from, walk.at()));
        }
        Some(())
    });
    if read.is_some() {
        tidy(&mut fields);
        return Some((wire::chat(&fields, names, told), varying));
    }
    // Unusual, or not JSON: then so is the whole.
    let rest = text.get(start..)?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    let raw = values.next()?.ok()?;
    *walk = Walk::new(text, start + values.byte_offset());
    Some((wire::raw_chat(raw, names, told), None))
}

/// Reads a chat that was read before.
fn again(text: &str, at: usize, names: NameRule) -> Option<ChatSnapshot<'_>> {
    let mut told = Told::default();
    chat(&mut Walk::new(text, at), text, names, &mut told)?.0.ok()
}
