//! What must hold in the end, whatever happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lastunit::*;
use tokio::time::sleep;

use super::{
    book::{Asked, is_kept},
    chance::Chance,
    clients::outcome,
    database::{KeptUnder, KeyName, Put, Tables},
    place::key_name,
    shop::Shop,
};

pub(super) const STOCK_NOT_NEGATIVE: &str = "stock_not_negative";
pub(super) const STOCK_MATCHES_LEDGER: &str = "stock_matches_ledger";
pub(super) const SALES_MATCH_ORDERS: &str = "sales_match_orders";
pub(super) const ORDER_TOTALS: &str = "order_totals_match_lines";
pub(super) const ORDER_MOVEMENTS: &str = "sold_once_and_restocked_once_if_canceled";
pub(super) const ONE_KEY: &str = "orders_have_one_key";
pub(super) const EVENTS: &str = "orders_have_their_events";
pub(super) const CURRENT_PRICE: &str = "sold_at_the_current_price";
pub(super) const ASKED_FOR: &str = "orders_were_asked_for";
pub(super) const ACKNOWLEDGED_STANDS: &str = "what_was_acknowledged_stands";
pub(super) const SAME_ANSWER: &str = "a_key_has_one_answer";
pub(super) const ANSWERED_IN_THE_END: &str = "every_key_is_answered_in_the_end";
pub(super) const REFUSED_HAS_NO_ORDER: &str = "a_refused_key_has_no_order";
pub(super) const CANCELED_ON_REQUEST: &str = "canceled_only_on_request";
pub(super) const STOCK_CHANGED_ONCE: &str = "stock_is_changed_once_a_call";
pub(super) const CART_UNITS: &str = "units_of_a_cart_are_left_or_ordered_once";
pub(super) const CART_NUMBERS: &str = "orders_of_a_cart_are_numbered_without_gaps";
pub(super) const CART_ORDERABLE: &str = "a_cart_can_be_ordered";
pub(super) const CALLS_END: &str = "every_call_ends";
pub(super) const KNOWN_ERRORS: &str = "only_documented_errors";
pub(super) const DRAINS: &str = "engines_drain";
pub(super) const NO_PANIC: &str = "nothing_panics";

impl Shop {
    /// Asks for everything whose outcome isn't known, until it is, and then once more.
    pub async fn resolve(self: &Arc<Self>, chance: &Chance) {
        for round in ["asked", "asked again"] {
            let count = self.book.open().orders.len();
            for number in 0..count {
                if self.ask_until_answered(number, chance).await.is_none() {
                    let detail = format!("order {number}, {round} when all was well");
                    self.world.violation(ANSWERED_IN_THE_END, detail);
                }
            }
        }
        let changes = self.book.open().stock_changes.len();
        for number in 0..changes {
            self.change_until_answered(number, chance).await;
        }
    }

    async fn change_until_answered(&self, number: usize, chance: &Chance) {
        for _ in 0..10 {
            if self.change_stock(number, chance).await {
                return;
            }
            sleep(chance.millis(1..=50)).await;
        }
        let detail = format!("stock change {number}, when all was well");
        self.world.violation(ANSWERED_IN_THE_END, detail);
    }

    async fn ask_until_answered(&self, number: usize, chance: &Chance) -> Option<Reply> {
        for _ in 0..10 {
            let reply = self.send(number, chance, true).await;
            let unreachable = Outcome::Rejected(Rejection::CartUnreachable);
            if let Some(reply) = reply.filter(|reply| reply.outcome != unreachable) {
                return Some(reply);
            }
            sleep(chance.millis(1..=50)).await;
        }
        None
    }

