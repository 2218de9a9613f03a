//! Connections that only read, apart from the writer: in WAL mode neither waits for the other.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex},
};

use lastunit::StoreError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::log::Log;

/// Reads that may run at once.
const CONNECTIONS: usize = 4;

pub(super) struct Readers {
    /// As many as there are connections.
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    log: Arc<Log>,
}

impl Readers {
    pub fn open(path: &Path, log: Arc<Log>) -> Result<Self, StoreError> {
        let open = |_| {
            let connection = super::open_connection(path)?;
            connection.pragma_update(None, "query_only", "ON")?;
            Ok(connection)
        };
        let idle =
            (0..CONNECTIONS).map(open).collect::<rusqlite::Result<Vec<_>>>().map_err(super::store_error)?;
        Ok(Self { permits: Arc::new(Semaphore::new(CONNECTIONS)), idle: Arc::new(Mutex::new(idle)), log })
    }

    /// Runs a read on one snapshot of the database, off the async threads. What it saw is durable when this returns.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let result = self.glance(read).await?;
        self.log.durable(self.log.newest()).await?;
        Ok(result)
    }

    /// As [`Readers::read`], of what may not be durable yet: for what is written next, and not to be told.
    pub async fn glance<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".into());
        // Held by the read itself: it goes on, with its connection, when its caller is gone.
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        let idle = self.idle.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let connection = idle.lock().expect("never poisoned").pop().ok_or_else(closed)?;
            let result = catch_unwind(AssertUnwindSafe(|| snapshot(&connection, read)));
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK").ok();
            }
            idle.lock().expect("never poisoned").push(connection);
            drop(permit);
            result.unwrap_or_else(|_| Err(StoreError::Internal("a read panicked".into())))
        });
        ran.await.unwrap_or_else(|error| Err(StoreError::Internal(format!("a read ended early: {error}"))))
    }

    /// Lets no further read begin, and closes the connections.
    pub fn close(&self) {
        self.permits.close();
        self.idle.lock().expect("never poisoned").clear();
    }
}

fn snapshot<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let sql = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    sql("BEGIN").map_err(super::store_error)?;
    let result = read(connection);
    sql("COMMIT").map_err(super::store_error)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_that_panic_or_lose_their_caller_give_their_connection_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("read.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x INTEGER)").unwrap();
        let readers = Readers::open(&path, Arc::new(Log::new(|| Ok(())))).unwrap();
        for _ in 0..2 * CONNECTIONS {
            let panicked =
                readers.read(|_| -> Result<(), StoreError> { panic!("a bug, for the test") }).await;
            assert!(matches!(panicked, Err(StoreError::Internal(_))), "{panicked:?}");
        }
        let (go_on, wait) = std::sync::mpsc::sync_channel::<()>(0);
        let mut abandoned = Box::pin(readers.read(move |_| wait.recv().map_err(|_| StoreError::Conflict)));
        let begun =
            std::future::poll_fn(|context| std::task::Poll::Ready(abandoned.as_mut().poll(context))).await;
        assert!(begun.is_pending());
        drop(abandoned);
        // One connection is still in use: as many reads at once as there are connections have to wait for it, not
        // to fail.
        let reads = (0..CONNECTIONS).map(|_| readers.read(|_| Ok(())));
        let mut reads: Vec<_> = reads.map(Box::pin).collect();
        for read in &mut reads[..CONNECTIONS - 1] {
            assert_eq!(read.await, Ok(()));
        }
        drop(go_on);
        assert_eq!(reads.remove(CONNECTIONS - 1).await, Ok(()));
    }
}
