//! Answers to scrapes: put together from what the ledger holds and what was compressed before.
//!
//! A scrape takes three steps, of which only the second needs the ledger:
//!
//! 1. [`Engine::begin`]: the families that are few are written as text.
//! 2. [`Engine::gather`], some hundred chats at a time, so that no event waits for a scrape: pages
//!    of chats that have changed are taken out; of the others the last pieces are still good. All
//!    series of one chat are of the same moment.
//! 3. [`Engine::finish`]: what was taken out is written and compressed, and kept for the next.
//!
//! What it costs grows with the pages that have changed, and with the live chats, whose run time
//! does so by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Process;
use super::answer::{Answer, Plain, head};
use super::chats::{ChatFamily, FAMILIES};
use super::exposition::Format;
use super::family::Definition as _;
use super::few::{self, Part, Shelf};
use super::gzip::{self, Piece};
use super::page::Draft;
use super::press::Press;
use super::view::{Look, Show, View};
use crate::ledger::{Birth, Chat, Ledger};
use crate::model::{Instant, RuntimeId};
use crate::telemetry::Numbers;

/// Chats that are taken out of the ledger in one go: some 100 µs.
const STEP: usize = 1024;
/// Compressed pieces that are kept, in bytes: those of about a million series. What is beyond it is
/// compressed at each scrape.
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;

/// Makes answers, and keeps what can be used again.
#[derive(Debug)]
pub struct Engine {
    show: Show,
    /// The families of chats that are shown, by their place in the list of all.
    families: Vec<usize>,
    kept: Mutex<Kept>,
    /// One scrape compresses at a time, so those that come with it find what it made.
    press: Mutex<Press>,
}

/// How an answer is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The text format.
    pub format: Format,
    /// Whether it is compressed with gzip.
    pub packed: bool,
}

/// What can be used again.
#[derive(Debug, Default)]
struct Kept {
    state: Surroundings,
    /// Which surroundings since the start: what was taken out in earlier ones is not kept.
    era: u64,
    pages: BTreeMap<u64, KeptPage>,
    bytes: usize,
    shelf: Shelf,
}

/// What decides on how chats are shown, besides the chats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Surroundings {
    several: bool,
    /// Which runtimes are met, and which answer.
    runtimes: Vec<(bool, bool)>,
}

/// A page of chats as it was last compressed.
#[derive(Debug, Clone)]
struct KeptPage {
    revision: u64,
    /// Some of it was hidden while births were revealed up to this one.
    hidden_at: Option<Birth>,
    /// Some of its chats live.
    lives: bool,
    pieces: Arc<[Piece]>,
    lines: u64,
}

/// A scrape that is not answered yet.
#[derive(Debug)]
pub struct Scrape {
    wanted: Wanted,
    now: Instant,
    /// The surroundings that it began in.
    era: u64,
    /// The version of the ledger when it began.
    version: u64,
    parts: Vec<Part>,
    /// The number of the next page; none when all were seen.
    next: Option<u64>,
    pages: Vec<Taken>,
    folded: Draft,
}

/// A page as a scrape found it.
#[derive(Debug)]
enum Taken {
    /// As it was.
    Kept(KeptPage),
    /// As it was, but for what time changes.
    Ticked(KeptPage, Draft),
    /// Changed, or never seen. Not to be kept where it depends on more than its chats.
    Fresh { draft: Draft, keep_as: Option<KeepAs> },
}

/// What tells whether a page is still good.
#[derive(Debug, Clone, Copy)]
struct KeepAs {
    number: u64,
    revision: u64,
    revealed: Birth,
}

impl Scrape {
    /// Whether there are more chats to gather.
    pub fn goes_on(&self) -> bool {
        self.next.is_some()
    }

    /// How many chats are to be written and compressed.
    pub fn effort(&self) -> usize {
        if self.wanted.packed { self.pages.iter().map(Taken::len).sum() } else { 0 }
    }
}

impl Engine {
    /// An engine that has kept nothing yet.
    pub fn new(show: Show) -> Self {
        let is_shown = |family: &ChatFamily| show.compat || !family.is_compat();
        let families = (0..FAMILIES.len()).filter(|family| is_shown(FAMILIES[*family])).collect();
        Self { show, families, kept: Mutex::default(), press: Mutex::default() }
    }

    /// How things are shown.
    pub fn show(&self) -> &Show {
        &self.show
    }

