//! How an update was lost, told step by step.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use lastunit::{SkuId, UserId};

use super::{Run, trace::Taking};

/// The most buyers whose steps are told one by one.
const MAX_TOLD: usize = 3;

/// Orders that all read the same stock of a SKU before any of them wrote it: all but one of their updates are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub sku: SkuId,
    /// The stock that all of them read, and the one that all of them wrote.
    pub read: i64,
    pub wrote: i64,
    /// In the order of their writes; at least two.
    takings: Vec<Taking>,
}

/// A step of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at: Instant,
    pub buyer: UserId,
    pub does: Does,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    Read,
    /// The writer's place among those who wrote this: from 1.
    Write(usize),
}

impl Story {
    /// The one that is told in the fewest steps, if any update was lost.
    pub fn find(takings: &[Taking]) -> Option<Self> {
        let mut by_stock: BTreeMap<(SkuId, i64, i64), Vec<&Taking>> = BTreeMap::new();
        for taking in takings {
            by_stock.entry((taking.sku, taking.read.1, taking.wrote.1)).or_default().push(taking);
        }
        let stories = by_stock.into_iter().filter_map(|((sku, read, wrote), mut takings)| {
            takings.sort_by_key(|taking| taking.wrote.0);
            // The same stock may come back later: only who had read it before it was first written belongs here.
            let first_write = takings.first()?.wrote.0;
            let takings: Vec<Taking> =
                takings.into_iter().filter(|taking| taking.read.0 < first_write).cloned().collect();
            (takings.len() > 1).then_some(Self { sku, read, wrote, takings })
        });
        stories.min_by_key(|story| (story.takings.len(), story.took()))
    }

    fn took(&self) -> Duration {
        let reads = self.takings.iter().map(|taking| taking.read.0).min();
        let writes = self.takings.iter().map(|taking| taking.wrote.0).max();
        reads.zip(writes).map(|(first, last)| last - first).unwrap_or_default()
    }

    /// Orders of the story, each of which sold a unit.
    pub fn sold(&self) -> usize {
        self.takings.len()
    }

    /// What the first few buyers did, in the order in which it happened.
    pub fn steps(&self) -> Vec<Step> {
        let told = self.takings.iter().take(MAX_TOLD);
        let mut steps: Vec<Step> = (1..)
            .zip(told)
            .flat_map(|(nth, taking)| {
                let step = |at, does| Step { at, buyer: taking.buyer.clone(), does };
                [step(taking.read.0, Does::Read), step(taking.wrote.0, Does::Write(nth))]
            })
            .collect();
        steps.sort_by_key(|step| step.at);
        steps
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps();
        for step in &steps {
            let at_ms = steps.first().map_or(0.0, |first| (step.at - first.at).as_secs_f64() * 1000.0);
            write!(f, "  {at_ms:8.3} ms  {:<10}  ", step.buyer.as_str())?;
            match step.does {
                Does::Read => writeln!(f, "reads   stock {}", self.read)?,
                Does::Write(1) => writeln!(f, "writes  stock {}   (its order is placed)", self.wrote)?,
                Does::Write(nth) => {
                    let (wrote, counted) = (self.wrote, self.read - self.wrote);
                    writeln!(f, "writes  stock {wrote}   (placed too: {nth} units sold, {counted} counted)")?;
                }
            }
        }
        let more = self.sold().saturating_sub(MAX_TOLD);
        if more > 0 {
            let (read, wrote, sold) = (self.read, self.wrote, self.sold());
            let counted = read - wrote;
            writeln!(
                f,
                "  and so did {more} more who had read {read} by then: {sold} units sold, {counted} counted"
            )?;
        }
        Ok(())
    }
}

/// What happened in the naive run, and why.
pub fn tell(run: &Run) -> String {
    let Some(story) = &run.story else {
        return "No two buyers of `naive` read the same stock before one of them wrote it: this time nobody raced.\n"
            .into();
    };
    let lost = run.figures.units.lost;
    format!(
        "How `naive` lost {lost} updates; one of them, step by step (SKU {}):\n\n{story}\nThe later write was computed \
         from a stock that was no longer so, and undid the earlier one. Nobody was told.\n",
        story.sku
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When, in milliseconds, and which stock.
    type At = (u64, i64);

    /// Takings as (buyer, read, wrote).
    fn takings(of: &[(&str, At, At)]) -> Vec<Taking> {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        of.iter()
            .map(|(buyer, read, wrote)| Taking {
                buyer: UserId::new(*buyer).expect("a user"),
                sku: SkuId::new(1).expect("an id"),
                read: (at(read.0), read.1),
                wrote: (at(wrote.0), wrote.1),
            })
            .collect()
    }

    #[test]
    fn the_shortest_story_is_told_in_its_order() {
        let all = takings(&[
            ("ada", (0, 9), (3, 8)),
            ("bob", (1, 9), (4, 8)),
            ("cy", (2, 9), (5, 8)),
            ("dan", (6, 8), (9, 7)),
            ("eve", (7, 8), (8, 7)),
        ]);
        let story = Story::find(&all).expect("two read the same");
        assert_eq!((story.read, story.wrote, story.sold()), (8, 7, 2));
        let told = story.to_string();
        let lines: Vec<&str> = told.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "0.000 ms  dan         reads   stock 8",
                "1.000 ms  eve         reads   stock 8",
                "2.000 ms  eve         writes  stock 7   (its order is placed)",
                "3.000 ms  dan         writes  stock 7   (placed too: 2 units sold, 1 counted)",
            ]
        );
    }

    #[test]
    fn of_many_only_a_few_are_told() {
        let many: Vec<_> = (0..10).map(|nth| ("ada", (nth, 9), (20 + nth, 8))).collect();
        let told = Story::find(&takings(&many)).expect("ten read the same").to_string();
        assert_eq!(told.lines().count(), 2 * MAX_TOLD + 1, "{told}");
        assert!(told.contains("7 more who had read 9 by then: 10 units sold, 1 counted"), "{told}");
    }

    #[test]
    fn a_stock_that_comes_back_is_no_lost_update() {
        let one_after_the_other =
            takings(&[("ada", (0, 9), (1, 8)), ("bob", (2, 9), (3, 8)), ("cy", (4, 8), (5, 7))]);
        assert_eq!(Story::find(&one_after_the_other), None);
        assert_eq!(Story::find(&[]), None);
    }
}
