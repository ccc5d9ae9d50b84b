//! C(n): n chats with UUIDs for ids, of 50 apps, 8 workflows and n/5 users, with counters of one to
//! seven digits and floats of 6 to 17.
//!
//! Everything follows from the seed and the chat's number, so a world holds nothing but what was
//! changed in it, and two worlds with the same history are the same.

use std::fmt::Write as _;

const APPS: u64 = 50;
const WORKFLOWS: [&str; 8] = [
    "LeadScoring",
    "Generator",
    "ReportBuilder",
    "SupportDesk",
    "Translation",
    "Onboarding",
    "InvoiceMatch",
    "CodeReview",
];
/// The first chat's start, in microseconds since the epoch: 2026-01-18T01:58:06Z.
const START: u64 = 1_768_701_486_000_000;

/// What happened to a chat since the beginning.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    turns: u32,
    ended: bool,
}

/// One chat as the runtime would tell it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) chat_id: String,
    pub(crate) app_id: String,
    pub(crate) workflow_name: &'static str,
    pub(crate) user_id: String,
    /// Microseconds since the epoch.
    pub(crate) started_at: u64,
    pub(crate) ended_at: Option<u64>,
    pub(crate) agent_turns: u64,
    pub(crate) tool_calls: u64,
    pub(crate) errors: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) cost: f64,
    pub(crate) last_turn_seconds: f64,
    pub(crate) runtime_seconds: f64,
}

/// Which chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that were born last: what a running system looks like.
    Newest,
    /// Any: the worst case for whoever keeps what is rendered in pages.
    Random,
    /// The oldest.
    Oldest,
}

/// All chats of one runtime.
#[derive(Debug, Clone)]
pub(crate) struct World {
    seed: u64,
    apps: u64,
    chats: Vec<Past>,
    changes: u64,
}

impl World {
    /// C(n).
    pub(crate) fn new(chats: usize) -> Self {
        Self { seed: 20_260_118, apps: APPS, chats: vec![Past::default(); chats], changes: 0 }
    }

    /// The same in one app: few chats have few other series beside theirs.
    pub(crate) fn in_one_app(chats: usize) -> Self {
        Self { apps: 1, ..Self::new(chats) }
    }

    pub(crate) fn len(&self) -> usize {
        self.chats.len()
    }

    /// One turn more in a share of the chats, in percent; at least one chat.
    pub(crate) fn change(&mut self, percent: f64, which: Which) {
        self.changes += 1;
        for index in self.pick(percent, which) {
            self.chats[index].turns += 1;
        }
    }

    /// Ends a share of the chats, in percent: the oldest.
    pub(crate) fn end(&mut self, percent: f64) {
        for index in self.pick(percent, Which::Oldest) {
            self.chats[index].ended = true;
        }
    }

    #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
    fn pick(&self, percent: f64, which: Which) -> Vec<usize> {
        let all = self.len();
        let count = ((all as f64 * percent / 100.0).round() as usize).clamp(1, all);
        match which {
            Which::Newest => (all - count..all).collect(),
            Which::Oldest => (0..count).collect(),
            Which::Random => {
                let mut dice = Dice::new(self.seed, u64::MAX - self.changes);
                (0..count).map(|_| (dice.next() % all as u64) as usize).collect()
            }
        }
    }

