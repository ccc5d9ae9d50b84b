//! The vocabulary that every room shares: names, units, clocks and facts.
//!
//! Nothing in here does I/O, and nothing knows where a fact came from on the wire or
//! under which metric name it is shown.

mod clock;
mod event;
mod fact;
mod hear;
mod name;
mod print;
mod usd;

/// What an address of a socket in the file system begins with.
pub const UNIX_SOCKET: &str = "unix:";
/// What the name of a socket that the service manager hands over begins with.
pub const HANDED_OVER: &str = "systemd:";

pub use clock::{Clock, Instant, Mono, SystemClock, Timestamp};
pub use event::{About, Bookmark, Delivery, Event, EventId, Level, Report, Usage, What};
pub use fact::{
    Acquaintance, Answer, ChatSnapshot, Count, Counters, RuntimeId, Source, Stated, Witness,
};
pub use hear::{Hear, Heard, Mark, Mention};
pub use name::{NameRule, OTHER, UNKNOWN};
pub use print::{Key, Print};
pub use usd::{Usd, UsdError};
