//! Databases behind a connection, PostgreSQL and MariaDB/MySQL: what they have in common, which is nearly all of
//! the SQL. What differs is behind [`Database`] and [`Session`]: the connection, and how a batch of orders is read
//! and written in few round trips.
//!
//! The shared SQL is what both understand: parameters are `$1`, `$2`, … (a dialect may number them otherwise),
//! `"key"` is quoted, booleans are TRUE and FALSE, ids are made here and never by the database, and every statement
//! of an order's path names its shop_id.

mod batches;
mod buyers;
mod catalogue;
mod config;
mod invariants;
mod orders;
mod service_keys;
mod store;
mod values;

use std::{sync::Arc, time::Duration};

use lastunit::{Locking, PlaceOrder, Reply, ShopId, StoreError, Watched};

pub(crate) use batches::{Batched, SIZES, insert, numbered};
pub use config::{Isolation, RemoteConfig};
pub(crate) use orders::read as read_order;
pub use store::RemoteStore;
pub(crate) use values::values;
pub use values::{Row, Value};

pub(crate) use crate::rows::{bad_row, json};

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It only reads, each statement what is committed by then.
    Read,
    /// It only reads, all of it one snapshot.
    Snapshot,
    /// As [`Access::Snapshot`], of the whole database.
    Check,
    /// It writes.
    Write,
    /// It writes any number of rows.
    Import,
}

impl Access {
    /// Whether it writes.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Import)
    }

    /// Whether all that it reads is one snapshot, whatever the isolation of those that write.
    pub fn is_snapshot(self) -> bool {
        matches!(self, Self::Snapshot | Self::Check)
    }

    /// How long it may take in all.
    pub fn timeout(self, config: &RemoteConfig) -> Duration {
        match self {
            Self::Read | Self::Snapshot | Self::Write => config.transaction_timeout,
            Self::Check | Self::Import => config.long_timeout,
        }
    }
}

/// A database that can be reached: a pool of connections, and what is particular about its SQL.
#[async_trait::async_trait]
pub trait Database: Send + Sync + 'static {
    type Session: Session;

    /// Takes a connection from the pool and begins a transaction; waits a bounded time.
    async fn begin(&self, access: Access) -> Result<Self::Session, StoreError>;

    /// Decides and writes a batch in a transaction of its own, and commits it.
    async fn place(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        locking: Locking,
    ) -> Result<Vec<Reply>, StoreError>;

    /// Whether an order that had to wait for a lock is turned away once it has it, because its snapshot is from
    /// before. Then it is tried again here, more often than one is that lost a race.
    fn turns_away(&self, _locking: Locking) -> bool {
        false
    }

    /// Who is told of what [`Database::place`] does, if anybody.
    fn watched(&self) -> &Watched;

    /// Lets the planner know of many rows that came at once; nobody waits for it in vain.
    async fn imported(&self) {}

    /// Closes all connections; the store has waited for what was under way, and lets no more begin.
    async fn close(&self);
}

/// A connection with a transaction that is open. Dropped without [`Session::commit`], all of it is undone.
pub trait Session: Send {
    /// Runs a statement and gives its rows.
    fn rows(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Runs a statement and gives how many rows it found (not: how many it changed).
    fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// User and seq of those of these carts from which something was ordered.
    fn cart_heads(
        &mut self,
        shop: ShopId,
        users: &[&str],
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Runs a query that takes no values, and gives its first `limit` rows, each as "column value, column value".
    fn texts(
        &mut self,
        sql: &'static str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;

    /// Commits. [`StoreError::CommitUnknown`] if the answer is lost.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Undoes all of it, and gives the connection back to the pool.
    fn roll_back(self) -> impl Future<Output = ()> + Send;
}

/// A guarded write that found no row: what the decision rests on is no longer so.
pub(crate) fn expect_one(found: u64) -> Result<(), StoreError> {
    if found == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}
