//! Orders placed through the library, without a server.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use lastunit::{
    Address, Config, Demand, Engine, IdempotencyKey, Observer, Outcome, PayMethod, PlaceError, PlaceRequest,
    Refusal, Reply, ShopId, SkuId, Store, Strategy, UserId,
};
use lastunit_bench::{Answer, Attempts, Measured, Picks};

use super::{
    fill,
    load::{Load, Workload, all_placed},
    place::{Fresh, Place},
};

/// A shop is grown by so many buyers: the largest batches are the fastest.
const GROWING_BUYERS: usize = 512;

/// A buyer of the benchmark, in process.
struct Caller {
    engine: Engine,
    user: UserId,
    picks: Picks,
}

impl Attempts for Caller {
    async fn attempt(&mut self) -> Result<Answer> {
        let key = IdempotencyKey::new(format!("{:016x}", rand::random::<u64>()))?;
        let lines = draw(&self.picks)?.into_iter().map(|sku| (sku, 1));
        let (user, lines) = (self.user.clone(), Demand::new(lines)?);
        let request = PlaceRequest::of_lines(user, key, lines, Address::example(), PayMethod::CashOnDelivery);
        let reply = match self.engine.place(request).await {
            Ok(reply) => reply,
            Err(PlaceError::Overloaded | PlaceError::Unavailable) => return Ok(Answer::TurnedAway),
            Err(error) => return Err(error.into()),
        };
        match reply.outcome {
            Outcome::Placed(_) => Ok(Answer::Placed),
            Outcome::Refused(Refusal::InsufficientStock { .. }) => Ok(Answer::Refused),
            other => bail!("an order of the benchmark wasn't placed: {other:?}"),
        }
    }
}

/// The SKUs of an order; they are numbered from 1.
pub fn draw(picks: &Picks) -> Result<Vec<SkuId>> {
    picks.draw(&mut rand::rng()).into_iter().map(|at| Ok(SkuId::new(at as i64 + 1)?)).collect()
}

/// A fresh shop, and an engine on it.
pub struct InProcess {
    fresh: Fresh,
    store: Arc<dyn Store>,
    engine: Engine,
    workload: Workload,
    /// Orders there are, at least.
    placed: u64,
    commits: Arc<Commits>,
}

/// What an engine committed.
#[derive(Default)]
struct Commits {
    commits: AtomicU64,
    orders: AtomicU64,
}

impl Observer for Commits {
    fn committed(&self, replies: &[Reply], _took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.orders.fetch_add(replies.len() as u64, Ordering::Relaxed);
    }
}

impl InProcess {
    /// Opens a shop of the workload's SKUs, of so many units each, over at most so many connections.
    pub async fn open(
        place: &Place,
        strategy: Strategy,
        connections: Option<NonZeroUsize>,
        workload: Workload,
        stock: i64,
    ) -> Result<Self> {
        let (fresh, store) = fill::shop(place, connections, workload.skus, stock).await?;
        let commits = Arc::new(Commits::default());
        let config = Config { strategy, ..Config::default() };
        let engine = Engine::start_observed(store.clone(), config, commits.clone())?;
        Ok(Self { fresh, store, engine, workload, placed: 0, commits })
    }

    /// Runs one load on it.
    pub async fn run(&mut self, buyers: usize, load: Load, seconds: f64) -> Result<Measured> {
        let picks = self.workload.picks()?;
        let caller =
            |n| Ok(Caller { engine: self.engine.clone(), user: UserId::new(format!("buyer-{n}"))?, picks });
        let callers = (0..buyers).map(caller).collect::<Result<_>>()?;
        let measured = load.run(callers, seconds).await?;
        self.placed += measured.placed_in_all;
        Ok(measured)
    }

    /// Places orders until there are so many.
    pub async fn grow_to(&mut self, orders: u64) -> Result<()> {
        while self.placed < orders {
            // A guess at the time it takes; the loop corrects it.
            let seconds = ((orders - self.placed) as f64 / 50_000.0).clamp(0.02, 10.0);
            let grown = self.run(GROWING_BUYERS, Load::Closed, seconds).await?;
            // On a machine that stands still for a while some may be turned away; all of them mustn't be.
            ensure!(grown.placed_in_all > 0, "of {} orders none more could be placed", self.placed);
            eprintln!("{} of {orders} orders", self.placed);
        }
        Ok(())
    }

    /// Orders there are, at least: calls that were turned away may have left more.
    pub fn placed(&self) -> u64 {
        self.placed
    }

    /// Units left in stock; what was sold has to be what was ordered.
    pub async fn units_left(&self, measured: &Measured) -> Result<i64> {
        let (mut left, mut sold, mut after) = (0, 0, None);
        loop {
            let skus = self.store.skus(ShopId::FIRST, after, 1000).await?;
            let Some(last) = skus.last() else { break };
            after = Some(last.id);
            left += skus.iter().map(|sku| sku.stock).sum::<i64>();
            sold += skus.iter().map(|sku| sku.sales).sum::<i64>();
        }
        let lines = self.workload.lines as u64;
        let ordered =
            measured.placed_in_all * lines..=(measured.placed_in_all + measured.turned_away_in_all) * lines;
        ensure!(ordered.contains(&(sold as u64)), "{sold} units were sold, and {ordered:?} ordered");
        Ok(left)
    }

    /// Closes it, and leaves its database.
    pub async fn leave(self) -> Fresh {
        self.engine.drain().await;
        self.store.close().await;
        self.fresh
    }

    /// Closes it, and checks every invariant.
    pub async fn close(self) -> Result<()> {
        let placed = self.placed;
        self.leave().await.check_and_drop(placed).await
    }
}

/// How many orders of one SKU a batched engine commits at once when so many buyers are in a closed loop.
pub async fn orders_a_commit(place: &Place, buyers: usize, seconds: f64) -> Result<f64> {
    let mut shop = InProcess::open(place, Strategy::Batched, None, Workload::HOT, fill::PLENTY).await?;
    all_placed(shop.run(buyers, Load::Closed, seconds).await?)?;
    let Commits { commits, orders } = &*shop.commits;
    let at_once = orders.load(Ordering::Relaxed) as f64 / commits.load(Ordering::Relaxed) as f64;
    shop.close().await?;
    Ok(at_once)
}

/// Runs one load on a fresh shop with plenty for all, and checks every invariant after it.
pub async fn run(
    place: &Place,
    strategy: Strategy,
    connections: Option<NonZeroUsize>,
    buyers: usize,
    workload: Workload,
    load: Load,
    seconds: f64,
) -> Result<Measured> {
    let mut shop = InProcess::open(place, strategy, connections, workload, fill::PLENTY).await?;
    let measured = all_placed(shop.run(buyers, load, seconds).await?)?;
    shop.close().await?;
    Ok(measured)
}
