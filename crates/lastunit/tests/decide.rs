//! `decide` against a model that is obviously right: one order at a time, on plain maps and wide integers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use lastunit::*;
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use uuid::Uuid;

/// What a buyer sends, before the library has looked at it.
#[derive(Debug, Clone)]
struct Ask {
    user: u8,
    key: u8,
    origin: bool,
    /// `None`: the cart.
    lines: Option<Vec<(i64, u32)>>,
    /// `None`: an address given with the call.
    saved: Option<u8>,
    online: bool,
    expects: Expects,
}

#[derive(Debug, Clone, Copy)]
enum Expects {
    Nothing,
    TheTotal,
    Another,
}

/// A whole shop, as plain data.
#[derive(Debug, Clone, PartialEq)]
struct World {
    freight: i64,
    free_from: Option<i64>,
    skus: BTreeMap<i64, Row>,
    product_sales: BTreeMap<i64, i64>,
    carts: BTreeMap<u8, CartRow>,
    addresses: BTreeSet<(u8, u8)>,
    keys: BTreeMap<Scope, KeptRow>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    product: i64,
    price: i64,
    stock: i64,
    sales: i64,
    on_sale: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct CartRow {
    seq: u64,
    lines: BTreeMap<i64, (u32, bool)>,
}

/// User, whether it is the origin's call, key.
type Scope = (u8, bool, u8);

#[derive(Debug, Clone, PartialEq)]
struct KeptRow {
    fingerprint: Fingerprint,
    outcome: Outcome,
}

/// An ask on its way, with what the engine adds to it.
#[derive(Debug, Clone)]
struct Call {
    ask: Ask,
    order: PlaceOrder,
}

#[derive(Debug, Clone)]
struct Case {
    world: World,
    calls: Vec<Call>,
}

impl Ask {
    fn scope(&self) -> Scope {
        (self.user, self.origin, self.key)
    }

    fn wanted(&self, world: &World) -> BTreeMap<i64, i64> {
        let mut wanted = BTreeMap::new();
        match &self.lines {
            Some(lines) => {
                for &(sku, count) in lines {
                    *wanted.entry(sku).or_insert(0) += i64::from(count);
                }
            }
            None => {
                let cart = world.carts.get(&self.user).cloned().unwrap_or_default();
                let selected = cart.lines.into_iter().filter(|(_, (_, selected))| *selected);
                wanted.extend(selected.map(|(sku, (count, _))| (sku, i64::from(count))));
            }
        }
        wanted
    }

    fn expected_total(&self, world: &World) -> Option<Amount> {
        let price = |sku: &i64| world.skus.get(sku).map_or(0, |row| i128::from(row.price));
        let goods = self.wanted(world).iter().map(|(sku, count)| price(sku) * i128::from(*count)).sum();
        let total = goods + i128::from(world.freight_for(goods));
        let right = i64::try_from(total).ok().and_then(|total| Amount::new(total).ok());
        match self.expects {
            Expects::Nothing => None,
            Expects::TheTotal => right,
            Expects::Another => {
                Some(Amount::new(right.map_or(7, |right| right.get() ^ 1)).unwrap_or(amount(7)))
            }
        }
    }

    fn request(&self, world: &World) -> PlaceRequest {
        PlaceRequest {
            shop: ShopId::FIRST,
            user: user(self.user),
            operation: if self.origin { Operation::OriginCommit } else { Operation::PlaceOrder },
            key: IdempotencyKey::new(format!("key-{}", self.key)).expect("a valid key"),
            basket: match &self.lines {
                None => Basket::Cart,
                Some(lines) => {
                    let lines = lines.iter().map(|&(id, count)| (sku_id(id), count));
                    Basket::Lines(Demand::new(lines).expect("generated within the limits"))
                }
            },
            ship_to: match self.saved {
                Some(id) => ShipTo::Saved(address_id(id)),
                None => ShipTo::Given(Address::example()),
            },
            pay_method: self.pay_method(),
            expected_total: self.expected_total(world),
        }
    }

