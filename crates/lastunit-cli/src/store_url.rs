//! Which store is meant: `sqlite:FILE`.

use std::{path::PathBuf, str::FromStr, sync::Arc};

use anyhow::{Context, Result};
use lastunit::Store;
use lastunit_store::SqliteStore;

/// A store by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file.
    Sqlite(PathBuf),
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
        match path {
            Some("" | ":memory:") => Err("a shop is kept in a file: use sqlite:FILE".into()),
            Some(path) => Ok(Self::Sqlite(path.into())),
            None => {
                Err("this version keeps shops in SQLite: use sqlite:FILE, such as sqlite:lastunit.db".into())
            }
        }
    }
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl StoreUrl {
    /// Opens it, and creates it if it isn't there.
    pub fn open(&self) -> Result<Arc<dyn Store>> {
        match self {
            Self::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path).context("the store can't be opened")?)),
        }
    }

    /// Opens it if it is there.
    pub fn open_existing(&self) -> Result<Arc<dyn Store>> {
        match self {
            Self::Sqlite(path) => {
                Ok(Arc::new(SqliteStore::open_existing(path).context("the store can't be opened")?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_its_kind_and_place() {
        assert_eq!("sqlite:a/b.db".parse(), Ok(StoreUrl::Sqlite("a/b.db".into())));
        assert_eq!("sqlite:///tmp/b.db".parse(), Ok(StoreUrl::Sqlite("/tmp/b.db".into())));
        for wrong in ["", "lastunit.db", "sqlite:", "sqlite::memory:", "mongodb://x"] {
            assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong}");
        }
    }
}
