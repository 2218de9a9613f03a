//! The stock of each SKU, held against everything that moved it.
//!
//! # Bounds
//!
//! A change of stock took effect at one instant between its call's start and its answer. So at any time `t` the stock was
//! between
//!
//! - `low(t)` = initial + units that had certainly come in − units that may have gone out, and
//! - `high(t)` = initial + units that may have come in − units that had certainly gone out.
//!
//! *Certainly* by `t`: the change is known to have happened (it was acknowledged, or its order is there at the end), and
//! its answer came before `t`. *May have*: its call left by `t`. What nobody answered, and no order tells of (goods that
//! came in), may have happened at any time after it left, or never.
//!
//! From these bounds follow:
//!
//! - `high(t)` is never below zero: more would have been sold than was there.
//! - Who was told between `a` and `b` that `n` units are available was told the truth only if `low ≤ n ≤ high` at some
//!   instant between `a` and `b`: `n` is at least the least `low` there, and at most the greatest `high`. That finds a
//!   "sold out" that wasn't so, as well as a stock that was shown and can't have been.
//!
//! # Limits
//!
//! These are necessary conditions, not sufficient ones: each answer is held against the bounds alone, not against the
//! other answers. So nothing that is right is ever called wrong, and a wrong answer may pass while it is within the units
//! that are under way at that instant: with 16 buyers who order one unit each, within 16 units. On a quiet SKU it is exact.
//! (A search for an order of all calls that explains all answers would be exact, and exponential; small histories go
//! through one in the tests.)

use std::collections::HashMap;

use serde::Deserialize;

use super::{
    event::{Call, Outcome},
    orders::listed,
    state::OrderBody,
    verdict::{Case, Check},
};

/// One change of a SKU's stock.
#[derive(Debug, Clone, Copy)]
struct Change {
    delta: i64,
    /// Not before.
    start_us: u64,
    /// Not after, if it happened; `u64::MAX` where nothing tells.
    end_us: u64,
    /// Whether it happened.
    certain: bool,
}

/// Bounds of a stock, as steps over time.
struct Bounds {
    /// Ascending; from each on the bounds of the same place hold.
    times_us: Vec<u64>,
    low: Extremes,
    high: Extremes,
}

impl Bounds {
    fn new(initial: i64, changes: &[Change]) -> Self {
        // (time, change of low, change of high). What ended at `t` is certain from the next microsecond on.
        let mut steps: Vec<(u64, i64, i64)> = vec![(0, initial, initial)];
        for change in changes {
            let (start, done) = (change.start_us, change.end_us.saturating_add(1));
            let ends = change.certain && change.end_us < u64::MAX;
            if change.delta > 0 {
                steps.push((start, 0, change.delta));
                if ends {
                    steps.push((done, change.delta, 0));
                }
            } else {
                steps.push((start, change.delta, 0));
                if ends {
                    steps.push((done, 0, change.delta));
                }
            }
        }
        steps.sort_unstable_by_key(|step| step.0);
        let (mut times_us, mut lows, mut highs) = (Vec::new(), Vec::new(), Vec::new());
        let (mut low, mut high) = (0, 0);
        for (at_us, of_low, of_high) in steps {
            low += of_low;
            high += of_high;
            if times_us.last() == Some(&at_us) {
                times_us.pop();
                lows.pop();
                highs.pop();
            }
            times_us.push(at_us);
            lows.push(low);
            highs.push(high);
        }
        Self { times_us, low: Extremes::new(lows, i64::min), high: Extremes::new(highs, i64::max) }
    }

    /// The least and the greatest stock that may have been there at some time of an interval, both ends included.
    fn within(&self, from_us: u64, to_us: u64) -> (i64, i64) {
        let first = self.times_us.partition_point(|&at| at <= from_us).saturating_sub(1);
        let last = self.times_us.partition_point(|&at| at <= to_us).max(first + 1);
        (self.low.of(first, last), self.high.of(first, last))
    }
}

/// The least, or greatest, of any range of a list, found in constant time.
struct Extremes {
    pick: fn(i64, i64) -> i64,
    /// At `[k][i]` that of the 2^k entries from `i` on.
    levels: Vec<Vec<i64>>,
}

impl Extremes {
    fn new(entries: Vec<i64>, pick: fn(i64, i64) -> i64) -> Self {
        let mut levels = vec![entries];
        let mut width = 1;
        while let Some(last) = levels.last().filter(|last| last.len() > width) {
            let next = (0..last.len() - width).map(|i| pick(last[i], last[i + width])).collect();
            levels.push(next);
            width *= 2;
        }
        Self { pick, levels }
    }

    /// Of the entries from `first` up to, without, `end`; there is at least one.
    fn of(&self, first: usize, end: usize) -> i64 {
        let level = (end - first).ilog2() as usize;
        let entries = &self.levels[level];
        (self.pick)(entries[first], entries[end - (1 << level)])
    }
}

