//! Buyers who shop as people and their browsers do, on a shop that may break under them: they fill carts, order, click twice,
//! hang up, come back with an old request, cancel, look. Every call goes into a history.
//!
//! 1. [`open_shop`] puts products into a shop;
//! 2. [`shop_until`] lets buyers shop until they are told to stop;
//! 3. [`resolve`] sends every call again that nobody answered, once all is healed;
//! 4. [`read_all`] reads what is there then.

mod buyer;
mod client;
mod end;
mod shop;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::history::{Recorder, Run};

pub use buyer::{Shopped, shop_until};
pub use end::{read_all, resolve};
pub use shop::open_shop;

/// Who shops where.
#[derive(Clone)]
pub struct Plan {
    /// The servers; each call goes to any of them.
    pub servers: Vec<SocketAddr>,
    /// A service key of the role admin.
    pub service_key: String,
    /// What is sold.
    pub run: Arc<Run>,
    /// So many buyers shop at once.
    pub buyers: u32,
    /// A buyer waits up to so long between two steps; how long is chance.
    pub think_ms: u64,
    /// A call that isn't answered by then is given up.
    pub give_up_after: Duration,
    /// Where every call is written down.
    pub recorder: Arc<Recorder>,
    /// Counted while it runs.
    pub counts: Arc<Counts>,
}

/// What happened so far.
#[derive(Default)]
pub struct Counts {
    /// Calls that left.
    pub calls: AtomicU64,
    /// Orders that were acknowledged, repeated answers left out.
    pub placed: AtomicU64,
    /// Orders that were refused, repeated answers left out.
    pub refused: AtomicU64,
    /// Calls that nobody answered, or with 5xx.
    pub unanswered: AtomicU64,
}

impl Counts {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
