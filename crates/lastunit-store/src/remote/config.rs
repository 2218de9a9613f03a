//! How a database is reached, and how long anything may take.

use std::{num::NonZeroUsize, time::Duration};

use lastunit::Watched;

/// How much a transaction sees of those beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Each statement sees what is committed by then. The fastest, and as right as the others: all that an order
    /// rests on is locked, or compared when it is written.
    ReadCommitted,
    /// One snapshot.
    RepeatableRead,
    /// As if one after the other.
    Serializable,
}

impl Isolation {
    /// As in a store's address, and (with blanks) in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read_committed",
            Self::RepeatableRead => "repeatable_read",
            Self::Serializable => "serializable",
        }
    }
}

impl std::str::FromStr for Isolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::ReadCommitted, Self::RepeatableRead, Self::Serializable]
            .into_iter()
            .find(|isolation| isolation.as_str() == text)
            .ok_or_else(|| {
                format!("{text:?} is no isolation; use read_committed, repeatable_read or serializable")
            })
    }
}

/// Limits and choices of a database that is reached over a connection. Whatever the server does, no call takes
/// longer than `wait_timeout` + `transaction_timeout`, and five seconds more if it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    /// The most connections open at once.
    pub max_connections: NonZeroUsize,
    /// Of every transaction, whatever the server's default is.
    pub isolation: Isolation,
    /// Whether statements are prepared once a connection. Must be false behind a pooler that gives each
    /// transaction another connection and doesn't know of prepared statements (pgbouncer before 1.21).
    pub prepared: bool,
    /// Whether the schema is brought up to date; else an old one is refused.
    pub migrate: bool,
    /// How long a call may wait for a connection: for a free one, or for a new one to be made.
    pub wait_timeout: Duration,
    /// How long a statement may wait for somebody else's lock.
    pub lock_timeout: Duration,
    /// How long a transaction may take in all.
    pub transaction_timeout: Duration,
    /// The same of an import or a check, which take as long as there are rows.
    pub long_timeout: Duration,
    /// For demonstrations.
    pub watched: Watched,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self {
            max_connections: NonZeroUsize::new(16).expect("not zero"),
            isolation: Isolation::ReadCommitted,
            prepared: true,
            migrate: true,
            wait_timeout: Duration::from_secs(2),
            lock_timeout: Duration::from_secs(2),
            transaction_timeout: Duration::from_secs(5),
            long_timeout: Duration::from_secs(3600),
            watched: Watched::default(),
        }
    }
}
