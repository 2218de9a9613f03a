//! Buyers and the shop's own people, as the seed has them: they order, send the same again, hang up, cancel, change
//! carts and stock.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use lastunit::*;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    chance::Chance,
    checks,
    shop::{Process, Shop},
    world::LONGEST,
};

/// When a client doesn't wait for the answer any more.
#[derive(Debug, Clone, Copy)]
enum Patience {
    Endless,
    /// At this poll of the call, counted from 0: before it is even begun.
    Polls(u64),
    Millis(u64),
}

impl Patience {
    fn by(chance: &Chance) -> Self {
        match chance.below(10) {
            0 => Self::Polls(chance.between(0..=6)),
            1 => Self::Millis(chance.between(1..=300)),
            _ => Self::Endless,
        }
    }
}

impl Shop {
    /// A call of a server by a client; `None` if no answer came, because the server crashed or the client hung up.
    async fn call<T>(
        &self,
        process: &Process,
        what: &str,
        patience: Patience,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        let _called = process.called();
        let mut call = pin!(call);
        let mut polls = match patience {
            Patience::Polls(polls) => polls,
            Patience::Endless | Patience::Millis(_) => u64::MAX,
        };
        let call = poll_fn(|context| {
            if polls == 0 {
                self.world.sight("hung up");
                return Poll::Ready(None);
            }
            polls -= 1;
            call.as_mut().poll(context).map(Some)
        });
        let answered = async {
            tokio::select! {
                biased;
                () = process.life.over() => None,
                answer = call => answer,
            }
        };
        if let Patience::Millis(millis) = patience {
            return timeout(std::time::Duration::from_millis(millis), answered).await.ok().flatten();
        }
        match timeout(LONGEST, answered).await {
            Ok(answer) => answer,
            Err(_) => {
                self.world.violation(checks::CALLS_END, format!("{what}: no answer in {LONGEST:?}"));
                None
            }
        }
    }

    /// Sends a request to place an order once, and writes down what it is told.
    pub async fn send(&self, number: usize, chance: &Chance, patient: bool) -> Option<Reply> {
        let (server, process) = self.some_server(chance).await;
        let request = self.book.request(number);
        let patience = if patient { Patience::Endless } else { Patience::by(chance) };
        if !matches!(patience, Patience::Polls(0)) {
            self.book.open().orders[number].sent = true;
        }
        let what = format!("order {number} of {} under {} by server {server}", request.user, request.key);
        self.world.note(|| format!("{what}: sent, {patience:?}"));
        let answer = self.call(&process, &what, patience, process.engine.place(request)).await;
        self.world.note(|| match &answer {
            None => format!("{what}: no answer"),
            Some(Err(error)) => format!("{what}: {error}"),
            Some(Ok(reply)) => format!("{what}: {}{}", outcome(reply), again(reply)),
        });
        match answer? {
            Ok(reply) => {
                self.world.sight(seen(&reply));
                self.book.open().orders[number].replies.push(reply.clone());
                Some(reply)
            }
            Err(error) => {
                self.told_later(&what, &error);
                None
            }
        }
    }

    /// An error that has to be one of those that say: later.
    fn told_later(&self, what: &str, error: &PlaceError) {
        match error {
            PlaceError::Overloaded => self.world.sight("overloaded"),
            PlaceError::Unavailable => self.world.sight("told to come back"),
            PlaceError::NoSuchShop | PlaceError::Internal(_) => {
                self.world.violation(checks::KNOWN_ERRORS, format!("{what}: {error}"));
            }
        }
    }

    /// As [`Shop::told_later`], of a call that goes to the store itself.
    fn told_by_store(&self, what: &str, error: &StoreError) {
        let later =
            matches!(error, StoreError::Conflict | StoreError::CommitUnknown(_) | StoreError::Unavailable(_));
        if !later {
            self.world.violation(checks::KNOWN_ERRORS, format!("{what}: {error}"));
        }
    }

