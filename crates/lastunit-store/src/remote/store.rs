//! The store itself: each call a transaction, tried again where somebody else was in the way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use lastunit::{
    Address, AddressId, CancelOutcome, Cart, CartLineSetting, CartLog, CartReading, CartSnapshot,
    CheckReport, ImportSummary, Locking, NewProduct, NextBatch, Order, OrderId, PlaceOrder, Product,
    ProductId, Reply, ServiceKey, ShopId, ShopSettings, Sku, SkuId, SkuPatch, StockChange, Store, StoreError,
    Timestamp, UserId,
};
use tokio::{
    sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{
    Access, Database, Session, buyers,
    catalogue::{self, CATALOGUE},
    invariants,
    orders::{self, Cancelable},
    service_keys,
};

/// The most calls at once; each waits a bounded time for a connection.
const MAX_CALLS: u32 = 1 << 16;
/// How often a transaction is tried in all. More often than an order, because nothing gathers these into batches.
const MAX_TRIES: u32 = 40;
/// How long after its start a call is still tried again: who waited for a lock in vain doesn't wait for it twice.
const TRY_AGAIN_FOR: Duration = Duration::from_secs(5);
/// The longest pause before another try.
const MAX_PAUSE: Duration = Duration::from_millis(32);

/// Shops in a database that is reached over connections.
pub struct RemoteStore<D> {
    database: D,
    /// A permit for each call under way.
    calls: Semaphore,
    line: Line,
}

impl<D: Database> RemoteStore<D> {
    pub(crate) fn new(database: D) -> Self {
        Self { database, calls: Semaphore::new(MAX_CALLS as usize), line: Line::default() }
    }

    /// Lets a call begin, at its first poll: one that began before [`Store::close`] is finished.
    fn enter(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let refused =
            || StoreError::Unavailable("the store is closed, or too many calls are under way".into());
        self.calls.try_acquire().map_err(|_| refused())
    }

    /// Begins a write with a cart's lock, by which edits of it and orders from it exclude each other. The first makes
    /// the row that is locked, in a transaction of its own.
    async fn begin_edit(&self, access: Access, shop: ShopId, user: &str) -> Result<D::Session, StoreError> {
        if let Some(session) = self.begin_locked(access, shop, user).await? {
            return Ok(session);
        }
        let mut session = self.database.begin(Access::Write).await?;
        let made = buyers::make_head(&mut session, shop, user).await;
        match end(session, made).await {
            // It may be there now, by whomsoever.
            Ok(()) | Err(StoreError::Conflict | StoreError::CommitUnknown(_)) => {}
            Err(error) => return Err(error),
        }
        self.begin_locked(access, shop, user).await?.ok_or(StoreError::Conflict)
    }

    async fn begin_locked(
        &self,
        access: Access,
        shop: ShopId,
        user: &str,
    ) -> Result<Option<D::Session>, StoreError> {
        let mut session = self.database.begin(access).await?;
        let locked = buyers::lock_head(&mut session, shop, user).await;
        if locked == Ok(true) {
            return Ok(Some(session));
        }
        session.roll_back().await;
        locked.map(|_| None)
    }

    async fn try_to_place(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        locking: Locking,
    ) -> Result<Vec<Reply>, StoreError> {
        let placed = self.database.place(shop, orders.clone(), locking).await;
        self.database.watched().ended(&orders, &placed);
        placed
    }

    async fn try_to_cancel(
        &self,
        shop: ShopId,
        user: &UserId,
        id: OrderId,
        at: Timestamp,
    ) -> Result<CancelOutcome, StoreError> {
        let mut session = self.database.begin(Access::Read).await?;
        let seen = orders::read_cancelable(&mut session, shop, user, id).await;
        let (order, units) = match end(session, seen).await? {
            Cancelable::Decided(outcome) => return Ok(outcome),
            Cancelable::Order(order, units) => (order, units),
        };
        let mut session = self.database.begin(Access::Write).await?;
        let canceled = orders::cancel(&mut session, shop, order, &units, at).await;
        end(session, canceled).await
    }
}

/// Commits what succeeded, undoes what didn't.
async fn end<T>(session: impl Session, result: Result<T, StoreError>) -> Result<T, StoreError> {
    match result {
        Ok(value) => session.commit().await.map(|()| value),
        Err(error) => {
            session.roll_back().await;
            Err(error)
        }
    }
}

/// Whoever was in somebody's way tries again when it is their turn: of many who change one row at once each gets
/// through, also where each sees a snapshot, so that a lock that was waited for comes with a conflict.
#[derive(Default)]
struct Line {
    turn: Mutex<()>,
    /// Counts who stands in it, to tell them apart.
    stood: AtomicU32,
}

/// The tries of one call.
struct Tries<'a> {
    access: Access,
    line: &'a Line,
    turn: Option<MutexGuard<'a, ()>>,
    begun: Instant,
    made: u32,
    /// Of an earlier try, why it is unknown whether it was committed.
    unknown: Option<String>,
}

