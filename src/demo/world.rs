//! What happens in the simulated world, and when.
//!
//! Everything is a happening with a due time on one agenda, and all chance comes from one
//! seeded generator in the order of the happenings: how often the world is moved on changes
//! nothing about what happens.

use std::f64::consts::TAU;
use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

use super::agenda::{Agenda, Happening};
use super::cast::Workflow;
use super::chat::{Character, Chat, Identity};
use crate::model::Timestamp;

/// How long the world has been running when it is first looked at: the first chat has ended.
const WARM_UP: Duration = Duration::from_secs(85);
/// The world does not live through a longer leap of the clock; another takes its place.
const LEAP: Duration = Duration::from_hours(1);

// All in seconds.
const BETWEEN_STARTS: RangeInclusive<f64> = 3.5..=7.0;
const LIFE: RangeInclusive<f64> = 20.0..=80.0;
const FORTUNE_LIFE: RangeInclusive<f64> = 70.0..=90.0;
const PAUSE: RangeInclusive<f64> = 0.5..=2.5;
const BEFORE_ENCORE: RangeInclusive<f64> = 5.0..=20.0;
const BETWEEN_BAD_SPELLS: RangeInclusive<f64> = 30.0..=60.0;
const BAD_SPELL: RangeInclusive<f64> = 15.0..=25.0;
const BETWEEN_RESTARTS: RangeInclusive<f64> = 165.0..=195.0;
const BEFORE_FIRST_START: RangeInclusive<f64> = 0.5..=2.0;
const BEFORE_RETURN: RangeInclusive<f64> = 1.0..=8.0;

const TOOL_FAILURE_RATE: f64 = 0.05;
const BAD_SPELL_FAILURE_RATE: f64 = 0.6;
const ENCORE_RATE: f64 = 0.12;
const MOST_STALLS: usize = 2;

/// A simulated runtime.
#[derive(Debug)]
pub struct Simulation {
    rng: Rng,
    speed: f64,
    now: Timestamp,
    agenda: Agenda,
    /// When the process that is simulated now began.
    pub(super) created: Timestamp,
    /// In the order of their first start, as the runtime lists them.
    pub(super) chats: Vec<Chat>,
    pub(super) usage_events: u64,
    starts: u32,
    in_bad_spell: bool,
}

