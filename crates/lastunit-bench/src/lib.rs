//! What measures and judges a shop from outside: buyers that load it, what they saw, whether that may be, and charts of
//! what came out.

pub mod chart;
pub mod history;
mod load;
pub mod sale;
pub mod workload;

pub use load::{Buyer, Measured, closed_loop};
