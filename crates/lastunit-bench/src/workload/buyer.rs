//! What a buyer does, by chance. All chance comes from the run's seed: the same seed makes the same choices. When each call
//! is answered, and so which call meets which, isn't up to us.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    Plan,
    client::{Client, Prepared},
};
use crate::history::{Answer, OrderBody, Outcome};

/// A buyer with so many keys leaves, and another comes: a buyer's list of orders stays short, as it is in life.
const KEYS_A_BUYER: u32 = 250;
/// Old calls that may be sent again.
const OLD_CALLS: usize = 30;
/// How often a call is sent again before its buyer goes on without an answer.
const TRIES: u32 = 6;

/// What the buyers leave.
#[derive(Debug, Default)]
pub struct Shopped {
    /// Everybody who was there.
    pub buyers: Vec<String>,
    /// Buyers, and their calls with a key that nobody answered so far.
    pub(super) unresolved: Vec<(String, Prepared)>,
}

/// Lets buyers shop, and a stock keeper work, until `stop` says so; waits for the calls that are under way.
pub async fn shop_until(plan: &Plan, stop: watch::Receiver<bool>) -> Result<Shopped> {
    let mut clients = JoinSet::new();
    for number in 0..plan.buyers {
        let buyer = Buyer::new(plan, number, stop.clone());
        clients.spawn(buyer.shop());
    }
    let keeper = tokio::spawn(keep_stock(Client::new(plan, plan.buyers), stop));
    let mut shopped = Shopped::default();
    while let Some(left) = clients.join_next().await {
        let left = left??;
        shopped.buyers.extend(left.buyers);
        shopped.unresolved.extend(left.unresolved);
    }
    keeper.await??;
    Ok(shopped)
}

