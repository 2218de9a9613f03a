//! What came of a strategy's run, and what to think of it.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use lastunit::{SkuId, Strategy, Violation};

use super::Course;

/// What came of one strategy's run.
pub struct Figures {
    pub strategy: Strategy,
    /// Orders that were placed and acknowledged.
    pub placed: u64,
    /// Attempts that were told that the stock isn't enough.
    pub refused: u64,
    /// Attempts that were told to come back later: others were faster at every try, or the wait was too long.
    pub gave_up: u64,
    /// Orders that are in the database after it.
    pub orders_found: u64,
    /// Units of all SKUs.
    pub units: Units,
    /// How often a transaction was tried again.
    pub retries: u64,
    pub took: Duration,
    /// Of every attempt, whatever came of it.
    pub latency_us: Histogram<u64>,
    /// What the check of all invariants found.
    pub violations: Vec<Violation>,
}

/// Where the units went, of all SKUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Units {
    /// By the placed orders.
    pub sold: i64,
    /// By the stock after it.
    pub left: i64,
    /// Sold beyond what there was.
    pub oversold: i64,
    /// Sold, but not taken from the stock: a later write undid that.
    pub lost: i64,
}

impl Units {
    /// Of SKUs that had so much stock each, by what was sold and what is left of each.
    pub fn count(stock: i64, sold: &BTreeMap<SkuId, i64>, left: &BTreeMap<SkuId, i64>) -> Self {
        left.iter().fold(Self::default(), |units, (sku, left)| {
            let sold = sold.get(sku).copied().unwrap_or(0);
            Self {
                sold: units.sold + sold,
                left: units.left + left,
                oversold: units.oversold + (sold - stock).max(0),
                lost: units.lost + sold - (stock - left),
            }
        })
    }
}

/// What to think of a run, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The naive strategy did what it is known for.
    Caught(String),
    /// The naive strategy had luck.
    Spared(String),
    /// All that a safe strategy promises.
    Exact(String),
    /// A promise wasn't kept.
    Broken(String),
}

impl Verdict {
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Caught(text) | Self::Spared(text) | Self::Exact(text) | Self::Broken(text) => text,
        }
    }
}

impl Figures {
    /// Orders decided a second, placed or refused.
    pub fn per_second(&self) -> f64 {
        (self.placed + self.refused) as f64 / self.took.as_secs_f64()
    }

