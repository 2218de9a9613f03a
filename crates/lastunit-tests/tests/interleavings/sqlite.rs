//! The queue in front of SQLite's one writer: its own source, with a database in memory.

use std::{
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
    sync::{self, spawn},
};
use writer::{Commit, Writer};

/// In the writer's source: what a test may make fail. Here it is a step.
macro_rules! step {
    ($($_:tt)*) => {
        crate::sync::step();
    };
}

/// The writer's own source.
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

struct Sale {
    writer: Writer,
    /// Whether somebody has begun to close the writer.
    closing: AtomicBool,
    /// Each write's row, what it did, and its answer, if it waited for that.
    told: Mutex<Vec<(i64, Then, Option<Answer>)>>,
}

impl Sale {
    async fn write(self: Arc<Self>, row: i64) {
        let then = pick(&[Then::Succeed, Then::Succeed, Then::Fail, Then::Panic]);
        let insert = move |connection: &Connection| {
            connection.execute("INSERT INTO t VALUES (?1)", [row]).map_err(store_error)?;
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
                let cause = !refused(&answer) || self.closing.load(SeqCst);
                assert!(cause, "refused without a cause");
                Some(answer)
            }
            // It is in the queue.
            Poll::Pending => {
                let chance = below(6);
                if chance == 0 {
                    self.close().await;
                }
                let answer = if chance == 1 { None } else { Some(call.as_mut().await) };
                assert!(!answer.as_ref().is_some_and(refused), "accepted, and refused");
                answer
            }
        };
        drop(call);
        self.told.lock().expect("not poisoned").push((row, then, answer));
    }

    async fn close(&self) {
        self.closing.store(true, SeqCst);
        self.writer.close().await;
    }
}

fn refused(answer: &Answer) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

/// Writes that share commits or don't, of which some fail, and a writer that is closed meanwhile.
pub async fn any() {
    // A name of its own; the connection here keeps what the writer's one leaves.
    static DATABASES: AtomicU64 = AtomicU64::new(0);
    let name = DATABASES.fetch_add(1, SeqCst);
    let open = || Connection::open(format!("file:interleavings{name}?mode=memory&cache=shared"));
    let database = open().expect("a database");
    database.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY)").expect("a table");
    let mut connection = open().expect("a second connection");
    let commits = Arc::new(AtomicU64::new(0));
    let counted = commits.clone();
    let count = move || {
        counted.fetch_add(1, SeqCst);
        false
    };
    connection.commit_hook(Some(count)).expect("a hook");

    let (writer, thread) = Writer::start(connection).expect("a thread");
    let sale = Arc::new(Sale { writer, closing: AtomicBool::new(false), told: Mutex::default() });
    let writes: Vec<_> = (0..2 + below(4) as i64).map(|row| spawn(sale.clone().write(row))).collect();
    if below(2) == 0 {
        sale.close().await;
    }
    for write in writes {
        write.await.expect("not aborted");
    }
    sale.close().await;
    assert!(thread.join().is_ok(), "the writer's thread panicked");
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
            (Then::Succeed, None) => {
                assert!(is_there, "lost the write of who hung up");
                sight("hung up, and written");
            }
            (Then::Fail | Then::Panic, None) => assert!(!is_there, "failed, and there"),
            other => panic!("a wrong answer: {other:?}"),
        }
    }
    if commits.load(SeqCst) < rows.len() as u64 {
        sight("several in one commit");
    }
}
