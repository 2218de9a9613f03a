//! A connection with a transaction.

use std::time::Duration;

use deadpool::managed::Object;
use lastunit::{ShopId, StoreError};
use mysql_async::consts::ColumnType;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{
    errors::Failure,
    place::select,
    pool::{Connection, Connections},
    statements::CARTS,
};
use crate::remote::{Access, Row, Session, Value};

/// The character set of bytes that are no text.
const BINARY: u16 = 63;

/// What may still be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No transaction is open: every statement is one.
    Idle,
    /// A transaction is open.
    Open,
    /// The connection is lost, or nobody knows what state it is in.
    Broken,
}

/// A transaction of MariaDB or MySQL. Dropped, it is rolled back by closing its connection.
pub struct MySqlSession {
    /// There until the session ends.
    connection: Option<Object<Connections>>,
    access: Access,
    timeout: Duration,
    deadline: Instant,
    state: State,
}

impl MySqlSession {
    /// Begins a transaction. What only reads, each statement for itself, needs none.
    pub(super) async fn begin(
        connection: Object<Connections>,
        access: Access,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let deadline = Instant::now() + timeout;
        let mut session =
            Self { connection: Some(connection), access, timeout, deadline, state: State::Idle };
        match access {
            Access::Read => {}
            Access::Snapshot | Access::Check => {
                let begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
                             START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
                session.open(begin).await?;
            }
            Access::Write | Access::Import => session.open("START TRANSACTION").await?,
        }
        Ok(session)
    }

    /// Begins to write, after what was read without a transaction.
    pub(super) async fn begin_to_write(&mut self) -> Result<(), StoreError> {
        self.access = Access::Write;
        self.open("START TRANSACTION").await
    }

    async fn open(&mut self, begin: &str) -> Result<(), StoreError> {
        let (deadline, timeout) = (self.deadline, self.timeout);
        let begun = within(deadline, timeout, self.connection().command(begin)).await;
        begun.map_err(|failure| self.failed(failure))?;
        self.state = State::Open;
        Ok(())
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("there until the session ends")
    }

    /// Keeps in mind what a failure means for the connection.
    fn failed(&mut self, failure: Failure) -> StoreError {
        if !failure.is_orderly() {
            self.state = State::Broken;
        }
        failure.into()
    }

    async fn run(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<(Vec<mysql_async::Row>, u64), StoreError> {
        let (deadline, timeout) = (self.deadline, self.timeout);
        let ran = within(deadline, timeout, self.connection().run(sql, values)).await;
        ran.map_err(|failure| self.failed(failure))
    }

    /// Ends the transaction, if one is open, with COMMIT or ROLLBACK.
    async fn end(&mut self, how: &str) -> Result<(), Failure> {
        if self.state != State::Open {
            return Ok(());
        }
        // Until it is answered nobody knows whether there still is one.
        self.state = State::Broken;
        let (deadline, timeout) = (self.deadline, self.timeout);
        let ended = within(deadline, timeout, self.connection().command(how)).await;
        match &ended {
            Ok(()) => self.state = State::Idle,
            Err(failure) if failure.rolled_back() => self.state = State::Idle,
            Err(_) => {}
        }
        ended
    }

    /// Gives the connection back, if there is no transaction and it is in order.
    fn give_back(mut self) {
        if self.state == State::Idle {
            self.connection.take();
        }
    }
}

impl Drop for MySqlSession {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Those that wait in the pool may be as dead, and the next call would find out no sooner than this one did.
        if let (State::Broken, Some(pool)) = (self.state, Object::pool(&connection)) {
            pool.retain(|_, _| false);
        }
        drop(Object::take(connection));
    }
}

