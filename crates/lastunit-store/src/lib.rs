//! Databases that keep shops for [`lastunit`]: SQLite, embedded in one file; PostgreSQL; MariaDB and MySQL. And carts
//! in Redis, around any of them.

#[macro_use]
mod step;

mod check;
mod migrate;
mod mysql;
mod postgres;
mod redis;
mod remote;
mod rows;
mod sqlite;

pub use mysql::MySqlStore;
pub use postgres::PostgresStore;
pub use remote::{Isolation, RemoteConfig};
pub use sqlite::{SqliteConfig, SqliteStore};

pub use self::redis::{RedisCarts, RedisConfig};

/// What [`RedisCarts`] asks of Redis, so that a simulation can stand in for it.
pub mod cart_service {
    pub use crate::redis::{Away, CartService, Contents, Edit, Edited, Kept, Keys};
}
