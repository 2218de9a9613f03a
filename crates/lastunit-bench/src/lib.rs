//! What measures and judges a shop from outside: buyers that load it, and charts of what came out.

pub mod chart;
mod load;

pub use load::{Buyer, Measured, closed_loop};