    /// Half of the buyers have their carts in the store, the others elsewhere.
    fn snapshot(&self, world: &World, seq: u64) -> CartSnapshot {
        if self.user.is_multiple_of(2) {
            return CartSnapshot::InStore { seq };
        }
        let lines = world.carts.get(&self.user).into_iter().flat_map(|cart| &cart.lines);
        let selected = lines.filter(|(_, line)| line.1).map(|(&sku, line)| (sku_id(sku), line.0));
        CartSnapshot::Elsewhere { seq, selected: selected.collect(), caught_up: self.online }
    }

    fn pay_method(&self) -> PayMethod {
        if self.online { PayMethod::Online } else { PayMethod::CashOnDelivery }
    }

    /// The ask as the engine passes it on; `stale`: the cart was ordered once since the buyer looked.
    fn call(&self, world: &World, at: usize, stale: bool) -> Call {
        let request = self.request(world);
        let seq = world.carts.get(&self.user).map_or(0, |cart| cart.seq);
        let order = PlaceOrder {
            fingerprint: request.fingerprint(),
            request: request.into(),
            order_id: OrderId(Uuid::from_u128(at as u128 + 1)),
            placed_at: Timestamp::from_unix_ms(1_700_000_000_000 + at as i64),
            cart: self.snapshot(world, if stale { seq.saturating_sub(1) } else { seq }),
        };
        Call { ask: self.clone(), order }
    }
}

/// The model.
impl World {
    fn freight_for(&self, goods: i128) -> i64 {
        match self.free_from {
            Some(from) if goods >= i128::from(from) => 0,
            _ => self.freight,
        }
    }

    /// Places one order the plain way.
    fn place(&mut self, Call { ask, order }: &Call) -> Reply {
        if let Some(kept) = self.keys.get(&ask.scope()) {
            return if kept.fingerprint == order.fingerprint {
                Reply { outcome: kept.outcome.clone(), replayed: true }
            } else {
                Reply { outcome: Outcome::Rejected(Rejection::KeyReused), replayed: false }
            };
        }
        let outcome = match self.try_place(ask, order) {
            Ok(placed) => Outcome::Placed(Arc::new(placed)),
            Err(no) => no,
        };
        if !matches!(outcome, Outcome::Rejected(_)) {
            let kept = KeptRow { fingerprint: order.fingerprint, outcome: outcome.clone() };
            self.keys.insert(ask.scope(), kept);
        }
        Reply { outcome, replayed: false }
    }

    fn try_place(&mut self, ask: &Ask, order: &PlaceOrder) -> Result<Order, Outcome> {
        let address = match ask.saved {
            None => Address::example(),
            Some(id) if self.addresses.contains(&(ask.user, id)) => saved_address(ask.user, id),
            Some(_) => return Err(Outcome::Rejected(Rejection::AddressNotFound)),
        };
        let refused = |refusal| Err(Outcome::Refused(refusal));
        let cart = self.carts.get(&ask.user).cloned().unwrap_or_default();
        if ask.lines.is_none() && Some(cart.seq) != order.cart.seq() {
            return match order.cart {
                CartSnapshot::Elsewhere { caught_up: false, .. } => {
                    Err(Outcome::Rejected(Rejection::CartBehind))
                }
                _ => refused(Refusal::CartChanged),
            };
        }
        let wanted = ask.wanted(self);
        if wanted.is_empty() {
            return refused(Refusal::EmptyCart);
        }
        let for_sale = |sku: &i64| self.skus.get(sku).is_some_and(|row| row.on_sale);
        let missing: Vec<SkuId> =
            wanted.keys().filter(|sku| !for_sale(sku)).map(|&sku| sku_id(sku)).collect();
        if !missing.is_empty() {
            return refused(Refusal::SkuUnavailable { sku_ids: missing });
        }
        let line_amount = |sku: &i64, count: i64| i128::from(self.skus[sku].price) * i128::from(count);
        let goods: i128 = wanted.iter().map(|(sku, &count)| line_amount(sku, count)).sum();
        let freight = self.freight_for(goods);
        let total = goods + i128::from(freight);
        if total > i128::from(Amount::MAX.get()) {
            return Err(Outcome::Rejected(Rejection::TotalTooLarge));
        }
        let short: Vec<ShortLine> = wanted
            .iter()
            .filter(|(sku, count)| self.skus[sku].stock < **count)
            .map(|(sku, count)| ShortLine {
                sku_id: sku_id(*sku),
                requested: *count as u32,
                available: self.skus[sku].stock,
            })
            .collect();
        if !short.is_empty() {
            return refused(Refusal::InsufficientStock { lines: short });
        }
        let total_amount = amount(total as i64);
        if order.request.expected_total.is_some_and(|expected| expected != total_amount) {
            return refused(Refusal::TotalChanged { total_amount });
        }
        let lines = wanted.iter().map(|(sku, &count)| OrderLine {
            sku_id: sku_id(*sku),
            code: code(*sku),
            name: name(*sku),
            count: count as u32,
            unit_price: amount(self.skus[sku].price),
            amount: amount(line_amount(sku, count) as i64),
        });
        let placed = Order {
            id: order.order_id,
            status: if ask.online { OrderStatus::Unpaid } else { OrderStatus::ToShip },
            pay_method: ask.pay_method(),
            lines: lines.collect(),
            total_count: wanted.values().sum::<i64>() as u64,
            goods_amount: amount(goods as i64),
            freight: amount(freight),
            total_amount,
            currency: gbp(),
            address,
            created_at: order.placed_at,
        };
        for (sku, count) in &wanted {
            let row = self.skus.get_mut(sku).expect("seen above");
            row.stock -= count;
            row.sales += count;
            *self.product_sales.entry(row.product).or_insert(0) += count;
        }
        if ask.lines.is_none() {
            let cart = self.carts.entry(ask.user).or_default();
            cart.seq += 1;
            cart.lines.retain(|_, (_, selected)| !*selected);
        }
        Ok(placed)
    }
}

/// What a store does around `decide`: reads before, writes after.
impl World {
    fn decide(&mut self, calls: &[Call]) -> Decision {
        let orders: Vec<PlaceOrder> = calls.iter().map(|call| call.order.clone()).collect();
        let decision = decide(&orders, self.read(calls));
        self.write(calls, &decision);
        decision
    }

