//! The race as a picture.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use lastunit::{SkuId, Strategy};
use lastunit_bench::chart::{Bars, Dots, Figure, Hue, Lines, Scale, Series};

use super::{Course, Run, run::Sale};

/// The most points of a line: more wouldn't be seen.
const MAX_POINTS: usize = 800;

/// An SVG: the stock over time, with what was oversold in red; throughput; latency.
pub fn draw(course: &Course, store: &str, runs: &[Run]) -> Result<String> {
    let mut figure = Figure::new("The race for the last unit").note(course.describe()).note(store);
    if let Some(naive) = runs.iter().find(|run| run.figures.strategy == Strategy::Naive) {
        let oversold = naive.figures.units.oversold;
        let title = match oversold {
            0 => "Units left with naive".to_owned(),
            _ => format!("Units left with naive, which sold {oversold} that weren't there"),
        };
        let Goods { left, oversold } = goods(course, &naive.sales);
        let mut lines = Lines::new(title, "seconds", "")
            .series(Series::new("what the stock says", Hue::Grey, stock(naive)).steps())
            .series(Series::new("what the orders left", Hue::Blue, left).steps());
        if !oversold.is_empty() {
            lines = lines.series(Series::new("oversold", Hue::Red, oversold).steps().filled());
        }
        figure = figure.panel(lines);
    }
    let mut safe = Lines::new("Units left with the others, until the last was sold", "seconds", "");
    for run in runs.iter().filter(|run| run.figures.strategy != Strategy::Naive) {
        let strategy = run.figures.strategy;
        let left = goods(course, &run.sales).left;
        safe = safe.series(Series::new(strategy.as_str(), hue(strategy), left).steps());
    }
    let mut throughput = Bars::new("Orders decided a second", "orders/s");
    let mut latency =
        Dots::new("Latency of an attempt", "ms", [("p50", Hue::Sky), ("p99", Hue::Blue), ("max", Hue::Grey)])
            .scale(Scale::Log);
    for run in runs {
        let (strategy, figures) = (run.figures.strategy, &run.figures);
        let remark = match figures.units.oversold {
            0 => String::new(),
            oversold => format!("({oversold} units oversold)"),
        };
        throughput = throughput.bar_with(strategy.as_str(), figures.per_second(), hue(strategy), remark);
        latency = latency.row(strategy.as_str(), [50.0, 99.0, 100.0].map(|p| figures.percentile_ms(p)));
    }
    figure.panel(safe).panel(throughput).panel(latency).to_svg()
}

fn hue(strategy: Strategy) -> Hue {
    match strategy {
        Strategy::Naive => Hue::Red,
        Strategy::Optimistic => Hue::Orange,
        Strategy::Pessimistic => Hue::Purple,
        Strategy::Queue => Hue::Green,
        Strategy::Batched => Hue::Blue,
    }
}

fn seconds(at: Duration) -> f64 {
    at.as_secs_f64()
}

fn stock(run: &Run) -> Vec<(f64, f64)> {
    thinned(run.stock.iter().map(|(at, stock)| (seconds(*at), *stock as f64)).collect())
}

/// What became of the units, over time in seconds.
struct Goods {
    /// Units that nobody has bought yet.
    left: Vec<(f64, f64)>,
    /// Units that were bought and weren't there, as negative numbers; from when the first was.
    oversold: Vec<(f64, f64)>,
}

/// By SKU, for what one has too many doesn't make up for what another one lacks.
fn goods(course: &Course, sales: &[Sale]) -> Goods {
    let mut sold: BTreeMap<SkuId, i64> = BTreeMap::new();
    let (mut left, mut oversold) = (course.units(), 0);
    let mut goods = Goods { left: vec![(0.0, left as f64)], oversold: Vec::new() };
    for sale in sales {
        let (of_sku, at) = (sold.entry(sale.sku).or_default(), seconds(sale.after));
        *of_sku += 1;
        if *of_sku <= course.stock {
            left -= 1;
            goods.left.push((at, left as f64));
        } else {
            if goods.oversold.is_empty() {
                goods.oversold.push((at, 0.0));
            }
            oversold -= 1;
            goods.oversold.push((at, oversold as f64));
        }
    }
    Goods { left: thinned(goods.left), oversold: thinned(goods.oversold) }
}

/// Evenly fewer points, with the first and the last.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.into_iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
    kept.map(|(_, point)| point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_left_or_oversold_by_sku() {
        let course = Course { buyers: 2, stock: 2, attempts: 9, lines: 2, think: Duration::ZERO };
        let sale =
            |after, id| Sale { after: Duration::from_secs(after), sku: SkuId::new(id).expect("an id") };
        let goods = goods(&course, &[sale(1, 1), sale(2, 1), sale(3, 1), sale(4, 2), sale(5, 1)]);
        assert_eq!(goods.left, [(0.0, 8.0), (1.0, 7.0), (2.0, 6.0), (4.0, 5.0)]);
        assert_eq!(goods.oversold, [(3.0, 0.0), (3.0, -1.0), (5.0, -2.0)]);
    }

    #[test]
    fn thinned_lines_keep_both_ends() {
        for length in [0, 1, MAX_POINTS, MAX_POINTS + 1, 10 * MAX_POINTS + 7] {
            let points: Vec<(f64, f64)> = (0..length).map(|at| (at as f64, 0.0)).collect();
            let kept = thinned(points.clone());
            assert!(kept.len() <= MAX_POINTS + 1, "{}", kept.len());
            assert_eq!((kept.first(), kept.last()), (points.first(), points.last()));
        }
    }
}