    /// One buyer at one device; others may be the same buyer at another.
    pub async fn buy(self: Arc<Self>, device: usize, chance: Chance) {
        let user = chance.pick(&self.users).clone();
        for round in 0..chance.between(2..=5) {
            if chance.percent(60) {
                sleep(chance.millis(0..=self.world.pace_ms)).await;
            }
            match chance.below(100) {
                0..35 => {
                    let basket = self.lines(&chance);
                    self.order(&user, format!("{device}-{round}"), basket, &chance).await;
                }
                35..65 => {
                    if chance.percent(75) {
                        self.edit_cart(&user, &chance).await;
                    }
                    self.order_cart(&user, format!("{device}-{round}"), &chance).await;
                }
                65..80 => self.edit_cart(&user, &chance).await,
                80..92 => self.cancel_some(&user, &chance).await,
                _ => self.send_an_old_one(&chance).await,
            }
        }
    }

    fn lines(&self, chance: &Chance) -> (ShopId, Basket) {
        let shop = chance.pick(&self.skus).0;
        let sellable: Vec<SkuId> =
            self.skus.iter().filter(|(at, _)| *at == shop).map(|(_, sku)| *sku).collect();
        let lines =
            (0..chance.between(1..=3)).map(|_| (*chance.pick(&sellable), chance.between(1..=2) as u32));
        (shop, Basket::Lines(Demand::new(lines).expect("few units of few SKUs")))
    }

    /// Orders the cart, maybe twice at once under two keys: of which one may have it.
    async fn order_cart(self: &Arc<Self>, user: &UserId, key: String, chance: &Chance) {
        let again = (self.clone(), user.clone(), format!("{key}-too"), chance.fork());
        let at_once = chance.percent(30).then(|| {
            tokio::spawn(async move {
                let (shop, user, key, chance) = again;
                shop.order(&user, key, (ShopId::FIRST, Basket::Cart), &chance).await;
            })
        });
        self.order(user, key, (ShopId::FIRST, Basket::Cart), chance).await;
        self.wait_for(at_once).await;
    }

    async fn wait_for<T>(&self, tasks: impl IntoIterator<Item = JoinHandle<T>>) {
        for task in tasks {
            if let Err(error) = task.await {
                self.world.violation(checks::NO_PANIC, error.to_string());
            }
        }
    }

    async fn order(
        self: &Arc<Self>,
        user: &UserId,
        key: String,
        (shop, basket): (ShopId, Basket),
        chance: &Chance,
    ) {
        let expected_total = chance.percent(10).then(|| Amount::new(800).expect("an amount"));
        let request = PlaceRequest {
            shop,
            user: user.clone(),
            operation: *chance.pick(&[Operation::PlaceOrder, Operation::OriginCommit]),
            key: IdempotencyKey::new(key).expect("a valid key"),
            basket,
            ship_to: ShipTo::Given(Address::example()),
            pay_method: *chance.pick(&[PayMethod::Online, PayMethod::CashOnDelivery]),
            expected_total,
        };
        let number = self.book.asked(request);
        let mut at_once = Vec::new();
        for _ in 0..*chance.pick(&[0, 0, 1, 2]) {
            let (shop, chance) = (self.clone(), chance.fork());
            at_once.push(tokio::spawn(async move { shop.send(number, &chance, false).await }));
        }
        for _ in 0..chance.between(1..=4) {
            if self.send(number, chance, false).await.is_some() {
                break;
            }
            sleep(chance.millis(0..=200)).await;
        }
        self.wait_for(at_once).await;
    }

    /// Sends a request again that was made before, by whomever; or another one under its key.
    async fn send_an_old_one(&self, chance: &Chance) {
        let count = self.book.open().orders.len() as u64;
        if count == 0 {
            return;
        }
        let mut number = chance.below(count) as usize;
        if chance.percent(40) {
            let request = self.book.request(number);
            let pay_method = match request.pay_method {
                PayMethod::Online => PayMethod::CashOnDelivery,
                PayMethod::CashOnDelivery => PayMethod::Online,
            };
            number = self.book.asked(PlaceRequest { pay_method, ..request });
        }
        self.send(number, chance, false).await;
    }