impl<'a> Tries<'a> {
    fn new(access: Access, line: &'a Line) -> Self {
        Self { access, line, turn: None, begun: Instant::now(), made: 0, unknown: None }
    }

    /// Whether an earlier try may have been committed.
    fn may_be_done(&self) -> bool {
        self.unknown.is_some()
    }

    async fn stand_in_line(&mut self) {
        if self.turn.is_none() {
            let patience = TRY_AGAIN_FOR.saturating_sub(self.begun.elapsed());
            self.turn = timeout(patience, self.line.turn.lock()).await.ok();
        }
    }

    /// Grows, and differs between servers that wait at the same time.
    fn pause(&self) -> Duration {
        const GOLDEN_RATIO: u32 = 0x9E37_79B9;
        let limit = Duration::from_millis(1 << self.made.min(10)).min(MAX_PAUSE);
        let spread = self.line.stood.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN_RATIO);
        limit.mul_f64(f64::from(spread) / f64::from(u32::MAX))
    }

    /// What the call comes to, or `None` after a pause if it is to be tried again.
    async fn result<T>(&mut self, result: Result<T, StoreError>) -> Option<Result<T, StoreError>> {
        self.made += 1;
        let again = self.made < MAX_TRIES && self.begun.elapsed() < TRY_AGAIN_FOR;
        let error = match result {
            Err(StoreError::CommitUnknown(why)) if self.access.writes() => {
                self.unknown.get_or_insert(why);
                StoreError::Conflict
            }
            // What only reads leaves nothing behind.
            Err(StoreError::CommitUnknown(why)) => StoreError::Unavailable(why),
            Err(error) => error,
            Ok(value) => return Some(Ok(value)),
        };
        match (error, self.unknown.take()) {
            (StoreError::Conflict, unknown) if again => {
                self.unknown = unknown;
                self.stand_in_line().await;
                tokio::time::sleep(self.pause()).await;
                None
            }
            (StoreError::Conflict | StoreError::Unavailable(_), Some(why)) => {
                Some(Err(StoreError::CommitUnknown(why)))
            }
            (StoreError::Conflict, None) => {
                Some(Err(StoreError::Unavailable("others were in the way at every try".into())))
            }
            (error, _) => Some(Err(error)),
        }
    }
}

/// Runs `$work` on the session that `$begin` gives, until it is done or can't be. `$again` tells it whether an
/// earlier try may have been committed: every such work has to be safe to repeat, and says how.
macro_rules! tried {
    ($store:ident, $access:expr, $begin:expr, |$session:ident, $again:pat_param| $work:expr) => {{
        let _call = $store.enter()?;
        let mut tries = Tries::new($access, &$store.line);
        loop {
            let $again = tries.may_be_done();
            let result = match $begin.await {
                Ok(mut begun) => {
                    let $session = &mut begun;
                    let result = $work.await;
                    end(begun, result).await
                }
                Err(error) => Err(error),
            };
            if let Some(result) = tries.result(result).await {
                break result;
            }
        }
    }};
}

