//! What is broken, when, and for how long. The schedule derives from the seed alone.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use lastunit_bench::history::{Fault, Recorder};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    proxy::{Proxy, Trap, When, answers},
    servers::Place,
};

/// A way to break something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Kind {
    /// kill -9 of a server.
    Kill,
    /// kill -9 of all servers at once.
    KillAll,
    /// SIGTERM of a server.
    Terminate,
    /// All connections between buyers and a server are cut.
    CutClients,
    /// Orders are cut off before the server has them.
    CutRequests,
    /// Orders are cut off when the server has answered them.
    CutAnswers,
    /// Connections between buyers and a server stand still.
    StallClients,
    /// All connections between a server and its database are cut.
    CutStore,
    /// Connections are cut at a COMMIT that the database never gets.
    CutBeforeCommit,
    /// Connections are cut when the database has answered a COMMIT, which the server never hears.
    CutAfterCommit,
    /// Connections between a server and its database stand still.
    StallStore,
    /// The same, while many more call: the pool of connections is used up.
    Exhaust,
    /// All connections between a server and its carts are cut.
    CutCarts,
    /// Connections between a server and its carts stand still.
    StallCarts,
    /// A server's wall clock jumps, forwards or back.
    Clock,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Kill,
        Self::KillAll,
        Self::Terminate,
        Self::CutClients,
        Self::CutRequests,
        Self::CutAnswers,
        Self::StallClients,
        Self::CutStore,
        Self::CutBeforeCommit,
        Self::CutAfterCommit,
        Self::StallStore,
        Self::Exhaust,
        Self::CutCarts,
        Self::StallCarts,
        Self::Clock,
    ];

    /// As on the command line.
    pub fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// In plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::KillAll => "kill -9 of all servers",
            Self::Terminate => "SIGTERM",
            Self::CutClients => "buyers' connections cut",
            Self::CutRequests => "orders cut off on their way",
            Self::CutAnswers => "answers to orders cut off",
            Self::StallClients => "buyers' connections stalled",
            Self::CutStore => "database connections cut",
            Self::CutBeforeCommit => "database cut off before COMMIT",
            Self::CutAfterCommit => "database cut off after COMMIT",
            Self::StallStore => "database connections stalled",
            Self::Exhaust => "pool of connections used up",
            Self::CutCarts => "Redis connections cut",
            Self::StallCarts => "Redis connections stalled",
            Self::Clock => "clock jumps",
        }
    }

    /// Why it can't be done to these servers, if it can't.
    pub fn why_not(self, place: &Place, faketime: bool) -> Option<&'static str> {
        match self {
            Self::CutStore
            | Self::CutBeforeCommit
            | Self::CutAfterCommit
            | Self::StallStore
            | Self::Exhaust
                if place.store.is_none() =>
            {
                Some("the database is a file, or has several addresses")
            }
            Self::CutCarts | Self::StallCarts if place.carts.is_none() => {
                Some("the carts are with the orders, or in a cluster")
            }
            Self::Clock if !faketime => Some("libfaketime isn't installed (Debian: apt install faketime)"),
            _ => None,
        }
    }
}

/// A fault that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    pub kind: Kind,
    /// Which server.
    pub place: usize,
    /// The pause before it.
    pub after: Duration,
    pub lasts: Duration,
    /// What is left to chance: how many connections, which way the clock turns.
    pub dice: u64,
}

/// Faults without end: all kinds in random order, then again in another.
pub fn schedule(seed: u64, kinds: &[Kind], places: usize) -> impl Iterator<Item = Planned> + Send + use<> {
    let mut chance = StdRng::seed_from_u64(seed);
    let kinds = kinds.to_vec();
    let mut deck: Vec<Kind> = Vec::new();
    std::iter::from_fn(move || {
        if deck.is_empty() {
            deck.clone_from(&kinds);
            deck.shuffle(&mut chance);
        }
        let kind = deck.pop()?;
        let lasts_ms = match kind {
            Kind::Kill | Kind::KillAll | Kind::Terminate => chance.random_range(20..400),
            // Sometimes beyond the time for which buyers, and servers, wait.
            Kind::StallClients | Kind::StallStore | Kind::StallCarts if chance.random_bool(0.3) => {
                chance.random_range(2_000..3_500)
            }
            Kind::StallClients | Kind::StallStore | Kind::StallCarts => chance.random_range(100..1_000),
            Kind::Exhaust => chance.random_range(2_200..3_500),
            Kind::Clock => chance.random_range(1_000..2_500),
            _ => chance.random_range(200..800),
        };
        Some(Planned {
            kind,
            place: chance.random_range(0..places),
            after: Duration::from_millis(chance.random_range(100..900)),
            lasts: Duration::from_millis(lasts_ms),
            dice: chance.random(),
        })
    })
}

