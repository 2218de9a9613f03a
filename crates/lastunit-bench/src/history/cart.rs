//! Carts: what was put in was ordered, taken out, or is still there.
//!
//! A cart changes under several calls at once (a buyer with two tabs), so that more than one content may be right. The
//! check follows all of them: it walks through a buyer's calls by their time and keeps every state in which the shop may be
//! (the cart, and how far each open call has got). An answer leaves those states that can give it. Where none is left, no
//! order of the calls explains the answers, and units have appeared or vanished.
//!
//! An order from the cart reads it at one instant and takes its lines out at a later one, both within its call; it is
//! placed only if no other order was placed from the cart in between. That is what the engine promises: on a cart in the
//! database both are the same instant; on one in Redis the buyer may change a line in between, and what is ordered is
//! taken out by its quantity, never below zero.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::{
    event::{Call, Outcome},
    file::Op,
    verdict::{Case, Check, Decision},
};

/// So many states are followed of one cart. The workload has at most three calls open on one.
const MAX_STATES: usize = 20_000;

type Lines = BTreeMap<i64, i64>;

/// What a call on a cart did, as its answer (or the end) tells.
enum Effect {
    Set(i64, i64),
    Remove(i64),
    /// Saw exactly this.
    Read(Lines),
    /// Ordered exactly this.
    Order(Lines),
    /// Was told that nothing was selected.
    Empty,
}

struct Step<'a> {
    start_us: u64,
    end_us: u64,
    effect: Effect,
    what: &'a Op,
}

/// How far an open call has got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Sent,
    /// An order that has read the cart, when so many orders had been placed from it.
    Read(u32),
    Done,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    lines: Lines,
    orders: u32,
    /// Of the calls that are open.
    phases: BTreeMap<usize, Phase>,
}

#[derive(Deserialize)]
struct CartBody {
    lines: Vec<CartLineBody>,
}

#[derive(Deserialize)]
struct CartLineBody {
    sku_id: i64,
    count: i64,
}

/// The steps of every buyer's cart.
fn steps<'a>(case: &'a Case) -> HashMap<&'a str, Vec<Step<'a>>> {
    let mut steps: HashMap<&str, Vec<Step>> = HashMap::new();
    for op in &case.history.ops {
        let (end_us, effect) = match (&op.call, op.outcome()) {
            (&Call::SetLine { sku, count }, Outcome::Ok) => (op.end_us, Effect::Set(sku, count)),
            (&Call::RemoveLine { sku }, Outcome::Ok) => (op.end_us, Effect::Remove(sku)),
            // It may still happen, at any time.
            (&Call::SetLine { sku, count }, Outcome::Info) => (u64::MAX, Effect::Set(sku, count)),
            (&Call::RemoveLine { sku }, Outcome::Info) => (u64::MAX, Effect::Remove(sku)),
            (Call::ReadCart, Outcome::Ok) => match serde_json::from_str::<CartBody>(&op.answer.body) {
                Ok(CartBody { lines }) => {
                    let lines = lines.iter().map(|line| (line.sku_id, line.count)).collect();
                    (op.end_us, Effect::Read(lines))
                }
                Err(_) => continue,
            },
            _ => continue,
        };
        let step = Step { start_us: op.start_us, end_us, effect, what: op };
        steps.entry(&op.buyer).or_default().push(step);
    }
    for key in case.keys.iter().filter(|key| key.lines.is_none()) {
        let Some((end_us, decision)) = &key.decided else { continue };
        let effect = match decision {
            Decision::Placed(order) => {
                Effect::Order(order.lines.iter().map(|line| (line.sku_id, line.count)).collect())
            }
            Decision::Refused(code) if code == "empty_cart" => Effect::Empty,
            // It changed nothing, and says nothing of the cart.
            Decision::Refused(_) => continue,
        };
        let step = Step { start_us: key.start_us(), end_us: *end_us, effect, what: key.sends[0] };
        steps.entry(key.buyer).or_default().push(step);
    }
    steps
}

