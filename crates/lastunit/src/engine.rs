//! The engine: every locking strategy behind one interface.

use std::{
    future::poll_fn,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    ids::{OrderId, ShopId, UserId},
    order::{
        Basket, CancelOutcome, CartReading, CartSnapshot, Outcome, PlaceOrder, PlaceRequest, Rejection, Reply,
    },
    source::{Source, SystemSource},
    store::{Locking, NextBatch, NextMayCome, Store, StoreError},
    sync::{
        Handle, Mutex, Semaphore, mpsc, oneshot, spawn, thread,
        time::{self, Instant},
        watch,
    },
};

/// How concurrent orders for one SKU are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Read, subtract, write: the problem itself. Only with [`Config::allow_overselling`].
    Naive,
    /// Compare-and-set on what was read, retried as a new transaction with a limit and jitter.
    Optimistic,
    /// The rows are locked in SKU order before they are read.
    Pessimistic,
    /// One worker, one order a transaction.
    Queue,
    /// One worker takes everything that is waiting, decides it in arrival order and commits once for all.
    Batched,
}

impl Strategy {
    /// All of them, the unsafe one first.
    pub const ALL: [Self; 5] = [Self::Naive, Self::Optimistic, Self::Pessimistic, Self::Queue, Self::Batched];
    /// Those that never oversell.
    pub const SAFE: [Self; 4] = [Self::Optimistic, Self::Pessimistic, Self::Queue, Self::Batched];

    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Optimistic => "optimistic",
            Self::Pessimistic => "pessimistic",
            Self::Queue => "queue",
            Self::Batched => "batched",
        }
    }

    fn locking(self) -> Locking {
        match self {
            Self::Naive => Locking::None,
            Self::Optimistic => Locking::CompareAndSet,
            Self::Pessimistic | Self::Queue => Locking::Exclusive,
            Self::Batched => Locking::Shared,
        }
    }
}

impl std::str::FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text).ok_or_else(|| {
            format!("{text:?} is no locking strategy; use batched, queue, pessimistic, optimistic or naive")
        })
    }
}

/// Where the worker of [`Strategy::Queue`] and [`Strategy::Batched`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Worker {
    /// As a task where the store gathers orders ([`Store::gathers`]): its work is done elsewhere, and a thread would only be
    /// one more to wake for every answer. On a thread elsewhere.
    #[default]
    AsTheStoreNeeds,
    /// On a thread of its own, so that it doesn't wait behind the buyers' tasks, nor they for it.
    Thread,
    /// As a task of the runtime that the engine was started in. For a runtime of a single thread, whose timers another
    /// thread can't drive, and for simulations, where nothing may run beside the one thread.
    Task,
}

/// Limits and choices of an engine.
#[derive(Clone)]
pub struct Config {
    /// How orders are kept apart.
    pub strategy: Strategy,
    /// Must be true for [`Strategy::Naive`], which sells what isn't there.
    pub allow_overselling: bool,
    /// The most orders that may wait; past it a call is [`PlaceError::Overloaded`] at once.
    pub max_waiting: NonZeroUsize,
    /// The most orders in one transaction of [`Strategy::Batched`].
    pub max_batch: NonZeroUsize,
    /// How often a transaction is tried in all.
    pub max_tries: u32,
    /// How long after its start a transaction is still tried again.
    pub try_again_for: Duration,
    /// How long an order may wait for its turn; then it is turned away, as if the queue had been full.
    pub max_wait: Duration,
    /// Where the worker runs, if the strategy has one.
    pub worker: Worker,
    /// Time, ids, jitter.
    pub source: Arc<dyn Source>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            strategy: Strategy::Batched,
            allow_overselling: false,
            max_waiting: NonZeroUsize::new(4096).expect("not zero"),
            max_batch: NonZeroUsize::new(512).expect("not zero"),
            max_tries: 5,
            try_again_for: Duration::from_secs(3),
            max_wait: Duration::from_secs(5),
            worker: Worker::default(),
            source: Arc::new(SystemSource),
        }
    }
}