    fn read(&self, calls: &[Call]) -> Seen {
        let per_order = |Call { ask, .. }: &Call| {
            let kept = self.keys.get(&ask.scope());
            let kept = kept.map(|k| Kept { fingerprint: k.fingerprint, outcome: k.outcome.clone() });
            let saved = ask.saved.filter(|&id| self.addresses.contains(&(ask.user, id)));
            OrderSeen { kept, address: saved.map(|id| saved_address(ask.user, id)) }
        };
        Seen {
            settings: ShopSettings {
                currency: gbp(),
                freight: amount(self.freight),
                free_from: self.free_from.map(amount),
            },
            skus: self.skus.iter().map(|(&id, row)| (sku_id(id), row.seen(id))).collect::<HashMap<_, _>>(),
            carts: self.carts.iter().map(|(&id, cart)| (user(id), cart.seen())).collect(),
            orders: calls.iter().map(per_order).collect(),
        }
    }

    fn write(&mut self, calls: &[Call], decision: &Decision) {
        for (call, reply) in calls.iter().zip(&decision.replies) {
            if Decision::is_new(reply) {
                let kept = KeptRow { fingerprint: call.order.fingerprint, outcome: reply.outcome.clone() };
                let before = self.keys.insert(call.ask.scope(), kept);
                assert!(before.is_none(), "a key was decided twice: {:?}", call.ask.scope());
            }
        }
        for (id, sold) in &decision.skus {
            let row = self.skus.get_mut(&id.get()).expect("sold from a SKU that isn't there");
            assert_eq!(row.price, sold.price.get(), "sold at another price than was read");
            row.stock -= sold.units;
            row.sales += sold.units;
        }
        for (id, units) in &decision.products {
            *self.product_sales.entry(id.get()).or_insert(0) += units;
        }
        for id in 0..USERS {
            let Some(ordered) = decision.carts.get(&user(id)) else { continue };
            let cart = self.carts.entry(id).or_default();
            assert_eq!(cart.seq, ordered.seq_seen, "a cart was ordered that has changed");
            cart.seq += 1;
            for line in ordered.ordered.lines() {
                let left = &mut cart.lines.get_mut(&line.sku_id.get()).expect("ordered what isn't there").0;
                *left -= line.count;
            }
            cart.lines.retain(|_, (count, _)| *count > 0);
        }
    }
}

impl Row {
    fn seen(&self, id: i64) -> SkuSeen {
        SkuSeen {
            product_id: ProductId::new(self.product).expect("positive"),
            code: code(id),
            name: name(id),
            price: amount(self.price),
            stock: self.stock,
            sales: self.sales,
            on_sale: self.on_sale,
        }
    }
}

impl CartRow {
    fn seen(&self) -> CartSeen {
        let line =
            |(&id, &(count, selected)): (&i64, &(u32, bool))| (sku_id(id), CartLineSeen { count, selected });
        CartSeen { seq: self.seq, lines: self.lines.iter().map(line).collect() }
    }
}

fn sku_id(id: i64) -> SkuId {
    SkuId::new(id).expect("positive")
}

fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).expect("within the range of amounts")
}