    /// Orders each cart that isn't empty, and gives what is left of it: it must not be said to have changed.
    pub async fn order_carts(self: &Arc<Self>, chance: &Chance) -> BTreeMap<(UserId, SkuId), i64> {
        let mut left = BTreeMap::new();
        for user in &self.users {
            let cart = self.read_cart(user, chance).await;
            if cart.iter().any(|line| line.selected) {
                let request = PlaceRequest {
                    shop: ShopId::FIRST,
                    user: user.clone(),
                    operation: Operation::PlaceOrder,
                    key: IdempotencyKey::new(format!("the last of {user}")).expect("a valid key"),
                    basket: Basket::Cart,
                    ship_to: ShipTo::Given(Address::example()),
                    pay_method: PayMethod::Online,
                    expected_total: None,
                };
                let number = self.book.asked(request);
                let reply = self.ask_until_answered(number, chance).await.map(|reply| reply.outcome);
                if let None | Some(Outcome::Refused(Refusal::CartChanged | Refusal::EmptyCart)) = reply {
                    let detail = format!("the cart of {user}, {cart:?}: {reply:?}");
                    self.world.violation(CART_ORDERABLE, detail);
                }
            }
            for line in self.read_cart(user, chance).await {
                left.insert((user.clone(), line.sku_id), i64::from(line.count));
            }
        }
        left
    }

    async fn read_cart(&self, user: &UserId, chance: &Chance) -> Vec<CartLine> {
        for _ in 0..10 {
            let (_, process) = self.some_server(chance).await;
            if let Ok(cart) = process.store.cart(ShopId::FIRST, user).await {
                return cart.lines;
            }
            sleep(chance.millis(1..=50)).await;
        }
        self.world.violation(CART_ORDERABLE, format!("the cart of {user} can't be read when all is well"));
        Vec::new()
    }

    /// Checks the tables by themselves, and against what the clients were told. `left`: what is in the carts.
    pub fn check(&self, left: &BTreeMap<(UserId, SkuId), i64>) {
        let tables = self.db.tables();
        for wrong in &tables.wrong {
            self.world.violation(wrong.invariant, wrong.detail.clone());
        }
        self.check_stock(&tables);
        self.check_orders(&tables);
        self.check_answers(&tables);
        self.check_stock_changes(&tables);
        self.check_carts(&tables, left);
    }

    fn check_stock(&self, tables: &Tables) {
        let standing = || tables.orders.iter().filter(|(_, row)| row.order.status != OrderStatus::Canceled);
        let mut sold_of_product: BTreeMap<_, i64> = BTreeMap::new();
        for (&(shop, sku), row) in &tables.skus {
            let of_sku = |movement: &&super::database::Movement| (movement.shop, movement.sku) == (shop, sku);
            let ledger: i64 = tables.ledger.iter().filter(of_sku).map(|movement| movement.delta).sum();
            let lines = standing()
                .filter(|((at, _), _)| *at == shop)
                .flat_map(|(_, row)| &row.order.lines)
                .filter(|line| line.sku_id == sku);
            let ordered: i64 = lines.map(|line| i64::from(line.count)).sum();
            if row.stock < 0 {
                self.world.violation(STOCK_NOT_NEGATIVE, format!("SKU {sku} of shop {shop}: {}", row.stock));
            }
            if row.stock != ledger {
                let detail = format!("SKU {sku} of shop {shop}: {} and {ledger}", row.stock);
                self.world.violation(STOCK_MATCHES_LEDGER, detail);
            }
            if row.sales != ordered {
                let detail = format!("SKU {sku} of shop {shop}: {} and {ordered}", row.sales);
                self.world.violation(SALES_MATCH_ORDERS, detail);
            }
            *sold_of_product.entry((shop, row.product_id)).or_default() += row.sales;
        }
        for (product, sales) in sold_of_product {
            let kept = tables.products.get(&product).copied().unwrap_or(0);
            if kept != sales {
                let detail = format!("product {product:?}: {kept}, its SKUs: {sales}");
                self.world.violation(SALES_MATCH_ORDERS, detail);
            }
        }
    }