/// Why a call got no [`Reply`]. None of them says that no order was placed: the same key is safe to send again,
/// and tells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Too many orders wait already, or this one has waited too long, or the engine is stopping.
    #[error("too many orders are waiting")]
    Overloaded,
    /// The store didn't answer or can't write, or others were faster at every try.
    #[error("the store is unavailable")]
    Unavailable,
    /// There is no such shop.
    #[error("there is no such shop")]
    NoSuchShop,
    /// A bug; the details are for the log.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Why an engine can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// [`Strategy::Naive`] without [`Config::allow_overselling`].
    #[error("the naive strategy sells what isn't there; allow overselling explicitly to see it")]
    OversellingNotAllowed,
    /// The system has no thread to give.
    #[error("the engine's thread can't be started")]
    NoThread(#[source] std::io::Error),
}

/// What an engine tells of its work as it goes; for metrics.
pub trait Observer: Send + Sync + 'static {
    /// One transaction decided these replies, and took so long with reading, deciding, writing and committing.
    fn committed(&self, _replies: &[Reply], _took: Duration) {}
    /// A transaction is tried again.
    fn retried(&self) {}
    /// A transaction came to nothing, and those who wait for it are told to come back later.
    fn gave_up(&self, _error: &StoreError) {}
}

struct NoObserver;
impl Observer for NoObserver {}

/// Takes orders from many tasks and places them by one strategy. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    placer: Arc<Placer>,
    queue: Option<Arc<Queue>>,
    /// Orders under way in the strategies without a queue.
    direct: Arc<Semaphore>,
    config: Arc<Config>,
}

/// What every strategy shares: one transaction, tried again where that is safe.
struct Placer {
    store: Arc<dyn Store>,
    locking: Locking,
    max_tries: u32,
    try_again_for: Duration,
    source: Arc<dyn Source>,
    observer: Arc<dyn Observer>,
    retries: AtomicU64,
}

struct Queue {
    /// Taken out when the engine drains: the worker ends once the queue is empty.
    waiting: Mutex<Option<mpsc::Sender<Waiting>>>,
    /// Ends when the worker has answered everybody.
    ended: watch::Receiver<()>,
}

struct Waiting {
    order: PlaceOrder,
    since: Instant,
    reply: oneshot::Sender<Result<Reply, PlaceError>>,
}

impl Engine {
    /// Starts an engine on a store; call it inside a tokio runtime.
    pub fn start(store: Arc<dyn Store>, config: Config) -> Result<Self, StartError> {
        Self::start_observed(store, config, Arc::new(NoObserver))
    }

