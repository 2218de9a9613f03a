//! What happens in a schedule, and what has to hold at its end.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use lastunit::{
    Address, CartSnapshot, Demand, IdempotencyKey, OrderId, Outcome, PayMethod, PlaceOrder, PlaceRequest,
    Reply, ShopId, Source, Timestamp,
};
use lastunit_tests::buyer;
use uuid::Uuid;

use crate::{
    below,
    engine::{Config, Engine, PlaceError, Strategy, Worker},
    pick, poll_once,
    shops::{Shops, key_name, second_shop, sku},
    sight,
    sync::{
        spawn, step,
        time::{self, Instant},
    },
};

type Answer = Result<Reply, PlaceError>;
type Call<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Ids one after the other, and a time that doesn't matter.
struct Ticking(AtomicU64);

impl Source for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_700_000_000_000)
    }

    fn uuid(&self, _at: Timestamp) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, SeqCst)))
    }

    fn jitter(&self, limit: Duration) -> Duration {
        limit
    }
}

struct Limits {
    buyers: u64,
    stock: i64,
    max_waiting: u64,
    max_batch: u64,
    max_wait: Duration,
}

/// An engine on a store, and what its buyers were told.
struct Sale {
    engine: Engine,
    store: Arc<Shops>,
    source: Arc<Ticking>,
    limits: Limits,
    /// Whether somebody has begun to drain the engine.
    draining: AtomicBool,
    told: Mutex<Vec<Told>>,
}

struct Told {
    order: PlaceOrder,
    begun: Instant,
    /// None for who hung up.
    answer: Option<Answer>,
}

impl Sale {
    fn open(strategy: Strategy, store: Shops, limits: Limits) -> Arc<Self> {
        let limit = |of: u64| NonZeroUsize::new(of as usize).expect("not zero");
        let (store, source) = (Arc::new(store), Arc::new(Ticking(AtomicU64::new(1))));
        let config = Config {
            strategy,
            allow_overselling: strategy == Strategy::Naive,
            max_waiting: limit(limits.max_waiting),
            max_batch: limit(limits.max_batch),
            max_tries: 3,
            max_wait: limits.max_wait,
            worker: pick(&[Worker::Task, Worker::Thread]),
            source: source.clone(),
            ..Config::default()
        };
        Arc::new(Self {
            engine: Engine::start(store.clone(), config).expect("an allowed strategy"),
            store,
            source,
            limits,
            draining: AtomicBool::new(false),
            told: Mutex::default(),
        })
    }

    /// An order of one unit.
    fn order(&self, shop: ShopId, key: u64) -> PlaceOrder {
        let key = IdempotencyKey::new(format!("key-{key}")).expect("a key");
        let demand = Demand::new([(sku(), 1)]).expect("a demand");
        let request =
            PlaceRequest::of_lines(buyer("ada"), key, demand, Address::example(), PayMethod::Online);
        let request = PlaceRequest { shop, ..request };
        let placed_at = self.source.now();
        PlaceOrder {
            fingerprint: request.fingerprint(),
            order_id: OrderId(self.source.uuid(placed_at)),
            placed_at,
            cart: CartSnapshot::NOT_NEEDED,
            request: request.into(),
        }
    }