    fn check_orders(&self, tables: &Tables) {
        let book = self.book.open();
        for (&(shop, id), row) in &tables.orders {
            let order = &row.order;
            let canceled = order.status == OrderStatus::Canceled;

            let goods: i64 =
                order.lines.iter().map(|line| i64::from(line.count) * line.unit_price.get()).sum();
            let count: u64 = order.lines.iter().map(|line| u64::from(line.count)).sum();
            let total = order.goods_amount.get() + order.freight.get();
            let as_stored = (order.goods_amount.get(), order.total_count, order.total_amount.get());
            if order.lines.is_empty() || as_stored != (goods, count, total) {
                self.world.violation(ORDER_TOTALS, format!("{order:?}"));
            }

            let mut movements: Vec<(SkuId, &str, i64)> = tables
                .ledger
                .iter()
                .filter(|movement| movement.source == id.0)
                .map(|movement| (movement.sku, movement.kind, movement.delta))
                .collect();
            let mut expected: Vec<(SkuId, &str, i64)> = Vec::new();
            for line in &order.lines {
                let units = i64::from(line.count);
                expected.push((line.sku_id, "sold", -units));
                expected.extend(canceled.then_some((line.sku_id, "restocked", units)));
            }
            movements.sort_unstable();
            expected.sort_unstable();
            if movements != expected {
                let detail = format!("order {id}, {:?}: {movements:?}", order.status);
                self.world.violation(ORDER_MOVEMENTS, detail);
            }

            let events: Vec<&str> =
                tables.events.iter().filter(|event| event.0 == id).map(|event| event.1).collect();
            let expected: &[&str] =
                if canceled { &["order.placed", "order.canceled"] } else { &["order.placed"] };
            if events != expected {
                self.world.violation(EVENTS, format!("order {id}, {:?}: {events:?}", order.status));
            }

            let keys: Vec<&KeyName> = tables
                .keys
                .iter()
                .filter(|(_, key)| matches!(key.kept, KeptUnder::Order(of) if of == id))
                .map(|(name, _)| name)
                .collect();
            match keys[..] {
                [name] if name.0 == shop && name.1 == row.user => {
                    let asked = |asked: &&Asked| key_name(&asked.request) == *name && is_of(order, asked);
                    if !book.orders.iter().filter(|asked| asked.sent).any(|it| asked(&it)) {
                        let detail = format!("order {id} of {} under {name:?}", row.user);
                        self.world.violation(ASKED_FOR, detail);
                    }
                }
                _ => self.world.violation(ONE_KEY, format!("order {id} of {}: {keys:?}", row.user)),
            }

            let asked_to_cancel = book.cancels.get(&(shop, row.user.clone(), id));
            if canceled && asked_to_cancel.is_none() {
                self.world.violation(CANCELED_ON_REQUEST, format!("order {id}"));
            }
            if !canceled && asked_to_cancel == Some(&true) {
                let detail = format!("order {id} isn't canceled, and its buyer was told so");
                self.world.violation(ACKNOWLEDGED_STANDS, detail);
            }
        }
    }

    /// What each key was answered, against itself and against the tables.
    fn check_answers(&self, tables: &Tables) {
        let book = self.book.open();
        let mut by_key: BTreeMap<KeyName, Vec<&Asked>> = BTreeMap::new();
        for asked in &book.orders {
            by_key.entry(key_name(&asked.request)).or_default().push(asked);
        }
        for (name, all) in by_key {
            let replies: Vec<&Reply> =
                all.iter().flat_map(|asked| &asked.replies).filter(|reply| is_kept(reply)).collect();
            let Some(first) = replies.first() else { continue };
            let answered: BTreeSet<String> = all
                .iter()
                .filter(|asked| asked.replies.iter().any(is_kept))
                .map(|asked| format!("{:?}", asked.request.fingerprint()))
                .collect();
            let differs = replies.iter().find(|reply| reply.outcome != first.outcome);
            if let Some(other) = differs {
                let detail = format!("{name:?}: {}, and {}", outcome(first), outcome(other));
                self.world.violation(SAME_ANSWER, detail);
            }
            if replies.iter().filter(|reply| !reply.replayed).count() > 1 || answered.len() > 1 {
                self.world.violation(SAME_ANSWER, format!("{name:?} was decided more than once"));
            }
            let kept = tables.keys.get(&name).map(|row| &row.kept);
            match &first.outcome {
                Outcome::Placed(told) => {
                    let row = tables.orders.get(&(name.0, told.id));
                    let as_told = row
                        .is_some_and(|row| Order { status: told.status, ..(*row.order).clone() } == **told);
                    if !as_told || !matches!(kept, Some(KeptUnder::Order(id)) if *id == told.id) {
                        let detail = format!("{name:?}: {}, which isn't there", outcome(first));
                        self.world.violation(ACKNOWLEDGED_STANDS, detail);
                    }
                }
                Outcome::Refused(_) => {
                    if matches!(kept, Some(KeptUnder::Order(_))) {
                        self.world.violation(REFUSED_HAS_NO_ORDER, format!("{name:?}: {}", outcome(first)));
                    }
                }
                Outcome::Rejected(_) => {}
            }
        }
    }

