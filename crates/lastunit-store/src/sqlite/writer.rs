//! The one writer: a thread that owns the only connection that writes.
//!
//! SQLite lets one transaction write at a time, so writes wait in a bounded queue instead of for a lock. Those
//! that allow it share a transaction and its flush (each in a savepoint of its own). A second thread flushes what they
//! committed and answers them, while the writer goes on with the next.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use lastunit::StoreError;
use rusqlite::Connection;

use super::{
    log::Log,
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
/// The most transactions that wait to be flushed while another is; past it the writer waits.
const MAX_COMMITTED: usize = 4;

/// Whether a write may share its transaction with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// No: and no other begins before it is durable.
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

/// A transaction that has ended, whose writes are answered once all up to this commit is durable.
struct Committed {
    commit: u64,
    result: Result<(), StoreError>,
    done: Vec<Done>,
}

pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the threads: the writer's, and the one that flushes. They end, and close the connection, after
    /// [`Writer::close`] or when the writer is dropped.
    pub fn start(connection: Connection, log: Arc<Log>) -> std::io::Result<(Self, [JoinHandle<()>; 2])> {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let (committed, to_flush) = mpsc::channel(MAX_COMMITTED);
        let of_flusher = log.clone();
        let named = |name: &str| thread::Builder::new().name(name.into());
        let flusher = named("lastunit-flusher").spawn(move || flush(&of_flusher, to_flush))?;
        let writer = named("lastunit-writer").spawn(move || work(connection, &log, waiting, &committed))?;
        Ok((Self { queue }, [writer, flusher]))
    }

    /// Runs a write in a transaction, and gives its result once that is durable. An error rolls back what this
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

    /// Lets the threads finish what is queued and end; later writes are refused.
    pub async fn close(&self) {
        self.queue.send(Message::Close).await.ok();
    }
}

fn work(
    connection: Connection,
    log: &Log,
    mut waiting: mpsc::Receiver<Message>,
    to_flush: &mpsc::Sender<Committed>,
) {
    let mut next = None;
    while let Some(message) = next.take().or_else(|| waiting.blocking_recv()) {
        let Message::Write(first) = message else {
            waiting.close();
            continue;
        };
        let commit = first.commit;
        let mut jobs = vec![first];
        while commit == Commit::Shared && jobs.len() < MAX_SHARED {
            match waiting.try_recv() {
                Ok(Message::Write(job)) if job.commit == Commit::Shared => jobs.push(job),
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let committed = transaction(&connection, log, jobs);
        match commit {
            Commit::Alone => answer(log.make_durable(committed.commit), committed),
            Commit::Shared => drop(to_flush.blocking_send(committed)),
        }
    }
}

/// Flushes what was committed, once for all that wait, and answers.
fn flush(log: &Log, mut to_flush: mpsc::Receiver<Committed>) {
    while let Some(first) = to_flush.blocking_recv() {
        let mut committed = vec![first];
        while let Ok(another) = to_flush.try_recv() {
            committed.push(another);
        }
        let newest = committed.last().expect("one at least");
        let durable = log.make_durable(newest.commit);
        committed.into_iter().for_each(|committed| answer(durable.clone(), committed));
    }
}

fn answer(durable: Result<(), StoreError>, Committed { result, done, .. }: Committed) {
    let result = result.and(durable.map_err(|error| StoreError::CommitUnknown(error.to_string())));
    for job in done {
        (job.answer)(result.clone());
    }
}

/// Runs the jobs in one transaction and ends it.
fn transaction(connection: &Connection, log: &Log, jobs: Vec<Job>) -> Committed {
    let mut done = Vec::with_capacity(jobs.len());
    let result = run(connection, log, jobs, &mut done);
    if result.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").ok();
    }
    Committed { commit: log.newest(), result, done }
}

fn run(connection: &Connection, log: &Log, jobs: Vec<Job>, done: &mut Vec<Done>) -> Result<(), StoreError> {
    let sql = |sql: &str| {
        let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
        statement.execute([]).map(drop).map_err(store_error)
    };
    let shared = jobs.len() > 1;
    let changes_before = connection.total_changes();
    let begin = || -> Result<(), StoreError> {
        log.usable()?;
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
    if connection.total_changes() > changes_before {
        log.begin();
    }
    sql("COMMIT").map_err(|error| match error {
        // The commit's record may be in the log already: only the idempotency key tells.
        StoreError::Unavailable(text) | StoreError::Internal(text) => StoreError::CommitUnknown(text),
        other => other,
    })?;
    step!("sqlite.committed", StoreError::CommitUnknown, when true);
    Ok(())
}
