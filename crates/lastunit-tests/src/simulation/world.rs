//! What all parts of a simulation share: its clock, its chance, and what was seen of it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use lastunit::Violation;
use tokio::{
    sync::Semaphore,
    task::yield_now,
    time::{Instant, sleep},
};

use super::{Bug, Scenario, chance::Chance};

pub(super) struct World {
    pub scenario: Scenario,
    pub chance: Chance,
    /// How many transactions and calls of a hundred go wrong.
    pub faults_percent: u64,
    /// How long clients think at most: the less, the more they are in each other's way.
    pub pace_ms: u64,
    pub begun: Instant,
    /// Nothing goes wrong any more.
    calm: AtomicBool,
    trace: Option<Mutex<Vec<String>>>,
    sights: Mutex<BTreeMap<&'static str, u64>>,
    violations: Mutex<Vec<Violation>>,
}

impl World {
    pub fn new(seed: u64, scenario: Scenario, traced: bool) -> Self {
        let chance = Chance::new(seed);
        let faults_percent = *chance.pick(&[0, 3, 10, 25]);
        let pace_ms = *chance.pick(&[0, 5, 50, 300]);
        Self {
            scenario,
            chance,
            faults_percent,
            pace_ms,
            begun: Instant::now(),
            calm: AtomicBool::new(false),
            trace: traced.then(Mutex::default),
            sights: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    pub fn has(&self, bug: Bug) -> bool {
        self.scenario.bug == Some(bug)
    }

    pub fn calm_down(&self) {
        self.calm.store(true, SeqCst);
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(SeqCst)
    }

    /// Whether something goes wrong now.
    pub fn goes_wrong(&self) -> bool {
        !self.is_calm() && self.chance.percent(self.faults_percent)
    }

    /// Lets the others run: this is where the seed decides who comes next.
    pub async fn pause(&self) {
        match self.chance.below(1_000) {
            0..700 => {
                for _ in 0..self.chance.below(4) {
                    yield_now().await;
                }
            }
            700..970 => sleep(self.chance.millis(1..=5)).await,
            970..995 => sleep(self.chance.millis(5..=100)).await,
            _ => sleep(self.chance.millis(200..=2_000)).await,
        }
    }

    /// Writes an event down, if anybody wants to read it.
    pub fn note(&self, event: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let event = format!("{:>6} ms  {}", self.begun.elapsed().as_millis(), event());
            trace.lock().expect("not poisoned").push(event);
        }
    }

    /// Counts something that happened, so that a test can say what the simulation reaches.
    pub fn sight(&self, what: &'static str) {
        *self.sights.lock().expect("not poisoned").entry(what).or_default() += 1;
    }

    pub fn violation(&self, invariant: &'static str, detail: impl Into<String>) {
        let violation = Violation { invariant, detail: detail.into() };
        self.note(|| format!("VIOLATION {violation}"));
        self.violations.lock().expect("not poisoned").push(violation);
    }

    pub fn report(&self) -> super::Report {
        let take = |trace: &Mutex<Vec<String>>| std::mem::take(&mut *trace.lock().expect("not poisoned"));
        super::Report {
            violations: std::mem::take(&mut *self.violations.lock().expect("not poisoned")),
            trace: self.trace.as_ref().map(take).unwrap_or_default(),
            sights: std::mem::take(&mut *self.sights.lock().expect("not poisoned")),
            simulated: self.begun.elapsed(),
        }
    }
}

/// A server's process: what it has under way never goes on once it is over.
pub(super) struct Life(Semaphore);

impl Life {
    pub fn new() -> Self {
        Self(Semaphore::new(0))
    }

    pub fn end(&self) {
        self.0.close();
    }

    pub fn is_over(&self) -> bool {
        self.0.is_closed()
    }

    /// Returns when it is over.
    pub async fn over(&self) {
        // There are no permits: only closing it ends the wait.
        drop(self.0.acquire().await);
    }
}

/// The longest that a call or a drain may take: every wait in the engine and in the stores has a limit, and together
/// they are less.
pub(super) const LONGEST: Duration = Duration::from_secs(120);