impl Simulation {
    /// A world that has been running for 85 s at `now`, as lively as a demo should be.
    /// Equal seeds give equal worlds.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        Self::with_speed(seed, now, 1.0)
    }

    /// As [`Simulation::new`], with everything happening `speed` times as often (0.1 to 1000).
    /// How long a turn says it took does not depend on it.
    pub fn with_speed(seed: u64, now: Timestamp, speed: f64) -> Self {
        let speed = if speed.is_finite() { speed.clamp(0.1, 1000.0) } else { 1.0 };
        let began = before(now, WARM_UP.div_f64(speed));
        let mut world = Self {
            rng: Rng::with_seed(seed),
            speed,
            now: began,
            agenda: Agenda::default(),
            created: began,
            chats: Vec::new(),
            usage_events: 0,
            starts: 0,
            in_bad_spell: false,
        };
        world.begin(began);
        world.advance(now);
        world
    }

    /// Moves the world on to `now`. Going back changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        if now.since(self.now).max(self.now.since(now)) > LEAP {
            *self = Self::with_speed(self.rng.u64(..), now, self.speed);
            return;
        }
        while let Some((at, happening)) = self.agenda.take_due(now) {
            self.happen(at, happening);
        }
        self.now = self.now.max(now);
    }

    fn happen(&mut self, at: Timestamp, happening: Happening) {
        match happening {
            Happening::Start => {
                let character = self.next_character();
                let identity = Identity::random(&mut self.rng, character);
                self.start(identity, at);
                self.later(at, BETWEEN_STARTS, Happening::Start);
            }
            Happening::Return(identity) => self.start(identity, at),
            Happening::Turn { chat, seconds } => self.turn(chat, seconds, at),
            Happening::End { chat } => self.end(chat, at),
            Happening::BadSpell(begins) => {
                self.in_bad_spell = begins;
                let lasts = if begins { BAD_SPELL } else { BETWEEN_BAD_SPELLS };
                self.later(at, lasts, Happening::BadSpell(!begins));
            }
            Happening::Restart => self.restart(at),
        }
    }

    /// A process begins: it knows nothing of what was before.
    fn begin(&mut self, at: Timestamp) {
        self.created = at;
        self.chats.clear();
        self.agenda = Agenda::default();
        self.usage_events = 0;
        self.starts = 0;
        self.in_bad_spell = false;
        self.later(at, BEFORE_FIRST_START, Happening::Start);
        self.later(at, BETWEEN_BAD_SPELLS, Happening::BadSpell(true));
        self.later(at, BETWEEN_RESTARTS, Happening::Restart);
    }

    /// The process ends, another begins, and a few of the chats that ran are taken up again.
    fn restart(&mut self, at: Timestamp) {
        let mut interrupted: Vec<Identity> = self
            .chats
            .iter()
            .filter(|chat| chat.is_moving(at))
            .map(|chat| chat.identity.clone())
            .collect();
        self.rng.shuffle(&mut interrupted);
        interrupted.truncate(self.rng.usize(2..=4));
        self.begin(at);
        for identity in interrupted {
            self.later(at, BEFORE_RETURN, Happening::Return(identity));
        }
    }

    /// Dealt by turns: a demo of three minutes cannot wait for luck.
    fn next_character(&mut self) -> Character {
        self.starts += 1;
        match self.starts % 10 {
            3 => Character::Fortune,
            7 if self.may_stall() => Character::Stalls,
            _ => Character::Ordinary,
        }
    }

    fn may_stall(&self) -> bool {
        let stalls = |chat: &&Chat| chat.identity.character == Character::Stalls;
        self.chats.iter().filter(stalls).count() < MOST_STALLS
    }

    fn start(&mut self, mut identity: Identity, at: Timestamp) {
        if identity.character == Character::Stalls && !self.may_stall() {
            identity.character = Character::Ordinary;
        }
        let life = match identity.character {
            Character::Fortune => FORTUNE_LIFE,
            Character::Ordinary | Character::Stalls => LIFE,
        };
        let leaves_at = after(at, self.some_time(life));
        self.chats.push(Chat::new(identity, at, leaves_at));
        self.plan_turn(self.chats.len() - 1, at);
    }

    fn turn(&mut self, index: usize, seconds: f64, at: Timestamp) {
        let chat = &mut self.chats[index];
        let failure_rate = if self.in_bad_spell && chat.identity.workflow.has_bad_spells {
            BAD_SPELL_FAILURE_RATE
        } else {
            TOOL_FAILURE_RATE
        };
        chat.take_turn(seconds, failure_rate, &mut self.rng);
        self.usage_events += 1;
        self.plan_turn(index, at);
    }

    fn end(&mut self, index: usize, at: Timestamp) {
        self.chats[index].ended_at = Some(at);
        if self.rng.f64() < ENCORE_RATE {
            self.chats[index].encore = self.rng.u8(2..=4);
            let resumes = after(at, self.some_time(BEFORE_ENCORE));
            self.plan_turn(index, resumes);
        }
    }

    /// Plans what the chat does next: a turn, its end, or nothing ever again.
    fn plan_turn(&mut self, index: usize, from: Timestamp) {
        let duration = self.turn_duration(self.chats[index].identity.workflow);
        let due = after(after(from, self.some_time(PAUSE)), duration.div_f64(self.speed));
        let chat = &mut self.chats[index];
        let turn = Happening::Turn { chat: index, seconds: duration.as_secs_f64() };
        if chat.ended_at.is_some() {
            if chat.encore > 0 {
                chat.encore -= 1;
                self.agenda.add(due, turn);
            }
        } else if due <= chat.leaves_at {
            self.agenda.add(due, turn);
        } else if chat.identity.character != Character::Stalls {
            self.agenda.add(chat.leaves_at, Happening::End { chat: index });
        }
    }

    /// Log-normal around the median of the workflow, in whole microseconds.
    fn turn_duration(&mut self, workflow: &Workflow) -> Duration {
        let radius = (-2.0 * (1.0 - self.rng.f64()).ln()).sqrt();
        let normal = radius * (TAU * self.rng.f64()).cos();
        let seconds = (workflow.median_turn_seconds * (0.5 * normal).exp())
            .clamp(*workflow.turn_seconds.start(), *workflow.turn_seconds.end());
        Duration::from_micros(whole_micros(Duration::from_secs_f64(seconds)))
    }

    fn later(&mut self, from: Timestamp, seconds: RangeInclusive<f64>, happening: Happening) {
        let due = after(from, self.some_time(seconds));
        self.agenda.add(due, happening);
    }

    fn some_time(&mut self, seconds: RangeInclusive<f64>) -> Duration {
        let (least, most) = seconds.into_inner();
        Duration::from_secs_f64((least + self.rng.f64() * (most - least)) / self.speed)
    }
}

