//! What an order is: what was asked for, at the price that was shown, in a status that it may have.

use std::collections::{BTreeMap, HashMap};

use super::{
    event::{Call, Outcome},
    state::OrderBody,
    verdict::{Case, Check, Decision},
};

pub(super) fn asked_for(case: &Case, check: &mut Check) {
    for order in &case.kept {
        let id = &order.body.id;
        let Some(key) = order.key.map(|place| &case.keys[place]) else {
            check.violation(|| {
                format!(
                    "order {id} of {} has the key {:?}, which was never sent",
                    order.buyer,
                    order.body.key()
                )
            });
            continue;
        };
        let Some(asked) = key.lines else { continue };
        let mut wanted: BTreeMap<i64, i64> = BTreeMap::new();
        for &(sku, count) in asked {
            *wanted.entry(sku).or_default() += count;
        }
        let got: Vec<(i64, i64)> = order.body.lines.iter().map(|line| (line.sku_id, line.count)).collect();
        if !wanted.into_iter().eq(got.iter().copied()) {
            check.violation(|| {
                format!("order {id} of {}: {asked:?} was asked for, {got:?} ordered", order.buyer)
            });
        }
    }
    check.examined = format!("{} orders", case.kept.len());
}

pub(super) fn totals(case: &Case, check: &mut Check) {
    let prices: HashMap<i64, i64> = case.history.run.skus.iter().map(|sku| (sku.id, sku.price)).collect();
    let mut examined = 0;
    let mut look = |order: &OrderBody| {
        examined += 1;
        let amounts: i64 = order.lines.iter().map(|line| line.count * line.unit_price).sum();
        let units: i64 = order.lines.iter().map(|line| line.count).sum();
        let priced = order.lines.iter().all(|line| {
            line.amount == line.count * line.unit_price && prices.get(&line.sku_id) == Some(&line.unit_price)
        });
        let free = case.history.run.free_from.is_some_and(|from| amounts >= from);
        let freight = if free { 0 } else { case.history.run.freight };
        let adds_up = order.goods_amount == amounts
            && order.total_count == units
            && order.freight == freight
            && order.total_amount == amounts + freight;
        if !(priced && adds_up) {
            check.violation(|| {
                format!(
                    "order {}: lines of {amounts} and {units} units and freight {freight} make {order:?}",
                    order.id
                )
            });
        }
    };
    case.kept.iter().for_each(|order| look(&order.body));
    for key in &case.keys {
        if let Some((_, Decision::Placed(order))) = &key.decided {
            look(order);
        }
    }
    check.examined = format!("{examined} orders, as they were answered and as they are kept");
}

/// An order's status, seen between two times.
struct Sighting {
    start_us: u64,
    end_us: u64,
    status: String,
}

/// Nobody pays or ships in such a run. So an order has the first status of its way to pay, until it is canceled, for ever.
pub(super) fn statuses(case: &Case, check: &mut Check) {
    let mut seen: HashMap<String, Vec<Sighting>> = HashMap::new();
    let mut asked: HashMap<&str, u64> = HashMap::new();
    let mut first: HashMap<String, &'static str> = HashMap::new();
    let first_of = |order: &OrderBody| if order.pay_method == "online" { "unpaid" } else { "to_ship" };
    for op in &case.history.ops {
        if let Call::Cancel { order } = &op.call {
            let earliest = asked.entry(order).or_insert(op.start_us);
            *earliest = op.start_us.min(*earliest);
        }
        if op.outcome() != Outcome::Ok {
            continue;
        }
        let orders: Vec<OrderBody> = match &op.call {
            Call::Cancel { .. } | Call::ReadOrder { .. } => {
                OrderBody::parse(&op.answer.body).into_iter().collect()
            }
            Call::ListOrders => listed(&op.answer.body),
            _ => continue,
        };
        for order in orders {
            first.insert(order.id.clone(), first_of(&order));
            let sighting = Sighting { start_us: op.start_us, end_us: op.end_us, status: order.status };
            seen.entry(order.id).or_default().push(sighting);
        }
    }
    for order in &case.kept {
        first.insert(order.body.id.clone(), first_of(&order.body));
        let (start_us, end_us) = (u64::MAX, u64::MAX);
        let status = order.body.status.clone();
        seen.entry(order.body.id.clone()).or_default().push(Sighting { start_us, end_us, status });
    }
    let examined: usize = seen.values().map(Vec::len).sum();
    for (id, sightings) in &seen {
        let canceled = sightings.iter().filter(|seen| seen.status == "canceled");
        let canceled_by = canceled.map(|seen| seen.end_us).min();
        for sighting in sightings {
            let Sighting { start_us, end_us, status } = sighting;
            let wrong = match status.as_str() {
                "canceled" if asked.get(id.as_str()).is_none_or(|asked| asked > end_us) => {
                    "though nobody had asked for that"
                }
                "canceled" => continue,
                status if Some(&status) != first.get(id) => "which it can't be",
                _ if canceled_by.is_some_and(|by| by < *start_us) => "though it was canceled before",
                _ => continue,
            };
            check.violation(|| format!("order {id} is {status} at {start_us}–{end_us} µs, {wrong}"));
        }
    }
    check.examined = format!("{} orders, seen {examined} times", seen.len());
}

/// The orders of a list.
pub(super) fn listed(body: &str) -> Vec<OrderBody> {
    let list: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let items = list.and_then(|mut list| list.get_mut("items").map(serde_json::Value::take));
    items.and_then(|items| serde_json::from_value(items).ok()).unwrap_or_default()
}