fn gbp() -> Currency {
    Currency::new("GBP").expect("a currency")
}

fn user(id: u8) -> UserId {
    UserId::new(format!("user-{id}")).expect("a valid user")
}

fn address_id(id: u8) -> AddressId {
    AddressId(Uuid::from_u128(u128::from(id)))
}

fn saved_address(user: u8, id: u8) -> Address {
    Address { receiver: format!("User {user}"), line1: format!("{id} Saved Street"), ..Address::example() }
}

fn code(sku: i64) -> Arc<str> {
    format!("SKU-{sku}").into()
}

fn name(sku: i64) -> Arc<str> {
    format!("Number {sku}").into()
}

const USERS: u8 = 3;
/// `Amount::MAX`.
const MAX: i64 = 9_007_199_254_740_991;

fn any_sku() -> impl Strategy<Value = i64> {
    1_i64..=5
}

fn any_price() -> impl Strategy<Value = i64> {
    prop_oneof![
        30 => 1_i64..=2_000,
        1 => Just(0_i64),
        1 => Just(MAX / 3),
        1 => MAX - 2_000..=MAX,
    ]
}

fn any_row() -> impl Strategy<Value = Row> {
    let stock = prop_oneof![3 => 0_i64..=6, 3 => 7_i64..=40, 1 => Just(MAX_STOCK)];
    (1_i64..=3, any_price(), stock, 0_i64..=5, prop::bool::weighted(0.95))
        .prop_map(|(product, price, stock, sales, on_sale)| Row { product, price, stock, sales, on_sale })
}

/// Most of the SKUs that are asked for.
fn any_skus() -> impl Strategy<Value = BTreeMap<i64, Row>> {
    vec(option::weighted(0.93, any_row()), 5)
        .prop_map(|rows| (1..).zip(rows).filter_map(|(id, row)| Some((id, row?))).collect())
}

fn any_count() -> impl Strategy<Value = u32> {
    prop_oneof![20 => 1_u32..=3, 1 => Just(MAX_COUNT / 5)]
}

fn any_cart() -> impl Strategy<Value = CartRow> {
    let line = (any_count(), prop::bool::weighted(0.7));
    (0_u64..=2, btree_map(any_sku(), line, 0..=3)).prop_map(|(seq, lines)| CartRow { seq, lines })
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let lines = prop_oneof![
        3 => vec((any_sku(), any_count()), 1..=4).prop_map(Some),
        2 => Just(None),
    ];
    let saved = option::weighted(0.2, 0_u8..=2);
    let expects =
        prop_oneof![6 => Just(Expects::Nothing), 2 => Just(Expects::TheTotal), 1 => Just(Expects::Another)];
    let origin = prop::bool::weighted(0.15);
    (0..USERS, 0_u8..=15, origin, lines, saved, any::<bool>(), expects).prop_map(
        |(user, key, origin, lines, saved, online, expects)| Ask {
            user,
            key,
            origin,
            lines,
            saved,
            online,
            expects,
        },
    )
}

fn any_world() -> impl Strategy<Value = World> {
    let freight = prop_oneof![20 => 0_i64..=1_500, 1 => Just(MAX)];
    let free_from = option::of(prop_oneof![3 => 0_i64..=3_000, 1 => Just(MAX)]);
    (
        freight,
        free_from,
        any_skus(),
        btree_map(0..USERS, any_cart(), 1..=3),
        btree_set((0..USERS, 0_u8..=2), 0..=12),
    )
        .prop_map(|(freight, free_from, skus, carts, addresses)| World {
            freight,
            free_from,
            skus,
            product_sales: BTreeMap::new(),
            carts,
            addresses,
            keys: BTreeMap::new(),
        })
}

