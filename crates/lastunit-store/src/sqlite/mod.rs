//! SQLite: a shop in one file. WAL, as durable as with synchronous=FULL ([`gathered`], [`log`]), one writer, readers apart.

mod buyers;
mod catalogue;
mod checkpointer;
mod columns;
mod gathered;
mod invariants;
mod log;
mod orders;
mod place;
mod readers;
mod rows;
mod schema;
mod service_keys;
mod sync;
mod writer;
#[cfg(test)]
mod writer_tests;

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use lastunit::{
    Address, AddressId, CancelOutcome, Cart, CartLineSetting, CartLog, CartReading, CartSnapshot,
    CheckReport, ImportSummary, Locking, NewProduct, NextBatch, Order, OrderId, PlaceOrder, Product,
    ProductId, Reply, ServiceKey, ShopId, ShopSettings, Sku, SkuId, SkuPatch, StockChange, Store, StoreError,
    Timestamp, UserId, Watched,
};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use uuid::Uuid;

use log::Log;
use readers::Readers;
use writer::{Commit, Writer};

const MOVEMENT: &str = "stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at)";
const EVENT: &str = "outbox_event (shop_id, subject_id, kind, created_at)";

/// How long another program's write (or a backup) may be in the way before a write gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The writer's page cache, as SQLite takes it: negative for KiB. The readers have SQLite's default of 2 MiB. A larger one
/// costs more than it saves: after a page was split, COMMIT looks through all of it.
const WRITER_CACHE_KIB: i32 = -8 * 1024;

/// What may be done to a database file when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// Whether it is created where it isn't there.
    pub create: bool,
    /// Whether its schema is brought up to date; else an old one is refused.
    pub migrate: bool,
    /// For demonstrations.
    pub watched: Watched,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { create: true, migrate: true, watched: Watched::default() }
    }
}

/// A database file. It keeps what it acknowledged through kill -9 and power cuts: it answers when the
/// write-ahead log is flushed to the disk.
pub struct SqliteStore {
    writer: Writer,
    threads: Mutex<Vec<JoinHandle<()>>>,
    readers: Readers,
    watched: Watched,
}

impl SqliteStore {
    /// Opens a database file, creates it if it isn't there, and brings its schema up to date.
    ///
    /// [`StoreError::Unusable`] if it isn't Lastunit's, or of a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, SqliteConfig::default())
    }

    /// Opens a database file that has to be there.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, SqliteConfig { create: false, ..SqliteConfig::default() })
    }

    /// As [`SqliteStore::open`], with the choices of this config.
    pub fn open_with(path: impl AsRef<Path>, config: SqliteConfig) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if !config.create && !path.is_file() {
            return Err(StoreError::Unusable(format!("there is no file {}", path.display())));
        }
        let create = if config.create { OpenFlags::SQLITE_OPEN_CREATE } else { OpenFlags::empty() };
        let unusable = |error: rusqlite::Error| {
            StoreError::Unusable(format!("{} can't be opened as a SQLite database: {error}", path.display()))
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let mut connection = match gathered::vfs() {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
            None => Connection::open_with_flags(path, flags),
        }
        .map_err(unusable)?;
        prepare(&connection).map_err(unusable)?;
        schema::refuse_foreign(&connection, path)?;
        connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB).map_err(unusable)?;
        // Small pages, because most of what an order writes to the log is pages of which it changes a row: with
        // 2 KiB a batch took a tenth less time than with 4. It only counts while the file is empty.
        connection.pragma_update(None, "page_size", 2048).map_err(unusable)?;
        let journal = enter_wal(&connection).map_err(unusable)?;
        if journal != "wal" {
            let text = format!("{} can't be put into WAL mode (it is in {journal})", path.display());
            return Err(StoreError::Unusable(text));
        }
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;").map_err(unusable)?;
        schema::migrate(&connection, config.migrate)?;
        let unavailable = |error: io::Error| StoreError::Unavailable(error.to_string());
        // It is there as long as there is a connection.
        let file = File::open(path_of_log(&connection)).map_err(unavailable)?;
        // A process before this one may have been killed between a commit and its flush.
        file.sync_data().map_err(unavailable)?;
        let log = Arc::new(Log::new(move || file.sync_data()));
        let readers = Readers::open(path, log.clone())?;
        let checkpointer = checkpointer::start(path, &mut connection)?;
        let (writer, threads) = Writer::start(connection, log).map_err(unavailable)?;
        let threads = Mutex::new(threads.into_iter().chain([checkpointer]).collect());
        Ok(Self { writer, threads, readers, watched: config.watched })
    }

    /// Decides on what a reader saw, then writes: what was read may be old by then.
    async fn place_unlocked(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        naive: bool,
    ) -> Result<Vec<Reply>, StoreError> {
        let (to_read, watched) = (orders.clone(), self.watched.clone());
        let read = move |connection: &Connection| {
            let seen = place::read(connection, shop, &to_read)?;
            let pause = watched.read(&to_read, &seen);
            Ok((seen, pause))
        };
        let (seen, pause) = self.readers.glance(read).await?;
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        let watched = self.watched.clone();
        self.writer
            .write(Commit::Alone, move |connection| {
                place::decide_and_write(connection, shop, &orders, seen, naive, &watched)
            })
            .await
    }

    /// Reads and decides in the transaction that writes.
    async fn place_locked(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        commit: Commit,
        next: &NextBatch,
    ) -> Result<Vec<Reply>, StoreError> {
        let (watched, next) = (self.watched.clone(), next.clone());
        let place = move |connection: &Connection| {
            let placed = place::place(connection, shop, &orders, &watched);
            if commit == Commit::Shared {
                // While this one is committed, the next is on its way.
                next.may_come();
            }
            placed
        };
        self.writer.write(commit, place).await
    }
}

