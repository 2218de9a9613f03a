//! MariaDB and MySQL: a pool of connections, and a batch of orders in a statement a table.

mod errors;
mod place;
mod pool;
mod schema;
mod session;
mod statements;

use std::{collections::HashSet, sync::Arc};

use deadpool::managed::{Pool, PoolError};
use lastunit::{Decision, Locking, PlaceOrder, Reply, Seen, ShopId, StoreError, Watched, decide};
use tokio::time::timeout;

use crate::remote::{Access, Database, RemoteConfig, RemoteStore, Session};
use errors::Failure;
use place::Guard;
use pool::Connections;
use session::MySqlSession;

/// A store on MariaDB or MySQL.
pub type MySqlStore = RemoteStore<MySql>;

impl MySqlStore {
    /// Connects to a database of MariaDB (10.6 or newer) or MySQL (8.0.16 or newer), and brings its schema up to date.
    ///
    /// The address is `mysql://user:password@host:port/database`, or `mariadb://…`. Connections aren't encrypted.
    ///
    /// [`StoreError::Unusable`] if the address can't be used, or the database is of a newer version, has tables of
    /// other programs by the same names, or an old schema that mustn't be migrated; [`StoreError::Unavailable`] if it
    /// can't be reached.
    pub async fn connect(url: &str, config: RemoteConfig) -> Result<Self, StoreError> {
        let connections = pool::connections(url, &config)?;
        schema::bring_up_to_date(&connections, &config).await?;
        Ok(Self::new(MySql { pool: pool::pool(connections, &config)?, config }))
    }
}

/// MariaDB or MySQL behind a pool.
pub struct MySql {
    pool: Pool<Connections>,
    config: RemoteConfig,
}

impl MySql {
    /// Between reading and deciding, as long as whoever watches wants it to be.
    async fn pause(&self, orders: &[PlaceOrder], seen: &Seen) {
        if let Some(pause) = self.config.watched.read(orders, seen) {
            tokio::time::sleep(pause).await;
        }
    }

    /// Locks, reads, decides and writes.
    async fn place_locked(&self, shop: ShopId, orders: &[PlaceOrder]) -> Result<Vec<Reply>, StoreError> {
        let mut session = self.begin(Access::Read).await?;
        let work = async {
            let before = place::read_before(&mut session, shop, orders).await?;
            step!("mysql.place.keys_read");
            if before.undecided(orders).next().is_some() {
                session.begin_to_write().await?;
                step!("mysql.place.begun");
            }
            let stock = place::read_stock(&mut session, shop, orders, &before, true).await?;
            step!("mysql.place.stock_read");
            let (seen, _) = place::seen(before, stock);
            self.pause(orders, &seen).await;
            let decision = decide(orders, seen);
            place::write(&mut session, shop, orders, &decision, Guard::Locked).await?;
            self.config.watched.wrote(orders, &decision, None);
            Ok(decision)
        };
        let decided = work.await;
        end(session, decided).await
    }

    /// Reads and decides without a transaction, then writes in one: what was read may be old by then.
    async fn place_unlocked(
        &self,
        shop: ShopId,
        orders: &[PlaceOrder],
        naive: bool,
    ) -> Result<Vec<Reply>, StoreError> {
        let mut session = self.begin(Access::Read).await?;
        let work = async {
            let before = place::read_before(&mut session, shop, orders).await?;
            let stock = place::read_stock(&mut session, shop, orders, &before, false).await?;
            let read = naive.then(|| stock.skus.clone());
            let (seen, with_head): (_, HashSet<_>) = place::seen(before, stock);
            self.pause(orders, &seen).await;
            let decision = decide(orders, seen);
            if place::is_new(&decision) {
                session.begin_to_write().await?;
                let guard = match &read {
                    Some(read) => Guard::Overwritten(read, &with_head),
                    None => Guard::Compared(&with_head),
                };
                place::write(&mut session, shop, orders, &decision, guard).await?;
                self.config.watched.wrote(orders, &decision, read.as_ref());
            }
            Ok(decision)
        };
        let decided = work.await;
        end(session, decided).await
    }
}

/// Commits what was written, undoes what failed or wrote nothing.
async fn end(session: MySqlSession, decided: Result<Decision, StoreError>) -> Result<Vec<Reply>, StoreError> {
    match decided {
        Ok(decision) if place::is_new(&decision) => session.commit().await.map(|()| decision.replies),
        Ok(decision) => {
            session.roll_back().await;
            Ok(decision.replies)
        }
        Err(error) => {
            session.roll_back().await;
            Err(error)
        }
    }
}

#[async_trait::async_trait]
impl Database for MySql {
    type Session = MySqlSession;

    async fn begin(&self, access: Access) -> Result<MySqlSession, StoreError> {
        let connection = match timeout(self.config.wait_timeout, self.pool.get()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(PoolError::Backend(error))) => {
                return Err(StoreError::Unavailable(Failure::from(error).text()));
            }
            Ok(Err(error)) => return Err(StoreError::Unavailable(error.to_string())),
            Err(_) => {
                let text = format!("no connection to MySQL within {:?}", self.config.wait_timeout);
                return Err(StoreError::Unavailable(text));
            }
        };
        MySqlSession::begin(connection, access, access.timeout(&self.config)).await
    }

    async fn place(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        locking: Locking,
    ) -> Result<Vec<Reply>, StoreError> {
        match locking {
            Locking::None => self.place_unlocked(shop, &orders, true).await,
            Locking::CompareAndSet => self.place_unlocked(shop, &orders, false).await,
            Locking::Exclusive | Locking::Shared => self.place_locked(shop, &orders).await,
        }
    }

    fn watched(&self) -> &Watched {
        &self.config.watched
    }

    async fn close(&self) {
        self.pool.close();
    }
}