macro_rules! transaction {
    ($store:ident, $access:expr, |$session:ident| $work:expr) => {
        transaction!($store, $access, |$session, _| $work)
    };
    ($store:ident, $access:expr, |$session:ident, $again:pat_param| $work:expr) => {
        tried!($store, $access, $store.database.begin($access), |$session, $again| $work)
    };
}

/// A write under the lock of the cart of `$user`.
macro_rules! edit {
    ($store:ident, $access:expr, $shop:expr, $user:expr, |$session:ident, $again:pat_param| $work:expr) => {
        tried!($store, $access, $store.begin_edit($access, $shop, $user), |$session, $again| $work)
    };
}

#[async_trait::async_trait]
impl<D: Database> Store for RemoteStore<D> {
    async fn place(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        locking: Locking,
        _next: &NextBatch,
    ) -> Result<Vec<Reply>, StoreError> {
        let _call = self.enter()?;
        if !self.database.turns_away(locking) {
            return self.try_to_place(shop, orders, locking).await;
        }
        let mut tries = Tries::new(Access::Write, &self.line);
        loop {
            let placed = self.try_to_place(shop, orders.clone(), locking).await;
            if let Some(result) = tries.result(placed).await {
                return result;
            }
        }
    }

    /// Repeated, the status tells what an earlier try did.
    async fn cancel(
        &self,
        shop: ShopId,
        user: &UserId,
        id: OrderId,
        at: Timestamp,
    ) -> Result<CancelOutcome, StoreError> {
        let _call = self.enter()?;
        let mut tries = Tries::new(Access::Write, &self.line);
        loop {
            let canceled = self.try_to_cancel(shop, user, id, at).await;
            if let Some(result) = tries.result(canceled).await {
                return result;
            }
        }
    }

    async fn order(&self, shop: ShopId, user: &UserId, id: OrderId) -> Result<Option<Order>, StoreError> {
        transaction!(self, Access::Read, |session| orders::read(session, shop, user, id))
    }

    async fn orders(
        &self,
        shop: ShopId,
        user: &UserId,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        transaction!(self, Access::Snapshot, |session| orders::list(session, shop, user, before, limit))
    }

    async fn sku(&self, shop: ShopId, id: SkuId) -> Result<Option<Sku>, StoreError> {
        transaction!(self, Access::Read, |session| catalogue::read_sku(session, shop, id))
    }

    async fn sku_by_code(&self, shop: ShopId, code: &str) -> Result<Option<Sku>, StoreError> {
        transaction!(self, Access::Read, |session| catalogue::read_sku_by_code(session, shop, code))
    }

    async fn skus(&self, shop: ShopId, after: Option<SkuId>, limit: usize) -> Result<Vec<Sku>, StoreError> {
        transaction!(self, Access::Read, |session| catalogue::list_skus(session, shop, after, limit))
    }

    async fn products(
        &self,
        shop: ShopId,
        after: Option<ProductId>,
        limit: usize,
    ) -> Result<Vec<Product>, StoreError> {
        transaction!(self, Access::Snapshot, |session| catalogue::list_products(session, shop, after, limit))
    }

    async fn create_product(
        &self,
        shop: ShopId,
        product: NewProduct,
        source: Uuid,
        at: Timestamp,
    ) -> Result<Product, StoreError> {
        edit!(self, Access::Write, shop, CATALOGUE, |session, again| {
            catalogue::create_product(session, shop, &product, source, at, again)
        })
    }

    async fn import(
        &self,
        shop: ShopId,
        products: Vec<NewProduct>,
        source: Uuid,
        at: Timestamp,
    ) -> Result<ImportSummary, StoreError> {
        let imported = edit!(self, Access::Import, shop, CATALOGUE, |session, _| {
            catalogue::import(session, shop, &products, source, at)
        });
        if imported.is_ok() {
            self.database.imported().await;
        }
        imported
    }

