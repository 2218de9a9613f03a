//! A connection with a transaction.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use deadpool::managed::Object;
use lastunit::{ShopId, StoreError};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};
use tokio_postgres::{
    SimpleQueryMessage,
    types::{ToSql, Type},
};

use super::{
    bind::{self, Param},
    calls::{self, Call},
    doubts::Doubts,
    errors::Failure,
    pool::{Connection, Connections, throw_away},
    statements,
};
use crate::remote::{Access, Row, Session, Value};

/// What a session has to know of its store.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub prepared: bool,
    /// How long a transaction that nobody waits for any more may take to be undone.
    pub patience: Duration,
    pub doubts: Arc<Doubts>,
}

/// What may still be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No transaction is open.
    Idle,
    /// One is.
    Open,
    /// A statement of it failed: only a rollback is possible.
    Failed,
    /// The connection is lost, or nobody knows what it is doing.
    Broken,
}

/// A transaction of PostgreSQL. Dropped, it is rolled back, and after that its connection goes back to the pool.
pub struct PostgresSession {
    /// There until it is dropped.
    connection: Option<Object<Connections>>,
    /// Sent together with the first statement.
    begin: Arc<str>,
    access: Access,
    terms: Terms,
    deadline: Instant,
    state: State,
}

/// A parameter as tokio-postgres takes it.
pub(super) type Bound<'a> = (&'a (dyn ToSql + Sync), Type);

/// A statement, what it is run for, and its parameters.
pub(super) type Statement<'a> = (&'static str, For, Vec<Bound<'a>>);

/// What a statement is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Rows,
    /// How many rows it found.
    Count,
}

/// What came of a statement.
pub(super) enum Answer {
    Rows(Vec<tokio_postgres::Row>),
    Count(u64),
}

impl Answer {
    /// The rows, if it was run for them.
    pub fn rows(self) -> Vec<tokio_postgres::Row> {
        match self {
            Self::Rows(rows) => rows,
            Self::Count(_) => Vec::new(),
        }
    }

    /// How many rows it found.
    pub fn count(&self) -> u64 {
        match self {
            Self::Rows(rows) => rows.len() as u64,
            Self::Count(count) => *count,
        }
    }
}

impl PostgresSession {
    /// A transaction that begins with this SQL, and may take so long.
    pub(super) fn new(
        connection: Object<Connections>,
        begin: Arc<str>,
        access: Access,
        timeout: Duration,
        terms: Terms,
    ) -> Self {
        let (connection, deadline) = (Some(connection), Instant::now() + timeout);
        Self { connection, begin, access, terms, deadline, state: State::Idle }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("there until it is dropped")
    }

    /// Waits for an answer, but not past the transaction's deadline.
    async fn within<T>(
        deadline: Instant,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        timeout_at(deadline, call).await.map_err(|_| Failure::Late)?.map_err(Failure::Said)
    }

    /// Keeps in mind what a failure means for the connection.
    fn failed(&mut self, failure: Failure) -> StoreError {
        self.state = if failure.is_orderly() { State::Failed } else { State::Broken };
        failure.into()
    }

    /// Prepares what orders need, if this store prepares at all.
    pub(super) async fn prepare_for_orders(&mut self) -> Result<(), StoreError> {
        if !self.terms.prepared {
            return Ok(());
        }
        let prepared = Self::within(self.deadline, self.connection().prepare_for_orders()).await;
        prepared.map_err(|failure| self.failed(failure))
    }

    /// Sends all of these at once, so that they take one round trip; the server runs them one after the other, and
    /// none after one that fails. What isn't prepared before is sent as text.
    pub(super) async fn send(&mut self, calls: Vec<Statement<'_>>) -> Result<Vec<Answer>, StoreError> {
        let begin = match self.state {
            State::Idle => Some(self.begin.clone()),
            State::Open => None,
            State::Failed | State::Broken => {
                return Err(StoreError::Unavailable("the transaction has failed before".into()));
            }
        };
        self.state = State::Open;
        let deadline = self.deadline;
        let connection: &Connection = self.connection();
        let begin = begin.map(|sql| batch(connection, sql));
        let begun = usize::from(begin.is_some());
        let sent = begin
            .into_iter()
            .chain(calls.into_iter().map(|(sql, what, bound)| run(connection, sql, what, bound)));
        let answers = all_in_order(sent.collect());
        let answers = Self::within(deadline, async {
            // The first that failed says why; those behind it say only that something did.
            answers.await.into_iter().collect::<Result<Vec<_>, _>>()
        });
        let mut answers = answers.await.map_err(|failure| self.failed(failure))?;
        Ok(answers.split_off(begun))
    }

