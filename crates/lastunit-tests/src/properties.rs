//! The properties, by what they are about. Each is a function of a bench with a fresh store; its name says what
//! holds.

#![expect(missing_docs, reason = "a property's name says what it is")]

pub mod buyers;
pub mod canceling;
pub mod carts;
pub mod catalogue;
pub mod engine;
pub mod keys;
pub mod pricing;
pub mod selling;
pub mod shops;