    /// Begins an answer.
    pub fn begin(
        &self,
        ledger: &Ledger,
        numbers: &Numbers,
        process: Process,
        wanted: Wanted,
        now: Instant,
    ) -> Scrape {
        let look = Look::new(ledger, &self.show, now);
        let mut kept = self.kept();
        let state = Surroundings::of(&look);
        if kept.state != state {
            *kept = Kept { state, era: kept.era + 1, ..Kept::default() };
        }
        let version = ledger.version();
        let from_shelf = wanted.packed && kept.shelf.has(wanted.format, version);
        let view = View::without_chats(look, numbers, process, !from_shelf);
        let parts = kept.shelf.write(&view, wanted.format, from_shelf);
        let era = kept.era;
        drop(kept);
        let (pages, folded) = (Vec::new(), Draft::of_folded(&look));
        Scrape { wanted, now, era, version, parts, next: Some(0), pages, folded }
    }

    /// Takes the next chats.
    pub fn gather(&self, scrape: &mut Scrape, ledger: &Ledger) {
        let Some(first) = scrape.next.take() else { return };
        let look = Look::new(ledger, &self.show, scrape.now);
        let mut kept = self.kept();
        let mut room = STEP;
        for (number, page) in ledger.pages_from(first) {
            if room == 0 {
                scrape.next = Some(number);
                return;
            }
            let usable = kept.pages.get(&number).filter(|page_kept| {
                scrape.wanted.packed
                    && !look.unifies()
                    && page_kept.shows(page.revision(), ledger.revealed())
            });
            let taken = match usable {
                Some(page) if !page.lives => Taken::Kept(page.clone()),
                Some(known) => {
                    Taken::Ticked(known.clone(), Draft::of_page(page, &look, Chat::is_live))
                }
                None => {
                    let draft = Draft::of_page(page, &look, |_| true);
                    let (revision, revealed) = (page.revision(), ledger.revealed());
                    let keep_as = KeepAs { number, revision, revealed };
                    Taken::Fresh { draft, keep_as: (!look.unifies()).then_some(keep_as) }
                }
            };
            room = room.saturating_sub(taken.len());
            scrape.pages.push(taken);
        }
        if scrape.wanted.packed {
            kept.forget_gone(ledger);
        }
    }

    /// Writes and compresses what is not there yet.
    pub fn finish(&self, scrape: Scrape) -> Answer {
        if scrape.wanted.packed { self.finish_packed(scrape) } else { self.finish_plain(scrape) }
    }

    fn finish_plain(&self, scrape: Scrape) -> Answer {
        let mut drafts: Vec<Draft> =
            scrape.pages.into_iter().filter_map(Taken::into_draft).collect();
        drafts.push(scrape.folded);
        let lines = drafts.iter().map(|draft| draft.count(&self.families)).sum::<u64>();
        let lines = lines + few::lines(&scrape.parts);
        let text = |part| match part {
            Part::Text { text, .. } => Some(Bytes::from(text)),
            Part::Chats | Part::Kept { .. } => None,
        };
        let texts = scrape.parts.into_iter().map(text).collect();
        let plain = Plain::new(scrape.wanted.format, texts, drafts, &self.families);
        Answer::plain(lines, plain)
    }

    fn finish_packed(&self, mut scrape: Scrape) -> Answer {
        let mut press = self.press.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = std::mem::take(&mut scrape.pages);
        let pages: Vec<KeptPage> =
            pages.into_iter().map(|taken| self.pack(taken, scrape.era, &mut press)).collect();
        let (folded, folded_lines) = press.compress(&scrape.folded, &self.families);
        drop(press);
        let lines = pages.iter().map(|page| page.lines).sum::<u64>() + folded_lines;
        let lines = lines + few::lines(&scrape.parts);
        let format = scrape.wanted.format;
        let mut pieces = Vec::new();
        let mut kept = self.kept();
        let version = (kept.era == scrape.era).then_some(scrape.version);
        let parts = kept.shelf.pack(scrape.parts, format, version);
        drop(kept);
        for part in parts {
            if let Some(piece) = part {
                pieces.push(piece);
                continue;
            }
            for (place, family) in self.families.iter().enumerate() {
                let of_family = pages.iter().map(|page| &page.pieces[place]);
                let of_family = of_family.chain([&folded[place]]);
                let mut of_family = of_family.filter(|piece| !piece.is_empty()).peekable();
                if of_family.peek().is_some() {
                    pieces.push(Piece::stored(&head(FAMILIES[*family], format)));
                    pieces.extend(of_family.cloned());
                }
            }
        }
        pieces.push(Piece::stored(format.end()));
        Answer::packed(lines, gzip::assemble(pieces))
    }

