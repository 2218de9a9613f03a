//! The one writer: a thread that owns the only connection that writes.
//!
//! SQLite lets one transaction write at a time, so writes wait in a bounded queue instead of for a lock. Those
//! that allow it share a transaction and its fsync (each in a savepoint of its own), and are answered after the
//! commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lastunit::StoreError;
use rusqlite::Connection;

use super::{
    store_error,
    sync::{
        mpsc, oneshot,
        thread::{self, JoinHandle},
    },
};

/// The most writes that may wait for the writer; past it a caller waits to get in.
const MAX_WAITING: usize = 1024;
/// The most writes in one transaction.
const MAX_SHARED: usize = 256;

/// Whether a write may share its transaction with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    Alone,
    Shared,
}

enum Message {
    Write(Job),
    /// Do what was queued before, and take no more.
    Close,
}

struct Job {
    commit: Commit,
    run: Box<Run>,
}

/// Runs a write, given the open transaction or why there is none.
type Run = dyn FnOnce(Result<&Connection, StoreError>) -> Done + Send;

/// A write that was run and waits for its commit.
struct Done {
    keep: bool,
    answer: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the thread. It ends, and closes the connection, after [`Writer::close`] or when the writer is dropped.
    pub fn start(connection: Connection) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let thread =
            thread::Builder::new().name("lastunit-writer".into()).spawn(move || work(connection, waiting))?;
        Ok((Self { queue }, thread))
    }

    /// Runs a write in a transaction, and gives its result once that is committed. An error rolls back what this
    /// write did. Dropping the future doesn't stop a write that is queued.
    pub async fn write<T: Send + 'static>(
        &self,
        commit: Commit,
        write: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (to_caller, result) = oneshot::channel();
        let run = Box::new(move |transaction: Result<&Connection, StoreError>| {
            // A bug in one write must not take the writer away from all others; what it wrote is rolled back.
            let written = transaction.and_then(|transaction| {
                catch_unwind(AssertUnwindSafe(|| write(transaction)))
                    .unwrap_or_else(|_| Err(StoreError::Internal("a write panicked".into())))
            });
            Done {
                keep: written.is_ok(),
                answer: Box::new(move |committed| {
                    // A caller who went away has dropped the receiver.
                    to_caller.send(written.and_then(|value| committed.map(|()| value))).ok();
                }),
            }
        });
        let closed = || StoreError::Unavailable("the store is closed".into());
        self.queue.send(Message::Write(Job { commit, run })).await.map_err(|_| closed())?;
        result.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Lets the thread finish what is queued and end; later writes are refused.
    pub async fn close(&self) {
        self.queue.send(Message::Close).await.ok();
    }
}

fn work(connection: Connection, mut waiting: mpsc::Receiver<Message>) {
    let mut next = None;
    while let Some(message) = next.take().or_else(|| waiting.blocking_recv()) {
        let Message::Write(first) = message else {
            waiting.close();
            continue;
        };
        let mut jobs = vec![first];
        while jobs[0].commit == Commit::Shared && jobs.len() < MAX_SHARED {
            match waiting.try_recv() {
                Ok(Message::Write(job)) if job.commit == Commit::Shared => jobs.push(job),
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        transaction(&connection, jobs);
    }
}

/// Runs the jobs in one transaction and answers them all.
fn transaction(connection: &Connection, jobs: Vec<Job>) {
    let mut done = Vec::with_capacity(jobs.len());
    let committed = run(connection, jobs, &mut done);
    if committed.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").ok();
    }
    for job in done {
        (job.answer)(committed.clone());
    }
}

fn run(connection: &Connection, jobs: Vec<Job>, done: &mut Vec<Done>) -> Result<(), StoreError> {
    let sql = |sql: &str| {
        let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
        statement.execute([]).map(drop).map_err(store_error)
    };
    let shared = jobs.len() > 1;
    let begin = || -> Result<(), StoreError> {
        sql("BEGIN IMMEDIATE")?;
        step!("sqlite.begun");
        Ok(())
    };
    let mut open = begin();
    for job in jobs {
        if shared && open.is_ok() {
            open = sql("SAVEPOINT write");
        }
        let ran = (job.run)(open.clone().map(|()| connection));
        let keep = ran.keep;
        done.push(ran);
        if open.is_ok() && connection.is_autocommit() {
            // A full disk, say, makes SQLite roll back the whole transaction by itself.
            open = Err(StoreError::Unavailable("the database rolled the transaction back".into()));
        }
        if shared && open.is_ok() {
            let undone = if keep { Ok(()) } else { sql("ROLLBACK TO write") };
            open = undone.and_then(|()| sql("RELEASE write"));
        } else if !keep && open.is_ok() {
            return sql("ROLLBACK");
        }
    }
    open?;
    step!("sqlite.to_commit");
    sql("COMMIT").map_err(|error| match error {
        // The commit's record may be in the log already: only the idempotency key tells.
        StoreError::Unavailable(text) | StoreError::Internal(text) => StoreError::CommitUnknown(text),
        other => other,
    })?;
    step!("sqlite.committed", StoreError::CommitUnknown, when true);
    Ok(())
}