/// Which asks of the pool were answered in earlier batches: refused or placed, and with the same body or not.
type History = Vec<(prop::sample::Index, bool, bool)>;

fn any_case() -> impl Strategy<Value = Case> {
    let pool = vec(any_ask(), 1..=25);
    let history = vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 0..=3);
    // Drawn from a pool, so that twins with the same body occur.
    let picks = vec((any::<prop::sample::Index>(), prop::bool::weighted(0.15)), 1..=40);
    (any_world(), pool, history, picks).prop_map(|(mut world, pool, history, picks)| {
        remember(&mut world, &pool, history);
        let call = |(at, (pick, stale)): (usize, &(prop::sample::Index, bool))| {
            pick.get(&pool).call(&world, at, *stale)
        };
        let calls = picks.iter().enumerate().map(call).collect();
        Case { world, calls }
    })
}

fn remember(world: &mut World, pool: &[Ask], history: History) {
    for (at, (pick, refused, same_body)) in history.into_iter().enumerate() {
        let ask = pick.get(pool);
        let call = ask.call(world, 1_000 + at, false);
        let outcome = if refused {
            Outcome::Refused(Refusal::EmptyCart)
        } else {
            Outcome::Placed(Arc::new(earlier_order(&call)))
        };
        let fingerprint = if same_body { call.order.fingerprint } else { Fingerprint([7; 32]) };
        world.keys.insert(ask.scope(), KeptRow { fingerprint, outcome });
    }
}

fn earlier_order(call: &Call) -> Order {
    let line = OrderLine {
        sku_id: sku_id(99),
        code: code(99),
        name: name(99),
        count: 1,
        unit_price: amount(500),
        amount: amount(500),
    };
    Order {
        id: call.order.order_id,
        status: call.ask.pay_method().first_status(),
        pay_method: call.ask.pay_method(),
        lines: vec![line],
        total_count: 1,
        goods_amount: amount(500),
        freight: amount(0),
        total_amount: amount(500),
        currency: gbp(),
        address: Address::example(),
        created_at: call.order.placed_at,
    }
}

