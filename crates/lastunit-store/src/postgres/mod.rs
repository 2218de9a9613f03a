//! PostgreSQL: a pool of connections, and a batch of orders in two round trips, or four.

mod bind;
mod calls;
mod doubts;
mod errors;
mod place;
mod pool;
mod schema;
mod session;
mod statements;
mod writes;

use std::sync::Arc;

use deadpool::managed::{Pool, PoolError};
use lastunit::{Locking, PlaceOrder, Reply, ShopId, StoreError, Watched};
use tokio::time::timeout;

use crate::remote::{Access, Database, Isolation, RemoteConfig, RemoteStore, Session};
use errors::text_of;
use pool::Connections;
use session::{PostgresSession, Terms};

/// A store on PostgreSQL.
pub type PostgresStore = RemoteStore<Postgres>;

impl PostgresStore {
    /// Connects to a database and brings its schema up to date.
    ///
    /// The address is tokio-postgres' own: `postgres://user:password@host:port/database`, where several hosts and
    /// `target_session_attrs=read-write` find the primary of a cluster. Connections aren't encrypted.
    ///
    /// [`StoreError::Unusable`] if the address can't be used, or the database is of a newer version, has tables of
    /// other programs by the same names, or an old schema that mustn't be migrated; [`StoreError::Unavailable`] if
    /// it can't be reached.
    pub async fn connect(url: &str, config: RemoteConfig) -> Result<Self, StoreError> {
        let address = pool::parse(url, &config)?;
        schema::bring_up_to_date(&address, &config).await?;
        let postgres = Postgres {
            pool: pool::pool(address, &config)?,
            begins: Begins::new(&config),
            terms: Terms {
                prepared: config.prepared,
                patience: config.transaction_timeout,
                doubts: Arc::default(),
            },
            config,
        };
        postgres.warm_up().await;
        Ok(Self::new(postgres))
    }
}

/// PostgreSQL behind a pool.
pub struct Postgres {
    pool: Pool<Connections>,
    begins: Begins,
    terms: Terms,
    config: RemoteConfig,
}

/// A batch takes one connection, and what is read meanwhile another.
const WARM: usize = 2;

/// The statements of an order's path are planned once a connection. What they join is bounded, and joined by hash: a
/// nested loop, which looks best while a table is new, would compare each row with each.
const FOR_ORDERS: &str = "SET LOCAL enable_seqscan = off;
                          SET LOCAL enable_nestloop = off;
                          SET LOCAL enable_mergejoin = off;
                          SET LOCAL plan_cache_mode = force_generic_plan;
                          SET LOCAL jit = off;";

/// All but the check finds its rows by an index. While a table is small, reading all of it looks cheaper to the planner,
/// and a statement's plan outlives that.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off;
                        SET LOCAL enable_hashjoin = off;
                        SET LOCAL enable_mergejoin = off;
                        SET LOCAL jit = off;";

/// The check reads whole tables. That it names a hundred violations at most makes nested loops, and merges by the shop
/// alone, look cheap: where there are no violations, they compare each row with each.
const FOR_CHECKS: &str = "SET LOCAL enable_nestloop = off;
                          SET LOCAL enable_mergejoin = off;";

/// How transactions begin. All settings are the transaction's own: behind a pooler, the next one may have another
/// connection.
struct Begins {
    read: Arc<str>,
    snapshot: Arc<str>,
    check: Arc<str>,
    write: Arc<str>,
    import: Arc<str>,
    orders: Arc<str>,
    /// A snapshot would not let it lose updates.
    naive: Arc<str>,
}

