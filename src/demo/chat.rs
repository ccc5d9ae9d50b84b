//! What one chat of the simulated world is and what it has counted.

use fastrand::Rng;

use super::cast::{APPS, FORTUNE, Workflow};
use crate::model::Timestamp;

/// How much more a chat that costs a fortune reads and writes per turn.
const FORTUNE_FACTOR: u32 = 5;

/// What outlives a restart of the runtime: everything but the counters.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) chat_id: String,
    pub(super) app_id: &'static str,
    pub(super) user_id: &'static str,
    pub(super) workflow: &'static Workflow,
    pub(super) character: Character,
}

/// How a chat behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Character {
    /// Takes its turns and ends.
    Ordinary,
    /// Passes a dollar, and ends.
    Fortune,
    /// Falls silent and never ends.
    Stalls,
}

impl Identity {
    /// Somebody starts a chat.
    pub(super) fn random(rng: &mut Rng, character: Character) -> Self {
        let app = loop {
            let app = &APPS[rng.usize(..APPS.len())];
            if character != Character::Fortune || runs(app.workflows, FORTUNE) {
                break app;
            }
        };
        let workflow = match character {
            Character::Fortune => FORTUNE,
            _ => app.workflows[rng.usize(..app.workflows.len())],
        };
        Self {
            chat_id: uuid(rng),
            app_id: app.id,
            user_id: app.users[rng.usize(..app.users.len())],
            workflow,
            character,
        }
    }
}

fn runs(workflows: &[&Workflow], wanted: &Workflow) -> bool {
    workflows.iter().any(|workflow| workflow.name == wanted.name)
}

/// A random UUID, version 4.
fn uuid(rng: &mut Rng) -> String {
    let bits = rng.u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 64) & 0x0fff,
        0x8000 | ((bits >> 48) & 0x3fff),
        bits & 0xffff_ffff_ffff,
    )
}

/// One life of a chat, as the runtime keeps it.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) identity: Identity,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    /// When it ends or falls silent.
    pub(super) leaves_at: Timestamp,
    /// Turns it still takes after its end.
    pub(super) encore: u8,
    pub(super) agent_turns: u64,
    pub(super) tool_calls: u64,
    pub(super) errors: u64,
    pub(super) last_turn_seconds: Option<f64>,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) cost_usd: f64,
}

impl Chat {
    /// A chat that has done nothing yet.
    pub(super) fn new(identity: Identity, started_at: Timestamp, leaves_at: Timestamp) -> Self {
        Self {
            identity,
            started_at,
            ended_at: None,
            leaves_at,
            encore: 0,
            agent_turns: 0,
            tool_calls: 0,
            errors: 0,
            last_turn_seconds: None,
            prompt_tokens: 0,
            completion_tokens: 0,
            cost_usd: 0.0,
        }
    }

    /// Counts a turn that took `seconds`, with the tool calls made in it.
    pub(super) fn take_turn(&mut self, seconds: f64, tool_failure_rate: f64, rng: &mut Rng) {
        let workflow = self.identity.workflow;
        self.agent_turns += 1;
        self.last_turn_seconds = Some(seconds);
        for _ in 0..rng.u32(workflow.tool_calls.clone()) {
            self.tool_calls += 1;
            if rng.f64() < tool_failure_rate {
                self.errors += 1;
            }
        }
        let factor = match self.identity.character {
            Character::Fortune => FORTUNE_FACTOR,
            Character::Ordinary | Character::Stalls => 1,
        };
        let prompt = factor * rng.u32(workflow.prompt_tokens.clone());
        let completion = factor * rng.u32(workflow.completion_tokens.clone());
        self.prompt_tokens += u64::from(prompt);
        self.completion_tokens += u64::from(completion);
        self.cost_usd += (f64::from(prompt) * workflow.price.prompt
            + f64::from(completion) * workflow.price.completion)
            / 1e6;
    }

    /// It runs, and something will come of it.
    pub(super) fn is_moving(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now <= self.leaves_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_version_4_uuid() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..50 {
            let id = uuid(&mut rng);
            let lengths: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(id.as_bytes()[14], b'4', "{id}");
            assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
    }

    #[test]
    fn failed_tool_calls_are_tool_calls() {
        let mut rng = Rng::with_seed(1);
        let identity = Identity::random(&mut rng, Character::Fortune);
        let mut chat = Chat::new(identity, Timestamp(0), Timestamp(0));
        for _ in 0..50 {
            chat.take_turn(1.0, 1.0, &mut rng);
        }
        assert!(chat.tool_calls > 0);
        assert_eq!(chat.errors, chat.tool_calls);
    }
}
