//! Moves the log into the database beside the writer, so that no order waits for it.
//!
//! SQLite by itself checkpoints inside the commit that fills the log: that order, and all behind it, wait for tens
//! of milliseconds. Here a thread of its own does so, as the log grows. It can't quite reach the end of a log that
//! is being written, and only a log that was moved to its end starts anew: so once the log is long, the writer
//! moves the little that is left.

use std::{
    path::Path,
    sync::mpsc::{Receiver, sync_channel},
    thread::JoinHandle,
};

use lastunit::StoreError;
use rusqlite::{Connection, hooks::Wal};

use super::store_error;

/// Pages (2 KiB each) that are added to the log before the checkpointer is woken.
const STEP_PAGES: i32 = 8_000;
/// Pages in the log from which the writer moves what is left.
const LONG_PAGES: i32 = 32_000;

/// Starts the thread, and lets the writer's connection wake it; it ends when that connection closes.
pub(super) fn start(path: &Path, writer: &mut Connection) -> Result<JoinHandle<()>, StoreError> {
    let connection = super::open_connection(path).map_err(store_error)?;
    // Replaces SQLite's own checkpoints at commit.
    let (wake, woken) = sync_channel(1);
    let mut asked_at = 0;
    let hook = move |wal: &mut Wal, pages: i32| {
        if pages < asked_at {
            asked_at = 0;
        }
        // Either may find the other at work, or a reader in the way: then the next commit tries again.
        if pages >= LONG_PAGES {
            wal.checkpoint().ok();
        } else if pages >= asked_at + STEP_PAGES {
            asked_at = pages;
            wake.try_send(()).ok();
        }
        Ok(())
    };
    writer.wal_hook(Some(hook)).map_err(store_error)?;
    std::thread::Builder::new()
        .name("lastunit-checkpointer".into())
        .spawn(move || work(&connection, &woken))
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn work(connection: &Connection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::warn!(%error, "a checkpoint failed; the log grows until one succeeds");
        }
    }
}
