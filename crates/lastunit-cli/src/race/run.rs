//! One strategy's run, on a database of its own.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use lastunit::{
    Address, Amount, Config, Currency, Demand, Engine, IdempotencyKey, NewProduct, NewSku, Outcome,
    PayMethod, PlaceError, PlaceRequest, Refusal, ShopId, ShopSettings, SkuId, Source, Store, Strategy,
    SystemSource, UserId, Watched,
};
use tokio::task::JoinSet;

use super::{
    Course,
    figures::{Figures, Units},
    live::Live,
    story::Story,
    trace::Watcher,
};
use crate::place::Place;

/// One strategy's run.
pub struct Run {
    pub figures: Figures,
    /// The stock as it was read now and then, since the start.
    pub stock: Vec<(Duration, i64)>,
    /// Every unit sold, in the order in which the buyers were told.
    pub sales: Vec<Sale>,
    /// How an update was lost, if one was.
    pub story: Option<Story>,
}

/// A unit was sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sale {
    /// When the buyer was told, since the start.
    pub after: Duration,
    pub sku: SkuId,
}

/// Runs a strategy on a fresh database, which is dropped whatever comes of it.
pub async fn run(course: &Course, place: &Place, strategy: Strategy) -> Result<Run> {
    let fresh = place.fresh(|_| ()).await?;
    let watcher = Arc::new(Watcher::new(course.think, strategy == Strategy::Naive));
    let ran = match fresh.open_watched(Watched::by(watcher.clone())).await {
        Ok(store) => {
            let ran = tokio::select! {
                ran = race(course, strategy, &store, &watcher) => ran,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            };
            store.close().await;
            ran
        }
        Err(error) => Err(error),
    };
    let dropped = fresh.drop_it().await;
    let ran = ran?;
    dropped.context("the race's database can't be dropped")?;
    Ok(ran)
}

async fn race(course: &Course, strategy: Strategy, store: &Arc<dyn Store>, watcher: &Watcher) -> Result<Run> {
    let skus = stock_up(course, store.as_ref()).await?;
    let config = Config { strategy, allow_overselling: strategy == Strategy::Naive, ..Config::default() };
    let engine = Engine::start(store.clone(), config)?;
    let live = Live::new(strategy, course.attempts);
    let attempts =
        Arc::new(Attempts { left: course.attempts.into(), answered: 0.into(), begun: Instant::now() });
    let mut buyers = JoinSet::new();
    for number in 1..=course.buyers {
        let user = UserId::new(format!("buyer-{number}"))?;
        let (engine, skus, attempts) = (engine.clone(), skus.clone(), attempts.clone());
        buyers.spawn(buy(engine, user, skus, course.lines, attempts));
    }

    let mut tally = Tally::new()?;
    let mut samples = Samples::default();
    while !buyers.is_empty() {
        let left = left(store.as_ref()).await?.values().sum();
        let after = attempts.begun.elapsed();
        samples.push(after, left);
        live.show(attempts.answered.load(Ordering::Relaxed), after, left);
        let next = tokio::time::sleep(samples.every);
        tokio::pin!(next);
        // Until the next sample, those who are done.
        while !buyers.is_empty() {
            let step = tokio::select! {
                () = &mut next => ControlFlow::Break(()),
                Some(done) = buyers.join_next() => ControlFlow::Continue(done),
            };
            match step {
                ControlFlow::Break(()) => break,
                ControlFlow::Continue(done) => tally.add(done??)?,
            }
        }
    }
    let took = tally.last.unwrap_or_default();
    live.end(took);
    engine.drain().await;

    let mut sales = tally.sales;
    sales.sort_by_key(|sale| sale.after);
    let sold = sales.iter().fold(BTreeMap::new(), |mut sold, sale| {
        *sold.entry(sale.sku).or_default() += 1;
        sold
    });
    let left = left(store.as_ref()).await?;
    samples.push(took, left.values().sum());
    let report = store.check().await?;
    let figures = Figures {
        strategy,
        placed: tally.placed,
        refused: tally.refused,
        gave_up: tally.gave_up,
        orders_found: report.orders,
        units: Units::count(course.stock, &sold, &left),
        retries: engine.retries(),
        took,
        latency_us: tally.latency_us,
        violations: report.violations,
    };
    Ok(Run { figures, stock: samples.kept, sales, story: Story::find(&watcher.takings()) })
}

