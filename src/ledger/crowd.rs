//! Pushed chats that are more than can be remembered.
//!
//! What is polled names its chats again and again, and bounds their number itself. Nobody bounds
//! how many chats are pushed, so there is a bound here. To forget one costs little: its events stand
//! each for itself and are in all totals, so that one that comes back is merely a new chat. That of
//! which sums are pushed would count again, so it goes last.

use super::{Chat, Ledger, Outcome, Phase};
use crate::model::{Instant, Mono, Source};

/// Who goes first: the lowest. In this order: whether sums of it are pushed, whether it lives,
/// whether a shared store is owed it, whether it has series; and when it last did something.
type Claim = ([bool; 4], Mono);

impl Ledger {
    /// Forgets pushed chats where they are too many, a tenth of them at a time, so that looking through
    /// all chats costs each that comes no more than some steps.
    pub(super) fn thin_out(&mut self, now: Instant) {
        if self.chats.len() < self.crowded_at {
            return;
        }
        let bound = self.settings.max_pushed_chats;
        let pushed = self.chats.iter().filter(|(_, chat)| is_pushed_alone(chat));
        let mut claims: Vec<(Claim, u64)> = pushed.map(|(no, chat)| (claim(chat), no)).collect();
        let surplus = claims.len().saturating_sub(bound);
        if surplus > 0 {
            claims.select_nth_unstable(surplus - 1);
            for (_, no) in claims.into_iter().take(surplus) {
                self.part_with(no, now);
            }
        }
        self.crowded_at = self.chats.len().max(bound).saturating_add(bound / 10 + 1);
    }

    fn part_with(&mut self, no: u64, now: Instant) {
        if self.chats.get(no).is_some_and(Chat::is_live) {
            self.close(no, Phase::Ended, Some(Outcome::Abandoned), now);
        }
        if self.chats.get(no).is_some_and(|chat| !chat.evicted) {
            self.evict(no);
            self.tally.evicted_by_bound += 1;
        }
        self.tally.forgotten_pushed += u64::from(self.remove(no).is_some());
        self.dirty.meta = true;
    }
}

/// Whether nobody tells of it but those who push.
fn is_pushed_alone(chat: &Chat) -> bool {
    let by_push = |source| matches!(source, Source::Receive | Source::UsageIngest);
    chat.book.lives().all(|life| by_push(life.key.source))
        && (chat.pushed || !chat.book.is_unborn())
        && !chat.listed
}

fn claim(chat: &Chat) -> Claim {
    ([chat.is_summed(), chat.is_live(), chat.is_owed(), !chat.evicted], chat.moved)
}
