//! Databases that keep shops for [`lastunit`]: SQLite, embedded in one file.

mod check;
mod migrate;
mod sqlite;

pub use sqlite::{SqliteConfig, SqliteStore};