    /// A latency percentile in milliseconds.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        self.latency_us.value_at_quantile(percentile / 100.0) as f64 / 1000.0
    }

    /// The broken invariants' names, each once.
    pub fn broken_invariants(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.violations.iter().map(|violation| violation.invariant).collect();
        names.dedup();
        names
    }

    pub fn verdict(&self, course: &Course) -> Verdict {
        let Units { sold, left, oversold, lost } = self.units;
        let (placed, units) = (self.placed, course.units());
        if self.orders_found < placed {
            let found = self.orders_found;
            return Verdict::Broken(format!("BROKEN: {placed} orders were acknowledged, {found} are there"));
        }
        let invariants = self.broken_invariants().join(", ");
        if self.strategy != Strategy::Naive {
            if oversold > 0 || lost != 0 || !self.violations.is_empty() {
                let named = if invariants.is_empty() { "no invariant" } else { &invariants };
                return Verdict::Broken(format!(
                    "BROKEN: {sold} units sold of {units}, the stock says {left}; {oversold} oversold, {lost} updates \
                     lost; the check names {named}"
                ));
            }
            let gave_up = match self.gave_up {
                0 => String::new(),
                gave_up => format!(", {gave_up} gave up"),
            };
            return Verdict::Exact(format!(
                "exact: {sold} of {units} units sold, {} orders refused{gave_up}; every invariant holds",
                self.refused
            ));
        }
        match (oversold, lost) {
            (1.., _) => Verdict::Caught(format!(
                "OVERSOLD by {oversold}: {placed} orders took {sold} units of a stock of {units}, and it still says \
                 {left}; caught by the check: {invariants}"
            )),
            (_, 0) => Verdict::Spared(format!(
                "had luck: {sold} of {units} units sold and nothing lost; {}",
                if course.buyers == 1 {
                    "a single buyer has nobody to race with"
                } else {
                    "try more --attempts, or a longer --think-ms"
                }
            )),
            (_, lost) => Verdict::Caught(format!(
                "{lost} UPDATES LOST: {placed} orders took {sold} units of a stock of {units}, and it still says {left}, \
                 so units will be sold that are gone; caught by the check: {invariants}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        Course { buyers: 2, stock: 5, attempts: 10, lines: 1, think: Duration::ZERO }
    }

    fn figures(strategy: Strategy, placed: u64, units: Units) -> Figures {
        Figures {
            strategy,
            placed,
            refused: 10 - placed,
            gave_up: 0,
            orders_found: placed,
            units,
            retries: 0,
            took: Duration::from_secs(2),
            latency_us: Histogram::new(3).expect("three digits"),
            violations: Vec::new(),
        }
    }

    fn units(stock: i64, sold: &[i64], left: &[i64]) -> Units {
        let by_sku = |units: &[i64]| {
            (1..).zip(units).map(|(id, units)| (SkuId::new(id).expect("an id"), *units)).collect()
        };
        Units::count(stock, &by_sku(sold), &by_sku(left))
    }

    #[test]
    fn units_are_counted_by_sku() {
        assert_eq!(units(5, &[5], &[0]), Units { sold: 5, left: 0, oversold: 0, lost: 0 });
        assert_eq!(units(5, &[8], &[1]), Units { sold: 8, left: 1, oversold: 3, lost: 4 });
        // What one SKU has too many doesn't hide what another one lacks.
        assert_eq!(units(5, &[8, 1], &[0, 4]), Units { sold: 9, left: 4, oversold: 3, lost: 3 });
        assert_eq!(units(5, &[], &[5, 5]), Units { sold: 0, left: 10, oversold: 0, lost: 0 });
    }

    #[test]
    fn a_safe_strategy_is_exact_or_broken() {
        for strategy in Strategy::SAFE {
            let exact = figures(strategy, 5, units(5, &[5], &[0])).verdict(&course());
            assert!(
                matches!(&exact, Verdict::Exact(text) if text.contains("5 of 5 units sold, 5 orders refused"))
            );
            let oversold = figures(strategy, 8, units(5, &[8], &[0])).verdict(&course());
            assert!(oversold.is_broken() && oversold.text().contains("3 oversold"), "{oversold:?}");
            let lost = figures(strategy, 4, units(5, &[4], &[2])).verdict(&course());
            assert!(lost.is_broken() && lost.text().contains("1 updates lost"), "{lost:?}");
            let mut violated = figures(strategy, 5, units(5, &[5], &[0]));
            violated.violations.push(Violation { invariant: "totals_add_up", detail: "an order".into() });
            let verdict = violated.verdict(&course());
            assert!(verdict.is_broken() && verdict.text().contains("totals_add_up"), "{verdict:?}");
            let missing = Figures { orders_found: 4, ..figures(strategy, 5, units(5, &[5], &[0])) };
            assert!(missing.verdict(&course()).is_broken());
        }
    }

    #[test]
    fn the_naive_strategy_is_caught_or_had_luck() {
        let caught = figures(Strategy::Naive, 8, units(5, &[8], &[1])).verdict(&course());
        assert!(matches!(&caught, Verdict::Caught(text) if text.contains("OVERSOLD by 3")), "{caught:?}");
        let lost = figures(Strategy::Naive, 4, units(5, &[4], &[2])).verdict(&course());
        assert!(matches!(&lost, Verdict::Caught(text) if text.contains("1 UPDATES LOST")), "{lost:?}");
        let luck = figures(Strategy::Naive, 5, units(5, &[5], &[0]));
        assert!(matches!(luck.verdict(&course()), Verdict::Spared(text) if text.contains("try more")));
        let alone = luck.verdict(&Course { buyers: 1, ..course() });
        assert!(matches!(&alone, Verdict::Spared(text) if text.contains("a single buyer")), "{alone:?}");
    }

    #[test]
    fn orders_a_second_are_those_that_were_decided() {
        let figures = Figures { gave_up: 3, ..figures(Strategy::Queue, 4, Units::default()) };
        assert_eq!(figures.per_second(), 5.0);
    }
}