    fn check_stock_changes(&self, tables: &Tables) {
        for changed in &self.book.open().stock_changes {
            let rows: Vec<i64> = tables
                .ledger
                .iter()
                .filter(|movement| movement.source == changed.source)
                .map(|movement| movement.delta)
                .collect();
            let expected = if changed.last == Some(true) { vec![changed.change.delta] } else { Vec::new() };
            if rows != expected || changed.acknowledged && rows.is_empty() {
                let detail = format!("SKU {}: {rows:?} instead of {expected:?}", changed.sku);
                self.world.violation(STOCK_CHANGED_ONCE, detail);
            }
        }
    }

    fn check_carts(&self, tables: &Tables, left: &BTreeMap<(UserId, SkuId), i64>) {
        for user in &self.users {
            let seq = tables.cart_seq(ShopId::FIRST, user);
            let numbers: Vec<u64> =
                tables.cart_orders_after(ShopId::FIRST, user, 0).map(|(seq, _)| seq).collect();
            if !numbers.iter().copied().eq(1..=seq) {
                self.world.violation(CART_NUMBERS, format!("{user}: {numbers:?}, counted {seq}"));
            }
            for &(_, sku) in self.skus.iter().filter(|(shop, _)| *shop == ShopId::FIRST) {
                let units = (user.clone(), sku);
                let left = left.get(&units).copied().unwrap_or(0);
                let ordered: i64 = tables
                    .cart_orders_after(ShopId::FIRST, user, 0)
                    .flat_map(|(_, order)| &order.lines)
                    .filter(|line| line.sku_id == sku)
                    .map(|line| i64::from(line.count))
                    .sum();
                let (put, lost, races) = match &self.carts {
                    None => {
                        let put = tables.put.get(&(ShopId::FIRST, user.clone(), sku));
                        (put.copied().unwrap_or_default(), 0, false)
                    }
                    // What was removed while an order was taking it is taken by both.
                    Some(carts) => (carts.put(&units), carts.lost(&units), true),
                };
                let Put { added, removed } = put;
                let too_many = left + ordered > added - if races { 0 } else { removed };
                let too_few = left + ordered + removed + lost < added;
                if too_many || too_few {
                    let detail = format!(
                        "{user}, SKU {sku}: {added} put, {removed} removed, at most {lost} lost; {ordered} \
                         ordered, {left} left"
                    );
                    self.world.violation(CART_UNITS, detail);
                }
            }
        }
    }
}

/// Whether an order is what was asked for.
fn is_of(order: &Order, asked: &Asked) -> bool {
    let request = &asked.request;
    let lines = match &request.basket {
        Basket::Cart => true,
        Basket::Lines(demand) => {
            let ordered = order.lines.iter().map(|line| (line.sku_id, line.count));
            ordered.eq(demand.lines().iter().map(|line| (line.sku_id, line.count)))
        }
    };
    let total = request.expected_total.is_none_or(|expected| expected == order.total_amount);
    lines && total && order.pay_method == request.pay_method && order.address == Address::example()
}