fn placed_now(decision: &Decision) -> impl Iterator<Item = &Order> {
    decision.replies.iter().filter(|reply| !reply.replayed).filter_map(|reply| match &reply.outcome {
        Outcome::Placed(order) => Some(order.as_ref()),
        Outcome::Refused(_) | Outcome::Rejected(_) => None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_decided_as_its_orders_would_be_one_by_one(case in any_case()) {
        let (mut one_by_one, mut at_once) = (case.world.clone(), case.world);
        let expected: Vec<Reply> = case.calls.iter().map(|call| one_by_one.place(call)).collect();
        let decision = at_once.decide(&case.calls);
        prop_assert_eq!(decision.replies, expected);
        prop_assert_eq!(at_once, one_by_one, "what the decision writes differs from what the model did");
    }

    #[test]
    fn batch_boundaries_dont_matter(case in any_case(), cut in any::<prop::sample::Index>()) {
        let (mut whole, mut parts) = (case.world.clone(), case.world);
        let (first, second) = case.calls.split_at(cut.index(case.calls.len() + 1));
        let expected = whole.decide(&case.calls).replies;
        let mut replies = parts.decide(first).replies;
        replies.extend(parts.decide(second).replies);
        prop_assert_eq!(replies, expected);
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn every_order_in_a_batch_of_its_own_is_the_same_too(case in any_case()) {
        let (mut whole, mut single) = (case.world.clone(), case.world);
        let expected = whole.decide(&case.calls).replies;
        let replies: Vec<Reply> =
            case.calls.chunks(1).flat_map(|call| single.decide(call).replies).collect();
        prop_assert_eq!(replies, expected);
    }

    #[test]
    fn stock_never_falls_below_zero(case in any_case()) {
        let mut world = case.world;
        world.decide(&case.calls);
        for (sku, row) in &world.skus {
            prop_assert!(row.stock >= 0, "SKU {} has {} units left", sku, row.stock);
        }
    }

    #[test]
    fn units_taken_are_those_of_the_placed_orders(case in any_case()) {
        let mut world = case.world;
        let decision = world.decide(&case.calls);
        let mut by_sku: BTreeMap<SkuId, i64> = BTreeMap::new();
        let mut by_product: BTreeMap<ProductId, i64> = BTreeMap::new();
        for line in placed_now(&decision).flat_map(|order| &order.lines) {
            let units = i64::from(line.count);
            *by_sku.entry(line.sku_id).or_default() += units;
            let product = world.skus[&line.sku_id.get()].product;
            *by_product.entry(ProductId::new(product).expect("positive")).or_default() += units;
        }
        let taken: BTreeMap<SkuId, i64> = decision.skus.iter().map(|(&id, sold)| (id, sold.units)).collect();
        prop_assert_eq!(taken, by_sku);
        prop_assert_eq!(&decision.products, &by_product);
    }

    #[test]
    fn a_total_is_its_lines_and_freight(case in any_case()) {
        let mut world = case.world;
        let decision = world.decide(&case.calls);
        for order in placed_now(&decision) {
            let amounts = order.lines.iter().map(|l| i128::from(l.count) * i128::from(l.unit_price.get()));
            let goods: i128 = amounts.sum();
            prop_assert_eq!(i128::from(order.goods_amount.get()), goods);
            prop_assert_eq!(order.freight.get(), world.freight_for(goods));
            prop_assert_eq!(i128::from(order.total_amount.get()), goods + i128::from(order.freight.get()));
            prop_assert_eq!(order.total_count, order.lines.iter().map(|l| u64::from(l.count)).sum::<u64>());
            prop_assert!(order.lines.is_sorted_by(|a, b| a.sku_id < b.sku_id), "a SKU twice, or out of order");
        }
    }

    #[test]
    fn a_key_is_decided_once(case in any_case()) {
        let kept: BTreeSet<Scope> = case.world.keys.keys().copied().collect();
        let mut world = case.world;
        let decision = world.decide(&case.calls);
        let mut decided = BTreeSet::new();
        for (call, reply) in case.calls.iter().zip(&decision.replies) {
            let scope = call.ask.scope();
            if Decision::is_new(reply) {
                prop_assert!(!kept.contains(&scope), "{:?} was kept, and decided again", scope);
                prop_assert!(decided.insert(scope), "{:?} was decided twice", scope);
            }
        }
    }

    #[test]
    fn a_cart_is_ordered_once_a_batch(case in any_case()) {
        let mut world = case.world;
        let decision = world.decide(&case.calls);
        let mut ordered = BTreeMap::new();
        for (call, reply) in case.calls.iter().zip(&decision.replies) {
            let placed = matches!(reply.outcome, Outcome::Placed(_)) && Decision::is_new(reply);
            if placed && call.ask.lines.is_none() {
                *ordered.entry(user(call.ask.user)).or_insert(0) += 1;
            }
        }
        prop_assert!(ordered.values().all(|&times| times == 1), "{:?}", ordered);
        prop_assert!(ordered.keys().eq(decision.carts.keys()), "{:?}", decision.carts);
    }
}

/// A property that holds because its cases never come up says nothing.
#[test]
fn the_cases_reach_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..400 {
        let case = any_case().new_tree(&mut runner).expect("a case").current();
        let replies = case.world.clone().decide(&case.calls).replies;
        for (call, reply) in case.calls.iter().zip(&replies) {
            let outcome = match &reply.outcome {
                Outcome::Placed(_) if call.ask.lines.is_none() => "placed from a cart".to_owned(),
                Outcome::Placed(_) => "placed".to_owned(),
                Outcome::Refused(refusal) => refusal.code().to_owned(),
                Outcome::Rejected(rejection) => format!("{rejection:?}"),
            };
            let again = if reply.replayed { ", replayed" } else { "" };
            *reached.entry(format!("{outcome}{again}")).or_default() += 1;
        }
    }
    for outcome in [
        "placed",
        "placed, replayed",
        "placed from a cart",
        "placed from a cart, replayed",
        "insufficient_stock",
        "insufficient_stock, replayed",
        "sku_unavailable",
        "empty_cart",
        "empty_cart, replayed",
        "cart_changed",
        "total_changed",
        "KeyReused",
        "AddressNotFound",
        "TotalTooLarge",
    ] {
        let times = reached.get(outcome).copied().unwrap_or(0);
        assert!(times >= 50, "{outcome} came up {times} times: {reached:#?}");
    }
}