/// Everything that moved the stock of the run's SKUs.
fn changes(case: &Case) -> HashMap<i64, Vec<Change>> {
    let mut changes: HashMap<i64, Vec<Change>> = HashMap::new();
    let cancels = Cancels::of(case);
    for order in &case.kept {
        let (start_us, end_us) = match order.key.map(|place| &case.keys[place]) {
            Some(key) => (key.start_us(), key.placed_by_us()),
            // Nobody asked for it: it may have been there all the time.
            None => (0, u64::MAX),
        };
        for line in &order.body.lines {
            let sold = Change { delta: -line.count, start_us, end_us, certain: true };
            let of_sku = changes.entry(line.sku_id).or_default();
            of_sku.push(sold);
            if order.body.is_canceled() {
                let (start_us, end_us) = cancels.of_order(&order.body.id);
                of_sku.push(Change { delta: line.count, start_us, end_us, certain: true });
            }
        }
    }
    for op in &case.history.ops {
        let Call::Receive { sku, delta } = op.call else { continue };
        let certain = match op.outcome() {
            Outcome::Ok => true,
            Outcome::Info => false,
            Outcome::Fail => continue,
        };
        let end_us = if certain { op.end_us } else { u64::MAX };
        let change = Change { delta, start_us: op.start_us, end_us, certain };
        changes.entry(sku).or_default().push(change);
    }
    changes
}

/// When orders were canceled: between the first call that asked for it, and the first answer that showed it.
struct Cancels {
    asked: HashMap<String, u64>,
    shown: HashMap<String, u64>,
}

impl Cancels {
    fn of(case: &Case) -> Self {
        let (mut asked, mut shown) = (HashMap::new(), HashMap::new());
        for op in &case.history.ops {
            if let Call::Cancel { order } = &op.call {
                let at = asked.entry(order.clone()).or_insert(op.start_us);
                *at = op.start_us.min(*at);
            }
            if op.outcome() != Outcome::Ok {
                continue;
            }
            let orders = match op.call {
                Call::Cancel { .. } | Call::ReadOrder { .. } => {
                    OrderBody::parse(&op.answer.body).into_iter().collect()
                }
                Call::ListOrders => listed(&op.answer.body),
                _ => continue,
            };
            for order in orders.into_iter().filter(OrderBody::is_canceled) {
                let at = shown.entry(order.id).or_insert(op.end_us);
                *at = op.end_us.min(*at);
            }
        }
        Self { asked, shown }
    }

    fn of_order(&self, id: &str) -> (u64, u64) {
        let asked = self.asked.get(id).copied().unwrap_or(0);
        (asked, self.shown.get(id).copied().unwrap_or(u64::MAX).max(asked))
    }
}

fn bounds(case: &Case) -> HashMap<i64, Bounds> {
    let mut changes = changes(case);
    let of = |sku: &super::SkuAtStart| {
        let changes = changes.remove(&sku.id).unwrap_or_default();
        (sku.id, Bounds::new(sku.stock, &changes))
    };
    case.history.run.skus.iter().map(of).collect()
}

/// The stock at the end. Goods that nobody acknowledged may have come in, each of them or not.
pub(super) fn adds_up(case: &Case, check: &mut Check) {
    let changes = changes(case);
    let mut moved = 0;
    for sku in &case.history.run.skus {
        let Some(end) = case.state.skus.iter().find(|end| end.id == sku.id) else {
            check.violation(|| format!("SKU {} is gone", sku.id));
            continue;
        };
        let none = Vec::new();
        let of_sku = changes.get(&sku.id).unwrap_or(&none);
        moved += of_sku.len();
        let certain: i64 = of_sku.iter().filter(|change| change.certain).map(|change| change.delta).sum();
        let doubtful: Vec<i64> =
            of_sku.iter().filter(|change| !change.certain).map(|change| change.delta).collect();
        let expected = sku.stock + certain;
        if !is_sum_of_some(end.stock - expected, &doubtful) {
            check.violation(|| {
                let or = if doubtful.is_empty() {
                    String::new()
                } else {
                    format!(", or some of {doubtful:?} more")
                };
                format!(
                    "SKU {}: a stock of {}, and everything that moved it makes {expected}{or}",
                    sku.id, end.stock
                )
            });
        }
        let live = case.kept.iter().filter(|order| !order.body.is_canceled());
        let lines = live.flat_map(|order| &order.body.lines).filter(|line| line.sku_id == sku.id);
        let sold: i64 = lines.map(|line| line.count).sum();
        if end.sales != sold {
            check.violation(|| {
                format!("SKU {}: sales of {}, and {sold} in orders that aren't canceled", sku.id, end.sales)
            });
        }
    }
    check.examined = format!("{} SKUs, {moved} changes of stock", case.history.run.skus.len());
}

