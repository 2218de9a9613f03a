//! Connections that only read, apart from the writer: in WAL mode neither waits for the other.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use lastunit::StoreError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

/// Reads that may run at once.
const CONNECTIONS: usize = 4;

pub(super) struct Readers {
    permits: Semaphore,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |_| {
            let connection = super::open_connection(path)?;
            connection.pragma_update(None, "query_only", "ON")?;
            Ok(connection)
        };
        let idle =
            (0..CONNECTIONS).map(open).collect::<rusqlite::Result<Vec<_>>>().map_err(super::store_error)?;
        Ok(Self { permits: Semaphore::new(CONNECTIONS), idle: Arc::new(Mutex::new(idle)) })
    }

    /// Runs a read on one snapshot of the database, off the async threads.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".into());
        let _permit = self.permits.acquire().await.map_err(|_| closed())?;
        let idle = self.idle.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let connection = idle.lock().expect("never poisoned").pop().ok_or_else(closed)?;
            let result = snapshot(&connection, read);
            idle.lock().expect("never poisoned").push(connection);
            result
        });
        ran.await.unwrap_or_else(|error| Err(StoreError::Internal(format!("a read panicked: {error}"))))
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