    /// Sends one statement, prepared if this store does so.
    async fn send_one(
        &mut self,
        sql: &'static str,
        what: For,
        values: &[Value<'_>],
    ) -> Result<Answer, StoreError> {
        let bound: Vec<Bound<'_>> =
            values.iter().map(|value| (value as &(dyn ToSql + Sync), bind::type_of(value))).collect();
        if self.terms.prepared {
            let types: Vec<Type> = bound.iter().map(|(_, kind)| kind.clone()).collect();
            let prepared = Self::within(self.deadline, self.connection().statement(sql, &types)).await;
            prepared.map_err(|failure| self.failed(failure))?;
        }
        let mut answers = self.send(vec![(sql, what, bound)]).await?;
        answers.pop().ok_or_else(|| StoreError::Internal("a statement without an answer".into()))
    }

    /// Whether what is read may be lost with this server.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.terms.doubts.any()
    }

    /// Writes a line into the server's log and nothing into its tables, so that the commit waits for the standby.
    pub(super) async fn write_nothing(&mut self) -> Result<(), StoreError> {
        let nothing = "SELECT pg_logical_emit_message(true, 'lastunit', '') IS NULL";
        self.send_one(nothing, For::Rows, &[]).await.map(drop)
    }

    /// As [`Session::commit`] of a transaction that wrote something, or does so by this last statement, with which COMMIT is
    /// sent: if nothing is said against it, the standby has it and all that was written before.
    pub(super) async fn commit_written(&mut self, last: Option<&Call<'_>>) -> Result<(), StoreError> {
        self.end(true, last).await
    }

    async fn end(&mut self, wrote: bool, last: Option<&Call<'_>>) -> Result<(), StoreError> {
        match self.state {
            State::Idle => return Ok(()),
            State::Open => {}
            // COMMIT would roll back and not complain.
            State::Failed | State::Broken => {
                return Err(StoreError::Internal(
                    "a statement has failed, and a commit was asked for".into(),
                ));
            }
        }
        step!("postgres.to_commit", when self.access.writes());
        let doubts = self.terms.doubts.clone();
        let commit = self.access.writes().then(|| doubts.commit());
        let deadline = self.deadline;
        let connection: &Connection = self.connection();
        connection.take_doubt();
        let last = last.map(|last| {
            let (sql, what, bound) = last.bound();
            run(connection, sql, what, bound)
        });
        let both = last.into_iter().chain([batch(connection, "COMMIT".into())]).collect();
        // If the last statement fails, COMMIT rolls back and doesn't complain.
        let answer = Self::within(deadline, async {
            all_in_order(both).await.into_iter().collect::<Result<Vec<_>, _>>()
        });
        let answer = answer.await.map(drop);
        let doubted = connection.take_doubt();
        self.state = State::Idle;
        match (answer, commit) {
            (Ok(()), Some(_)) if doubted => {
                let text = "it was committed here, but the standby may not have it";
                Err(StoreError::CommitUnknown(text.into()))
            }
            (Ok(()), Some(commit)) => {
                step!("postgres.committed", StoreError::CommitUnknown, when true);
                commit.confirmed(wrote);
                Ok(())
            }
            (Ok(()), None) => Ok(()),
            (Err(failure), commit) if failure.is_orderly() => {
                if let Some(commit) = commit {
                    commit.refused();
                }
                Err(failure.into())
            }
            (Err(failure), commit) => {
                self.state = State::Broken;
                Err(match commit {
                    Some(_) => StoreError::CommitUnknown(failure.text()),
                    None => failure.into(),
                })
            }
        }
    }
}

