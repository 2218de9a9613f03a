//! The conformance suite, on every way to run a shop. Takes what cargo's own tests take: a part of a name, `--list`, …

use std::{process::ExitCode, sync::Arc};

use lastunit::Store;
use lastunit_store::SqliteStore;
use lastunit_tests::{Combination, Fresh, Run};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let combinations = [sqlite("sqlite", 1), sqlite("sqlite-3-servers", 3)];
    let trial = |Run { name, run }| {
        Trial::test(name, || {
            run();
            Ok(())
        })
    };
    let trials = combinations.iter().flat_map(Combination::runs).map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A new file, opened by this many servers.
fn sqlite(name: &str, servers: usize) -> Combination {
    Combination::new(name, move || async move {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("shop.db");
        let open = |_| Arc::new(SqliteStore::open(&file).expect("a database")) as Arc<dyn Store>;
        Fresh { stores: (0..servers).map(open).collect(), keep: Box::new(folder) }
    })
}
