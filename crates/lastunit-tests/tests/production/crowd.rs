//! Buyers that go on ordering whatever happens to the database, and a record of what they were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use lastunit_tests::server::{
    Answer, Call, Client, GUARD, HasId, Process,
    load::{CLIENTS, buyer_of},
    order_of, placing,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long an answer of 503 tells to wait before the call is sent again.
pub fn retry_after(answer: &Answer) -> Option<Duration> {
    (answer.status == 503).then(|| {
        answer.problem(503, answer.json()["code"].as_str().expect("a code"));
        let seconds = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
        Duration::from_secs(seconds.expect("Retry-After"))
    })
}

/// Sends a call again for as long as it is answered 503; how often that was.
pub async fn patiently(client: &Client, call: &Call) -> (Answer, usize) {
    for refused in 0..30 {
        let answer = client.try_send(call).await.expect("an answer");
        let Some(pause) = retry_after(&answer) else { return (answer, refused) };
        sleep(pause).await;
    }
    panic!("{} {} is answered 503 for ever", call.method, call.path)
}

/// What buyers were told.
#[derive(Default)]
pub struct Told {
    /// The order of every key that was answered 201.
    pub placed: BTreeMap<String, String>,
    /// Keys that were answered 503.
    pub refused: BTreeSet<String>,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// Of the calls that were answered 201, when the last one was sent.
    last_sent: Option<Instant>,
}

/// [`CLIENTS`] buyers, spread over servers, who order one unit again and again, each time under a new key. Every
/// call is answered, 201 or 503.
pub struct Crowd {
    told: Arc<Mutex<Told>>,
    over: Arc<AtomicBool>,
    buyers: JoinSet<()>,
}

impl Crowd {
    pub fn new(servers: &[Process], sku: i64) -> Self {
        let mut crowd = Self { told: Arc::default(), over: Arc::default(), buyers: JoinSet::new() };
        for n in 0..CLIENTS {
            let (told, over) = (crowd.told.clone(), crowd.over.clone());
            let client = servers[n as usize % servers.len()].buyer(&format!("b{n}"));
            crowd.buyers.spawn(async move {
                for attempt in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("b{n}/{attempt}");
                    let sent = Instant::now();
                    let answer = client.try_send(&placing(&order_of(&[(sku, 1)]), &key)).await;
                    let answer = answer.expect("an answer");
                    let pause = retry_after(&answer);
                    {
                        let mut told = told.lock().expect("no panic");
                        told.slowest = told.slowest.max(sent.elapsed());
                        if pause.is_some() {
                            told.refused.insert(key);
                        } else {
                            told.placed.insert(key, answer.is(201).id());
                            told.last_sent = told.last_sent.max(Some(sent));
                        }
                    }
                    sleep(pause.unwrap_or_default()).await;
                }
            });
        }
        crowd
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no panic")
    }

    async fn until(&self, what: &str, is: impl Fn(&Told) -> bool) {
        let asked = async {
            while !is(&self.told()) {
                sleep(Duration::from_millis(5)).await;
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

    /// Waits until every buyer was refused once.
    pub async fn all_refused(&self) {
        let buyers = |told: &Told| {
            let buyers: BTreeSet<&str> = told.refused.iter().map(|key| buyer_of(key)).collect();
            buyers.len()
        };
        self.until("all refused", |told| buyers(told) == CLIENTS as usize).await;
    }

    /// Waits for the answers that are under way.
    pub async fn leave(self) -> Told {
        self.over.store(true, Ordering::Relaxed);
        self.buyers.join_all().await;
        std::mem::take(&mut *self.told.lock().expect("no panic"))
    }
}

/// Every acknowledged order is there under its id and its key; a key that was refused gives one order, the same at
/// every call; all of it whichever server is asked. How many orders there are then.
pub async fn assert_kept(servers: &[Process], sku: i64, told: &Told) -> usize {
    let mut keys: BTreeMap<&str, Vec<(String, Option<String>)>> = BTreeMap::new();
    for (key, id) in &told.placed {
        keys.entry(buyer_of(key)).or_default().push((key.clone(), Some(id.clone())));
    }
    for key in &told.refused {
        keys.entry(buyer_of(key)).or_default().push((key.clone(), None));
    }
    let mut checks = JoinSet::new();
    for (buyer, keys) in keys {
        let clients: Vec<Client> = servers.iter().map(|server| server.buyer(buyer)).collect();
        checks.spawn(async move {
            for (n, (key, id)) in keys.into_iter().enumerate() {
                let call = placing(&order_of(&[(sku, 1)]), &key);
                let (one, other) = (&clients[n % clients.len()], &clients[(n + 1) % clients.len()]);
                let id = match id {
                    Some(id) => id,
                    None => patiently(one, &call).await.0.is(201).id(),
                };
                let found = patiently(one, &Call::new("GET", format!("/v1/orders/{id}"))).await.0;
                assert_eq!(found.is(200).id(), id, "{key}");
                let again = patiently(other, &call).await.0;
                assert_eq!((again.replayed(), again.is(201).id()), (true, id), "{key}");
            }
        });
    }
    checks.join_all().await;
    told.placed.len() + told.refused.len()
}