    async fn patch_sku(&self, shop: ShopId, id: SkuId, patch: SkuPatch) -> Result<Option<Sku>, StoreError> {
        transaction!(self, Access::Write, |session| catalogue::patch_sku(session, shop, id, &patch))
    }

    async fn change_stock(
        &self,
        shop: ShopId,
        id: SkuId,
        change: StockChange,
        source: Uuid,
        at: Timestamp,
    ) -> Result<Option<Sku>, StoreError> {
        transaction!(self, Access::Write, |session, again| {
            catalogue::change_stock(session, shop, id, &change, source, at, again)
        })
    }

    async fn settings(&self, shop: ShopId) -> Result<Option<ShopSettings>, StoreError> {
        transaction!(self, Access::Read, |session| catalogue::read_settings(session, shop))
    }

    async fn set_settings(
        &self,
        shop: ShopId,
        settings: ShopSettings,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        transaction!(self, Access::Write, |session| catalogue::write_settings(session, shop, &settings, at))
    }

    async fn cart(&self, shop: ShopId, user: &UserId) -> Result<Cart, StoreError> {
        transaction!(self, Access::Read, |session| buyers::read_cart(session, shop, user))
    }

    async fn cart_snapshot(
        &self,
        shop: ShopId,
        user: &UserId,
        _: CartReading,
    ) -> Result<CartSnapshot, StoreError> {
        let seqs = self.cart_seqs(shop, std::slice::from_ref(user)).await?;
        Ok(CartSnapshot::InStore { seq: seqs[0] })
    }

    async fn cart_seqs(&self, shop: ShopId, users: &[UserId]) -> Result<Vec<u64>, StoreError> {
        transaction!(self, Access::Read, |session| buyers::read_cart_seqs(session, shop, users))
    }

    async fn cart_log(
        &self,
        shop: ShopId,
        user: &UserId,
        after: u64,
        limit: usize,
    ) -> Result<CartLog, StoreError> {
        transaction!(self, Access::Read, |session| buyers::read_cart_log(session, shop, user, after, limit))
    }

    async fn price_cart(&self, shop: ShopId, lines: Vec<(SkuId, u32, bool)>) -> Result<Cart, StoreError> {
        transaction!(self, Access::Snapshot, |session| buyers::price_cart(session, shop, &lines))
    }

    /// Not repeated where an earlier try may have been committed: an order may have taken the line since, and a repetition
    /// would put it back.
    async fn set_cart_line(
        &self,
        shop: ShopId,
        user: &UserId,
        sku: SkuId,
        line: CartLineSetting,
    ) -> Result<Option<Cart>, StoreError> {
        let set = edit!(self, Access::Write, shop, user.as_str(), |session, again| async {
            if again {
                return Err(StoreError::Unavailable("a cart's line may have been set".into()));
            }
            buyers::set_cart_line(session, shop, user, sku, line).await
        });
        // Where there is no shop there is no SKU.
        if set == Err(StoreError::NoSuchShop) { Ok(None) } else { set }
    }

    /// A repetition finds nothing more to remove.
    async fn remove_cart_lines(
        &self,
        shop: ShopId,
        user: &UserId,
        sku: Option<SkuId>,
    ) -> Result<Cart, StoreError> {
        edit!(self, Access::Write, shop, user.as_str(), |session, _| {
            buyers::remove_cart_lines(session, shop, user, sku)
        })
    }

    async fn add_address(
        &self,
        shop: ShopId,
        user: &UserId,
        id: AddressId,
        address: Address,
    ) -> Result<(), StoreError> {
        edit!(self, Access::Write, shop, user.as_str(), |session, _| {
            buyers::add_address(session, shop, user, id, &address)
        })
    }

    async fn address(
        &self,
        shop: ShopId,
        user: &UserId,
        id: AddressId,
    ) -> Result<Option<Address>, StoreError> {
        transaction!(self, Access::Read, |session| buyers::read_address(session, shop, user, id))
    }

