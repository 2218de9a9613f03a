//! All checks of a history, and what they found.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    cart,
    event::{Call, Outcome, REFUSALS},
    file::{History, Op},
    keys, orders, privacy,
    state::{FinalState, OrderBody},
    stock,
};

/// The most violations of one check that are kept; the others are counted.
const MAX_NAMED: usize = 20;

type Look = fn(&Case, &mut Check);

/// The stable name of every check of a history, what it promises, and where it is. What is checked in the database itself
/// comes on top, under the names of `lastunit check`.
const CHECKS: &[(&str, &str, Look)] = &[
    ("one_order_a_key", "a key has at most one order", keys::one_order),
    ("acknowledged_orders_are_kept", "every acknowledged order is there, as it was acknowledged", keys::kept),
    ("refused_keys_have_no_order", "a key that was refused has no order", keys::refused),
    (
        "replays_repeat_the_answer",
        "a key that is sent again gets the same answer, byte for byte",
        keys::replays,
    ),
    ("every_key_is_decided", "after healing, every call that nobody answered is resolved", keys::decided),
    (
        "orders_are_what_was_asked_for",
        "no order that nobody asked for, none with other lines",
        orders::asked_for,
    ),
    ("totals_add_up", "total = Σ(count × unit price) + freight, at the price that was shown", orders::totals),
    ("status_changes_are_legal", "a status never goes back, and none changes unasked", orders::statuses),
    ("stock_adds_up", "initial + received − in orders that aren't canceled = stock", stock::adds_up),
    ("stock_never_negative", "nobody ever saw a stock below zero", stock::never_negative),
    ("sold_only_what_was_there", "at no time more was sold than had come in", stock::sold_what_was_there),
    (
        "sold_out_only_when_sold_out",
        "whoever was told that there isn't enough was told the truth",
        stock::sold_out,
    ),
    ("stock_seen_is_possible", "every stock that was shown existed while it was asked for", stock::seen),
    ("carts_add_up", "units ordered + in the cart + removed = units put in", cart::adds_up),
    ("nobody_sees_others", "no answer holds another buyer's data", privacy::nobody_sees_others),
    (
        "answers_are_documented",
        "every answer is one that the API documents for its call",
        privacy::documented,
    ),
];

/// One check, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its stable name.
    pub name: String,
    /// What holds where it isn't violated.
    pub promise: String,
    /// What it looked at: `48112 orders`.
    pub examined: String,
    /// How often it is violated.
    pub violated: usize,
    /// The first violations, with the evidence.
    pub violations: Vec<String>,
}

impl Check {
    /// Notes a violation.
    pub(super) fn violation(&mut self, evidence: impl FnOnce() -> String) {
        self.violated += 1;
        if self.violations.len() < MAX_NAMED {
            self.violations.push(evidence());
        }
    }
}

/// What all checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Every check.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Whether every check holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.violated == 0)
    }

    /// The names of the checks that don't hold.
    pub fn violated(&self) -> Vec<&str> {
        self.checks.iter().filter(|check| check.violated > 0).map(|check| check.name.as_str()).collect()
    }
}

/// What was decided of a key, as its buyer was told.
pub(super) enum Decision {
    Placed(Box<OrderBody>),
    Refused(String),
}

/// A key, and all calls with it.
pub(super) struct Key<'a> {
    pub buyer: &'a str,
    pub key: &'a str,
    pub lines: Option<&'a [(i64, i64)]>,
    /// In the order in which they left; at least one.
    pub sends: Vec<&'a Op>,
    /// The decision that was told first, and when that was.
    pub decided: Option<(u64, Decision)>,
}

impl Key<'_> {
    pub fn start_us(&self) -> u64 {
        self.sends[0].start_us
    }

    /// When its order had been placed for certain.
    pub fn placed_by_us(&self) -> u64 {
        match self.decided {
            Some((at_us, Decision::Placed(_))) => at_us,
            _ => u64::MAX,
        }
    }
}

/// An order that is there at the end.
pub(super) struct Kept<'a> {
    pub buyer: &'a str,
    pub body: OrderBody,
    pub raw: &'a Value,
    /// Where its key is in [`Case::keys`], if that buyer sent it.
    pub key: Option<usize>,
}

/// A history and a final state, with what several checks look up.
pub(super) struct Case<'a> {
    pub history: &'a History,
    pub state: &'a FinalState,
    pub keys: Vec<Key<'a>>,
    pub kept: Vec<Kept<'a>>,
}

impl<'a> Case<'a> {
    fn new(history: &'a History, state: &'a FinalState) -> Self {
        let mut keys: Vec<Key> = Vec::new();
        let mut places: HashMap<(&str, &str), usize> = HashMap::new();
        for op in &history.ops {
            let Call::Place { key, lines, .. } = &op.call else { continue };
            let place = *places.entry((&op.buyer, key)).or_insert_with(|| {
                let lines = lines.as_deref();
                keys.push(Key { buyer: &op.buyer, key, lines, sends: Vec::new(), decided: None });
                keys.len() - 1
            });
            keys[place].sends.push(op);
        }
        for key in &mut keys {
            let decisions = key.sends.iter().filter_map(|op| Some((op.end_us, decision(op)?)));
            key.decided = decisions.min_by_key(|&(at_us, _)| at_us);
        }
        let mut kept = Vec::new();
        for (buyer, orders) in &state.orders {
            for raw in orders {
                let Ok(body) = serde_json::from_value::<OrderBody>(raw.clone()) else { continue };
                let key = places.get(&(buyer.as_str(), body.key())).copied();
                kept.push(Kept { buyer, body, raw, key });
            }
        }
        Self { history, state, keys, kept }
    }
}

/// What an answer says of its key, if it decides it.
pub(super) fn decision(op: &Op) -> Option<Decision> {
    match op.outcome() {
        Outcome::Ok => OrderBody::parse(&op.answer.body).map(|body| Decision::Placed(Box::new(body))),
        Outcome::Fail => {
            op.answer.code().filter(|code| REFUSALS.contains(&code.as_str())).map(Decision::Refused)
        }
        Outcome::Info => None,
    }
}

/// Holds a history against what is there at the end.
pub fn judge(history: &History, state: &FinalState) -> Verdict {
    let case = Case::new(history, state);
    let run = |&(name, promise, look): &(&str, &str, Look)| {
        let (name, promise, examined) = (name.into(), promise.into(), String::new());
        let mut check = Check { name, promise, examined, violated: 0, violations: Vec::new() };
        look(&case, &mut check);
        check
    };
    let mut checks: Vec<Check> = CHECKS.iter().map(run).collect();
    checks.extend(state.invariants.iter().map(|invariant| Check {
        name: invariant.name.clone(),
        promise: "in the database, as `lastunit check` verifies it".into(),
        examined: invariant.examined.clone(),
        violated: invariant.violations.len(),
        violations: invariant.violations.iter().take(MAX_NAMED).cloned().collect(),
    }));
    Verdict { checks }
}
