//! Connections, and the pool of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{self, Metrics, Object, Pool, RecycleError, RecycleResult};
use futures_util::future::try_join_all;
use lastunit::StoreError;
use tokio::task::JoinHandle;
use tokio_postgres::{
    AsyncMessage, Client, Config, NoTls, Statement,
    config::SslMode,
    error::{DbError, Severity, SqlState},
    types::Type,
};

use super::{errors::text_of, statements};
use crate::remote::RemoteConfig;

/// How long a connection may be silent before the system asks whether the other side is still there, how often it
/// then asks, and how many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);
/// What tokio-postgres takes if it is told nothing: too long to find out that a server is gone.
const KEEPALIVE_UNTOLD: Duration = Duration::from_secs(2 * 60 * 60);

/// A connection with what was prepared on it. Dropped, it says goodbye to the server.
pub(super) struct Connection {
    pub client: Client,
    /// Whether a commit came back with the warning that the standby may not have it.
    doubted: Arc<AtomicBool>,
    driver: JoinHandle<()>,
    statements: HashMap<&'static str, Statement>,
}

impl Connection {
    /// Connects. It takes the time that the caller gives it: dropped, the try is over.
    pub async fn open(config: &Config) -> Result<Self, tokio_postgres::Error> {
        let (client, mut connection) = config.connect(NoTls).await?;
        let doubted = Arc::new(AtomicBool::new(false));
        let doubts = doubted.clone();
        let driver = tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) if is_doubt(&notice) => {
                        tracing::warn!("PostgreSQL: {}", notice.message());
                        doubts.store(true, Ordering::SeqCst);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!("a connection ended: {}", text_of(&error));
                        break;
                    }
                }
            }
        });
        Ok(Self { client, doubted, driver, statements: HashMap::new() })
    }

    /// Whether the server doubted a commit since this was asked last.
    pub fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::SeqCst)
    }

    /// A statement, prepared at its first use. There are as many as the program has texts.
    pub async fn statement(
        &mut self,
        sql: &'static str,
        types: &[Type],
    ) -> Result<Statement, tokio_postgres::Error> {
        match self.statements.entry(sql) {
            Entry::Occupied(found) => Ok(found.get().clone()),
            Entry::Vacant(place) => Ok(place.insert(self.client.prepare_typed(sql, types).await?).clone()),
        }
    }

    /// Prepares what orders need, unless that was done before.
    pub async fn prepare_for_orders(&mut self) -> Result<(), tokio_postgres::Error> {
        let missing = statements::ALL.iter().copied().filter(|sql| !self.statements.contains_key(sql));
        let missing: Vec<&str> = missing.collect();
        if !missing.is_empty() {
            // In one round trip.
            let prepared =
                try_join_all(missing.iter().map(|sql| self.client.prepare_typed(sql, &[]))).await?;
            self.statements.extend(missing.into_iter().zip(prepared));
        }
        Ok(())
    }

    /// A statement that was prepared before.
    pub fn prepared(&self, sql: &'static str) -> Option<&Statement> {
        self.statements.get(sql)
    }
}

/// The warning of a commit that stands here, while nobody waited until the standby had it: its wait was canceled.
/// By its code, for the text may be in any language.
fn is_doubt(notice: &DbError) -> bool {
    notice.parsed_severity() == Some(Severity::Warning) && *notice.code() == SqlState::WARNING
}

/// Throws a connection away without a goodbye, for which the server may have no ear; and those that wait in the pool,
/// which may be as dead: the next call would find out no sooner than this one did.
pub(super) fn throw_away(connection: Object<Connections>) {
    if let Some(pool) = Object::pool(&connection) {
        pool.retain(|_, _| false);
    }
    Object::take(connection).driver.abort();
}

/// Makes connections.
pub(super) struct Connections(Config);

impl managed::Manager for Connections {
    type Type = Connection;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Connection, tokio_postgres::Error> {
        Connection::open(&self.0).await
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        _: &Metrics,
    ) -> RecycleResult<tokio_postgres::Error> {
        if connection.client.is_closed() { Err(RecycleError::message("it is closed")) } else { Ok(()) }
    }
}

/// A pool that makes its connections as they are needed.
pub(super) fn pool(address: Config, config: &RemoteConfig) -> Result<Pool<Connections>, StoreError> {
    let pool = Pool::builder(Connections(address))
        .max_size(config.max_connections.get())
        .queue_mode(managed::QueueMode::Lifo)
        .build();
    pool.map_err(|error| StoreError::Internal(error.to_string()))
}

/// Reads a `postgres://` address and fills in what it doesn't say.
pub(super) fn parse(url: &str, config: &RemoteConfig) -> Result<Config, StoreError> {
    let mut address: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        StoreError::Unusable(format!("the address of the database can't be read: {}", text_of(&error)))
    })?;
    if address.get_hosts().is_empty() && address.get_hostaddrs().is_empty() {
        return Err(StoreError::Unusable("the address of the database names no host".into()));
    }
    if address.get_ssl_mode() == SslMode::Require {
        let text = "sslmode=require: this Lastunit speaks no TLS to PostgreSQL; use sslmode=disable over a \
                    network that you trust, or a local proxy that adds TLS";
        return Err(StoreError::Unusable(text.into()));
    }
    if address.get_application_name().is_none() {
        address.application_name("lastunit");
    }
    if address.get_connect_timeout().is_none() {
        address.connect_timeout(config.wait_timeout);
    }
    if address.get_tcp_user_timeout().is_none() {
        address.tcp_user_timeout(config.transaction_timeout);
    }
    let (idle, interval, retries) = KEEPALIVE;
    if address.get_keepalives_idle() == KEEPALIVE_UNTOLD {
        address.keepalives_idle(idle);
    }
    if address.get_keepalives_interval().is_none() {
        address.keepalives_interval(interval);
    }
    if address.get_keepalives_retries().is_none() {
        address.keepalives_retries(retries);
    }
    Ok(address)
}