    async fn addresses(&self, shop: ShopId, user: &UserId) -> Result<Vec<(AddressId, Address)>, StoreError> {
        transaction!(self, Access::Read, |session| buyers::list_addresses(session, shop, user))
    }

    /// What an earlier try deleted, a repetition doesn't find.
    async fn delete_address(&self, shop: ShopId, user: &UserId, id: AddressId) -> Result<bool, StoreError> {
        let mut deleted = false;
        transaction!(self, Access::Write, |session, again| async {
            deleted = buyers::delete_address(session, shop, user, id).await? || again && deleted;
            Ok(deleted)
        })
    }

    async fn service_keys(&self) -> Result<Vec<ServiceKey>, StoreError> {
        transaction!(self, Access::Read, |session| service_keys::list(session))
    }

    async fn add_service_key(&self, key: ServiceKey) -> Result<(), StoreError> {
        transaction!(self, Access::Write, |session| service_keys::add(session, &key))
    }

    /// What an earlier try revoked, a repetition doesn't find.
    async fn revoke_service_keys(
        &self,
        label: &str,
        made_before: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut revoked = 0;
        transaction!(self, Access::Write, |session, again| async {
            let earlier = if again { revoked } else { 0 };
            revoked = service_keys::revoke(session, label, made_before, at).await?.max(earlier);
            Ok(revoked)
        })
    }

    /// A repetition forgets others; those of an earlier try that was committed aren't counted.
    async fn forget_refusals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        transaction!(self, Access::Write, |session| orders::forget_refusals(session, before, limit))
    }

    async fn check(&self) -> Result<CheckReport, StoreError> {
        transaction!(self, Access::Check, |session| invariants::check(session))
    }

    fn gathers(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<(), StoreError> {
        transaction!(self, Access::Read, |session| async { session.texts("SELECT 1", 1).await.map(drop) })
    }

    async fn close(&self) {
        // All permits: those of the calls under way come back when they are done.
        if let Ok(permits) = self.calls.acquire_many(MAX_CALLS).await {
            self.calls.close();
            drop(permits);
        }
        self.database.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a call comes to whose tries end so, one after the other.
    async fn tried(access: Access, ends: &[Result<(), StoreError>]) -> Option<Result<(), StoreError>> {
        let line = Line::default();
        let mut tries = Tries::new(access, &line);
        for end in ends {
            let result = tries.result(end.clone()).await;
            if result.is_some() {
                return result;
            }
        }
        None
    }

    fn unavailable(why: &str) -> Result<(), StoreError> {
        Err(StoreError::Unavailable(why.into()))
    }

    fn unknown(why: &str) -> Result<(), StoreError> {
        Err(StoreError::CommitUnknown(why.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_is_tried_again_but_not_for_ever() {
        let conflict = Err(StoreError::Conflict);
        assert_eq!(tried(Access::Write, &[conflict.clone(), Ok(())]).await, Some(Ok(())));
        let ends = vec![conflict; MAX_TRIES as usize];
        assert_eq!(tried(Access::Write, &ends[1..]).await, None);
        assert_eq!(
            tried(Access::Write, &ends).await,
            Some(unavailable("others were in the way at every try"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_committed_is_never_said_not_to_be() {
        for after in [unavailable("gone"), unknown("again")] {
            let mut ends = vec![unknown("lost"); MAX_TRIES as usize - 1];
            ends.push(after);
            assert_eq!(tried(Access::Write, &ends).await, Some(unknown("lost")));
        }
        assert_eq!(
            tried(Access::Write, &[unknown("lost"), unavailable("gone")]).await,
            Some(unknown("lost"))
        );
        assert_eq!(tried(Access::Write, &[unknown("lost"), Ok(())]).await, Some(Ok(())));
        assert_eq!(tried(Access::Read, &[unknown("lost")]).await, Some(unavailable("lost")));
    }
}