impl Begins {
    fn new(config: &RemoteConfig) -> Self {
        let begin_with = |access: Access, isolation: Isolation, plans: &str| {
            let mode = if access.writes() { "READ WRITE" } else { "READ ONLY" };
            let isolation = isolation.as_str().replace('_', " ");
            // The last limit is for a server of Lastunit that is gone without a word, and leaves locks behind.
            let limits = format!(
                "SET LOCAL lock_timeout = {};
                 SET LOCAL statement_timeout = {};
                 SET LOCAL idle_in_transaction_session_timeout = {};",
                config.lock_timeout.as_millis(),
                access.timeout(config).as_millis(),
                config.transaction_timeout.as_millis(),
            );
            format!("BEGIN ISOLATION LEVEL {isolation} {mode}; {limits} {plans}")
        };
        let begin = |access, isolation| begin_with(access, isolation, BY_INDEX);
        let isolation = config.isolation;
        Self {
            read: begin(Access::Read, Isolation::ReadCommitted).into(),
            snapshot: begin(Access::Snapshot, Isolation::RepeatableRead).into(),
            check: begin_with(Access::Check, Isolation::RepeatableRead, FOR_CHECKS).into(),
            write: begin(Access::Write, isolation).into(),
            import: begin(Access::Import, isolation).into(),
            orders: begin_with(Access::Write, isolation, FOR_ORDERS).into(),
            naive: begin_with(Access::Write, Isolation::ReadCommitted, FOR_ORDERS).into(),
        }
    }
}

impl Postgres {
    /// Makes the connections that one batch after the other needs, and has their statements planned, so that the first buyers
    /// don't wait for that. If it fails, they are made when they are needed.
    async fn warm_up(&self) {
        let mut sessions = Vec::new();
        while sessions.len() < WARM.min(self.config.max_connections.get()) {
            let Ok(mut session) = self.session(Access::Write, &self.begins.orders).await else { return };
            if place::rehearse(&mut session).await.is_err() {
                return;
            }
            sessions.push(session);
        }
        for session in sessions {
            session.roll_back().await;
        }
    }

    async fn session(&self, access: Access, begin: &Arc<str>) -> Result<PostgresSession, StoreError> {
        let wait = self.config.wait_timeout;
        let connection = match timeout(wait, self.pool.get()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(PoolError::Backend(error))) => return Err(StoreError::Unavailable(text_of(&error))),
            Ok(Err(error)) => return Err(StoreError::Unavailable(error.to_string())),
            Err(_) => {
                return Err(StoreError::Unavailable(format!("no connection to PostgreSQL within {wait:?}")));
            }
        };
        let (begin, timeout) = (begin.clone(), access.timeout(&self.config));
        Ok(PostgresSession::new(connection, begin, access, timeout, self.terms.clone()))
    }
}

#[async_trait::async_trait]
impl Database for Postgres {
    type Session = PostgresSession;

    async fn begin(&self, access: Access) -> Result<PostgresSession, StoreError> {
        let begin = match access {
            Access::Read => &self.begins.read,
            Access::Snapshot => &self.begins.snapshot,
            Access::Check => &self.begins.check,
            Access::Write => &self.begins.write,
            Access::Import => &self.begins.import,
        };
        self.session(access, begin).await
    }

    async fn place(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        locking: Locking,
    ) -> Result<Vec<Reply>, StoreError> {
        let begin = if locking == Locking::None { &self.begins.naive } else { &self.begins.orders };
        let session = self.session(Access::Write, begin).await?;
        place::place(session, shop, &orders, locking, &self.config.watched).await
    }

    fn turns_away(&self, locking: Locking) -> bool {
        self.config.isolation != Isolation::ReadCommitted && locking != Locking::None
    }

    fn watched(&self) -> &Watched {
        &self.config.watched
    }

    /// Until PostgreSQL has counted the rows by itself, a minute later, it would look for a SKU by the wrong index.
    async fn imported(&self) {
        let analyzed = async {
            let connection = self.pool.get().await.map_err(|error| error.to_string())?;
            connection.client.batch_execute("ANALYZE product, sku").await.map_err(|error| text_of(&error))
        };
        let analyzed = timeout(self.config.transaction_timeout, analyzed).await;
        if let Ok(Err(error)) = analyzed {
            tracing::warn!("PostgreSQL couldn't count the imported rows: {error}");
        }
    }

    async fn close(&self) {
        self.pool.close();
    }
}
