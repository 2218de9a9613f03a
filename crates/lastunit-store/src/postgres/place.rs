//! Placing a batch: lock and read what deciding needs, decide, write all of it. Each step is one round trip, however
//! many orders there are.

use std::collections::{BTreeSet, HashMap};

use lastunit::{
    Address, Amount, Basket, CartLineSeen, CartSeen, CartSnapshot, Currency, Fingerprint, Kept, Locking,
    OrderId, OrderSeen, Outcome, PlaceOrder, ProductId, Reply, Seen, ShipTo, ShopId, ShopSettings, SkuId,
    SkuSeen, StoreError, UserId, Watched, decide,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    bind::{Param, get},
    calls::{self, Call},
    session::{Answer, PostgresSession},
    statements as sql,
    writes::{StockWrite, write},
};
use crate::remote::{bad_row, read_order};

/// What became of a batch.
pub(super) struct Placed {
    pub replies: Vec<Reply>,
    /// Whether there is something to commit.
    pub wrote: bool,
}

/// Reads, decides and writes in a transaction that the caller commits.
pub(super) async fn place(
    session: &mut PostgresSession,
    shop: ShopId,
    batch: &[PlaceOrder],
    locking: Locking,
    watched: &Watched,
) -> Result<Placed, StoreError> {
    session.prepare_for_orders().await?;
    step!("postgres.place.prepared");
    let lock = matches!(locking, Locking::Exclusive | Locking::Shared);
    let seen = read(session, shop, batch, lock).await?;
    if let Some(pause) = watched.read(batch, &seen) {
        tokio::time::sleep(pause).await;
    }
    step!("postgres.place.read");
    let before = (locking == Locking::None).then(|| seen.skus.clone());
    let decision = decide(batch, seen);
    let stock = match &before {
        Some(before) => StockWrite::Overwrite(before),
        None if lock => StockWrite::Locked,
        None => StockWrite::Guarded,
    };
    let wrote = write(session, shop, batch, &decision, stock).await?;
    watched.wrote(batch, &decision, before.as_ref());
    step!("postgres.place.written", when wrote);
    let replies = decision.replies;
    if !wrote && session.is_in_doubt() && replies.iter().any(|reply| reply.replayed) {
        session.write_nothing().await?;
        return Ok(Placed { replies, wrote: true });
    }
    Ok(Placed { replies, wrote })
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
/// With locks: carts by user, then SKUs by id; what is read after them is as fresh as they are. Without: the lines of
/// carts before their heads, so that an order that takes lines in between shows in the head.
async fn read(
    session: &mut PostgresSession,
    shop: ShopId,
    batch: &[PlaceOrder],
    lock: bool,
) -> Result<Seen, StoreError> {
    let wanted = Wanted::by(batch);
    let mut sku_ids = wanted.sku_ids;
    let mut carts: HashMap<UserId, CartSeen> = HashMap::new();
    let heads = || {
        let heads = if lock { sql::LOCK_CARTS } else { sql::CARTS };
        Call::rows(heads, shop, [users_of(&wanted.carts)])
    };

    // SKUs that only the store's carts name are to be locked with the others: so the carts are read by themselves.
    let carts_apart = !wanted.carts_in_store.is_empty();
    if carts_apart {
        let lines = Call::rows(sql::CART_LINES, shop, [users_of(&wanted.carts_in_store)]);
        let calls = if lock { [heads(), lines] } else { [lines, heads()] };
        let answers = calls::send(session, &calls).await?;
        step!("postgres.place.carts_read");
        let [first, second] = <[Answer; 2]>::try_from(answers).map_err(|_| lost_answer())?;
        let (heads, lines) = if lock { (first, second) } else { (second, first) };
        see_carts(&mut carts, &heads.rows())?;
        for row in &lines.rows() {
            let (id, line) = cart_line(row)?;
            if line.selected {
                sku_ids.insert(id);
            }
            carts.entry(user(row)?).or_default().lines.insert(id, line);
        }
    }

    let heads_too = !wanted.carts.is_empty() && !carts_apart;
    let mut calls = Vec::from_iter(heads_too.then(heads));
    let ids = sku_ids.iter().map(|id| id.get()).collect();
    calls.push(Call::rows(if lock { sql::LOCK_SKUS } else { sql::SKUS }, shop, [Param::Ints(ids)]));
    let keys = [
        Param::Texts(batch.iter().map(|order| order.request.user.as_str()).collect()),
        Param::Texts(batch.iter().map(|order| order.request.operation.as_str()).collect()),
        Param::Texts(batch.iter().map(|order| order.request.key.as_str()).collect()),
    ];
    calls.push(Call::rows(sql::SETTINGS_AND_KEYS, shop, keys));
    if !wanted.addresses.is_empty() {
        let users = wanted.addresses.iter().map(|(at, _)| batch[*at].request.user.as_str()).collect();
        let ids = wanted.addresses.iter().map(|(_, id)| *id).collect();
        calls.push(Call::rows(sql::ADDRESSES, shop, [Param::Texts(users), Param::Uuids(ids)]));
    }
    let mut answers = calls::send(session, &calls).await?.into_iter().map(Answer::rows);
    let mut next = || answers.next().ok_or_else(lost_answer);

    if heads_too {
        see_carts(&mut carts, &next()?)?;
    }
    let skus = next()?.iter().map(sku).collect::<Result<_, _>>()?;
    let keys = next()?;
    let settings = keys.first().map(shop_settings).transpose()?.ok_or(StoreError::NoSuchShop)?;
    let mut orders = vec![OrderSeen::default(); batch.len()];
    if !wanted.addresses.is_empty() {
        for row in &next()? {
            let at = wanted.addresses[place_of(get(row, 0)?)].0;
            orders[at].address = Some(address(row)?);
        }
    }
    for row in &keys {
        // None where no key is known.
        let Some(at) = get::<Option<i64>>(row, 3)?.map(place_of) else { continue };
        orders[at].kept = Some(kept(session, &batch[at], row).await?);
    }
    Ok(Seen { settings, skus, carts, orders })
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

fn see_carts(carts: &mut HashMap<UserId, CartSeen>, heads: &[Row]) -> Result<(), StoreError> {
    for row in heads {
        carts.entry(user(row)?).or_default().seq = number(row, 1)?;
    }
    Ok(())
}

fn user(row: &Row) -> Result<UserId, StoreError> {
    UserId::new(get::<String>(row, 0)?).map_err(|error| bad_row("cart_head or cart_line", error))
}

fn cart_line(row: &Row) -> Result<(SkuId, CartLineSeen), StoreError> {
    let id = SkuId::new(get(row, 1)?).map_err(|error| bad_row("cart_line", error))?;
    Ok((id, CartLineSeen { count: number(row, 2)?, selected: get(row, 3)? }))
}

fn sku(row: &Row) -> Result<(SkuId, SkuSeen), StoreError> {
    let id = SkuId::new(get(row, 0)?).map_err(|error| bad_row("sku", error))?;
    let sku = SkuSeen {
        product_id: ProductId::new(get(row, 1)?).map_err(|error| bad_row("sku", error))?,
        code: get::<&str>(row, 2)?.into(),
        name: get::<&str>(row, 3)?.into(),
        price: Amount::new(get(row, 4)?).map_err(|error| bad_row("sku", error))?,
        stock: get(row, 5)?,
        sales: get(row, 6)?,
        on_sale: get(row, 7)?,
    };
    Ok((id, sku))
}

fn shop_settings(row: &Row) -> Result<ShopSettings, StoreError> {
    let amount = |value| Amount::new(value).map_err(|error| bad_row("shop", error));
    Ok(ShopSettings {
        currency: Currency::new(get(row, 0)?).map_err(|error| bad_row("shop", error))?,
        freight: amount(get(row, 1)?)?,
        free_from: get::<Option<i64>>(row, 2)?.map(amount).transpose()?,
    })
}

fn address(row: &Row) -> Result<Address, StoreError> {
    serde_json::from_str(get(row, 1)?).map_err(|error| bad_row("address", error))
}

/// What is kept under the key of an order of the batch. Replays are rare: each reads its order by itself.
async fn kept(session: &mut PostgresSession, order: &PlaceOrder, row: &Row) -> Result<Kept, StoreError> {
    let bad = |why: String| bad_row("idempotency_key", why);
    let fingerprint: &[u8] = get(row, 4)?;
    let fingerprint =
        fingerprint.try_into().map_err(|_| bad("the fingerprint isn't 32 bytes long".into()))?;
    let outcome = match get::<Option<Uuid>>(row, 5)? {
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
            let refusal = get::<Option<&str>>(row, 6)?.unwrap_or_default();
            Outcome::Refused(serde_json::from_str(refusal).map_err(|error| bad(error.to_string()))?)
        }
    };
    Ok(Kept { fingerprint: Fingerprint(fingerprint), outcome })
}
