//! What is pushed: events of the recording API, and the usage summaries of the runtime.
//!
//! ```text
//! {"event":"workflow_start","chat_id":"c","app_id":"acme","workflow_name":"Desk","user_id":"u"}
//! {"event":"agent_turn","chat_id":"c","agent_name":"planner","model":"gpt-4","duration_sec":2.5,
//!  "prompt_tokens":1500,"completion_tokens":800,"cost":0.05,"event_id":"…","ts":"2026-01-18T…Z"}
//! {"event":"workflow_end","chat_id":"c","success":true}
//! ```
//!
//! A body is taken apart into items first (`batch`), and each item is read by itself (`item`,
//! `summary`): one that is wrong costs itself alone.

mod batch;
mod item;
mod summary;
#[cfg(test)]
mod tests;

pub use batch::{BodyError, Items, Shape, items};
pub use item::{ItemError, Problem, Reader, read};
pub use summary::{Summary, summary};