    /// The chat of that number.
    pub(crate) fn chat(&self, index: usize) -> Told {
        let past = self.chats[index];
        let mut dice = Dice::new(self.seed, index as u64);
        let users = (self.len() as u64 / 5).max(1);
        let user = Dice::new(self.seed ^ 0x5ca1_ab1e, dice.next() % users).uuid();
        let more = u64::from(past.turns);
        let (turns, tools) = (1 + dice.next() % 60, dice.next() % 200);
        let prompt = 1000 + dice.next() % 3_000_000;
        let completion = 100 + dice.next() % 400_000;
        // Costs have two to eight decimals, durations all that a double has.
        let scale = 10_f64.powi(2 + (dice.next() % 7) as i32);
        let price = 2.5e-6 * prompt as f64 + 1e-5 * completion as f64 + 0.0021 * more as f64;
        let started_at = START + index as u64 * 1_000_003;
        let lived = 60_000_000 + dice.next() % 3_600_000_000;
        Told {
            chat_id: dice.uuid(),
            app_id: format!("app-{:04}", dice.next() % self.apps),
            workflow_name: WORKFLOWS[(dice.next() % 8) as usize],
            user_id: user,
            started_at,
            ended_at: past.ended.then_some(started_at + lived),
            agent_turns: turns + more,
            tool_calls: tools + 2 * more,
            errors: dice.next() % 6,
            prompt_tokens: prompt + 1523 * more,
            completion_tokens: completion + 317 * more,
            cost: ((price * scale).round() / scale).max(1.0 / scale),
            last_turn_seconds: Dice::new(dice.next(), more).unit() * 60.0,
            runtime_seconds: lived as f64 / 1e6 + 2.5 * more as f64,
        }
    }

    /// All of them, in their order.
    pub(crate) fn chats(&self) -> impl Iterator<Item = Told> {
        (0..self.len()).map(|index| self.chat(index))
    }

    /// What `/metrics/perf/aggregate` answers.
    pub(crate) fn aggregate(&self) -> Vec<u8> {
        let mut sums = [0_u64; 5];
        let (mut cost, mut active) = (0.0, 0_usize);
        let mut chats = String::with_capacity(self.len() * 420);
        for chat in self.chats() {
            let counts = chat.counts();
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
            cost += chat.cost;
            active += usize::from(chat.ended_at.is_none());
            chats.push_str(if chats.is_empty() { "" } else { "," });
            chat.write_json(&mut chats);
        }
        let [turns, tools, errors, prompt, completion] = sums;
        format!(
            r#"{{"active_chats":{active},"tracked_chats":{},"total_agent_turns":{turns},"total_tool_calls":{tools},"total_errors":{errors},"total_prompt_tokens":{prompt},"total_completion_tokens":{completion},"total_cost":{cost},"chats":[{chats}]}}"#,
            self.len()
        )
        .into_bytes()
    }
}

impl Told {
    /// In the order of the runtime's own sums.
    pub(crate) fn counts(&self) -> [u64; 5] {
        [self.agent_turns, self.tool_calls, self.errors, self.prompt_tokens, self.completion_tokens]
    }

    /// When it last did something, in seconds since the epoch.
    pub(crate) fn last_update(&self) -> f64 {
        self.started_at as f64 / 1e6 + self.runtime_seconds
    }

    fn write_json(&self, out: &mut String) {
        let Self { chat_id, app_id, workflow_name, user_id, .. } = self;
        let [turns, tools, errors, prompt, completion] = self.counts();
        write!(
            out,
            r#"{{"chat_id":"{chat_id}","app_id":"{app_id}","workflow_name":"{workflow_name}","user_id":"{user_id}","started_at":"{}","ended_at":"#,
            Iso(self.started_at)
        )
        .unwrap();
        match self.ended_at {
            Some(ended_at) => write!(out, "\"{}\"", Iso(ended_at)).unwrap(),
            None => out.push_str("null"),
        }
        write!(
            out,
            r#","runtime_sec":{},"agent_turns":{turns},"tool_calls":{tools},"errors":{errors},"last_turn_duration_sec":{},"prompt_tokens":{prompt},"completion_tokens":{completion},"cost":{}}}"#,
            self.runtime_seconds, self.last_turn_seconds, self.cost
        )
        .unwrap();
    }
}

/// Microseconds since the epoch, as Python's `isoformat` writes them.
struct Iso(u64);

impl std::fmt::Display for Iso {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time =
            chrono::DateTime::from_timestamp_micros(self.0.cast_signed()).unwrap_or_default();
        write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
    }
}

/// `SplitMix64`: numbers that follow from a seed and a place.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64, place: u64) -> Self {
        let mut dice = Self(seed ^ place.wrapping_mul(0xa24b_aed4_963e_e407));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 50 | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }
}
