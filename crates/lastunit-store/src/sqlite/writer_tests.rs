//! Apart from the writer's source, which `tests/interleavings` compiles too.

use std::{
    io,
    sync::{Arc, Mutex},
};

use lastunit::StoreError;
use rusqlite::Connection;

use super::{
    log::Log,
    store_error,
    writer::{Commit, Writer},
};

#[tokio::test]
async fn a_write_that_panics_or_fails_is_rolled_back_alone() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE t (x INTEGER)").unwrap();
    let (writer, threads) = Writer::start(connection, Arc::new(Log::new(|| Ok(())))).unwrap();
    let insert =
        |connection: &Connection| connection.execute("INSERT INTO t VALUES (1)", []).map_err(store_error);
    for commit in [Commit::Alone, Commit::Shared] {
        // All three wait before the first is run, so that the shared ones share a transaction.
        let (good, panics, fails) = tokio::join!(
            writer.write(commit, insert),
            writer.write(commit, move |connection| -> Result<(), StoreError> {
                insert(connection)?;
                panic!("a bug, for the test")
            }),
            writer.write(commit, move |connection| -> Result<(), StoreError> {
                insert(connection)?;
                Err(StoreError::Clash("no".into()))
            }),
        );
        assert_eq!(good, Ok(1));
        assert!(matches!(panics, Err(StoreError::Internal(_))), "{panics:?}");
        assert_eq!(fails, Err(StoreError::Clash("no".into())));
    }
    let count = |connection: &Connection| {
        connection.query_row("SELECT COUNT(*) FROM t", [], |row| row.get::<_, i64>(0)).map_err(store_error)
    };
    assert_eq!(writer.write(Commit::Alone, count).await, Ok(2));
    writer.close().await;
    assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
    assert!(matches!(writer.write(Commit::Alone, count).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn after_a_flush_that_failed_nothing_is_acknowledged_any_more() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE t (x INTEGER)").unwrap();
    let mut flushes = [Ok(()), Err(io::Error::other("for the test"))].into_iter();
    let flushes = Mutex::new(move || flushes.next().unwrap_or(Ok(())));
    let log = Arc::new(Log::new(move || flushes.lock().unwrap()()));
    let (writer, _) = Writer::start(connection, log.clone()).unwrap();
    let insert =
        |connection: &Connection| connection.execute("INSERT INTO t VALUES (1)", []).map_err(store_error);
    assert_eq!(writer.write(Commit::Shared, insert).await, Ok(1));
    assert_eq!(log.durable(log.newest()).await, Ok(()));
    let unknown = writer.write(Commit::Shared, insert).await;
    assert!(matches!(unknown, Err(StoreError::CommitUnknown(_))), "{unknown:?}");
    for commit in [Commit::Alone, Commit::Shared] {
        let refused = writer.write(commit, insert).await;
        let says = |text: &String| text.contains("for the test") && text.contains("start again");
        assert!(matches!(&refused, Err(StoreError::Unavailable(text)) if says(text)), "{refused:?}");
    }
    assert!(log.durable(log.newest()).await.is_err(), "a reader sees what may be gone");
}