    /// As [`Engine::start`], with somebody who is told of its work.
    pub fn start_observed(
        store: Arc<dyn Store>,
        config: Config,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StartError> {
        if config.strategy == Strategy::Naive && !config.allow_overselling {
            return Err(StartError::OversellingNotAllowed);
        }
        let placer = Arc::new(Placer {
            store,
            locking: config.strategy.locking(),
            max_tries: config.max_tries.max(1),
            try_again_for: config.try_again_for,
            source: config.source.clone(),
            observer,
            retries: AtomicU64::new(0),
        });
        let max_waiting = config.max_waiting.get();
        let max_batch = match config.strategy {
            Strategy::Batched => Some(config.max_batch.get()),
            Strategy::Queue => Some(1),
            Strategy::Naive | Strategy::Optimistic | Strategy::Pessimistic => None,
        };
        let queue = max_batch.map(|max_batch| -> std::io::Result<_> {
            let (waiting, orders) = mpsc::channel(max_waiting);
            let (ends, ended) = watch::channel(());
            let working = work(placer.clone(), orders, max_batch, config.max_wait);
            let working = async move {
                working.await;
                drop(ends);
            };
            let runtime = Handle::current();
            let is_task = match config.worker {
                Worker::AsTheStoreNeeds => placer.store.gathers(),
                Worker::Thread => false,
                Worker::Task => true,
            };
            if is_task {
                drop(runtime.spawn(working));
            } else {
                let thread = thread::Builder::new().name("lastunit-engine".into());
                thread.spawn(move || runtime.block_on(working))?;
            }
            Ok(Arc::new(Queue { waiting: Mutex::new(Some(waiting)), ended }))
        });
        let queue = queue.transpose().map_err(StartError::NoThread)?;
        let direct = Arc::new(Semaphore::new(max_waiting));
        Ok(Self { placer, queue, direct, config: Arc::new(config) })
    }

    /// Places an order, or says why not. Once it is accepted, dropping the future doesn't stop it; with
    /// [`Basket::Lines`] that is at the future's first poll.
    pub async fn place(&self, request: impl Into<Arc<PlaceRequest>>) -> Result<Reply, PlaceError> {
        let request = request.into();
        let mut cart = match request.basket {
            Basket::Lines(_) => CartSnapshot::NOT_NEEDED,
            Basket::Cart => self.read_cart(&request, CartReading::AsItStands).await?,
        };
        if let CartSnapshot::Elsewhere { caught_up: false, .. } = cart {
            let reply = self.place_prepared(self.prepare(request.clone(), cart)).await?;
            if reply.outcome != Outcome::Rejected(Rejection::CartBehind) {
                return Ok(reply);
            }
            cart = self.read_cart(&request, CartReading::CaughtUp).await?;
        }
        self.place_prepared(self.prepare(request, cart)).await
    }

    async fn read_cart(
        &self,
        request: &PlaceRequest,
        reading: CartReading,
    ) -> Result<CartSnapshot, PlaceError> {
        let cart = self.placer.store.cart_snapshot(request.shop, &request.user, reading).await;
        cart.map_err(|error| self.placer.give_up(error))
    }

    fn prepare(&self, request: Arc<PlaceRequest>, cart: CartSnapshot) -> PlaceOrder {
        let fingerprint = request.fingerprint();
        let placed_at = self.config.source.now();
        let order_id = OrderId(self.config.source.uuid(placed_at));
        PlaceOrder { request, fingerprint, order_id, placed_at, cart }
    }

    /// Places an order whose id, time and cart were fixed before, as a test or a gateway may do.
    pub async fn place_prepared(&self, order: PlaceOrder) -> Result<Reply, PlaceError> {
        let Some(queue) = &self.queue else {
            let permit = self.direct.clone().try_acquire_owned().map_err(|_| PlaceError::Overloaded)?;
            let placer = self.placer.clone();
            let (to_caller, answer) = oneshot::channel();
            // A task of its own, so that a caller who goes away doesn't stop it between two tries.
            spawn(async move {
                let placed = placer.place(order.request.shop, vec![order], NextBatch::default()).await;
                to_caller.send(placed).ok();
                // Not before the answer: who drains waits for both.
                drop(permit);
            });
            let mut replies = answer.await.unwrap_or(Err(PlaceError::Unavailable))?;
            return replies.pop().ok_or_else(|| PlaceError::Internal("a store gave no reply".into()));
        };
        let (reply, answer) = oneshot::channel();
        let since = Instant::now();
        let accepted = {
            let waiting = queue.waiting.lock().expect("never poisoned: nothing panics while it is held");
            waiting.as_ref().is_some_and(|waiting| waiting.try_send(Waiting { order, since, reply }).is_ok())
        };
        if !accepted {
            return Err(PlaceError::Overloaded);
        }
        answer.await.unwrap_or(Err(PlaceError::Unavailable))
    }

    /// Cancels a buyer's order: its units go back to stock exactly once.
    pub async fn cancel(
        &self,
        shop: ShopId,
        user: &UserId,
        id: OrderId,
    ) -> Result<CancelOutcome, PlaceError> {
        let at = self.config.source.now();
        self.placer.retrying(|| self.placer.store.cancel(shop, user, id, at)).await
    }

    /// The store it places on.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.placer.store
    }

