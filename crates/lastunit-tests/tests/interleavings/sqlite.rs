//! The queue in front of SQLite's one writer, and what flushes behind it: their own source, with a database in memory and a
//! disk that only counts.

use std::{
    io,
    panic::resume_unwind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
};

use lastunit::StoreError;
use rusqlite::Connection;

use crate::{
    below, pick, poll_once, sight,
    sync::{self, Bug, has, spawn},
};
use log::Log;
use writer::{Commit, Writer};

/// In the writer's source: what a test may make fail. Here it is a step.
macro_rules! step {
    ($($_:tt)*) => {
        crate::sync::step();
    };
}

/// Their own source.
#[path = "../../../lastunit-store/src/sqlite/log.rs"]
mod log;
#[path = "../../../lastunit-store/src/sqlite/writer.rs"]
mod writer;

fn store_error(error: rusqlite::Error) -> StoreError {
    StoreError::Internal(error.to_string())
}

/// What a write does after it has inserted its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Succeed,
    Fail,
    Panic,
}

type Answer = Result<(), StoreError>;

/// What would be there after a power loss.
#[derive(Default)]
struct Disk {
    /// Commits there were.
    commits: AtomicU64,
    /// So many of them are there.
    flushed: AtomicU64,
    flushes: AtomicU64,
    under_way: AtomicU64,
    /// So many flushes succeed. The next fails, and all that come then only say that they succeed.
    good_for: u64,
    has_failed: AtomicBool,
}

impl Disk {
    fn flush(&self) -> io::Result<()> {
        let commits = self.commits.load(SeqCst);
        self.under_way.fetch_add(1, SeqCst);
        sync::step();
        self.under_way.fetch_sub(1, SeqCst);
        if self.flushes.fetch_add(1, SeqCst) >= self.good_for || self.has_failed.load(SeqCst) {
            return if self.has_failed.swap(true, SeqCst) {
                Ok(())
            } else {
                Err(io::Error::other("on purpose"))
            };
        }
        if !has(Bug::FlushForgotten) && self.flushed.fetch_max(commits, SeqCst) + 1 < commits {
            sight("flushed once for several commits");
        }
        Ok(())
    }
}

struct Sale {
    disk: Arc<Disk>,
    log: Arc<Log>,
    writer: Writer,
    /// Whether somebody has begun to close the writer.
    closing: AtomicBool,
    /// Each write's row, what it did, and its answer, if it waited for that.
    told: Mutex<Vec<(i64, Then, Option<Answer>)>>,
}

impl Sale {
    async fn write(self: Arc<Self>, row: i64) {
        let then = pick(&[Then::Succeed, Then::Succeed, Then::Fail, Then::Panic]);
        let (disk, commit_of_it) = (self.disk.clone(), Arc::new(AtomicU64::new(0)));
        let commit_to_be = commit_of_it.clone();
        let insert = move |connection: &Connection| {
            connection.execute("INSERT INTO t VALUES (?1)", [row]).map_err(store_error)?;
            commit_to_be.store(disk.commits.load(SeqCst) + 1, SeqCst);
            sync::step();
            match then {
                Then::Succeed => Ok(()),
                Then::Fail => Err(StoreError::Clash("on purpose".into())),
                // No hook is called: shuttle would take it for the end of the test.
                Then::Panic => resume_unwind(Box::new("on purpose")),
            }
        };
        let commit = pick(&[Commit::Alone, Commit::Shared, Commit::Shared]);
        let mut call = Box::pin(self.writer.write(commit, insert));
        let answer = match poll_once(call.as_mut()).await {
            Poll::Ready(answer) => {
                let cause = self.closing.load(SeqCst) || self.disk.has_failed.load(SeqCst);
                assert!(cause || !refused(&answer), "refused without a cause");
                Some(answer)
            }
            // It is in the queue.
            Poll::Pending => {
                let chance = below(6);
                if chance == 0 {
                    self.close().await;
                }
                let answer = if chance == 1 { None } else { Some(call.as_mut().await) };
                let cause = self.disk.has_failed.load(SeqCst);
                assert!(cause || !answer.as_ref().is_some_and(refused), "accepted, and refused");
                answer
            }
        };
        drop(call);
        if answer == Some(Ok(())) {
            let flushed = self.disk.flushed.load(SeqCst);
            assert!(commit_of_it.load(SeqCst) <= flushed, "acknowledged, and not durable");
        }
        self.told.lock().expect("not poisoned").push((row, then, answer));
    }