    async fn edit_cart(&self, user: &UserId, chance: &Chance) {
        let of_first: Vec<SkuId> =
            self.skus.iter().filter(|(shop, _)| *shop == ShopId::FIRST).map(|(_, sku)| *sku).collect();
        let sku = *chance.pick(&of_first);
        let count = chance.between(1..=3) as u32;
        let selected = chance.percent(85);
        let removes = chance.percent(15);
        for _ in 0..chance.between(1..=3) {
            let (_, process) = self.some_server(chance).await;
            let what = format!("cart of {user}: {} SKU {sku}", if removes { "without" } else { "with" });
            let patience = Patience::by(chance);
            self.world.note(|| format!("{what}, {count} units: sent, {patience:?}"));
            let store = &process.store;
            let edit = async {
                if removes {
                    store.remove_cart_lines(ShopId::FIRST, user, Some(sku)).await.map(drop)
                } else {
                    let line = CartLineSetting { count, selected };
                    store.set_cart_line(ShopId::FIRST, user, sku, line).await.map(drop)
                }
            };
            let answer = self.call(&process, &what, patience, edit).await;
            self.world.note(|| format!("{what}: {answer:?}"));
            match answer {
                Some(Ok(())) => {
                    self.world.sight(if removes { "line removed" } else { "line set" });
                    return;
                }
                Some(Err(error)) => self.told_by_store(&what, &error),
                None => {}
            }
        }
    }

    async fn cancel_some(self: &Arc<Self>, user: &UserId, chance: &Chance) {
        let placed = self.book.placed(user);
        if placed.is_empty() {
            return;
        }
        let (at, id) = *chance.pick(&placed);
        let again = (self.clone(), user.clone(), chance.fork());
        let at_once = chance.percent(40).then(|| {
            tokio::spawn(async move {
                let (shop, user, chance) = again;
                shop.cancel(at, &user, id, &chance).await;
            })
        });
        self.cancel(at, user, id, chance).await;
        self.wait_for(at_once).await;
    }

    async fn cancel(&self, at: ShopId, user: &UserId, id: OrderId, chance: &Chance) {
        self.book.open().cancels.entry((at, user.clone(), id)).or_default();
        let (server, process) = self.some_server(chance).await;
        let what = format!("cancel {id} of {user} by server {server}");
        let patience = Patience::by(chance);
        self.world.note(|| format!("{what}: sent, {patience:?}"));
        let answer = self.call(&process, &what, patience, process.engine.cancel(at, user, id)).await;
        self.world.note(|| match &answer {
            Some(Ok(CancelOutcome::Canceled(_))) => format!("{what}: canceled"),
            other => format!("{what}: {other:?}"),
        });
        match answer {
            Some(Ok(CancelOutcome::Canceled(_))) => {
                self.world.sight("canceled");
                self.book.open().cancels.insert((at, user.clone(), id), true);
            }
            Some(Ok(other)) => {
                let detail = format!("{what}: the buyer was told of it, and now {other:?}");
                self.world.violation(checks::ACKNOWLEDGED_STANDS, detail);
            }
            Some(Err(error)) => self.told_later(&what, &error),
            None => {}
        }
    }

