//! What is going to happen in the simulated world.

use std::collections::BTreeMap;

use super::chat::Identity;
use crate::model::Timestamp;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// A new chat starts.
    Start,
    /// A chat from before a restart is taken up again.
    Return(Identity),
    /// A chat finishes a turn that took `seconds`.
    Turn { chat: usize, seconds: f64 },
    /// A chat ends.
    End { chat: usize },
    /// Tools begin to fail, or cease to.
    BadSpell(bool),
    /// The runtime restarts.
    Restart,
}

/// What is going to happen, by time; at the same time, by who came first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    happenings: BTreeMap<(Timestamp, u64), Happening>,
    added: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, due: Timestamp, happening: Happening) {
        self.happenings.insert((due, self.added), happening);
        self.added += 1;
    }

    /// Takes the next happening off the agenda, if it is due at `now`.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, Happening)> {
        let first = self.happenings.first_entry()?;
        let (due, _) = *first.key();
        (due <= now).then(|| (due, first.remove()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_by_time_and_then_by_who_came_first() {
        let mut agenda = Agenda::default();
        for (due, chat) in [(5, 0), (3, 1), (3, 2), (9, 3)] {
            agenda.add(Timestamp(due), Happening::End { chat });
        }
        let mut taken = Vec::new();
        while let Some((due, Happening::End { chat })) = agenda.take_due(Timestamp(5)) {
            taken.push((due.0, chat));
        }
        assert_eq!(taken, [(3, 1), (3, 2), (5, 0)]);
    }
}
