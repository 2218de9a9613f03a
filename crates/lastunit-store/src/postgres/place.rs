//! Placing a batch: lock and read what deciding needs, decide, write all of it. Each step is one round trip, however
//! many orders there are.

use std::{
    collections::{BTreeSet, HashMap},
    mem::replace,
    slice::from_ref,
};

use lastunit::{
    Address, Amount, Basket, CartLineSeen, CartSeen, CartSnapshot, Currency, Decision, Fingerprint, Kept,
    Locking, OrderId, OrderSeen, Outcome, PlaceOrder, ProductId, Reply, Seen, ShipTo, ShopId, ShopSettings,
    SkuId, SkuSeen, StoreError, UserId, Watched, decide,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    bind::{Param, get},
    calls::{self, Call},
    session::{Answer, PostgresSession},
    statements as sql,
    writes::{self, Decided, StockWrite, Writes},
};
use crate::remote::{Session, bad_row, read_order};

/// Reads, decides, writes and commits.
pub(super) async fn place(
    mut session: PostgresSession,
    shop: ShopId,
    batch: &[PlaceOrder],
    locking: Locking,
    watched: &Watched,
) -> Result<Vec<Reply>, StoreError> {
    let placed = try_to_place(&mut session, shop, batch, locking, watched).await;
    // What isn't committed by now is not to be.
    session.roll_back().await;
    placed
}

async fn try_to_place(
    session: &mut PostgresSession,
    shop: ShopId,
    batch: &[PlaceOrder],
    locking: Locking,
    watched: &Watched,
) -> Result<Vec<Reply>, StoreError> {
    session.prepare_for_orders().await?;
    step!("postgres.place.prepared");
    let lock = matches!(locking, Locking::Exclusive | Locking::Shared);
    let seen = see(session, shop, batch, lock).await?;
    if let Some(pause) = watched.read(batch, &seen) {
        tokio::time::sleep(pause).await;
    }
    step!("postgres.place.read");
    let before = (locking == Locking::None).then(|| seen.skus.clone());
    let decision = decide(batch, seen);
    let decided = Decided::of(batch, &decision)?;
    if decided.is_empty() {
        if session.is_in_doubt() && decision.replies.iter().any(|reply| reply.replayed) {
            session.write_nothing().await?;
            session.commit_written(None).await?;
        }
        return Ok(decision.replies);
    }
    let stock = match &before {
        Some(before) => StockWrite::Overwrite(before),
        None if lock => StockWrite::Locked,
        None => StockWrite::Guarded,
    };
    let mut writes = Writes::of(shop, &decision, &decided, stock);
    writes.send_guards(session).await?;
    step!("postgres.place.guarded");
    if watched.is_watched() {
        // Who watches sees the transaction before it is committed.
        calls::send(session, from_ref(&writes.last)).await?;
        watched.wrote(batch, &decision, before.as_ref());
        session.commit_written(None).await?;
    } else {
        session.commit_written(Some(&writes.last)).await?;
    }
    Ok(decision.replies)
}

/// Runs the statements of most batches on nothing. Their plans stay with the connection.
pub(super) async fn rehearse(session: &mut PostgresSession) -> Result<(), StoreError> {
    session.prepare_for_orders().await?;
    match see(session, ShopId::FIRST, &[], true).await {
        Ok(_) | Err(StoreError::NoSuchShop) => {}
        Err(error) => return Err(error),
    }
    calls::send(session, &writes::nothing(&Decision::default())).await.map(drop)
}

/// What a batch names.
#[derive(Default)]
struct Wanted<'a> {
    sku_ids: BTreeSet<SkuId>,
    carts: BTreeSet<&'a str>,
    carts_in_store: BTreeSet<&'a str>,
    /// Saved addresses, with the place in the batch of the order that names them.
    addresses: Vec<(usize, Uuid)>,
}