fn whole_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn after(at: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add_unsigned(whole_micros(wait)))
}

fn before(at: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub_unsigned(whole_micros(wait)))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const NOW: Timestamp = Timestamp(1_768_701_486_123_456);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1_000_000)
    }

    /// Moves on by half seconds, from after `from` until `to`.
    fn walk(world: &mut Simulation, from: i64, to: i64, mut look: impl FnMut(&Simulation)) {
        for half in from * 2 + 1..=to * 2 {
            world.advance(Timestamp(NOW.0 + half * 500_000));
            look(world);
        }
    }

    #[test]
    fn there_is_a_baseline_at_the_first_look() {
        for seed in 0..100 {
            let world = Simulation::new(seed, NOW);
            let ended = world.chats.iter().filter(|chat| chat.ended_at.is_some()).count();
            assert!((10..=24).contains(&world.chats.len()), "{seed}: {}", world.chats.len());
            assert!(ended >= 1, "{seed}");
            assert!(ended < world.chats.len(), "{seed}");
        }
    }

    #[test]
    fn equal_seeds_give_equal_worlds_however_often_they_are_moved_on() {
        let (mut steps, mut leap) = (Simulation::new(7, NOW), Simulation::new(7, NOW));
        walk(&mut steps, 0, 400, |_| ());
        leap.advance(at(400));
        assert_eq!(steps.aggregate(at(400)), leap.aggregate(at(400)));
        assert_eq!(steps.events_metrics(at(400)), leap.events_metrics(at(400)));

        let mut other = Simulation::new(8, NOW);
        other.advance(at(400));
        assert_ne!(other.aggregate(at(400)), leap.aggregate(at(400)));
    }

    #[test]
    fn a_restart_forgets_everything_and_a_few_running_chats_come_back() {
        for seed in 0..20 {
            let mut world = Simulation::new(seed, NOW);
            let created = world.created;
            let mut before = BTreeMap::new();
            let mut second = 0;
            while world.created == created {
                before = world
                    .chats
                    .iter()
                    .map(|chat| (chat.identity.chat_id.clone(), (chat.ended_at, chat.leaves_at)))
                    .collect();
                second += 1;
                assert!(second <= 140, "{seed}: no restart");
                world.advance(at(second));
            }
            assert!(world.created > at(second - 1));
            assert!(world.usage_events <= 2);
            assert!(world.chats.iter().all(|chat| chat.started_at > world.created));

            walk(&mut world, second, second + 9, |_| ());
            let returned: Vec<_> =
                world.chats.iter().filter_map(|chat| before.get(&chat.identity.chat_id)).collect();
            assert!((2..=4).contains(&returned.len()), "{seed}: {returned:?}");
            for (ended_at, leaves_at) in returned {
                assert_eq!(*ended_at, None);
                assert!(*leaves_at >= world.created, "a stalled chat came back");
            }
        }
    }

    #[test]
    fn counters_never_fall_within_one_life_and_an_end_stays() {
        let mut world = Simulation::new(3, NOW);
        let mut known = BTreeMap::new();
        let mut moved_on = 0;
        walk(&mut world, 0, 900, |world| {
            for chat in &world.chats {
                let counters = [
                    chat.agent_turns,
                    chat.tool_calls,
                    chat.errors,
                    chat.prompt_tokens,
                    chat.completion_tokens,
                ];
                assert!(chat.errors <= chat.tool_calls);
                let key = (chat.identity.chat_id.clone(), chat.started_at);
                let now = (counters, chat.cost_usd, chat.ended_at);
                if let Some(was) = known.insert(key, now) {
                    assert!(was.0.iter().zip(counters).all(|(was, now)| *was <= now));
                    assert!(was.1 <= chat.cost_usd);
                    if was.2.is_some() {
                        assert_eq!(chat.ended_at, was.2);
                        moved_on += u32::from(was.0[0] < counters[0]);
                    }
                }
            }
        });
        assert!(moved_on > 5, "{moved_on}");
    }

    #[test]
    fn the_world_is_lively_bounded_and_goes_wrong_as_promised() {
        let mut world = Simulation::new(1, NOW);
        let (mut most_chats, mut processes) = (0, BTreeSet::new());
        let (mut stalled, mut fortunes) = (0, BTreeSet::new());
        let mut lives = BTreeMap::new();
        walk(&mut world, 0, 1800, |world| {
            most_chats = most_chats.max(world.chats.len());
            processes.insert(world.created);
            let silent = world
                .chats
                .iter()
                .filter(|chat| chat.ended_at.is_none() && chat.leaves_at < world.now);
            let silent = silent.count();
            assert!(silent <= MOST_STALLS);
            stalled = stalled.max(silent);
            for chat in &world.chats {
                if chat.cost_usd > 1.0 {
                    fortunes.insert(chat.identity.chat_id.clone());
                }
                let Some(ended_at) = chat.ended_at else {
                    continue;
                };
                if chat.identity.character == Character::Ordinary {
                    let unpriced = chat.identity.workflow.name == "LeadScoring";
                    assert_eq!(chat.cost_usd > 0.0, !unpriced && chat.agent_turns > 0);
                    let lasted = ended_at.since(chat.started_at).as_secs_f64();
                    let id = (chat.identity.chat_id.clone(), chat.started_at);
                    lives.insert(id, (chat.cost_usd, lasted, chat.tool_calls, chat.errors));
                }
            }
        });
        assert!(most_chats <= 80, "{most_chats}");
        assert!((10..=12).contains(&processes.len()), "{}", processes.len());
        assert_eq!(stalled, MOST_STALLS);
        assert!(fortunes.len() >= 10, "{}", fortunes.len());
        assert!(lives.len() > 200, "{}", lives.len());
        assert!(lives.values().all(|life| life.0 < 0.6 && (20.0..=80.0).contains(&life.1)));
        let calls: u64 = lives.values().map(|life| life.2).sum();
        let errors: u64 = lives.values().map(|life| life.3).sum();
        assert!((calls / 20..=calls / 5).contains(&errors), "{errors} of {calls}");
    }

    #[test]
    fn speed_multiplies_what_happens() {
        let usage = |speed| {
            let mut world = Simulation::with_speed(5, NOW, speed);
            let before = world.usage_events;
            world.advance(at(5));
            world.usage_events - before
        };
        assert!(usage(10.0) > 5 * usage(1.0));
        assert_eq!(usage(f64::NAN), usage(1.0));
    }

    #[test]
    fn a_leap_of_the_clock_makes_another_world() {
        for seconds in [-1_000_000_000, 1_000_000_000] {
            let mut world = Simulation::new(5, NOW);
            world.advance(at(seconds));
            assert_eq!(world.created, at(seconds - 85));
            assert!(world.chats.len() >= 10);
        }
    }
}
