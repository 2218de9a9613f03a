//! What measures and judges a shop from outside: buyers that load it.

mod load;

pub use load::{Buyer, Measured, closed_loop};