    /// Its time, ids and jitter.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.config.source
    }

    /// Orders that wait right now (in the strategies without a queue: that are under way).
    pub fn waiting(&self) -> usize {
        let Some(queue) = &self.queue else {
            return self.config.max_waiting.get() - self.direct.available_permits();
        };
        let waiting = queue.waiting.lock().expect("never poisoned: nothing panics while it is held");
        waiting.as_ref().map_or(0, |waiting| waiting.max_capacity() - waiting.capacity())
    }

    /// How often a transaction was tried again since the start.
    pub fn retries(&self) -> u64 {
        self.placer.retries.load(Ordering::Relaxed)
    }

    /// Takes no more orders, and returns when all that were accepted are answered.
    pub async fn drain(&self) {
        // All permits: those of the orders under way come back when they are answered.
        let all = u32::try_from(self.config.max_waiting.get()).unwrap_or(u32::MAX);
        if let Ok(permits) = self.direct.acquire_many(all).await {
            self.direct.close();
            drop(permits);
        }
        if let Some(queue) = &self.queue {
            queue.waiting.lock().expect("never poisoned: nothing panics while it is held").take();
            queue.ended.clone().changed().await.ok();
        }
    }
}

/// The worker of `queue` and `batched`: everything that is waiting, up to `max_batch`, in one transaction a shop.
///
/// A batch's buyers are told only when the next batch is on its way to the store, if one is waiting: telling them
/// takes time, in which the store would have nothing to do. A store that can begin on a batch before the last one is
/// durable says so ([`NextBatch`]). So the buyers take turns, and a batch leaves the next one its share of them. Where a
/// transaction costs much however few orders are in it ([`Store::gathers`]), one batch of all of them is better, unless they
/// are many: they are told first, and given a moment to come back.
async fn work(
    placer: Arc<Placer>,
    mut orders: mpsc::Receiver<Waiting>,
    max_batch: usize,
    max_wait: Duration,
) {
    let mut batch = Vec::with_capacity(max_batch);
    let mut at_store = AtStore::default();
    let mut gathering = placer.store.gathers().then(Gathering::default);
    loop {
        // Before anybody is told: who comes back at once would count twice.
        let waiting = orders.len();
        let enough = if gathering.is_some() { Gathering::ENOUGH } else { 1 };
        if waiting < enough {
            at_store.tell();
        }
        let most = if gathering.is_some() { max_batch } else { at_store.share(waiting).min(max_batch) };
        if at_store.beside(orders.recv_many(&mut batch, most)).await == 0 {
            break;
        }
        if let Some(gathering) = &mut gathering {
            gathering.gather(&mut orders, &mut batch, waiting, max_batch).await;
        }
        at_store.fill(&mut orders, &mut batch).await;
        // While the store hung, say: whoever waits behind many that time out one after the other is told so.
        let now = Instant::now();
        for waiting in batch.extract_if(.., |waiting| now.duration_since(waiting.since) > max_wait) {
            drop(waiting.reply.send(Err(PlaceError::Overloaded)));
        }
        while !batch.is_empty() {
            let shop = batch[0].order.request.shop;
            let (of_shop, rest): (Vec<Waiting>, Vec<Waiting>) =
                batch.drain(..).partition(|waiting| waiting.order.request.shop == shop);
            batch.extend(rest);
            let (of_shop, buyers): (Vec<PlaceOrder>, Vec<_>) =
                of_shop.into_iter().map(|waiting| (waiting.order, waiting.reply)).unzip();

            if let Some(gathering) = &mut gathering {
                gathering.placing(buyers.len());
            }
            let (next, next_may_come) = NextBatch::new();
            let placer = placer.clone();
            let result = Box::pin(async move { placer.place(shop, of_shop, next).await });
            at_store.begin(Placing { result, next_may_come: Some(next_may_come), buyers }).await;
            at_store.room().await;
        }
    }
    at_store.end().await;
}

/// The batches at the store, oldest first, and those it has decided.
#[derive(Default)]
struct AtStore {
    placing: Vec<Placing>,
    /// Whose buyers are still to be told.
    decided: Vec<Answers>,
}