impl Session for PostgresSession {
    async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let answer = self.send_one(sql, For::Rows, values).await?;
        answer.rows().iter().map(bind::row).collect()
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        self.send_one(sql, For::Count, values).await.map(|answer| answer.count())
    }

    async fn cart_heads(&mut self, shop: ShopId, users: &[&str]) -> Result<Vec<Row>, StoreError> {
        self.prepare_for_orders().await?;
        let heads = Call::rows(statements::CARTS, shop, [Param::Texts(users.to_vec())]);
        let answers = calls::send(self, &[heads]).await?;
        answers.into_iter().flat_map(Answer::rows).map(|row| bind::row(&row)).collect()
    }

    async fn texts(&mut self, sql: &'static str, limit: usize) -> Result<Vec<String>, StoreError> {
        let begin = if self.state == State::Idle { self.begin.as_ref() } else { "" };
        let sql = format!("{begin} SELECT * FROM ({sql}) AS found LIMIT {limit}");
        self.state = State::Open;
        let found = Self::within(self.deadline, self.connection().client.simple_query(&sql)).await;
        let found = found.map_err(|failure| self.failed(failure))?;
        let text = |message: SimpleQueryMessage| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            let columns = row.columns().iter().enumerate();
            let fields =
                columns.map(|(at, column)| format!("{} {}", column.name(), row.get(at).unwrap_or("none")));
            Some(fields.collect::<Vec<_>>().join(", "))
        };
        Ok(found.into_iter().filter_map(text).collect())
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        self.end(false, None).await
    }

    async fn roll_back(mut self) {
        if let Some(connection) = self.connection.take() {
            undo(connection, self.state, self.deadline, self.terms.doubts.clone()).await;
        }
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        match (self.state, Handle::try_current()) {
            (State::Idle, _) => drop(connection),
            (State::Open | State::Failed, Ok(runtime)) => {
                // Somebody stopped waiting: what they sent may still be under way.
                let deadline = Instant::now() + self.terms.patience;
                runtime.spawn(undo(connection, self.state, deadline, self.terms.doubts.clone()));
            }
            (_, _) => throw_away(connection),
        }
    }
}

/// Rolls back, and gives the connection back to the pool if that went well.
async fn undo(connection: Object<Connections>, state: State, deadline: Instant, doubts: Arc<Doubts>) {
    let clean = match state {
        State::Idle => true,
        State::Broken => false,
        State::Open | State::Failed => {
            let rolled_back = connection.client.batch_execute("ROLLBACK");
            matches!(timeout_at(deadline, rolled_back).await, Ok(Ok(())))
        }
    };
    // A commit that nobody waited for any more.
    if connection.take_doubt() {
        drop(doubts.commit());
    }
    if !clean {
        throw_away(connection);
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Answer, tokio_postgres::Error>> + Send + 'a>>;

/// Runs SQL without parameters.
fn batch(connection: &Connection, sql: Arc<str>) -> Sent<'_> {
    Box::pin(async move {
        connection.client.batch_execute(&sql).await?;
        Ok(Answer::Count(0))
    })
}

/// Runs a statement: the prepared one if there is one.
fn run<'a>(connection: &'a Connection, sql: &'static str, what: For, bound: Vec<Bound<'a>>) -> Sent<'a> {
    let client = &connection.client;
    Box::pin(async move {
        let Some(statement) = connection.prepared(sql) else {
            return Ok(match what {
                For::Rows => Answer::Rows(client.query_typed(sql, &bound).await?),
                For::Count => Answer::Count(client.execute_typed(sql, &bound).await?),
            });
        };
        let values: Vec<&(dyn ToSql + Sync)> = bound.into_iter().map(|(value, _)| value).collect();
        Ok(match what {
            For::Rows => Answer::Rows(client.query(statement, &values).await?),
            For::Count => Answer::Count(client.execute(statement, &values).await?),
        })
    })
}

/// Polls all in their order, so that they are sent in it, and waits for all.
async fn all_in_order<T>(mut calls: Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> Vec<T> {
    let mut answers: Vec<Option<T>> = calls.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match call.as_mut().poll(context) {
                    Poll::Ready(value) => *answer = Some(value),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    answers.into_iter().flatten().collect()
}