impl<'a> Wanted<'a> {
    fn by(batch: &'a [PlaceOrder]) -> Self {
        let mut wanted = Self::default();
        for (at, order) in batch.iter().enumerate() {
            let user = order.request.user.as_str();
            if let ShipTo::Saved(id) = order.request.ship_to {
                wanted.addresses.push((at, id.0));
            }
            match &order.request.basket {
                Basket::Lines(demand) => {
                    wanted.sku_ids.extend(demand.lines().iter().map(|line| line.sku_id));
                    continue;
                }
                Basket::Cart => drop(wanted.carts.insert(user)),
            }
            match &order.cart {
                CartSnapshot::InStore { .. } => drop(wanted.carts_in_store.insert(user)),
                CartSnapshot::Elsewhere { selected, .. } => {
                    wanted.sku_ids.extend(selected.iter().map(|line| line.0));
                }
                CartSnapshot::Unreachable => {}
            }
        }
        wanted
    }
}

/// Everything that deciding the batch may need.
///
/// With locks: carts by user, then SKUs by id. Without: the lines of carts before their heads, so that an order that takes
/// lines in between shows in the head.
async fn see(
    session: &mut PostgresSession,
    shop: ShopId,
    batch: &[PlaceOrder],
    lock: bool,
) -> Result<Seen, StoreError> {
    let wanted = Wanted::by(batch);
    let mut sku_ids = wanted.sku_ids;
    let mut carts: HashMap<UserId, CartSeen> = HashMap::new();
    let mut heads = users_of(&wanted.carts);

    // SKUs that only the store's carts name are to be locked with the others: so these carts are read before.
    if !wanted.carts_in_store.is_empty() {
        let lines = Call::rows(sql::CART_LINES, shop, [users_of(&wanted.carts_in_store)]);
        let lines = if lock {
            // All carts, since they come before SKUs.
            let locked = Call::rows(sql::LOCK_CARTS, shop, [replace(&mut heads, Param::Texts(Vec::new()))]);
            let answers = calls::send(session, &[locked, lines]).await?;
            let [locked, lines] = <[Answer; 2]>::try_from(answers).map_err(|_| lost_answer())?;
            for row in &locked.rows() {
                carts.entry(user(row, 0)?).or_default().seq = number(row, 1)?;
            }
            lines
        } else {
            calls::send(session, &[lines]).await?.pop().ok_or_else(lost_answer)?
        };
        step!("postgres.place.carts_read");
        for row in &lines.rows() {
            let id = sku_id(row, 1)?;
            let line = CartLineSeen { count: number(row, 2)?, selected: get(row, 3)? };
            if line.selected {
                sku_ids.insert(id);
            }
            carts.entry(user(row, 0)?).or_default().lines.insert(id, line);
        }
    }

    let params = [
        heads,
        Param::Ints(sku_ids.iter().map(|id| id.get()).collect()),
        Param::Texts(batch.iter().map(|order| order.request.user.as_str()).collect()),
        Param::Texts(batch.iter().map(|order| order.request.operation.as_str()).collect()),
        Param::Texts(batch.iter().map(|order| order.request.key.as_str()).collect()),
        Param::Texts(wanted.addresses.iter().map(|(at, _)| batch[*at].request.user.as_str()).collect()),
        Param::Uuids(wanted.addresses.iter().map(|(_, id)| *id).collect()),
    ];
    let sql = if lock { sql::LOCK_AND_SEE } else { sql::SEE };
    let answer =
        calls::send(session, &[Call::rows(sql, shop, params)]).await?.pop().ok_or_else(lost_answer)?;
    let mut settings = None;
    let mut skus = HashMap::new();
    let mut orders = vec![OrderSeen::default(); batch.len()];
    for row in &answer.rows() {
        match get::<i64>(row, column::PART)? {
            1 => carts.entry(user(row, column::TEXT)?).or_default().seq = number(row, column::NUMBER)?,
            2 => drop(skus.insert(sku_id(row, column::NUMBER)?, sku(row)?)),
            3 => {
                let at = place_of(get(row, column::NUMBER)?);
                orders[at].kept = Some(kept(session, &batch[at], row).await?);
            }
            4 => {
                let at = wanted.addresses[place_of(get(row, column::NUMBER)?)].0;
                orders[at].address = Some(address(row)?);
            }
            _ => settings = Some(shop_settings(row)?),
        }
    }
    Ok(Seen { settings: settings.ok_or(StoreError::NoSuchShop)?, skus, carts, orders })
}

