//! Apart from the writer's source, which `tests/interleavings` compiles too.

use lastunit::StoreError;
use rusqlite::Connection;

use super::{
    store_error,
    writer::{Commit, Writer},
};

#[tokio::test]
async fn a_write_that_panics_or_fails_is_rolled_back_alone() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE t (x INTEGER)").unwrap();
    let (writer, thread) = Writer::start(connection).unwrap();
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
    assert!(thread.join().is_ok());
    assert!(matches!(writer.write(Commit::Alone, count).await, Err(StoreError::Unavailable(_))));
}