/// Opens shop 1 and stocks it up; the ids of its SKUs.
async fn stock_up(course: &Course, store: &dyn Store) -> Result<Vec<SkuId>> {
    let now = SystemSource.now();
    let settings =
        ShopSettings { currency: Currency::new("GBP")?, freight: Amount::new(450)?, free_from: None };
    store.set_settings(ShopId::FIRST, settings, now).await?;
    let sku = |number: usize| -> Result<NewSku> {
        let (code, name) = (format!("RACE-{number}"), format!("Kind {number}"));
        Ok(NewSku { code, name, price: Amount::new(1000)?, stock: course.stock, on_sale: true })
    };
    let skus = (1..=course.skus()).map(sku).collect::<Result<_>>()?;
    let product = NewProduct { handle: None, name: "What all want".into(), description: String::new(), skus };
    store.import(ShopId::FIRST, vec![product], SystemSource.uuid(now), now).await?;
    Ok(left(store).await?.into_keys().collect())
}

/// The stock of each SKU.
async fn left(store: &dyn Store) -> Result<BTreeMap<SkuId, i64>> {
    let skus = store.skus(ShopId::FIRST, None, 100).await?;
    Ok(skus.into_iter().map(|sku| (sku.id, sku.stock)).collect())
}

/// What all buyers share.
struct Attempts {
    left: AtomicU64,
    answered: AtomicU64,
    begun: Instant,
}

impl Attempts {
    fn take(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// One attempt after the other, until none is left.
async fn buy(
    engine: Engine,
    user: UserId,
    skus: Vec<SkuId>,
    lines: usize,
    attempts: Arc<Attempts>,
) -> Result<Tally> {
    let mut tally = Tally::new()?;
    while attempts.take() {
        let wanted = rand::seq::index::sample(&mut rand::rng(), skus.len(), lines);
        let demand = Demand::new(wanted.into_iter().map(|at| (skus[at], 1)))?;
        let key = IdempotencyKey::new(format!("{:016x}", rand::random::<u64>()))?;
        let (address, pay_method) = (Address::example(), PayMethod::CashOnDelivery);
        let request = PlaceRequest::of_lines(user.clone(), key, demand, address, pay_method);
        let begun = Instant::now();
        let answer = engine.place(request).await;
        tally.latency_us.saturating_record(begun.elapsed().as_micros().try_into().unwrap_or(u64::MAX));
        let after = attempts.begun.elapsed();
        tally.last = Some(after);
        attempts.answered.fetch_add(1, Ordering::Relaxed);
        match answer.map(|reply| reply.outcome) {
            Ok(Outcome::Placed(order)) => {
                tally.placed += 1;
                tally.sales.extend(order.lines.iter().map(|line| Sale { after, sku: line.sku_id }));
            }
            Ok(Outcome::Refused(Refusal::InsufficientStock { .. })) => tally.refused += 1,
            Err(PlaceError::Unavailable | PlaceError::Overloaded) => tally.gave_up += 1,
            other => bail!("an order of the race was answered with {other:?}"),
        }
    }
    Ok(tally)
}

/// What came of the attempts of a buyer, or of all of them.
struct Tally {
    placed: u64,
    refused: u64,
    gave_up: u64,
    /// A line is a unit.
    sales: Vec<Sale>,
    /// The last answer, since the start.
    last: Option<Duration>,
    latency_us: Histogram<u64>,
}

impl Tally {
    fn new() -> Result<Self> {
        Ok(Self {
            placed: 0,
            refused: 0,
            gave_up: 0,
            sales: Vec::new(),
            last: None,
            latency_us: Histogram::new_with_bounds(1, 60_000_000, 3)?,
        })
    }

    fn add(&mut self, other: Self) -> Result<()> {
        self.placed += other.placed;
        self.refused += other.refused;
        self.gave_up += other.gave_up;
        self.sales.extend(other.sales);
        self.last = self.last.max(other.last);
        self.latency_us.add(other.latency_us)?;
        Ok(())
    }
}

/// Readings of the stock; as a run gets long, they get rarer instead of more.
struct Samples {
    every: Duration,
    kept: Vec<(Duration, i64)>,
}

impl Default for Samples {
    fn default() -> Self {
        Self { every: Duration::from_millis(5), kept: Vec::new() }
    }
}

impl Samples {
    const MAX: usize = 1000;

    fn push(&mut self, after: Duration, stock: i64) {
        self.kept.push((after, stock));
        if self.kept.len() == Self::MAX {
            let mut odd = false;
            self.kept.retain(|_| {
                odd = !odd;
                odd
            });
            self.every *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_sampled_more_rarely() {
        let mut samples = Samples::default();
        let mut at = Duration::ZERO;
        for stock in (0..10_000).rev() {
            at += samples.every;
            samples.push(at, stock);
        }
        assert!(samples.kept.len() < Samples::MAX, "{}", samples.kept.len());
        assert!(samples.every > Duration::from_millis(20), "{:?}", samples.every);
        assert!(samples.kept.is_sorted_by_key(|sample| sample.0));
        assert_eq!(samples.kept.first(), Some(&(Duration::from_millis(5), 9999)));
    }
}