impl Session for MySqlSession {
    async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let (rows, _) = self.run(sql, values).await?;
        rows.into_iter().map(row).collect()
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        Ok(self.run(sql, values).await?.1)
    }

    async fn cart_heads(&mut self, shop: ShopId, users: &[&str]) -> Result<Vec<Row>, StoreError> {
        let users: Vec<_> = users.iter().map(|user| [(*user).into()]).collect();
        select(self, &CARTS, shop, &users).await
    }

    async fn texts(&mut self, sql: &'static str, limit: usize) -> Result<Vec<String>, StoreError> {
        let (deadline, timeout) = (self.deadline, self.timeout);
        let found = within(deadline, timeout, self.connection().query(sql, limit)).await;
        let rows = found.map_err(|failure| self.failed(failure))?;
        Ok(rows.into_iter().map(fields).collect())
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        let access = self.access;
        step!("mysql.to_commit", when access.writes());
        let committed = self.end("COMMIT").await;
        self.give_back();
        committed.map_err(|failure| {
            if access.writes() && !failure.rolled_back() {
                StoreError::CommitUnknown(failure.text())
            } else {
                failure.into()
            }
        })?;
        step!("mysql.committed", StoreError::CommitUnknown, when access.writes());
        Ok(())
    }

    async fn roll_back(mut self) {
        if let Err(failure) = self.end("ROLLBACK").await {
            tracing::debug!("a connection is thrown away: {}", failure.text());
        }
        self.give_back();
    }
}

/// Waits for an answer no longer than that.
async fn within<T>(
    deadline: Instant,
    timeout: Duration,
    call: impl Future<Output = Result<T, mysql_async::Error>>,
) -> Result<T, Failure> {
    match timeout_at(deadline, call).await {
        Ok(answer) => answer.map_err(Failure::Said),
        Err(_) => Err(Failure::Late(timeout)),
    }
}

/// A row by the types of its columns.
fn row(row: mysql_async::Row) -> Result<Row, StoreError> {
    let columns = row.columns();
    let values = row.unwrap().into_iter().zip(columns.iter());
    let value = |(value, column): (mysql_async::Value, &mysql_async::Column)| {
        Ok(match value {
            mysql_async::Value::NULL => Value::Null,
            mysql_async::Value::Int(number) => Value::Int(number),
            mysql_async::Value::UInt(number) => {
                let number = i64::try_from(number);
                Value::Int(number.map_err(|_| StoreError::Internal("an integer is out of range".into()))?)
            }
            mysql_async::Value::Bytes(bytes) if is_bytes(column) => Value::Bytes(bytes.into()),
            mysql_async::Value::Bytes(bytes) => {
                let text = String::from_utf8(bytes);
                Value::Text(text.map_err(|error| StoreError::Internal(error.to_string()))?.into())
            }
            other => Value::Text(other.as_sql(true).into()),
        })
    };
    values.map(value).collect::<Result<_, StoreError>>().map(Row)
}

/// Whether a column holds bytes, and not a text or a number.
fn is_bytes(column: &mysql_async::Column) -> bool {
    use ColumnType::{
        MYSQL_TYPE_BLOB, MYSQL_TYPE_LONG_BLOB, MYSQL_TYPE_MEDIUM_BLOB, MYSQL_TYPE_STRING,
        MYSQL_TYPE_TINY_BLOB, MYSQL_TYPE_VAR_STRING, MYSQL_TYPE_VARCHAR,
    };
    column.character_set() == BINARY
        && matches!(
            column.column_type(),
            MYSQL_TYPE_STRING
                | MYSQL_TYPE_VAR_STRING
                | MYSQL_TYPE_VARCHAR
                | MYSQL_TYPE_TINY_BLOB
                | MYSQL_TYPE_BLOB
                | MYSQL_TYPE_MEDIUM_BLOB
                | MYSQL_TYPE_LONG_BLOB
        )
}

/// A row as "column value, column value". What is as long as a UUID, in a column that holds no more, is one.
fn fields(row: mysql_async::Row) -> String {
    let columns = row.columns();
    let field = |(value, column): (mysql_async::Value, &mysql_async::Column)| {
        let value = match value {
            mysql_async::Value::NULL => "none".into(),
            mysql_async::Value::Bytes(bytes) if is_bytes(column) && column.column_length() == 16 => {
                match Uuid::from_slice(&bytes) {
                    Ok(uuid) => uuid.to_string(),
                    Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
                }
            }
            mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => other.as_sql(true),
        };
        format!("{} {value}", column.name_str())
    };
    row.unwrap().into_iter().zip(columns.iter()).map(field).collect::<Vec<_>>().join(", ")
}