/// A batch at the store.
struct Placing {
    result: Pin<Box<dyn Future<Output = Result<Vec<Reply>, PlaceError>> + Send>>,
    /// None once it may.
    next_may_come: Option<NextMayCome>,
    buyers: Vec<oneshot::Sender<Result<Reply, PlaceError>>>,
}

impl AtStore {
    /// One that the store works on, and one that it makes durable.
    const MAX: usize = 2;
    /// So many orders are worth a transaction while another is made durable.
    const FEW: usize = 8;
    /// So many share what a transaction costs by itself well enough.
    const MANY: usize = 16;

    /// Sends a batch to the store, then tells the buyers of those that are decided.
    async fn begin(&mut self, placing: Placing) {
        self.placing.push(placing);
        poll_fn(|context| {
            self.poll(context);
            Poll::Ready(())
        })
        .await;
        self.tell();
    }

    /// Returns when another batch may be sent.
    async fn room(&mut self) {
        poll_fn(|context| {
            self.poll(context);
            let has_room = self.placing.iter().all(|placing| placing.next_may_come.is_none());
            if has_room && self.placing.len() < Self::MAX {
                return Poll::Ready(());
            }
            // The store has something to do meanwhile.
            self.tell();
            Poll::Pending
        })
        .await;
    }

    /// The most orders of a batch: half of those there are. If all of them were in one, the store would have nothing to do
    /// while their buyers are told and come back, and they nothing while it works.
    fn share(&self, waiting: usize) -> usize {
        let at_store: usize = self.placing.iter().map(|placing| placing.buyers.len()).sum();
        (waiting + at_store).div_ceil(2).max(Self::MANY)
    }

    /// While the store still makes a batch durable, adds to the next one until it isn't few that would have a transaction to
    /// themselves.
    async fn fill(&mut self, orders: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>) {
        while let Some(placing) = self.placing.last() {
            let enough = placing.buyers.len().min(Self::FEW);
            if batch.len() >= enough {
                break;
            }
            let mut more = pin!(orders.recv_many(batch, enough - batch.len()));
            let received = poll_fn(|context| {
                self.poll(context);
                if self.placing.is_empty() { Poll::Ready(0) } else { more.as_mut().poll(context) }
            });
            if received.await == 0 {
                break;
            }
        }
    }