impl State {
    /// The states to which one open call may lead next.
    fn next(&self, steps: &[Step]) -> Vec<Self> {
        let mut next = Vec::new();
        for (&place, &phase) in &self.phases {
            let mut state = self.clone();
            let to = match (&steps[place].effect, phase) {
                (_, Phase::Done) => continue,
                (&Effect::Set(sku, count), _) => {
                    state.lines.insert(sku, count);
                    Phase::Done
                }
                (Effect::Remove(sku), _) => {
                    state.lines.remove(sku);
                    Phase::Done
                }
                (Effect::Read(seen), _) if *seen == self.lines => Phase::Done,
                (Effect::Empty, _) if self.lines.is_empty() => Phase::Done,
                (Effect::Order(ordered), Phase::Sent) if *ordered == self.lines => Phase::Read(self.orders),
                (Effect::Order(ordered), Phase::Read(orders)) if orders == self.orders => {
                    for (sku, count) in ordered {
                        let left = state.lines.get(sku).map_or(0, |there| there - count);
                        if left > 0 {
                            state.lines.insert(*sku, left);
                        } else {
                            state.lines.remove(sku);
                        }
                    }
                    state.orders += 1;
                    Phase::Done
                }
                _ => continue,
            };
            state.phases.insert(place, to);
            next.push(state);
        }
        next
    }
}

/// These states, and all that open calls may lead to from them; none if there are too many to follow.
fn reachable(states: BTreeSet<State>, steps: &[Step]) -> Option<BTreeSet<State>> {
    let mut open: Vec<State> = states.iter().cloned().collect();
    let mut all = states;
    while let Some(state) = open.pop() {
        for next in state.next(steps) {
            if all.insert(next.clone()) {
                open.push(next);
            }
        }
        if all.len() > MAX_STATES {
            return None;
        }
    }
    Some(all)
}

/// What became of following a cart.
enum Followed {
    Explained,
    /// Nothing explains this call; what the cart can have held before.
    Unexplained(usize, Vec<Lines>),
    /// What is there at the end can't be; what could.
    WrongAtTheEnd(Vec<Lines>),
    TooMany,
}

fn follow(steps: &[Step], at_the_end: Option<&Lines>) -> Followed {
    // Starts before ends of the same time: calls that touch are taken to overlap.
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        moments.push((step.start_us, false, place));
        if step.end_us < u64::MAX {
            moments.push((step.end_us, true, place));
        }
    }
    moments.sort_unstable();
    let begin = State { lines: Lines::new(), orders: 0, phases: BTreeMap::new() };
    let mut states = BTreeSet::from([begin]);
    for (_, is_end, place) in moments {
        if !is_end {
            let sent = |mut state: State| {
                state.phases.insert(place, Phase::Sent);
                state
            };
            states = states.into_iter().map(sent).collect();
            continue;
        }
        let Some(all) = reachable(states, steps) else { return Followed::TooMany };
        let could: BTreeSet<Lines> = all.iter().map(|state| state.lines.clone()).collect();
        let done = all
            .into_iter()
            .filter_map(|mut state| (state.phases.remove(&place) == Some(Phase::Done)).then_some(state));
        states = done.collect();
        if states.is_empty() {
            return Followed::Unexplained(place, could.into_iter().collect());
        }
    }
    let Some(all) = reachable(states, steps) else { return Followed::TooMany };
    let could: BTreeSet<Lines> = all.into_iter().map(|state| state.lines).collect();
    match at_the_end {
        Some(lines) if !could.contains(lines) => Followed::WrongAtTheEnd(could.into_iter().collect()),
        _ => Followed::Explained,
    }
}

pub(super) fn adds_up(case: &Case, check: &mut Check) {
    let (mut carts, mut calls, mut ordered, mut left) = (0, 0, 0, 0);
    for (buyer, steps) in steps(case) {
        carts += 1;
        calls += steps.len();
        let at_the_end: Option<Lines> =
            case.state.carts.get(buyer).map(|cart| cart.iter().copied().collect());
        left += at_the_end.iter().flat_map(BTreeMap::values).sum::<i64>();
        ordered += steps
            .iter()
            .map(|step| if let Effect::Order(lines) = &step.effect { lines.values().sum::<i64>() } else { 0 })
            .sum::<i64>();
        match follow(&steps, at_the_end.as_ref()) {
            Followed::Explained => {}
            Followed::Unexplained(place, could) => {
                let Op { id, call, answer, .. } = steps[place].what;
                check.violation(|| {
                    format!(
                        "cart of {buyer}: nothing explains call {id} ({call:?}), answered {:?} {}; the cart can have held {could:?}",
                        answer.status, answer.body
                    )
                });
            }
            Followed::WrongAtTheEnd(could) => {
                check.violation(|| {
                    format!("cart of {buyer}: holds {at_the_end:?} at the end, and can only hold {could:?}")
                });
            }
            Followed::TooMany => {
                check.violation(|| format!("cart of {buyer}: too many calls were open at once to follow it"));
            }
        }
    }
    check.examined = format!("{carts} carts, {calls} calls on them, {ordered} units ordered, {left} left");
}
