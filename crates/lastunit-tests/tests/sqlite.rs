//! The conformance suite on SQLite.

use std::sync::Arc;

use lastunit_store::SqliteStore;
use lastunit_tests::{Fresh, conformance};

async fn open() -> Fresh {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(folder.path().join("shop.db")).expect("a new database");
    Fresh { store: Arc::new(store), keep: Box::new(folder) }
}

conformance!(crate::open);
