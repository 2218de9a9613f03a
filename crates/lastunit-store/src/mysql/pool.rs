//! Connections, and the pool of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use deadpool::managed::{self, Metrics, Pool, RecycleError, RecycleResult};
use lastunit::StoreError;
use mysql_async::{Conn, Error, Opts, OptsBuilder, Params, Row, Statement, prelude::Queryable};

use super::statements::Dialect;
use crate::remote::{Isolation, RemoteConfig, Value};

/// How long a connection may be silent before the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A connection that wasn't used for so long is asked whether it still is one.
const IDLE: Duration = Duration::from_millis(500);
/// When the server closes a connection that is idle: one of a program that vanished holds its locks until then.
/// MariaDB does so much earlier in a transaction.
const SERVER_WAITS_SECONDS: u64 = 120;

/// The error for a setting that the server doesn't have.
const UNKNOWN_SETTING: u16 = 1193;

/// A connection with what was prepared on it. Dropped, its socket is closed at once: the server then undoes whatever
/// is open, and nobody waits for it.
pub(super) struct Connection {
    /// There until it is dropped.
    conn: Option<Conn>,
    prepared: bool,
    statements: HashMap<&'static str, (Statement, Dialect)>,
}

impl Connection {
    fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("there until it is dropped")
    }

    /// Runs a statement that has no parameters, or several of them, for what they do.
    pub async fn command(&mut self, sql: &str) -> Result<(), Error> {
        self.conn().query_drop(sql).await
    }

    /// Runs a query that has no parameters, and gives its first rows, all their values as texts or bytes.
    pub async fn query(&mut self, sql: &str, limit: usize) -> Result<Vec<Row>, Error> {
        let mut found = self.conn().query_iter(sql).await?;
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(row) = found.next().await?
        {
            rows.push(row);
        }
        found.drop_result().await?;
        Ok(rows)
    }

    /// Runs a statement: its rows, and how many it found otherwise.
    pub async fn run(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<(Vec<Row>, u64), Error> {
        let conn = self.conn.as_mut().expect("there until it is dropped");
        if !self.prepared {
            let dialect = Dialect::of(sql);
            let statement = conn.prep(dialect.sql.as_str()).await?;
            let ran = execute(conn, &statement, dialect.bind(values)).await;
            conn.close(statement).await?;
            return ran;
        }
        let (statement, dialect) = match self.statements.entry(sql) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                let dialect = Dialect::of(sql);
                place.insert((conn.prep(dialect.sql.as_str()).await?, dialect))
            }
        };
        execute(conn, statement, dialect.bind(values)).await
    }
}

async fn execute(
    conn: &mut Conn,
    statement: &Statement,
    values: Vec<mysql_async::Value>,
) -> Result<(Vec<Row>, u64), Error> {
    let values = if values.is_empty() { Params::Empty } else { Params::Positional(values) };
    let mut ran = conn.exec_iter(statement, values).await?;
    let written = ran.affected_rows();
    let mut rows = Vec::new();
    while let Some(row) = ran.next().await? {
        rows.push(row);
    }
    Ok((rows, written))
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            // As far as it gets without waiting: the driver would go on in the background, and wait for a server
            // that may never answer.
            let goodbye = pin!(conn.disconnect());
            let _ = goodbye.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// Makes connections.
pub(super) struct Connections {
    opts: Opts,
    prepared: bool,
    serializable: bool,
}

impl Connections {
    /// Connects. It takes the time that the caller gives it: dropped, the try is over.
    pub async fn open(&self) -> Result<Connection, Error> {
        let mut conn = Conn::new(self.opts.clone()).await?;
        if self.serializable {
            // Newer MariaDB would compare every row with a snapshot beside locking it: each wait for a lock would
            // end in a conflict. Others don't know the setting.
            match conn.query_drop("SET SESSION innodb_snapshot_isolation = OFF").await {
                Err(Error::Server(error)) if error.code == UNKNOWN_SETTING => {}
                set => set?,
            }
        }
        Ok(Connection { conn: Some(conn), prepared: self.prepared, statements: HashMap::new() })
    }
}

impl managed::Manager for Connections {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection, Error> {
        self.open().await
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<Error> {
        if connection.conn().is_disconnected() {
            return Err(RecycleError::message("it is closed"));
        }
        if metrics.last_used() > IDLE {
            connection.conn().ping().await?;
        }
        Ok(())
    }
}

/// A pool that makes its connections as they are needed.
pub(super) fn pool(connections: Connections, config: &RemoteConfig) -> Result<Pool<Connections>, StoreError> {
    let pool = Pool::builder(connections).max_size(config.max_connections.get()).build();
    pool.map_err(|error| StoreError::Internal(error.to_string()))
}

/// Reads a `mysql://` or `mariadb://` address, and says how a connection to it is made.
pub(super) fn connections(url: &str, config: &RemoteConfig) -> Result<Connections, StoreError> {
    let unusable =
        |why: String| StoreError::Unusable(format!("the address of the database can't be read: {why}"));
    let url = url.strip_prefix("mariadb://").map_or(url.to_owned(), |rest| format!("mysql://{rest}"));
    let opts = Opts::from_url(&url).map_err(|error| unusable(error.to_string()))?;
    if opts.db_name().is_none() {
        return Err(unusable("it names no database (mysql://user:password@host:port/database)".into()));
    }
    if opts.ssl_opts().is_some() {
        let text = "require_ssl: this Lastunit speaks no TLS to MySQL; leave it out over a network that you trust, or \
                    use a local proxy that adds TLS";
        return Err(StoreError::Unusable(text.into()));
    }
    let opts = OptsBuilder::from_opts(opts)
        .client_found_rows(true)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE))
        .prefer_socket(false)
        // Statements are kept here, where those that are prepared at all are known.
        .stmt_cache_size(0)
        .init(vec![session_settings(config)]);
    let serializable = config.isolation == Isolation::Serializable;
    Ok(Connections { opts: opts.into(), prepared: config.prepared, serializable })
}

/// What every connection is told, whatever the server's defaults are. MySQL takes the part for MariaDB as a comment.
fn session_settings(config: &RemoteConfig) -> String {
    let isolation = match config.isolation {
        Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    };
    // Whole seconds, at least one.
    let seconds = |time: Duration| time.as_secs_f64().ceil().max(1.0);
    format!(
        "SET NAMES utf8mb4;
         SET SESSION TRANSACTION ISOLATION LEVEL {isolation};
         SET SESSION autocommit = 1, foreign_key_checks = 1, unique_checks = 1,
             sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
                         ERROR_FOR_DIVISION_BY_ZERO',
             innodb_lock_wait_timeout = {}, wait_timeout = {SERVER_WAITS_SECONDS}
             /*M!100301 , idle_transaction_timeout = {} */",
        seconds(config.lock_timeout),
        seconds(config.transaction_timeout) + 5.0
    )
}
