//! Chats as they are shown, some at a time: what a scrape takes out of the ledger, and the lines
//! that are written of it outside of the ledger's lock.

use super::chats::{FAMILIES, Figures, LABELS, Live};
use super::exposition::{Value, write_labels, write_value};
use super::family::Definition as _;
use super::gzip::Places;
use super::view::{Look, counters};
use crate::ledger::{Chat, Page};
use crate::model::OTHER;

/// What is shown of some chats. Taking it costs some 100 ns a chat, and all the rest of the work
/// is done without the ledger.
#[derive(Debug, Default)]
pub(super) struct Draft {
    labels: Vec<u8>,
    rows: Vec<Row>,
    /// By row, then by family.
    values: Vec<Option<Value>>,
    /// One of them still shows 0.
    pub(super) hides: bool,
    /// One of them lives.
    pub(super) lives: bool,
}

/// The labels of a chat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    start: u32,
    end: u32,
    /// Where each value begins and ends, from the start.
    pub(super) values: [(u32, u32); LABELS.len()],
}

impl Draft {
    /// Those chats of a page that are wanted.
    pub(super) fn of_page(page: &Page, look: &Look<'_>, wanted: impl Fn(&Chat) -> bool) -> Self {
        let mut draft = Self::default();
        let chats = page.chats().filter(|chat| wanted(chat) && look.is_shown(chat));
        chats.for_each(|chat| draft.take(chat, look));
        draft
    }

    /// The chats that have no series of their own.
    pub(super) fn of_folded(look: &Look<'_>) -> Self {
        let mut draft = Self::default();
        for (runtime, folded, birth) in look.folded_chats() {
            let counters = counters(look.ledger.hides(birth), &folded);
            draft.push([OTHER; LABELS.len()], runtime, &Figures { counters, live: None });
        }
        draft
    }

    fn take(&mut self, chat: &Chat, look: &Look<'_>) {
        let user_id = look.show.users.show(chat.user_id());
        let labels = [chat.chat_id(), chat.app_id(), chat.workflow_name(), &*user_id];
        let hidden = look.ledger.hides(chat.birth);
        let live = (chat.is_live() && look.is_up(chat.runtime)).then(|| Live {
            last_turn_seconds: chat.last_turn_seconds,
            last_update: chat.last_update,
            runtime_seconds: chat.runtime_seconds(look.now.wall),
        });
        let counters = counters(hidden, chat.book.published());
        self.push(labels, look.runtime_label(chat.runtime), &Figures { counters, live });
        self.hides |= hidden;
        self.lives |= live.is_some();
    }

    fn push(&mut self, labels: [&str; LABELS.len()], runtime: Option<&str>, figures: &Figures) {
        let start = self.labels.len();
        let values = write_labels(&mut self.labels, LABELS, labels, runtime);
        let values = values.map(|(begin, end)| (at(begin - start), at(end - start)));
        self.rows.push(Row { start: at(start), end: at(self.labels.len()), values });
        self.values.extend(FAMILIES.iter().map(|family| family.value(figures)));
    }

    /// Whether it has a line of that family.
    pub(super) fn shows(&self, family: usize) -> bool {
        self.rows(family).any(|(_, value)| value.is_some())
    }

    /// How many lines it has of these families.
    pub(super) fn count(&self, families: &[usize]) -> u64 {
        let lines = |family: &usize| self.rows(*family).filter(|(_, v)| v.is_some()).count();
        families.iter().map(lines).sum::<usize>() as u64
    }

    /// How many chats it shows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows, with what they have of a family.
    pub(super) fn rows(&self, family: usize) -> impl Iterator<Item = (&Row, Option<Value>)> {
        let values = self.values.iter().skip(family).step_by(FAMILIES.len());
        self.rows.iter().zip(values.copied())
    }

    /// The labels of a row, as they are written.
    pub(super) fn labels(&self, row: &Row) -> &[u8] {
        &self.labels[row.start as usize..row.end as usize]
    }

    /// Writes the lines of one family. Returns how many.
    pub(super) fn write(&self, family: usize, text: &mut Vec<u8>) -> u64 {
        let name = FAMILIES[family].name();
        let mut lines = 0;
        for (row, value) in self.rows(family) {
            if let Some(value) = value {
                self.write_line(name, row, value, text);
                lines += 1;
            }
        }
        lines
    }

    /// Writes one line.
    #[inline]
    pub(super) fn write_line(
        &self,
        name: &str,
        row: &Row,
        value: Value,
        text: &mut Vec<u8>,
    ) -> Places {
        let start = at(text.len());
        text.extend_from_slice(name.as_bytes());
        text.push(b'{');
        let labels = at(text.len());
        text.extend_from_slice(self.labels(row));
        text.extend_from_slice(b"} ");
        let number = at(text.len());
        write_value(text, value);
        text.push(b'\n');
        Places { start, labels, number, end: at(text.len()) }
    }
}

/// A page has few rows, labels are bounded, and what is written of a whole family at once is cut
/// into pages before: places are far below 4 GiB.
fn at(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