/// Injects one fault after the other until `stop` says so, and heals each.
pub async fn inject(
    places: Arc<Vec<Place>>,
    planned: impl Iterator<Item = Planned> + Send,
    recorder: Arc<Recorder>,
    now: watch::Sender<String>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    for fault in planned {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = sleep(fault.after) => {}
        }
        let target = match fault.kind {
            Kind::KillAll => "all servers".into(),
            _ => places[fault.place].name(),
        };
        now.send_replace(format!("{}: {target}", fault.kind.words()));
        let from_us = recorder.now_us();
        let count = strike(&places, fault, &mut stop).await?;
        now.send_replace(String::new());
        let until_us = recorder.now_us();
        recorder.fault(Fault { kind: fault.kind.words().into(), target, from_us, until_us, count })?;
        for place in places.iter() {
            place.revive().await?;
        }
    }
    Ok(())
}

/// Breaks it, waits, and heals it. How often it struck.
async fn strike(places: &[Place], fault: Planned, stop: &mut watch::Receiver<bool>) -> Result<u64> {
    let place = &places[fault.place];
    let until = Instant::now() + fault.lasts;
    let mut wait = async || {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = sleep_until(until) => {}
        }
    };
    let many = 1 + fault.dice % 12;
    let none = || Ok(0);
    match fault.kind {
        Kind::Kill => {
            place.kill().await?;
            wait().await;
            place.start().await?;
            Ok(1)
        }
        Kind::KillAll => {
            for place in places {
                place.kill().await?;
            }
            wait().await;
            for place in places {
                place.start().await?;
            }
            Ok(places.len() as u64)
        }
        Kind::Terminate => {
            place.stop().await?;
            wait().await;
            place.start().await?;
            Ok(1)
        }
        Kind::CutClients => Ok(cut_again_and_again(&place.clients, until).await),
        Kind::CutRequests => Ok(trap(&place.clients, b"POST /v1/orders ", When::Before, many, wait()).await),
        Kind::CutAnswers => Ok(trap(&place.clients, b"POST /v1/orders ", When::After, many, wait()).await),
        Kind::StallClients => Ok(stall(&place.clients, wait()).await),
        Kind::CutStore => match &place.store {
            Some(proxy) => Ok(cut_again_and_again(proxy, until).await),
            None => none(),
        },
        Kind::CutBeforeCommit => match &place.store {
            Some(proxy) => Ok(trap(proxy, place.commit, When::Before, many, wait()).await),
            None => none(),
        },
        Kind::CutAfterCommit => match &place.store {
            Some(proxy) => Ok(trap(proxy, place.commit, When::After, many, wait()).await),
            None => none(),
        },
        Kind::StallStore => match &place.store {
            Some(proxy) => Ok(stall(proxy, wait()).await),
            None => none(),
        },
        Kind::Exhaust => match &place.store {
            Some(proxy) => Ok(exhaust(proxy, place, wait()).await),
            None => none(),
        },
        Kind::CutCarts => match &place.carts {
            Some(proxy) => Ok(cut_again_and_again(proxy, until).await),
            None => none(),
        },
        Kind::StallCarts => match &place.carts {
            Some(proxy) => Ok(stall(proxy, wait()).await),
            None => none(),
        },
        Kind::Clock => {
            let hours = 1 + i64::try_from(fault.dice % 48)?;
            place.turn_clock(if fault.dice & 64 == 0 { hours } else { -hours } * 3_600)?;
            wait().await;
            place.turn_clock(0)?;
            Ok(1)
        }
    }
}

/// Cuts all connections, and those that took their place, a few times; how many.
async fn cut_again_and_again(proxy: &Proxy, until: Instant) -> u64 {
    let mut cut = 0;
    loop {
        cut += proxy.cut_all();
        if Instant::now() >= until {
            return cut;
        }
        sleep(Duration::from_millis(150)).await;
    }
}

async fn trap(
    proxy: &Proxy,
    waits_for: &'static [u8],
    when: When,
    left: u64,
    wait: impl Future<Output = ()>,
) -> u64 {
    let before = proxy.trapped();
    proxy.set_trap(Some(Trap { waits_for, when, left }));
    wait.await;
    proxy.set_trap(None);
    proxy.trapped() - before
}

async fn stall(proxy: &Proxy, wait: impl Future<Output = ()>) -> u64 {
    proxy.stall(true);
    wait.await;
    let open = proxy.open();
    proxy.stall(false);
    open
}

/// Stalls the database's connections while far more callers want one than there are. They aren't part of the history.
async fn exhaust(store: &Proxy, place: &Place, wait: impl Future<Output = ()>) -> u64 {
    const CALLERS: usize = 100;
    store.stall(true);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(answers(place.clients.address(), place.reading(), Duration::from_secs(10)));
    }
    wait.await;
    store.stall(false);
    let answered = callers.join_all().await;
    answered.into_iter().filter(|answered| *answered).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_derives_from_the_seed() {
        let of = |seed| schedule(seed, &Kind::ALL, 3).take(100).collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        let planned: Vec<Planned> = schedule(1, &Kind::ALL, 2).take(Kind::ALL.len()).collect();
        for kind in Kind::ALL {
            assert_eq!(planned.iter().filter(|planned| planned.kind == kind).count(), 1, "{kind:?}");
        }
    }
}
