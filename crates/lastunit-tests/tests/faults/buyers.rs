//! Buyers that never give up: each sends the same order under the same key, to whichever server there is, until it is
//! told what became of it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use lastunit_tests::server::{
    Client, Database, GUARD, HasId,
    load::{CLIENTS, buyer_of, stock},
    order_of, placing,
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// Units that buyers leave to the end; more than they order between two calls of the admin.
const LAST: i64 = 2_000;
/// After a call without an answer.
const PAUSE: Duration = Duration::from_millis(5);

/// Where the servers of a shop are now.
#[derive(Clone, Default)]
pub struct Door(Arc<Mutex<Vec<SocketAddr>>>);

impl Door {
    /// These, and no others.
    pub fn lead_to(&self, servers: impl IntoIterator<Item = SocketAddr>) {
        *self.0.lock().expect("no panic") = servers.into_iter().collect();
    }

    /// One of them; another one at each try.
    fn server(&self, tried: usize) -> Option<SocketAddr> {
        let servers = self.0.lock().expect("no panic");
        servers.get(tried % servers.len().max(1)).copied()
    }
}

/// What buyers were told.
#[derive(Default)]
pub struct Told {
    /// The order of every key that was answered 201.
    pub placed: BTreeMap<String, String>,
    /// Keys that were refused because nothing was left.
    pub sold_out: usize,
    /// Answers of 503, to be sent again later.
    pub unavailable: usize,
    /// Calls that got no answer.
    pub unanswered: usize,
    /// Answers that nobody should get, and how often.
    pub others: BTreeMap<String, usize>,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// Of the calls that were answered 201, when the last one was sent.
    last_sent: Option<Instant>,
}

/// Called with the key and the order of every 201.
type Acknowledged = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// [`CLIENTS`] buyers, who order one unit of each of some SKUs again and again, each time under a new key.
pub struct Buyers {
    told: Arc<Mutex<Told>>,
    buyers: JoinSet<()>,
}

impl Buyers {
    /// They begin at once.
    pub fn start(door: &Door, skus: &[i64]) -> Self {
        Self::start_with(door, skus, |_, _| {})
    }

    /// The same, with somebody who hears of every order when its buyer does.
    pub fn start_with(
        door: &Door,
        skus: &[i64],
        acknowledged: impl Fn(&str, &str) + Send + Sync + 'static,
    ) -> Self {
        let mut all = Self { told: Arc::default(), buyers: JoinSet::new() };
        let acknowledged: Acknowledged = Arc::new(acknowledged);
        for n in 0..CLIENTS {
            let buyer = Buyer {
                n: n as usize,
                door: door.clone(),
                order: skus.iter().map(|sku| (*sku, 1)).collect(),
                told: all.told.clone(),
                acknowledged: acknowledged.clone(),
            };
            all.buyers.spawn(buyer.order());
        }
        all
    }

    /// What they were told so far.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no panic")
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, is: impl Fn(&Told) -> bool) {
        let asked = async {
            while !is(&self.told()) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(GUARD, asked).await.unwrap_or_else(|_| panic!("never {what}"));
    }

    /// Waits until so many more orders are acknowledged.
    pub async fn orders(&self, more: usize) {
        let enough = self.told().placed.len() + more;
        self.until("enough orders", |told| told.placed.len() >= enough).await;
    }

    /// Waits for an order that was sent after `moment`, and gives the time from there until it was acknowledged.
    pub async fn first_after(&self, moment: Instant) -> Duration {
        self.until("an order", |told| told.last_sent > Some(moment)).await;
        moment.elapsed()
    }

    /// Leaves [`LAST`] units to the buyers, and waits until they have bought them and are told that no more is there.
    /// Gives also what was taken out of stock for it, as a negative number.
    pub async fn buy_the_rest(self, admin: &Client, sku: i64) -> (Told, i64) {
        let delta = LAST - stock(admin, sku).await;
        let change = json!({"delta": delta, "kind": "adjusted", "reason": "only the last units are left"});
        admin.post(&format!("/v1/admin/skus/{sku}/stock"), &change).await.is(200);
        let told = self.end().await;
        assert_eq!(told.sold_out, CLIENTS as usize);
        (told, delta)
    }

    async fn end(mut self) -> Told {
        let left = async { while self.buyers.join_next().await.transpose().expect("no panic").is_some() {} };
        timeout(GUARD, left).await.expect("every key comes to an end");
        std::mem::take(&mut *self.told())
    }
}

struct Buyer {
    n: usize,
    door: Door,
    order: Vec<(i64, i64)>,
    told: Arc<Mutex<Told>>,
    acknowledged: Acknowledged,
}

impl Buyer {
    async fn order(self) {
        let name = format!("b{}", self.n);
        let (order, mut tried) = (order_of(&self.order), self.n);
        let mut at: Option<(SocketAddr, Client)> = None;
        for attempt in 0.. {
            let key = format!("{name}/{attempt}");
            loop {
                let Some(server) = self.door.server(tried) else {
                    sleep(PAUSE).await;
                    continue;
                };
                let (_, client) = match at.take() {
                    Some(open) if open.0 == server => at.insert(open),
                    _ => at.insert((server, Client::new(server).keyed(Database::KEY).buyer(&name))),
                };
                let sent = Instant::now();
                let answer = client.try_send(&placing(&order, &key)).await;
                let pause = {
                    let mut told = self.told.lock().expect("no panic");
                    told.slowest = told.slowest.max(sent.elapsed());
                    match answer {
                        Err(_) => {
                            told.unanswered += 1;
                            PAUSE
                        }
                        Ok(answer) if answer.status == 201 => {
                            let id = answer.json().id();
                            (self.acknowledged)(&key, &id);
                            told.placed.insert(key, id);
                            told.last_sent = told.last_sent.max(Some(sent));
                            break;
                        }
                        Ok(answer) if answer.status == 503 => {
                            told.unavailable += 1;
                            let seconds = answer.header("retry-after").and_then(|value| value.parse().ok());
                            Duration::from_secs(seconds.expect("Retry-After"))
                        }
                        Ok(answer) if answer.status == 409 => {
                            answer.problem(409, "insufficient_stock");
                            told.sold_out += 1;
                            return;
                        }
                        Ok(answer) => {
                            let what = format!("{} {}", answer.status, answer.text());
                            *told.others.entry(what).or_default() += 1;
                            PAUSE
                        }
                    }
                };
                tried += 1;
                sleep(pause).await;
            }
        }
    }
}

/// The buyers of these keys, each once.
pub fn buyers_of(told: &Told) -> BTreeMap<&str, Vec<&str>> {
    let mut buyers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, id) in &told.placed {
        buyers.entry(buyer_of(key)).or_default().push(id);
    }
    buyers
}