/// Whether some of these positive numbers make this sum.
fn is_sum_of_some(sum: i64, numbers: &[i64]) -> bool {
    let Ok(sum) = usize::try_from(sum) else { return false };
    let most: i64 = numbers.iter().sum();
    if usize::try_from(most).is_ok_and(|most| most < sum) {
        return false;
    }
    let mut reachable = vec![false; sum + 1];
    reachable[0] = true;
    for &number in numbers {
        let Ok(number) = usize::try_from(number) else { continue };
        for total in (number..=sum).rev() {
            reachable[total] |= reachable[total - number];
        }
    }
    reachable[sum]
}

pub(super) fn sold_what_was_there(case: &Case, check: &mut Check) {
    let bounds = bounds(case);
    let mut examined = 0;
    for (sku, bounds) in &bounds {
        examined += bounds.times_us.len();
        let highs = &bounds.high.levels[0];
        // The first time tells; from then on it may stay so.
        if let Some(place) = highs.iter().position(|&high| high < 0) {
            check.violation(|| {
                let at_us = bounds.times_us[place];
                format!(
                    "SKU {sku}: by {at_us} µs {} units more were sold than can have been there",
                    -highs[place]
                )
            });
        }
    }
    check.examined = format!("{examined} instants of {} SKUs", bounds.len());
}

#[derive(Deserialize)]
struct Short {
    lines: Vec<ShortLine>,
}

#[derive(Deserialize)]
struct ShortLine {
    sku_id: i64,
    requested: i64,
    available: i64,
}

pub(super) fn sold_out(case: &Case, check: &mut Check) {
    let bounds = bounds(case);
    let mut examined = 0;
    for key in &case.keys {
        let refusals = key.sends.iter().filter(|op| op.outcome() == Outcome::Fail);
        let refusals = refusals.filter(|op| op.answer.code().as_deref() == Some("insufficient_stock"));
        // Replays repeat the first one.
        let Some(told) = refusals.min_by_key(|op| op.end_us) else { continue };
        let Ok(Short { lines }) = serde_json::from_str(&told.answer.body) else {
            check.violation(|| format!("key {}: {}", key.key, told.answer.body));
            continue;
        };
        for line in lines {
            let Some(bounds) = bounds.get(&line.sku_id) else { continue };
            examined += 1;
            let (from_us, to_us) = (key.start_us(), told.end_us);
            let (low, high) = bounds.within(from_us, to_us);
            let ShortLine { sku_id, requested, available } = line;
            if available >= requested || available < low || available > high {
                check.violation(|| {
                    format!(
                        "key {} of {}: asked for {requested} of SKU {sku_id} between {from_us} and {to_us} µs and was told \
                         that there are {available}; there were {low} to {high}",
                        key.key, key.buyer
                    )
                });
            }
        }
    }
    check.examined = format!("{examined} lines that were refused for their stock");
}

#[derive(Deserialize)]
struct SkuBody {
    stock: i64,
}

/// Every stock that was shown of a SKU: when, to whom, how much.
fn shown<'a>(case: &'a Case) -> impl Iterator<Item = (&'a super::Op, i64, i64)> {
    case.history.ops.iter().filter(|op| op.outcome() == Outcome::Ok).filter_map(|op| {
        let (Call::ReadSku { sku } | Call::Receive { sku, .. }) = op.call else { return None };
        let SkuBody { stock } = serde_json::from_str(&op.answer.body).ok()?;
        Some((op, sku, stock))
    })
}

pub(super) fn seen(case: &Case, check: &mut Check) {
    let bounds = bounds(case);
    let mut examined = 0;
    for (op, sku, stock) in shown(case) {
        let Some(bounds) = bounds.get(&sku) else { continue };
        examined += 1;
        let (low, high) = bounds.within(op.start_us, op.end_us);
        if !(low..=high).contains(&stock) {
            check.violation(|| {
                format!(
                    "call {}: SKU {sku} had a stock of {stock} between {} and {} µs; there were {low} to {high}",
                    op.id, op.start_us, op.end_us
                )
            });
        }
    }
    check.examined = format!("{examined} stocks that were shown");
}

pub(super) fn never_negative(case: &Case, check: &mut Check) {
    let mut examined = 0;
    for (op, sku, stock) in shown(case) {
        examined += 1;
        if stock < 0 {
            check.violation(|| format!("call {} was shown a stock of {stock} of SKU {sku}", op.id));
        }
    }
    for sku in &case.state.skus {
        examined += 1;
        if sku.stock < 0 || sku.sales < 0 {
            check.violation(|| {
                format!("SKU {} ends with a stock of {} and sales of {}", sku.id, sku.stock, sku.sales)
            });
        }
    }
    check.examined = format!("{examined} stocks that were shown");
}