    /// Begins a call: it has its answer at the first poll, or is accepted.
    async fn begin(&self, order: &PlaceOrder) -> Result<Answer, Call<'_>> {
        let mut call: Call<'_> = Box::pin(self.engine.place_prepared(order.clone()));
        match poll_once(call.as_mut()).await {
            Poll::Ready(answer) => Ok(answer),
            Poll::Pending => Err(call),
        }
    }

    async fn drain(&self) {
        self.draining.store(true, SeqCst);
        self.engine.drain().await;
        self.store.drained.store(true, SeqCst);
    }

    fn tell(&self, order: PlaceOrder, begun: Instant, answer: Option<Answer>) {
        self.told.lock().expect("not poisoned").push(Told { order, begun, answer });
    }

    /// A buyer, who waits, hangs up, or drains the engine meanwhile. Some send under the same key.
    async fn buy(self: Arc<Self>) {
        let shop = pick(&[ShopId::FIRST, ShopId::FIRST, second_shop()]);
        let order = self.order(shop, below(self.limits.buyers));
        let begun = Instant::now();
        let answer = match (self.begin(&order).await, below(6)) {
            (Ok(answer), _) => answer,
            (Err(call), 0) => {
                (0..below(8)).for_each(|_| step());
                drop(call);
                sight("hung up");
                return self.tell(order, begun, None);
            }
            (Err(mut call), 1) => {
                self.drain().await;
                match poll_once(call.as_mut()).await {
                    Poll::Ready(answer) => {
                        sight("answered by a drain");
                        answer
                    }
                    Poll::Pending => panic!("accepted and not answered, though the engine is drained"),
                }
            }
            (Err(call), _) => call.await,
        };
        if answer == Err(PlaceError::Overloaded) {
            let waited = begun.elapsed() > self.limits.max_wait;
            let full = self.limits.buyers > self.limits.max_waiting;
            let draining = self.draining.load(SeqCst);
            assert!(waited || full || draining, "overloaded without a cause");
            sight(match (waited, full, draining) {
                (true, false, false) => "waited too long",
                (false, true, false) => "overloaded",
                (false, false, true) => "turned away by a drain",
                _ => "turned away",
            });
        }
        self.tell(order, begun, Some(answer));
    }

    /// Drains the engine and holds what everybody was told against the store.
    async fn end(&self) {
        self.drain().await;
        assert_eq!(self.engine.waiting(), 0, "somebody waits after the drain");
        let late = self.engine.place_prepared(self.order(ShopId::FIRST, 1_000)).await;
        assert_eq!(late, Err(PlaceError::Overloaded), "a drained engine takes orders");
        let wrong = self.store.wrong.lock().expect("not poisoned");
        assert!(wrong.is_empty(), "{wrong:?}");

        let tables = self.store.tables();
        let keys: BTreeSet<_> = tables.orders.values().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), tables.orders.len(), "two orders under one key");
        for (shop, &stock) in &tables.stock {
            let sold = tables.orders.values().filter(|((of, ..), _)| of == shop).count() as i64;
            let were = self.limits.stock;
            assert!(stock >= 0 && stock + sold == were, "{sold} sold and {stock} left of {were}");
        }
        let came = self.store.came.lock().expect("not poisoned");
        let failed = self.store.failed.lock().expect("not poisoned");
        for Told { order, begun, answer } in self.told.lock().expect("not poisoned").iter() {
            let (id, key) = (&order.order_id, key_name(&order.request));
            match answer {
                None if came.contains(id) => sight("hung up, and placed"),
                None => assert!(begun.elapsed() > self.limits.max_wait, "lost the order of who hung up"),
                Some(Ok(Reply { outcome: Outcome::Placed(placed), replayed })) => {
                    let kept = tables.orders.get(&placed.id);
                    assert!(kept.is_some_and(|(of, _)| *of == key), "told of somebody else's order");
                    sight(if *replayed { "replayed" } else { "placed" });
                }
                Some(Ok(Reply { outcome: Outcome::Refused(_), .. })) => {
                    assert_eq!(tables.stock[&key.0], 0, "refused while there is stock");
                    sight("refused");
                }
                Some(Ok(reply)) => panic!("not a possible answer: {reply:?}"),
                Some(Err(PlaceError::Overloaded)) => {
                    assert!(!came.contains(id), "told to come back later, and placed");
                }
                Some(Err(error)) => {
                    assert!(failed.contains(id), "{error}, without a fault");
                    sight("told of a fault");
                }
            }
        }
    }
}

/// Buyers as they please, a store with faults, and limits that are soon met, by any safe strategy.
pub async fn any() {
    of(pick(&Strategy::SAFE)).await;
}

/// As [`any`], by the naive strategy.
pub async fn naive() {
    of(Strategy::Naive).await;
}

async fn of(strategy: Strategy) {
    let limits = Limits {
        buyers: 2 + below(4),
        stock: below(4) as i64,
        max_waiting: pick(&[1, 2, 8]),
        max_batch: 1 + below(3),
        max_wait: pick(&[Duration::from_millis(1), Duration::from_secs(5)]),
    };
    let faults_one_in = pick(&[None, Some(3), Some(8)]);
    let store = Shops::new(strategy, pick(&[false, true]), limits.stock, faults_one_in);
    let sale = Sale::open(strategy, store, limits);
    let buyers: Vec<_> = (0..sale.limits.buyers).map(|_| spawn(sale.clone().buy())).collect();
    if below(3) == 0 {
        sale.drain().await;
    }
    for buyer in buyers {
        buyer.await.expect("not aborted");
    }
    sale.end().await;
}

