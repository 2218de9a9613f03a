//! The log on the disk: which commits are durable.
//!
//! SQLite's own synchronous=FULL flushes the log inside COMMIT, and the writer would wait for the disk. Here a commit only writes
//! it ([`super::gathered`] leaves that flush out), and it is flushed beside the next transaction. Nobody is told of a commit, nor
//! sees what it wrote, before it is durable.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use lastunit::StoreError;

use super::sync::{Mutex, watch};

pub(super) struct Log {
    /// One at a time: the kernel tells of a failure once, and of two at once the other would be told that all is well.
    flush: Mutex<Box<dyn Fn() -> io::Result<()> + Send>>,
    /// Commits that were begun, of those that write anything.
    begun: AtomicU64,
    durable: watch::Sender<Durable>,
}

struct Durable {
    /// All commits up to this one are.
    commit: u64,
    /// After a flush that failed nobody knows what is on the disk, and a further one that succeeds doesn't tell: the
    /// kernel may have given up what it couldn't write.
    failed: Option<String>,
}

impl Log {
    /// `flush` makes durable what was written to the log before.
    pub fn new(flush: impl Fn() -> io::Result<()> + Send + 'static) -> Self {
        let (durable, _) = watch::channel(Durable { commit: 0, failed: None });
        Self { flush: Mutex::new(Box::new(flush)), begun: AtomicU64::new(0), durable }
    }

    /// To be called before a COMMIT of what was written; only the writer may.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// The newest commit that was begun. A reader who asks after it has read can't have seen a newer one.
    pub fn newest(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Flushes the log, unless all commits up to this one are durable anyway. They are when this returns.
    pub fn make_durable(&self, commit: u64) -> Result<(), StoreError> {
        let flush = self.flush.lock().expect("never poisoned: a flush doesn't panic");
        self.usable()?;
        if self.durable.borrow().commit >= commit {
            return Ok(());
        }
        let flushed = flush();
        self.durable.send_modify(|durable| match &flushed {
            Ok(()) => durable.commit = durable.commit.max(commit),
            Err(error) => durable.failed = Some(error.to_string()),
        });
        self.usable()
    }

    /// Waits until all commits up to this one are durable.
    pub async fn durable(&self, commit: u64) -> Result<(), StoreError> {
        let mut durable = self.durable.subscribe();
        let there = |durable: &Durable| durable.commit >= commit || durable.failed.is_some();
        drop(durable.wait_for(there).await);
        self.usable()
    }

    /// Whether no flush has failed.
    pub fn usable(&self) -> Result<(), StoreError> {
        match &self.durable.borrow().failed {
            None => Ok(()),
            Some(error) => Err(StoreError::Unavailable(format!(
                "the log couldn't be flushed to the disk ({error}); look at the disk, then start again"
            ))),
        }
    }
}
