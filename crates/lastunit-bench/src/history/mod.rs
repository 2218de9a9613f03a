//! What buyers asked of a shop and were told, and whether a shop that keeps its promises could have said so.
//!
//! - [`Recorder`] writes the history while it happens, [`read`] reads it;
//! - [`FinalState`] is what the shop says at the end, when everything is healed and every open call is resolved;
//! - [`judge`] holds one against the other: a pure function, whose [`Verdict`] names every violation.
//!
//! A call has one of three outcomes. *ok*: it was done. *fail*: it was refused for good, with a code of the API's. *info*:
//! nobody knows (no answer in time, a cut connection, 5xx): it may have been done, or be done at any later time. The same
//! key sent again, or reading, tells.

mod cart;
mod event;
mod file;
mod keys;
mod orders;
mod privacy;
mod state;
mod stock;
mod verdict;

pub use event::{Answer, Call, Complete, Event, Fault, Invoke, Outcome, Run, SkuAtStart};
pub use file::{History, Op, Recorder, read};
pub use privacy::{canary, canary_owner};
pub use state::{FinalState, Invariant, OrderBody, OrderLineBody, SkuAtEnd};
pub use verdict::{Check, Verdict, judge};
