//! What measures and judges a shop from outside: buyers that load it, what they saw, whether that may be, and charts of
//! what came out.

pub mod chart;
pub mod history;
pub mod http;
mod load;
mod measured;
mod open_loop;
mod popularity;
pub mod sale;
pub mod workload;

pub use load::{Attempts, Buyer, closed_loop, sell_out};
pub use measured::{Answer, Measured, Punctuality};
pub use open_loop::open_loop;
pub use popularity::{Picks, Popularity};