    /// Compresses what is new of a page, and keeps it.
    fn pack(&self, taken: Taken, era: u64, press: &mut Press) -> KeptPage {
        match taken {
            Taken::Kept(page) => page,
            Taken::Ticked(page, draft) => self.tick(page, &draft, press),
            Taken::Fresh { draft, keep_as } => {
                let known = keep_as.and_then(|keep_as| self.kept().known(era, keep_as));
                // One that was taken out later may show what this one hides.
                if let Some(page) = known.filter(|page| page.hidden_at.is_some() == draft.hides) {
                    // Another scrape was faster.
                    return if page.lives { self.tick(page, &draft, press) } else { page };
                }
                let (pieces, lines) = press.compress(&draft, &self.families);
                let page = KeptPage {
                    revision: keep_as.map_or(0, |keep_as| keep_as.revision),
                    hidden_at: keep_as.filter(|_| draft.hides).map(|keep_as| keep_as.revealed),
                    lives: draft.lives,
                    pieces: pieces.into(),
                    lines,
                };
                if let Some(keep_as) = keep_as {
                    self.kept().keep(era, keep_as.number, &page);
                }
                page
            }
        }
    }

    /// The page with what time has changed.
    fn tick(&self, mut page: KeptPage, draft: &Draft, press: &mut Press) -> KeptPage {
        let ticking = self.ticking();
        let places: Vec<usize> = ticking.iter().map(|(place, _)| *place).collect();
        let families: Vec<usize> = ticking.iter().map(|(_, family)| *family).collect();
        let (fresh, _) = press.compress(draft, &families);
        let mut pieces = page.pieces.to_vec();
        for (place, piece) in places.into_iter().zip(fresh) {
            pieces[place] = piece;
        }
        page.pieces = pieces.into();
        page
    }

    /// Families whose values change with time alone: their places among those shown, and in the
    /// list of all.
    fn ticking(&self) -> Vec<(usize, usize)> {
        let families = self.families.iter().copied().enumerate();
        families.filter(|(_, family)| FAMILIES[*family].does_tick()).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Surroundings {
    fn of(look: &Look<'_>) -> Self {
        let ids = (0_u16..).map(RuntimeId).take(look.ledger.runtimes().len());
        let runtimes = ids.map(|id| (look.is_met(id), look.is_up(id))).collect();
        Self { several: look.several, runtimes }
    }
}

impl Kept {
    /// The page, if it is there as it is wanted.
    fn known(&self, era: u64, wanted: KeepAs) -> Option<KeptPage> {
        let page = self.pages.get(&wanted.number).filter(|_| self.era == era)?;
        page.shows(wanted.revision, wanted.revealed).then(|| page.clone())
    }

    /// Keeps a page, where there is room.
    fn keep(&mut self, era: u64, number: u64, page: &KeptPage) {
        if self.era != era {
            return;
        }
        self.drop_page(number);
        let bytes = page.bytes();
        if self.bytes + bytes <= MAX_KEPT_BYTES {
            self.bytes += bytes;
            self.pages.insert(number, page.clone());
        }
    }

    fn drop_page(&mut self, number: u64) {
        if let Some(page) = self.pages.remove(&number) {
            self.bytes -= page.bytes();
        }
    }

    /// Forgets pages that the ledger has no more.
    fn forget_gone(&mut self, ledger: &Ledger) {
        let gone = |number: &&u64| ledger.page(**number).is_none();
        let gone: Vec<u64> = self.pages.keys().filter(gone).copied().collect();
        for number in gone {
            self.drop_page(number);
        }
    }
}

impl KeptPage {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len() + size_of::<Piece>()).sum()
    }

    /// Whether all of it but what ticks is as it is in this revision.
    fn shows(&self, revision: u64, revealed: Birth) -> bool {
        self.revision == revision && self.hidden_at.is_none_or(|at| at == revealed)
    }
}

impl Taken {
    /// The chats that it took.
    fn len(&self) -> usize {
        match self {
            Self::Kept(_) => 0,
            Self::Ticked(_, draft) | Self::Fresh { draft, .. } => draft.len(),
        }
    }

    fn into_draft(self) -> Option<Draft> {
        match self {
            Self::Kept(_) | Self::Ticked(..) => None,
            Self::Fresh { draft, .. } => Some(draft),
        }
    }
}