/// SQLite's write-ahead log, beside the database: where a symbolic link leads to, say.
fn path_of_log(connection: &Connection) -> String {
    format!("{}-wal", connection.path().expect("a database in a file"))
}

/// Puts the file into WAL mode and gives the mode it is in then. SQLite doesn't wait by itself where several
/// programs do so at once to a new file.
fn enter_wal(connection: &Connection) -> rusqlite::Result<String> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut tries_left = BUSY_TIMEOUT.as_millis() / PAUSE.as_millis();
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && tries_left > 0 => {
                tries_left -= 1;
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

/// What every connection needs.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// A further connection to a file that is open.
fn open_connection(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

/// SQLite's errors, by what a caller can do about them.
fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Conflict,
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed,
        ) => StoreError::Unavailable(error.to_string()),
        _ => StoreError::Internal(error.to_string()),
    }
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    async fn place(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        locking: Locking,
        next: &NextBatch,
    ) -> Result<Vec<Reply>, StoreError> {
        let batch = orders.clone();
        let placed = match locking {
            Locking::None => self.place_unlocked(shop, batch, true).await,
            Locking::CompareAndSet => self.place_unlocked(shop, batch, false).await,
            Locking::Exclusive => self.place_locked(shop, batch, Commit::Alone, next).await,
            Locking::Shared => self.place_locked(shop, batch, Commit::Shared, next).await,
        };
        self.watched.ended(&orders, &placed);
        placed
    }

    async fn cancel(
        &self,
        shop: ShopId,
        user: &UserId,
        id: OrderId,
        at: Timestamp,
    ) -> Result<CancelOutcome, StoreError> {
        let user = user.clone();
        self.writer
            .write(Commit::Shared, move |connection| orders::cancel(connection, shop, &user, id, at))
            .await
    }

    async fn order(&self, shop: ShopId, user: &UserId, id: OrderId) -> Result<Option<Order>, StoreError> {
        let user = user.clone();
        self.readers.read(move |connection| orders::read(connection, shop, &user, id)).await
    }

    async fn orders(
        &self,
        shop: ShopId,
        user: &UserId,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let user = user.clone();
        self.readers.read(move |connection| orders::list(connection, shop, &user, before, limit)).await
    }

    async fn sku(&self, shop: ShopId, id: SkuId) -> Result<Option<Sku>, StoreError> {
        self.readers.read(move |connection| catalogue::read_sku(connection, shop, id)).await
    }

    async fn sku_by_code(&self, shop: ShopId, code: &str) -> Result<Option<Sku>, StoreError> {
        let code = code.to_owned();
        self.readers.read(move |connection| catalogue::read_sku_by_code(connection, shop, &code)).await
    }

    async fn skus(&self, shop: ShopId, after: Option<SkuId>, limit: usize) -> Result<Vec<Sku>, StoreError> {
        self.readers.read(move |connection| catalogue::list_skus(connection, shop, after, limit)).await
    }

    async fn products(
        &self,
        shop: ShopId,
        after: Option<ProductId>,
        limit: usize,
    ) -> Result<Vec<Product>, StoreError> {
        self.readers.read(move |connection| catalogue::list_products(connection, shop, after, limit)).await
    }

    async fn create_product(
        &self,
        shop: ShopId,
        product: NewProduct,
        source: Uuid,
        at: Timestamp,
    ) -> Result<Product, StoreError> {
        self.writer
            .write(Commit::Shared, move |connection| {
                catalogue::create_product(connection, shop, &product, source, at)
            })
            .await
    }

    async fn import(
        &self,
        shop: ShopId,
        products: Vec<NewProduct>,
        source: Uuid,
        at: Timestamp,
    ) -> Result<ImportSummary, StoreError> {
        self.writer
            .write(Commit::Alone, move |connection| {
                catalogue::import(connection, shop, &products, source, at)
            })
            .await
    }

    async fn patch_sku(&self, shop: ShopId, id: SkuId, patch: SkuPatch) -> Result<Option<Sku>, StoreError> {
        self.writer
            .write(Commit::Shared, move |connection| catalogue::patch_sku(connection, shop, id, &patch))
            .await
    }

    async fn change_stock(
        &self,
        shop: ShopId,
        id: SkuId,
        change: StockChange,
        source: Uuid,
        at: Timestamp,
    ) -> Result<Option<Sku>, StoreError> {
        self.writer
            .write(Commit::Shared, move |connection| {
                catalogue::change_stock(connection, shop, id, &change, source, at)
            })
            .await
    }

    async fn settings(&self, shop: ShopId) -> Result<Option<ShopSettings>, StoreError> {
        self.readers.read(move |connection| catalogue::read_settings(connection, shop)).await
    }

    async fn set_settings(
        &self,
        shop: ShopId,
        settings: ShopSettings,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer
            .write(Commit::Shared, move |connection| {
                catalogue::write_settings(connection, shop, &settings, at)
            })
            .await
    }

    async fn cart(&self, shop: ShopId, user: &UserId) -> Result<Cart, StoreError> {
        let user = user.clone();
        self.readers.read(move |connection| buyers::read_cart(connection, shop, &user)).await
    }

    async fn cart_snapshot(
        &self,
        shop: ShopId,
        user: &UserId,
        _: CartReading,
    ) -> Result<CartSnapshot, StoreError> {
        let user = user.clone();
        let seq =
            self.readers.glance(move |connection| place::read_cart_seq(connection, shop, &user)).await?;
        Ok(CartSnapshot::InStore { seq })
    }

    async fn cart_seqs(&self, shop: ShopId, users: &[UserId]) -> Result<Vec<u64>, StoreError> {
        let users = users.to_vec();
        self.readers
            .read(move |connection| {
                users.iter().map(|user| place::read_cart_seq(connection, shop, user)).collect()
            })
            .await
    }

    async fn cart_log(
        &self,
        shop: ShopId,
        user: &UserId,
        after: u64,
        limit: usize,
    ) -> Result<CartLog, StoreError> {
        let user = user.clone();
        self.readers
            .read(move |connection| buyers::read_cart_log(connection, shop, &user, after, limit))
            .await
    }

    async fn price_cart(&self, shop: ShopId, lines: Vec<(SkuId, u32, bool)>) -> Result<Cart, StoreError> {
        self.readers.read(move |connection| buyers::price_cart(connection, shop, &lines)).await
    }

    async fn set_cart_line(
        &self,
        shop: ShopId,
        user: &UserId,
        sku: SkuId,
        line: CartLineSetting,
    ) -> Result<Option<Cart>, StoreError> {
        let user = user.clone();
        self.writer
            .write(Commit::Shared, move |connection| {
                buyers::set_cart_line(connection, shop, &user, sku, line)
            })
            .await
    }

    async fn remove_cart_lines(
        &self,
        shop: ShopId,
        user: &UserId,
        sku: Option<SkuId>,
    ) -> Result<Cart, StoreError> {
        let user = user.clone();
        self.writer
            .write(Commit::Shared, move |connection| buyers::remove_cart_lines(connection, shop, &user, sku))
            .await
    }

    async fn add_address(
        &self,
        shop: ShopId,
        user: &UserId,
        id: AddressId,
        address: Address,
    ) -> Result<(), StoreError> {
        let user = user.clone();
        self.writer
            .write(Commit::Shared, move |connection| {
                buyers::add_address(connection, shop, &user, id, &address)
            })
            .await
    }

    async fn address(
        &self,
        shop: ShopId,
        user: &UserId,
        id: AddressId,
    ) -> Result<Option<Address>, StoreError> {
        let user = user.clone();
        self.readers
            .read(move |connection| place::read_address(connection, shop, &user, id.0.as_bytes()))
            .await
    }

    async fn addresses(&self, shop: ShopId, user: &UserId) -> Result<Vec<(AddressId, Address)>, StoreError> {
        let user = user.clone();
        self.readers.read(move |connection| buyers::list_addresses(connection, shop, &user)).await
    }

    async fn delete_address(&self, shop: ShopId, user: &UserId, id: AddressId) -> Result<bool, StoreError> {
        let user = user.clone();
        self.writer
            .write(Commit::Shared, move |connection| buyers::delete_address(connection, shop, &user, id))
            .await
    }

    async fn service_keys(&self) -> Result<Vec<ServiceKey>, StoreError> {
        self.readers.read(service_keys::list).await
    }

    async fn add_service_key(&self, key: ServiceKey) -> Result<(), StoreError> {
        self.writer.write(Commit::Shared, move |connection| service_keys::add(connection, &key)).await
    }

    async fn revoke_service_keys(
        &self,
        label: &str,
        made_before: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        let label = label.to_owned();
        self.writer
            .write(Commit::Shared, move |connection| {
                service_keys::revoke(connection, &label, made_before, at)
            })
            .await
    }

    async fn forget_refusals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .write(Commit::Shared, move |connection| orders::forget_refusals(connection, before, limit))
            .await
    }

    async fn check(&self) -> Result<CheckReport, StoreError> {
        self.readers.read(invariants::check).await
    }

    fn gathers(&self) -> bool {
        false
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.write(Commit::Shared, |_| Ok(())).await
    }

    async fn close(&self) {
        self.writer.close().await;
        let threads = std::mem::take(&mut *self.threads.lock().expect("never poisoned"));
        for thread in threads {
            tokio::task::spawn_blocking(move || thread.join()).await.ok();
        }
        self.readers.close();
    }
}
