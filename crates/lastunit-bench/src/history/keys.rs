//! What a key promises: at most one order, and one answer for ever.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    event::Outcome,
    verdict::{Case, Check, Decision, Key, decision},
};

fn name(key: &Key) -> String {
    format!("key {} of {}", key.key, key.buyer)
}

/// A time of a history, for people.
fn at(us: u64) -> String {
    if us == u64::MAX { "never".into() } else { format!("{:.6} s", us as f64 / 1e6) }
}

/// The orders that a key has: by their id, those that it was told of and those that are there.
pub(super) fn one_order(case: &Case, check: &mut Check) {
    let mut orders: HashMap<usize, BTreeMap<&str, String>> = HashMap::new();
    for order in &case.kept {
        if let Some(key) = order.key {
            let told = format!("{} (there at the end)", order.body.id);
            orders.entry(key).or_default().insert(&order.body.id, told);
        }
    }
    let told: Vec<(usize, String, u64)> = case
        .keys
        .iter()
        .enumerate()
        .flat_map(|(place, key)| key.sends.iter().map(move |op| (place, *op)))
        .filter_map(|(place, op)| match decision(op)? {
            Decision::Placed(order) => Some((place, order.id, op.end_us)),
            Decision::Refused(_) => None,
        })
        .collect();
    for (place, id, end_us) in &told {
        let order = orders.entry(*place).or_default().entry(id);
        order.or_insert_with(|| format!("{id} (told at {})", at(*end_us)));
    }
    for (place, ids) in &orders {
        if ids.len() > 1 {
            let ids: Vec<&str> = ids.values().map(String::as_str).collect();
            check.violation(|| format!("{} has the orders {}", name(&case.keys[*place]), ids.join(", ")));
        }
    }
    check.examined = format!("{} keys, {} orders", case.keys.len(), case.kept.len());
}

/// An order without what may change: its status.
fn lasting(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(body) = body.as_object_mut() {
        body.remove("status");
    }
    body
}

pub(super) fn kept(case: &Case, check: &mut Check) {
    let there: HashMap<(&str, &str), &Value> =
        case.kept.iter().map(|order| ((order.buyer, order.body.id.as_str()), order.raw)).collect();
    let mut acknowledged = 0;
    for key in &case.keys {
        let answers = key.sends.iter().filter(|op| op.outcome() == Outcome::Ok);
        let Some(op) = answers.min_by_key(|op| op.end_us) else { continue };
        acknowledged += 1;
        let Ok(told) = serde_json::from_str::<Value>(&op.answer.body) else {
            check.violation(|| format!("{} was answered {:?}", name(key), op.answer.body));
            continue;
        };
        let id = told["id"].as_str().unwrap_or_default();
        match there.get(&(key.buyer, id)) {
            None => check.violation(|| {
                format!("{}: order {id}, acknowledged at {}, is gone", name(key), at(op.end_us))
            }),
            Some(kept) if lasting(kept) != lasting(&told) => {
                check.violation(|| format!("{}: acknowledged as {told}, kept as {kept}", name(key)));
            }
            Some(_) => {}
        }
    }
    check.examined = format!("{acknowledged} acknowledged orders");
}

pub(super) fn refused(case: &Case, check: &mut Check) {
    let with_order: HashMap<usize, &str> =
        case.kept.iter().filter_map(|order| Some((order.key?, order.body.id.as_str()))).collect();
    let mut refused = 0;
    for (place, key) in case.keys.iter().enumerate() {
        let refusal = key.sends.iter().find_map(|op| match decision(op)? {
            Decision::Refused(code) => Some((code, op.end_us)),
            Decision::Placed(_) => None,
        });
        let Some((code, end_us)) = refusal else { continue };
        refused += 1;
        if let Some(id) = with_order.get(&place) {
            check.violation(|| {
                format!("{} was refused at {} ({code}), and has order {id}", name(key), at(end_us))
            });
        }
    }
    check.examined = format!("{refused} refused keys");
}

/// An answer, but for the id of its request.
fn repeated(body: &str) -> String {
    if let Ok(Value::Object(mut problem)) = serde_json::from_str(body)
        && problem.remove("request_id").is_some()
    {
        return Value::Object(problem).to_string();
    }
    body.to_owned()
}

pub(super) fn replays(case: &Case, check: &mut Check) {
    let mut replays = 0;
    for key in case.keys.iter().filter(|key| key.sends.len() > 1) {
        let mut answers = key.sends.iter().filter(|op| decision(op).is_some());
        let Some(first) = answers.next() else { continue };
        let said = repeated(&first.answer.body);
        for again in answers {
            replays += 1;
            if (again.answer.status, &repeated(&again.answer.body)) != (first.answer.status, &said) {
                let of = |op: &super::Op| format!("{:?} {}", op.answer.status, op.answer.body);
                check.violation(|| format!("{}: {} and then {}", name(key), of(first), of(again)));
            }
        }
    }
    check.examined = format!("{replays} repeated answers");
}

pub(super) fn decided(case: &Case, check: &mut Check) {
    let mut unanswered = 0;
    for key in &case.keys {
        if key.sends.iter().any(|op| op.outcome() == Outcome::Info) {
            unanswered += 1;
        }
        if key.decided.is_none() {
            let last = key.sends[key.sends.len() - 1];
            check.violation(|| {
                let answer = &last.answer;
                format!(
                    "{} was sent {} times; at last {:?} {}",
                    name(key),
                    key.sends.len(),
                    answer.status,
                    answer.body
                )
            });
        }
    }
    check.examined = format!("{unanswered} keys with a call that nobody answered");
}