/// The columns of [`sql::SEE`].
mod column {
    /// What the row is: 1 a cart, 2 a SKU, 3 a key that is known, 4 a saved address, 5 the shop.
    pub const PART: usize = 0;
    pub const NUMBER: usize = 1;
    pub const OTHER: usize = 2;
    pub const TEXT: usize = 3;
    pub const NAME: usize = 4;
    pub const PRICE: usize = 5;
    pub const STOCK: usize = 6;
    pub const SALES: usize = 7;
    pub const ON_SALE: usize = 8;
    pub const FINGERPRINT: usize = 9;
    pub const ORDER_ID: usize = 10;
}

fn users_of<'a>(carts: &BTreeSet<&'a str>) -> Param<'a> {
    Param::Texts(carts.iter().copied().collect())
}

fn lost_answer() -> StoreError {
    StoreError::Internal("a statement without an answer".into())
}

/// Which of those that were asked for; SQL counts from 1.
fn place_of(at: i64) -> usize {
    at as usize - 1
}

/// A number that fits into a smaller or unsigned one.
fn number<T: TryFrom<i64>>(row: &Row, at: usize) -> Result<T, StoreError> {
    let value: i64 = get(row, at)?;
    let column = || row.columns()[at].name();
    T::try_from(value).map_err(|_| StoreError::Internal(format!("{} {value} is out of range", column())))
}

fn user(row: &Row, at: usize) -> Result<UserId, StoreError> {
    UserId::new(get::<String>(row, at)?).map_err(|error| bad_row("cart_head or cart_line", error))
}

fn sku_id(row: &Row, at: usize) -> Result<SkuId, StoreError> {
    SkuId::new(get(row, at)?).map_err(|error| bad_row("sku or cart_line", error))
}

fn sku(row: &Row) -> Result<SkuSeen, StoreError> {
    Ok(SkuSeen {
        product_id: ProductId::new(get(row, column::OTHER)?).map_err(|error| bad_row("sku", error))?,
        code: get::<&str>(row, column::TEXT)?.into(),
        name: get::<&str>(row, column::NAME)?.into(),
        price: Amount::new(get(row, column::PRICE)?).map_err(|error| bad_row("sku", error))?,
        stock: get(row, column::STOCK)?,
        sales: get(row, column::SALES)?,
        on_sale: get(row, column::ON_SALE)?,
    })
}

fn shop_settings(row: &Row) -> Result<ShopSettings, StoreError> {
    let amount = |value| Amount::new(value).map_err(|error| bad_row("shop", error));
    Ok(ShopSettings {
        currency: Currency::new(get(row, column::TEXT)?).map_err(|error| bad_row("shop", error))?,
        freight: amount(get(row, column::NUMBER)?)?,
        free_from: get::<Option<i64>>(row, column::OTHER)?.map(amount).transpose()?,
    })
}

fn address(row: &Row) -> Result<Address, StoreError> {
    serde_json::from_str(get(row, column::TEXT)?).map_err(|error| bad_row("address", error))
}

/// What is kept under the key of an order of the batch. Replays are rare: each reads its order by itself.
async fn kept(session: &mut PostgresSession, order: &PlaceOrder, row: &Row) -> Result<Kept, StoreError> {
    let bad = |why: String| bad_row("idempotency_key", why);
    let fingerprint: &[u8] = get(row, column::FINGERPRINT)?;
    let fingerprint =
        fingerprint.try_into().map_err(|_| bad("the fingerprint isn't 32 bytes long".into()))?;
    let outcome = match get::<Option<Uuid>>(row, column::ORDER_ID)? {
        Some(id) => {
            let request = &order.request;
            let order = read_order(session, request.shop, &request.user, OrderId(id)).await?;
            step!("postgres.replay.order_read");
            let mut order = order.ok_or_else(|| bad("its order is missing".into()))?;
            // A replay answers as the first call did, whatever became of the order since.
            order.status = order.pay_method.first_status();
            Outcome::Placed(order.into())
        }
        None => {
            let refusal = get::<Option<&str>>(row, column::TEXT)?.unwrap_or_default();
            Outcome::Refused(serde_json::from_str(refusal).map_err(|error| bad(error.to_string()))?)
        }
    };
    Ok(Kept { fingerprint: Fingerprint(fingerprint), outcome })
}