/// Chance of one client: its own, so that it doesn't depend on the others' pace.
fn chance(plan: &Plan, client: u32) -> StdRng {
    StdRng::seed_from_u64(plan.run.seed ^ (u64::from(client) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Goods come in: few, and of the hot SKU only when it is nearly sold out, so that it is sold out again and again however
/// fast the buyers are. Also looks at the stock of all.
async fn keep_stock(client: Client, stop: watch::Receiver<bool>) -> Result<()> {
    const NAME: &str = "stock-keeper";
    const NEARLY_SOLD_OUT: i64 = 5;
    let mut chance = chance(&client.plan, client.plan.buyers);
    let skus: Vec<i64> = client.plan.run.skus.iter().map(|sku| sku.id).collect();
    while !*stop.borrow() {
        sleep(Duration::from_millis(chance.random_range(20..200))).await;
        let server = chance.random_range(0..client.plan.servers.len());
        let (delta, other) = (chance.random_range(3..20), chance.random_bool(0.2));
        for (place, &sku) in skus.iter().enumerate() {
            let seen = client.call(server, NAME, &Prepared::read_sku(sku)).await?;
            let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap_or_default();
            let is_low = body["stock"].as_i64().is_some_and(|stock| stock < NEARLY_SOLD_OUT);
            let comes_in = if place == 0 { is_low } else { other };
            if comes_in {
                client.call(server, NAME, &Prepared::receive(sku, delta)).await?;
            }
        }
    }
    Ok(())
}

/// A client that is one buyer after the other.
struct Buyer {
    client: Arc<Client>,
    number: u32,
    chance: StdRng,
    stop: watch::Receiver<bool>,
    /// How many buyers it was before.
    before: u32,
    name: String,
    keys: u32,
    /// Orders that aren't canceled, as far as it knows.
    orders: Vec<String>,
    /// What its cart holds, as far as it knows.
    in_cart: Vec<(i64, i64)>,
    old: Vec<(String, Prepared)>,
    left: Shopped,
}

impl Buyer {
    fn new(plan: &Plan, number: u32, stop: watch::Receiver<bool>) -> Self {
        let mut buyer = Self {
            client: Arc::new(Client::new(plan, number)),
            number,
            chance: chance(plan, number),
            stop,
            before: 0,
            name: String::new(),
            keys: 0,
            orders: Vec::new(),
            in_cart: Vec::new(),
            old: Vec::new(),
            left: Shopped::default(),
        };
        buyer.become_another();
        buyer
    }

    /// Goes on as somebody else: what is open of the last one's cart can't be known any more.
    fn become_another(&mut self) {
        self.name = format!("{}-b{}.{}", self.client.plan.run.name, self.number, self.before);
        self.before += 1;
        self.keys = 0;
        self.orders.clear();
        self.in_cart.clear();
        self.left.buyers.push(self.name.clone());
    }

    async fn shop(mut self) -> Result<Shopped> {
        while !*self.stop.borrow() {
            if self.keys >= KEYS_A_BUYER {
                self.become_another();
            }
            match self.chance.random_range(0..100) {
                0..42 => self.order_lines().await?,
                42..70 => self.shop_with_cart().await?,
                70..82 => self.cancel().await?,
                82..90 => self.look().await?,
                _ => self.come_back().await?,
            }
            let think_ms = self.chance.random_range(0..=self.client.plan.think_ms);
            sleep(Duration::from_millis(think_ms)).await;
        }
        Ok(self.left)
    }

    fn server(&mut self) -> usize {
        self.chance.random_range(0..self.client.plan.servers.len())
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("{}/{}", self.name, self.keys)
    }

    /// SKU and units: often of the one that everybody wants.
    fn lines(&mut self) -> Vec<(i64, i64)> {
        let skus = self.client.plan.run.skus.clone();
        let mut lines = Vec::new();
        if self.chance.random_bool(0.5) {
            lines.push((skus[0].id, self.chance.random_range(1..=3)));
        }
        for sku in &skus[1..] {
            if lines.is_empty() || self.chance.random_bool(0.25) {
                lines.push((sku.id, self.chance.random_range(1..=4)));
            }
        }
        // Not by id: the engine sorts.
        if self.chance.random_bool(0.5) {
            lines.reverse();
        }
        lines
    }

    /// The total that a shop's page would show.
    fn total(&self, lines: &[(i64, i64)]) -> i64 {
        let run = &self.client.plan.run;
        let price = |id| run.skus.iter().find(|sku| sku.id == id).map_or(0, |sku| sku.price);
        let goods: i64 = lines.iter().map(|&(id, count)| price(id) * count).sum();
        if run.free_from.is_some_and(|from| goods >= from) { goods } else { goods + run.freight }
    }

    async fn order_lines(&mut self) -> Result<()> {
        let lines = self.lines();
        let total = self.chance.random_bool(0.5).then(|| self.total(&lines));
        let (key, online) = (self.key(), self.chance.random_bool(0.5));
        let what = Prepared::place(&self.name, &key, Some(lines), online, total);
        self.place(what).await?;
        Ok(())
    }

    /// Places an order in one of the ways in which browsers do; what was decided in the end, if anything.
    async fn place(&mut self, what: Prepared) -> Result<Option<Answer>> {
        match self.chance.random_range(0..100) {
            // Twice at once, as after a double click.
            0..12 => {
                let (one, other) = (self.server(), self.server());
                let (one, other) = tokio::join!(
                    self.client.call(one, &self.name, &what),
                    self.client.call(other, &self.name, &what)
                );
                let answers = [one?, other?];
                if let Some(answer) = answers.into_iter().find(|answer| answer.outcome() != Outcome::Info) {
                    return Ok(Some(self.decided(what, answer)));
                }
            }
            // Hangs up before the answer is there.
            12..22 => {
                let server = self.server();
                let after = Duration::from_micros(self.chance.random_range(0..8_000));
                self.client.call_until(server, &self.name, &what, after).await?;
            }
            _ => {}
        }
        for attempt in 0..TRIES {
            let server = self.server();
            let answer = self.client.call(server, &self.name, &what).await?;
            if answer.outcome() != Outcome::Info {
                return Ok(Some(self.decided(what, answer)));
            }
            if *self.stop.borrow() {
                break;
            }
            let pause_ms = self.chance.random_range(10..100) << attempt;
            sleep(Duration::from_millis(pause_ms)).await;
        }
        self.left.unresolved.push((self.name.clone(), what));
        Ok(None)
    }

    /// Remembers what was decided.
    fn decided(&mut self, what: Prepared, answer: Answer) -> Answer {
        if answer.outcome() == Outcome::Ok
            && let Some(order) = OrderBody::parse(&answer.body)
        {
            self.orders.push(order.id);
        }
        if self.old.len() == OLD_CALLS {
            let forgotten = self.chance.random_range(0..OLD_CALLS);
            self.old.swap_remove(forgotten);
        }
        self.old.push((self.name.clone(), what));
        answer
    }

    /// Fills the cart, looks, and orders it in one of several ways; then looks again.
    async fn shop_with_cart(&mut self) -> Result<()> {
        for (sku, count) in self.lines() {
            if !self.edit(Prepared::set_line(sku, count)).await? {
                return Ok(());
            }
            self.in_cart.retain(|line| line.0 != sku);
            self.in_cart.push((sku, count));
        }
        if self.chance.random_bool(0.1) {
            let (sku, _) = self.in_cart.swap_remove(0);
            if !self.edit(Prepared::remove_line(sku)).await? {
                return Ok(());
            }
        }
        self.read_cart().await?;
        let (key, online) = (self.key(), self.chance.random_bool(0.5));
        let what = Prepared::place(&self.name, &key, None, online, None);
        let known = match self.chance.random_range(0..100) {
            // Two tabs, each with a key of its own.
            0..30 => self.order_in_two_tabs(what).await?,
            // A count is raised in another tab meanwhile.
            30..60 => self.order_and_edit(what).await?,
            // It is filled, and ordered later.
            60..70 => true,
            _ => self.place(what).await?.is_some(),
        };
        if known {
            self.read_cart().await?;
        } else {
            self.become_another();
        }
        Ok(())
    }

    /// Whether it is known what both orders came to.
    async fn order_in_two_tabs(&mut self, what: Prepared) -> Result<bool> {
        let key = self.key();
        let other = Prepared::place(&self.name, &key, None, true, None);
        let servers = (self.server(), self.server());
        let (one, two) = tokio::join!(
            self.client.call(servers.0, &self.name, &what),
            self.client.call(servers.1, &self.name, &other)
        );
        let mut known = true;
        for (what, answer) in [(what, one?), (other, two?)] {
            if answer.outcome() == Outcome::Info {
                known &= self.place(what).await?.is_some();
            } else {
                self.decided(what, answer);
            }
        }
        Ok(known)
    }

    /// Whether it is known what both came to.
    async fn order_and_edit(&mut self, what: Prepared) -> Result<bool> {
        let Some(&(sku, count)) = self.in_cart.choose(&mut self.chance) else { return Ok(true) };
        let edit = match self.chance.random_range(0..4) {
            0 => Prepared::remove_line(sku),
            more => Prepared::set_line(sku, count + more),
        };
        let servers = (self.server(), self.server());
        let later = Duration::from_micros(self.chance.random_range(0..2_000));
        let (order, edited) = tokio::join!(self.client.call(servers.0, &self.name, &what), async {
            sleep(later).await;
            self.client.call(servers.1, &self.name, &edit).await
        });
        let (order, edited) = (order?, edited?);
        let known = match order.outcome() {
            Outcome::Info => self.place(what).await?.is_some(),
            _ => {
                self.decided(what, order);
                true
            }
        };
        Ok(known && edited.outcome() != Outcome::Info)
    }

    /// Changes the cart. False if nobody knows whether that was done: then this buyer is gone.
    async fn edit(&mut self, what: Prepared) -> Result<bool> {
        let server = self.server();
        let known = self.client.call(server, &self.name, &what).await?.outcome() != Outcome::Info;
        if !known {
            self.become_another();
            self.rest().await;
        }
        Ok(known)
    }

    /// Reads the cart, and goes by what is there.
    async fn read_cart(&mut self) -> Result<()> {
        let server = self.server();
        let answer = self.client.call(server, &self.name, &Prepared::read_cart()).await?;
        if answer.outcome() != Outcome::Ok {
            self.rest().await;
            return Ok(());
        }
        let body: serde_json::Value = serde_json::from_str(&answer.body)?;
        let line = |line: &serde_json::Value| Some((line["sku_id"].as_i64()?, line["count"].as_i64()?));
        self.in_cart = body["lines"].as_array().into_iter().flatten().filter_map(line).collect();
        Ok(())
    }

    /// Cancels an order, sometimes twice at once.
    async fn cancel(&mut self) -> Result<()> {
        if self.orders.is_empty() {
            return Ok(());
        }
        let place = self.chance.random_range(0..self.orders.len());
        let what = Prepared::cancel(&self.orders[place]);
        if self.chance.random_bool(0.2) {
            let (one, other) = (self.server(), self.server());
            let (one, other) = tokio::join!(
                self.client.call(one, &self.name, &what),
                self.client.call(other, &self.name, &what)
            );
            one?;
            other?;
        }
        let server = self.server();
        if self.client.call(server, &self.name, &what).await?.outcome() == Outcome::Info {
            self.rest().await;
        } else if self.chance.random_bool(0.7) {
            // Else it is canceled again some time.
            self.orders.swap_remove(place);
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<()> {
        let what = match (self.chance.random_range(0..3), self.orders.choose(&mut self.chance)) {
            (0, Some(order)) => Prepared::read_order(order),
            (1, _) => Prepared::list_orders(),
            _ => {
                let skus = &self.client.plan.run.skus;
                Prepared::read_sku(skus.choose(&mut self.chance).map_or(1, |sku| sku.id))
            }
        };
        let server = self.server();
        if self.client.call(server, &self.name, &what).await?.outcome() == Outcome::Info {
            self.rest().await;
        }
        Ok(())
    }

    /// Sends an old call again, perhaps one of somebody that it was before.
    async fn come_back(&mut self) -> Result<()> {
        let Some((buyer, what)) = self.old.choose(&mut self.chance).cloned() else { return Ok(()) };
        let server = self.server();
        if self.client.call(server, &buyer, &what).await?.outcome() == Outcome::Info {
            self.rest().await;
        }
        Ok(())
    }

    /// Waits a little: whatever is broken isn't mended at once.
    async fn rest(&mut self) {
        sleep(Duration::from_millis(self.chance.random_range(10..150))).await;
    }
}