    /// The shop's own people: goods come in, counts are corrected, prices change.
    pub async fn keep_stock(self: Arc<Self>, chance: Chance) {
        for _ in 0..chance.between(0..=8) {
            sleep(chance.millis(0..=self.world.pace_ms)).await;
            let (shop, sku) = *chance.pick(&self.skus);
            if chance.percent(40) {
                self.change_sku(shop, sku, &chance).await;
                continue;
            }
            let delta = chance.between(0..=6) as i64 - 3;
            let kind = if delta > 0 { StockChangeKind::Received } else { StockChangeKind::Adjusted };
            let delta = if delta == 0 { -1 } else { delta };
            let change = StockChange { delta, kind, reason: "a simulation".into() };
            let source = Uuid::from_u128(u128::from(chance.next()));
            let number = {
                let mut book = self.book.open();
                let (acknowledged, last) = (false, None);
                let changed = super::book::StockChanged { shop, sku, change, source, acknowledged, last };
                book.stock_changes.push(changed);
                book.stock_changes.len() - 1
            };
            for _ in 0..chance.between(1..=3) {
                if self.change_stock(number, &chance).await {
                    break;
                }
            }
        }
    }

    /// Sends a change of stock once; whether it was answered.
    pub async fn change_stock(&self, number: usize, chance: &Chance) -> bool {
        let (shop, sku, change, source) = {
            let book = self.book.open();
            let changed = &book.stock_changes[number];
            (changed.shop, changed.sku, changed.change.clone(), changed.source)
        };
        let (_, process) = self.some_server(chance).await;
        let what = format!("stock of SKU {sku} of shop {shop} changed by {}", change.delta);
        let at = process.engine.source().now();
        let call = process.store.change_stock(shop, sku, change, source, at);
        let answer = self.call(&process, &what, Patience::Endless, call).await;
        self.world.note(|| format!("{what}: {:?}", answer.as_ref().map(|answer| answer.as_ref().map(drop))));
        let mut book = self.book.open();
        let changed = &mut book.stock_changes[number];
        match answer {
            Some(Ok(_)) => {
                self.world.sight("stock changed");
                (changed.acknowledged, changed.last) = (true, Some(true));
                true
            }
            Some(Err(StoreError::Clash(_))) => {
                self.world.sight("stock change refused");
                changed.last = Some(false);
                true
            }
            Some(Err(error)) => {
                self.told_by_store(&what, &error);
                false
            }
            None => false,
        }
    }

    async fn change_sku(&self, shop: ShopId, sku: SkuId, chance: &Chance) {
        let price = Some(Amount::new(chance.between(4..=6) as i64 * 100).expect("an amount"));
        let on_sale = chance.percent(25).then(|| chance.percent(70));
        let patch = SkuPatch { price, name: None, on_sale };
        let (_, process) = self.some_server(chance).await;
        let what = format!("SKU {sku} of shop {shop}: {patch:?}");
        let call = process.store.patch_sku(shop, sku, patch);
        let answer = self.call(&process, &what, Patience::Endless, call).await;
        self.world.note(|| format!("{what}: {:?}", answer.as_ref().map(|answer| answer.as_ref().map(drop))));
        match answer {
            Some(Ok(_)) => self.world.sight("SKU changed"),
            Some(Err(error)) => self.told_by_store(&what, &error),
            None => {}
        }
    }
}

/// A reply in few words.
pub(super) fn outcome(reply: &Reply) -> String {
    match &reply.outcome {
        Outcome::Placed(order) => {
            let lines: Vec<String> =
                order.lines.iter().map(|line| format!("{}×{}", line.count, line.sku_id)).collect();
            format!("placed as {}: {}", order.id, lines.join(" "))
        }
        Outcome::Refused(refusal) => refusal.code().into(),
        Outcome::Rejected(rejection) => format!("{rejection:?}"),
    }
}

fn again(reply: &Reply) -> &'static str {
    if reply.replayed { ", again" } else { "" }
}

fn seen(reply: &Reply) -> &'static str {
    match &reply.outcome {
        _ if reply.replayed => "replayed",
        Outcome::Placed(_) => "placed",
        Outcome::Refused(refusal) => refusal.code(),
        Outcome::Rejected(Rejection::KeyReused) => "key reused",
        Outcome::Rejected(Rejection::CartUnreachable) => "cart unreachable",
        Outcome::Rejected(_) => "rejected",
    }
}