    /// A reader, who is told of nothing that isn't durable.
    async fn read(self: Arc<Self>) {
        (0..below(12)).for_each(|_| sync::step());
        let seen = self.disk.commits.load(SeqCst);
        if self.disk.under_way.load(SeqCst) > 0 {
            sight("read while a flush was under way");
        }
        if self.log.durable(self.log.newest()).await.is_ok() {
            assert!(seen <= self.disk.flushed.load(SeqCst), "seen, and not durable");
        }
    }

    async fn close(&self) {
        self.closing.store(true, SeqCst);
        self.writer.close().await;
    }
}

fn refused(answer: &Answer) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

/// Writes that share commits or don't, of which some fail, a disk that may fail, and a writer that is closed meanwhile.
pub async fn any() {
    // A name of its own; the connection here keeps what the writer's one leaves.
    static DATABASES: AtomicU64 = AtomicU64::new(0);
    let name = DATABASES.fetch_add(1, SeqCst);
    let open = || Connection::open(format!("file:interleavings{name}?mode=memory&cache=shared"));
    let database = open().expect("a database");
    database.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY)").expect("a table");
    let mut connection = open().expect("a second connection");
    let disk = Arc::new(Disk { good_for: pick(&[u64::MAX, u64::MAX, 0, 1, 2]), ..Disk::default() });
    let of_hook = disk.clone();
    // The commit itself is no step.
    let count = move || {
        of_hook.commits.fetch_add(1, SeqCst);
        false
    };
    connection.commit_hook(Some(count)).expect("a hook");

    let of_log = disk.clone();
    let log = Arc::new(Log::new(move || of_log.flush()));
    let (writer, threads) = Writer::start(connection, log.clone()).expect("threads");
    let (closing, told) = (AtomicBool::new(false), Mutex::default());
    let sale = Arc::new(Sale { disk, log, writer, closing, told });
    let reader = spawn(sale.clone().read());
    let writes: Vec<_> = (0..2 + below(4) as i64).map(|row| spawn(sale.clone().write(row))).collect();
    if below(2) == 0 {
        sale.close().await;
    }
    for write in writes {
        write.await.expect("not aborted");
    }
    reader.await.expect("not aborted");
    sale.close().await;
    for thread in threads {
        assert!(thread.join().is_ok(), "a thread panicked");
    }
    let late = sale.writer.write(Commit::Alone, |_| Ok(())).await;
    assert!(refused(&late), "a closed writer takes writes: {late:?}");

    let mut rows = database.prepare("SELECT x FROM t").expect("a statement");
    let rows: Vec<i64> =
        rows.query_map([], |row| row.get(0)).expect("the rows").collect::<Result<_, _>>().expect("the rows");
    for (row, then, answer) in sale.told.lock().expect("not poisoned").iter() {
        let is_there = rows.contains(row);
        match (then, answer) {
            (Then::Succeed, Some(Ok(()))) => assert!(is_there, "acknowledged, and not there"),
            (Then::Fail, Some(Err(StoreError::Clash(_))))
            | (Then::Panic, Some(Err(StoreError::Internal(_)))) => {
                assert!(!is_there, "failed, and there");
                sight(if *then == Then::Panic { "panic" } else { "failed" });
            }
            (_, Some(answer)) if refused(answer) => {
                assert!(!is_there, "refused, and there");
                sight("refused");
            }
            (_, Some(Err(StoreError::CommitUnknown(_)))) => {
                assert!(sale.disk.has_failed.load(SeqCst), "unknown without a cause");
                sight("unknown after a failed flush");
            }
            (Then::Succeed, None) if !is_there => {
                assert!(sale.disk.has_failed.load(SeqCst), "lost the write of who hung up");
            }
            (Then::Succeed, None) => {
                sight("hung up, and written");
            }
            (Then::Fail | Then::Panic, None) => assert!(!is_there, "failed, and there"),
            other => panic!("a wrong answer: {other:?}"),
        }
    }
    if sale.disk.commits.load(SeqCst) < rows.len() as u64 {
        sight("several in one commit");
    }
}