/// While no transaction ends, exactly as many are accepted as may wait, and besides with a worker at most a batch of it.
pub async fn crowd_at_a_closed_gate() {
    let limits = Limits {
        buyers: 6,
        stock: 6,
        max_waiting: 1 + below(3),
        max_batch: 1 + below(3),
        max_wait: Duration::MAX,
    };
    let strategy = pick(&Strategy::SAFE);
    let (waiting, batch) = (limits.max_waiting, limits.max_batch);
    let at_the_store = match strategy {
        Strategy::Batched => batch,
        Strategy::Queue => 1,
        Strategy::Naive | Strategy::Optimistic | Strategy::Pessimistic => 0,
    };
    let sale = Sale::open(strategy, Shops::new(strategy, pick(&[false, true]), limits.stock, None), limits);
    sale.store.gate.send_replace(false);
    let (accepted, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let buyers = (0..sale.limits.buyers).map(|key| {
        let (sale, accepted, has_begun) = (sale.clone(), accepted.clone(), begun.clone());
        spawn(async move {
            let (order, now) = (sale.order(ShopId::FIRST, key), Instant::now());
            let call = sale.begin(&order).await;
            accepted.fetch_add(u64::from(call.is_err()), SeqCst);
            has_begun.add_permits(1);
            let answer = match call {
                Ok(answer) => {
                    assert_eq!(
                        answer,
                        Err(PlaceError::Overloaded),
                        "an answer though no transaction has ended"
                    );
                    answer
                }
                Err(call) => {
                    let answer = call.await;
                    assert!(answer.is_ok(), "accepted, and told {answer:?}");
                    answer
                }
            };
            sale.tell(order, now, Some(answer));
        })
    });
    let buyers: Vec<_> = buyers.collect();
    let all = begun.acquire_many(sale.limits.buyers as u32).await;
    drop(all.expect("never closed"));
    let (least, most) = (waiting, waiting + at_the_store);
    let accepted = accepted.load(SeqCst);
    assert!(
        (least..=most).contains(&accepted),
        "{accepted} accepted, not {least} to {most}, by {strategy:?}"
    );
    assert!(sale.engine.waiting() as u64 <= waiting, "more wait than may");
    sale.store.gate.send_replace(true);
    for buyer in buyers {
        buyer.await.expect("not aborted");
    }
    sale.end().await;
}

/// Who waits behind a transaction for longer than allowed is turned away, and whoever comes then is served.
pub async fn slow_store() {
    let max_wait = Duration::from_secs(5);
    let limits = Limits { buyers: 4, stock: 4, max_waiting: 4, max_batch: 1 + below(3), max_wait };
    let strategy = pick(&[Strategy::Queue, Strategy::Batched]);
    let sale = Sale::open(strategy, Shops::new(strategy, pick(&[false, true]), limits.stock, None), limits);
    sale.store.gate.send_replace(false);
    let orders = [1, 2, 3, 4].map(|key| sale.order(ShopId::FIRST, key));
    let accept = async |order| match sale.begin(order).await {
        Err(call) => call,
        Ok(answer) => panic!("answered at once: {answer:?}"),
    };
    let first = accept(&orders[0]).await;
    sale.store.entered.acquire().await.expect("never closed").forget();
    let (second, third) = (accept(&orders[1]).await, accept(&orders[2]).await);
    time::sleep(max_wait + Duration::from_millis(1)).await;
    sale.store.gate.send_replace(true);
    assert!(first.await.is_ok());
    assert_eq!(second.await, Err(PlaceError::Overloaded));
    assert_eq!(third.await, Err(PlaceError::Overloaded));
    assert!(sale.engine.place_prepared(orders[3].clone()).await.is_ok());
    let ids = |orders: &[PlaceOrder]| orders.iter().map(|order| order.order_id).collect::<BTreeSet<_>>();
    let expected: BTreeSet<_> = &ids(&orders[..1]) | &ids(&orders[3..]);
    assert_eq!(*sale.store.came.lock().expect("not poisoned"), expected);
    sale.end().await;
}