    /// Does something else, and meanwhile tells the buyers of every batch that gets decided.
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|context| {
            let other = other.as_mut().poll(context);
            if other.is_pending() {
                self.poll(context);
                self.tell();
            }
            other
        })
        .await
    }

    /// Waits for all of them, and tells their buyers.
    async fn end(mut self) {
        poll_fn(|context| {
            self.poll(context);
            self.tell();
            if self.placing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        self.placing.retain_mut(|placing| {
            if let Poll::Ready(result) = placing.result.as_mut().poll(context) {
                self.decided.push(Answers { buyers: std::mem::take(&mut placing.buyers), result });
                return false;
            }
            placing.next_may_come.take_if(|next| next.poll(context).is_ready());
            true
        });
    }

    fn tell(&mut self) {
        self.decided.drain(..).for_each(Answers::tell);
    }
}

/// Waits a moment for the buyers of the last batch, as long as they do come back.
#[derive(Default)]
struct Gathering {
    last_batch: usize,
    begun: Option<Instant>,
    /// Batches that are still to go without a wait, since the last one was in vain.
    without: u32,
}

impl Gathering {
    /// So many orders make what a transaction costs by itself small beside what they cost: they aren't kept waiting.
    const ENOUGH: usize = 96;
    /// After a wait in vain, so many batches go without.
    const WITHOUT: u32 = 16;

    fn placing(&mut self, orders: usize) {
        (self.last_batch, self.begun) = (orders, Some(Instant::now()));
    }

    /// Adds to the batch until it has those who waited and as many as were just told, or enough, or until half the time of
    /// the last batch has passed.
    async fn gather(
        &mut self,
        orders: &mut mpsc::Receiver<Waiting>,
        batch: &mut Vec<Waiting>,
        waiting: usize,
        max_batch: usize,
    ) {
        let expected = (waiting + std::mem::take(&mut self.last_batch)).min(max_batch).min(Self::ENOUGH);
        let Some(begun) = self.begun.take() else { return };
        if self.without > 0 {
            self.without -= 1;
            return;
        }
        let until = Instant::now() + begun.elapsed() / 2;
        while batch.len() < expected {
            let room = expected - batch.len();
            match time::timeout_at(until, orders.recv_many(batch, room)).await {
                Ok(1..) => {}
                // All have come that will: the engine drains.
                Ok(0) => return,
                Err(_) => {
                    self.without = Self::WITHOUT;
                    return;
                }
            }
        }
    }
}

/// What became of a batch, and who is to be told.
struct Answers {
    buyers: Vec<oneshot::Sender<Result<Reply, PlaceError>>>,
    result: Result<Vec<Reply>, PlaceError>,
}

impl Answers {
    fn tell(self) {
        // A buyer who hung up has dropped the receiver; the order stands all the same.
        match self.result {
            Ok(replies) => {
                self.buyers.into_iter().zip(replies).for_each(|(to, reply)| drop(to.send(Ok(reply))))
            }
            Err(error) => self.buyers.into_iter().for_each(|to| drop(to.send(Err(error.clone())))),
        }
    }
}

impl Placer {
    async fn place(
        &self,
        shop: ShopId,
        orders: Vec<PlaceOrder>,
        next: NextBatch,
    ) -> Result<Vec<Reply>, PlaceError> {
        let count = orders.len();
        let orders = Arc::new(orders);
        let begun = Instant::now();
        let replies = self.retrying(|| self.store.place(shop, orders.clone(), self.locking, &next)).await?;
        if replies.len() != count {
            return Err(PlaceError::Internal(format!(
                "a store gave {} replies to {count} orders",
                replies.len()
            )));
        }
        self.tell(|observer| observer.committed(&replies, begun.elapsed()));
        Ok(replies)
    }

    /// Runs a whole transaction, again where that is safe: every operation carries its own key against being
    /// done twice.
    async fn retrying<T, F>(&self, mut transaction: impl FnMut() -> F) -> Result<T, PlaceError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let begun = Instant::now();
        let mut tries = 1;
        loop {
            match caught(transaction()).await {
                Ok(value) => return Ok(value),
                Err(StoreError::Conflict | StoreError::CommitUnknown(_))
                    if tries < self.max_tries && begun.elapsed() < self.try_again_for =>
                {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    self.tell(|observer| observer.retried());
                    let limit = Duration::from_millis(1 << tries.min(8));
                    time::sleep(self.source.jitter(limit)).await;
                    tries += 1;
                }
                Err(error) => return Err(self.give_up(error)),
            }
        }
    }

    /// An observer that panics must not take the worker away from all orders, nor the answer from this one.
    fn tell(&self, what: impl FnOnce(&dyn Observer)) {
        catch_unwind(AssertUnwindSafe(|| what(&*self.observer))).ok();
    }

    fn give_up(&self, error: StoreError) -> PlaceError {
        self.tell(|observer| observer.gave_up(&error));
        match error {
            StoreError::Conflict | StoreError::CommitUnknown(_) | StoreError::Unavailable(_) => {
                PlaceError::Unavailable
            }
            StoreError::NoSuchShop => PlaceError::NoSuchShop,
            StoreError::Clash(text) | StoreError::Unusable(text) | StoreError::Internal(text) => {
                PlaceError::Internal(text)
            }
        }
    }
}

/// A bug that panics in one transaction must not take the worker away from all others.
async fn caught<T>(transaction: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let mut transaction = pin!(transaction);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| transaction.as_mut().poll(context)))
            .unwrap_or_else(|_| Poll::Ready(Err(StoreError::Internal("a transaction panicked".into()))))
    })
    .await
}
