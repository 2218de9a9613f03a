//! One conformance suite for every database; [`servers`], the databases it runs on; [`remote`], what tests of the stores
//! on database servers have in common; [`server`], for tests over real sockets; and [`simulation`], a shop by a seed.
//!
//! A [`Property`] is a function of a [`Bench`]: engines on a fresh database. A [`Combination`] is a way to run a shop:
//! it opens such databases, and runs every property on them, those about placing orders under every safe strategy.

mod bench;
mod chance;
mod combination;
pub mod properties;
pub mod remote;
pub mod server;
pub mod servers;
pub mod simulation;
mod tap;

use std::pin::Pin;

pub(crate) use bench::surely;
pub use bench::{Ask, Bench, Fresh, TickingSource, accept, all_at_once, amount, buyer, only_line, placed};
pub use chance::Chance;
pub use combination::{Combination, Run};
pub use properties::{Property, Under};
pub use tap::{Fault, Tap};

/// A future that may be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
