//! The protocol that keeps a cart in Redis and its orders in a database in step, checked exhaustively: every order in
//! which the steps of two servers, their crashes and the faults of Redis can follow each other, within [`Bounds`].
//!
//! # The protocol
//! - The database has `cart_head.seq`, the number of orders placed from the buyer's cart. Every order has the next one as
//!   its `user_seq`, the lines that it took and its key. Redis has the lines, and in `applied_seq` the last order that
//!   was taken out of them.
//! - **Replay.** Before a cart is read or changed, every order with `user_seq > applied_seq` is taken out of it,
//!   each in one Lua call: if `applied_seq` is `user_seq - 1`, the order's lines are subtracted, never below zero, and
//!   `applied_seq` becomes `user_seq`. A cart that is missing is made: empty, with the database's seq.
//! - **Snapshot.** One Lua call gives the lines and `applied_seq`.
//! - **Order.** One transaction. A key that is known gives the answer it had. Otherwise
//!   `UPDATE cart_head SET seq = seq + 1 WHERE seq = :applied_seq` is the fence: no row means `cart_changed`. An order is
//!   inserted with the snapshot's lines. The answer is kept under the key.
//! - An order is tried first with the cart as it stands, without a replay. If the fence stops it, nothing is kept, and it
//!   is tried once more after a replay.
//! - Clearing the cart after the commit is the same replay, done early. The orders are the log of what left the cart.
//!
//! # The model
//! One buyer, two servers (three in one test). Each serves one request at a time: a unit is added, a unit is removed, or
//! the cart is ordered under a key. A key may be sent again at any time, to either server, also while its first request
//! is still under way: so a lost answer needs no step of its own. One Lua call, one read of the database and one
//! transaction are a step each; between two steps of a request anything may happen. A server may crash between any two
//! steps, and forgets its request. Redis may return to any state it was in before, or lose the cart, as it also does when
//! a cart expires.
//!
//! Left out: stock and prices (another refusal is kept under the key as `empty_cart` is), whether a line is selected,
//! and transactions that are tried again. To set a line to a count is here to add or remove its units one by one. The
//! key is only looked up in the transaction; to look before as well leaves out steps, and adds none.
//!
//! # What is shown
//! The properties are in [`CartModel::properties`]. What the protocol doesn't settle in the buyer's favour is in them too:
//! - A removal that runs into an order: what was in the snapshot is ordered, although it was removed before the commit.
//! - A loss of Redis costs as many units as were added since the state that it returned to, or were being added when it
//!   happened, and no more. (An order that was under way may take its units out of what is added afterwards: as many.)
//!   It never costs an order, and never orders a unit twice.
//!
//! Then each part of the protocol is left out or done differently, within bounds in which the whole protocol holds, and
//! the property that this breaks is named.

use std::{collections::BTreeSet, iter::zip};

use stateright::{Checker, HasDiscoveries, Model, Property};

const KEY_ORDERS_ONCE: &str = "a key places at most one order";
const UNIT_ORDERED_ONCE: &str = "no unit is ordered twice";
const ADDITIONS_STAY: &str = "what was added is in the cart until it is removed, ordered or lost by Redis";
const ORDERED_LEAVES: &str = "what was removed or ordered is out of the cart";
const NO_GAPS: &str = "the orders of a cart are numbered from 1 without gaps";
const ORDERABLE: &str = "a replayed cart passes the fence";

const TWO_ORDERS: &str = "two orders are placed";
const CART_CHANGED: &str = "an order is refused because the cart changed";
const LEFT_TO_REPLAY: &str = "a crash leaves an order in the cart, and a later request takes it out";
const REMOVAL_RACES: &str = "a unit is removed that an order is taking";
const ORDER_AFTER_LOSS: &str = "an order is placed after Redis lost something";

/// Units of each SKU.
type Lines = [u8; 2];
/// Number of an order among those of the cart, from 1.
type Seq = u8;
/// Number of a key, from 0.
type Key = usize;

const NOTHING: Lines = [0, 0];

/// How the protocol does each of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    key: KeyRule,
    fence: Fence,
    /// Whether a request takes out of the cart what was ordered.
    replays: bool,
    /// Whether an order does so at once, or only if the fence stops it.
    orders_replay_first: bool,
    taking_out: TakingOut,
    clearing: Clearing,
    /// Whether one Lua call gives both lines and `applied_seq`.
    snapshot_in_one_call: bool,
    /// Whether a missing cart is made with the database's seq, not with 0.
    made_with_seq: bool,
}

const PROTOCOL: Rules = Rules {
    key: KeyRule::InTransaction,
    fence: Fence::AppliedSeq,
    replays: true,
    orders_replay_first: false,
    taking_out: TakingOut::InTurn,
    clearing: Clearing::ByServer,
    snapshot_in_one_call: true,
    made_with_seq: true,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyRule {
    /// Looked up and written in the order's transaction.
    InTransaction,
    /// Looked up when the request comes in, and only written in the transaction.
    LookedUpBefore,
    Ignored,
}

/// What an order's transaction compares before it numbers the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    /// The snapshot's `applied_seq` with the database's seq.
    AppliedSeq,
    /// The database's seq as it was when the request read it, with what it is now.
    DatabaseSeq,
    /// A count of the cart's changes, which Redis keeps, with those of all orders: no two may have the same.
    Revision,
    /// Nothing: the seq is set to the snapshot's `applied_seq + 1`.
    Unguarded,
    /// Nothing: the seq is counted up.
    None,
}

/// What the Lua call does that takes an order out of the cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TakingOut {
    /// Subtracts the order's lines if the order before was the last one taken out.
    InTurn,
    /// Subtracts the order's lines.
    Always,
    /// Deletes the lines that the order has, in turn.
    WholeLines,
    /// Deletes the cart.
    WholeCart,
}

/// Who takes an order out of the cart after its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clearing {
    /// The server that committed.
    ByServer,
    /// A worker that reads the orders as an outbox, in turn, and never forgets one.
    ByOutbox,
}

/// How much may happen.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Servers, each with one request at a time.
    servers: usize,
    /// How many SKUs there are, 1 or 2.
    skus: usize,
    /// Units that the buyer adds.
    adds: u8,
    /// Units that the buyer removes.
    removes: u8,
    /// Keys under which the buyer orders.
    keys: usize,
    /// How many times a key is sent again.
    resends: u8,
    /// Servers that crash.
    crashes: u8,
    /// How many times Redis returns to an earlier state.
    tails: u8,
    /// How many times Redis loses the cart.
    wipes: u8,
}

const PLAIN: Bounds =
    Bounds { servers: 2, skus: 1, adds: 3, removes: 0, keys: 2, resends: 1, crashes: 2, tails: 0, wipes: 0 };
const TWO_SKUS: Bounds = Bounds { skus: 2, adds: 2, resends: 0, crashes: 1, ..PLAIN };
const THREE_KEYS: Bounds = Bounds { keys: 3, resends: 0, crashes: 1, ..PLAIN };
const THREE_SERVERS: Bounds =
    Bounds { servers: 3, adds: 2, removes: 1, keys: 2, resends: 0, crashes: 0, ..PLAIN };
const REMOVING: Bounds = Bounds { adds: 2, removes: 1, ..PLAIN };
const LOSING_TAILS: Bounds = Bounds { adds: 2, resends: 0, crashes: 1, tails: 2, ..PLAIN };
const LOSING_ALL: Bounds = Bounds { adds: 2, resends: 0, crashes: 1, wipes: 2, ..PLAIN };
const LOSING_BOTH: Bounds =
    Bounds { adds: 2, removes: 1, resends: 0, crashes: 0, tails: 1, wipes: 1, ..PLAIN };

/// The cart in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Cart {
    lines: Lines,
    applied_seq: Seq,
    /// Counted only for [`Fence::Revision`].
    revision: u8,
}

/// An order in the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Order {
    user_seq: Seq,
    key: Key,
    snapshot: Snapshot,
    /// Whether its server crashed between the commit and clearing the cart. Observed, not part of the protocol.
    left_behind: bool,
    /// Whether Redis had lost something by then. Observed, not part of the protocol.
    after_loss: bool,
}

/// What an order is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Snapshot {
    lines: Lines,
    /// What the fence compares.
    seen: u8,
}

/// What the database keeps under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    /// Nothing yet.
    Unknown,
    Placed,
    CartChanged,
    EmptyCart,
}

/// A request that a server is at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Request {
    task: Task,
    /// The database's seq when the request read it. Kept only for [`Fence::DatabaseSeq`].
    noted_seq: Seq,
    /// Whether it has read the cart's orders: one that hasn't is tried again if the fence stops it.
    caught_up: bool,
    /// Whether Redis lost something since it began. Observed, not part of the protocol.
    caught: bool,
    next: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Task {
    Add(usize),
    Remove(usize),
    Place(Key),
}

/// What a request does next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    /// Reads `applied_seq` from Redis.
    ReadCart,
    /// Reads the orders after `applied_seq` from the database, or its seq where the cart is missing.
    ReadOrders { applied_seq: Option<Seq> },
    /// Makes the missing cart in Redis.
    Make { seq: Seq },
    /// Takes the first of these orders out of the cart in Redis.
    Replay { orders: Vec<usize> },
    /// Changes the cart in Redis, or takes the snapshot.
    Act,
    /// Takes the second half of a snapshot that isn't one call.
    ReadAppliedSeq { lines: Lines },
    /// Runs the order's transaction.
    Commit { snapshot: Snapshot },
    /// Takes the order that was placed out of the cart in Redis.
    Clear { order: usize },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    // The database.
    seq: Seq,
    orders: Vec<Order>,
    /// By key.
    answers: Vec<Answer>,

    // Redis.
    cart: Option<Cart>,
    /// What the cart was before, while Redis may still return to it.
    earlier: BTreeSet<Option<Cart>>,

    servers: Vec<Option<Request>>,

    // What may still happen.
    resends_left: u8,
    crashes_left: u8,
    tails_left: u8,
    wipes_left: u8,

    // What the buyer did, as Redis carried it out. Observed, not part of the protocol.
    added: Lines,
    removed: Lines,
    /// Of the removed units, those that the cart then lacked for orders that were taking them.
    raced: Lines,
    /// What the losses of Redis may have cost: units that the cart had less, after replay (below zero where removed
    /// ones came back), and additions that were under way.
    lost: [i8; 2],
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// A server gets a request, and reads `applied_seq` from Redis unless it begins with a snapshot.
    Begin(usize, Task),
    /// A server does the next step of its request.
    Continue(usize),
    Crash(usize),
    /// The outbox's worker takes the next order out of the cart.
    Deliver,
    LoseTail(Option<Cart>),
    LoseAll,
}

/// The protocol, or something like it, within bounds.
struct CartModel {
    rules: Rules,
    bounds: Bounds,
}

impl Model for CartModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            seq: 0,
            orders: Vec::new(),
            answers: Vec::new(),
            cart: None,
            earlier: BTreeSet::new(),
            servers: vec![None; self.bounds.servers],
            resends_left: self.bounds.resends,
            crashes_left: self.bounds.crashes,
            tails_left: self.bounds.tails,
            wipes_left: self.bounds.wipes,
            added: NOTHING,
            removed: NOTHING,
            raced: NOTHING,
            lost: [0, 0],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (server, request) in state.servers.iter().enumerate() {
            if request.is_none() {
                actions.extend(self.tasks(state).into_iter().map(|task| Action::Begin(server, task)));
            } else {
                actions.push(Action::Continue(server));
                if state.crashes_left > 0 {
                    actions.push(Action::Crash(server));
                }
            }
        }
        if self.rules.clearing == Clearing::ByOutbox {
            actions.push(Action::Deliver);
        }
        if state.tails_left > 0 {
            actions.extend(state.earlier.iter().map(|cart| Action::LoseTail(*cart)));
        }
        if state.wipes_left > 0 && state.cart.is_some() {
            actions.push(Action::LoseAll);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Begin(server, task) => self.begin(&mut state, server, task),
            Action::Continue(server) => self.proceed(&mut state, server),
            Action::Crash(server) => crash(&mut state, server),
            Action::Deliver => self.deliver(&mut state)?,
            Action::LoseTail(cart) => {
                state.tails_left -= 1;
                self.lose(&mut state, cart);
            }
            Action::LoseAll => {
                state.wipes_left -= 1;
                self.lose(&mut state, None);
            }
        }
        if state.tails_left == 0 {
            state.earlier.clear();
        } else if state.cart != before.cart {
            state.earlier.insert(before.cart);
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(KEY_ORDERS_ONCE, |_, state: &State| {
                (0..state.answers.len())
                    .all(|key| state.orders.iter().filter(|order| order.key == key).count() <= 1)
            }),
            // Also where Redis returned to a time before an order.
            Property::always(UNIT_ORDERED_ONCE, |_, state: &State| at_most(state.ordered(), state.added)),
            Property::always(ADDITIONS_STAY, |model: &Self, state: &State| {
                let out = sum([model.replayed_lines(state), state.removed, state.ordered()]);
                let known = |sku: usize| out[sku] as i8 + state.lost[sku] >= state.added[sku] as i8;
                !state.is_quiet() || (known(0) && known(1))
            }),
            // With the one before: the cart has exactly what was added less what was removed and ordered. Only a
            // removal that races an order leaves a unit more: both took it, and there was only one to take.
            Property::always(ORDERED_LEAVES, |model: &Self, state: &State| {
                let out = sum([model.replayed_lines(state), state.removed, state.ordered()]);
                !state.is_quiet()
                    || model.lost_something(state)
                    || at_most(out, sum([state.added, state.raced]))
            }),
            Property::always(NO_GAPS, |_, state: &State| {
                zip(1.., &state.orders).all(|(seq, order)| order.user_seq == seq)
                    && usize::from(state.seq) == state.orders.len()
            }),
            // Otherwise the buyer would be told `cart_changed` for ever.
            Property::always(ORDERABLE, |model: &Self, state: &State| {
                !state.is_quiet() || model.replayed(state).is_none_or(|cart| cart.applied_seq == state.seq)
            }),
            Property::sometimes(TWO_ORDERS, |_, state: &State| state.orders.len() >= 2),
        ];
        // Each of its two tries needs another order that comes before it.
        if self.bounds.keys > 2 {
            properties.push(Property::sometimes(CART_CHANGED, |_, state: &State| {
                state.answers.contains(&Answer::CartChanged)
            }));
        }
        if self.bounds.crashes > 0 {
            properties.push(Property::sometimes(LEFT_TO_REPLAY, |_, state: &State| {
                let applied_seq = state.cart.map_or(0, |cart| cart.applied_seq);
                state.orders.iter().any(|order| order.left_behind && order.user_seq <= applied_seq)
            }));
        }
        if self.bounds.removes > 0 {
            properties.push(Property::sometimes(REMOVAL_RACES, |_, state: &State| {
                !at_most(sum([state.removed, state.ordered()]), state.added)
            }));
        }
        if self.bounds.tails + self.bounds.wipes > 0 {
            properties.push(Property::sometimes(ORDER_AFTER_LOSS, |_, state: &State| {
                state.orders.iter().any(|order| order.after_loss)
            }));
        }
        properties
    }
}

/// The steps of a request.
impl CartModel {
    /// What the buyer may still ask for.
    fn tasks(&self, state: &State) -> Vec<Task> {
        let under_way = |kind: fn(&Task) -> bool| {
            state.servers.iter().flatten().filter(|request| kind(&request.task)).count() as u8
        };
        let mut tasks = Vec::new();
        let adds = state.added.iter().sum::<u8>() + under_way(|task| matches!(task, Task::Add(_)));
        if adds < self.bounds.adds {
            tasks.extend((0..self.bounds.skus).map(Task::Add));
        }
        let removes = state.removed.iter().sum::<u8>() + under_way(|task| matches!(task, Task::Remove(_)));
        if removes < self.bounds.removes {
            tasks.extend((0..self.bounds.skus).map(Task::Remove));
        }
        if state.answers.len() < self.bounds.keys {
            tasks.push(Task::Place(state.answers.len()));
        }
        if state.resends_left > 0 {
            tasks.extend((0..state.answers.len()).map(Task::Place));
        }
        tasks
    }

    fn begin(&self, state: &mut State, server: usize, task: Task) {
        if let Task::Place(key) = task {
            if key == state.answers.len() {
                state.answers.push(Answer::Unknown);
            } else {
                state.resends_left -= 1;
            }
        }
        let at_once = matches!(task, Task::Place(_)) && !self.rules.orders_replay_first;
        let next = if at_once { Step::Act } else { read_cart(state) };
        let request = Request { task, noted_seq: 0, caught_up: false, caught: false, next };
        state.servers[server] = Some(request);
    }

    fn proceed(&self, state: &mut State, server: usize) {
        let mut request = state.servers[server].take().expect("only a server with a request continues");
        let next = match request.next.clone() {
            Step::ReadCart => Some(read_cart(state)),
            Step::ReadOrders { applied_seq } => self.read_orders(state, &mut request, applied_seq),
            Step::Make { seq } => {
                let made = Cart { lines: NOTHING, applied_seq: seq, revision: 0 };
                let applied_seq = state.cart.get_or_insert(made).applied_seq;
                // Another request may have made it first, from another seq.
                let as_read = applied_seq == seq;
                Some(if as_read { Step::Act } else { Step::ReadOrders { applied_seq: Some(applied_seq) } })
            }
            Step::Replay { mut orders } => {
                let order = orders.remove(0);
                self.take_out(&mut state.cart, &state.orders[order]);
                Some(if orders.is_empty() { Step::Act } else { Step::Replay { orders } })
            }
            Step::Act => self.act(state, &request),
            Step::ReadAppliedSeq { lines } => Some(match state.cart {
                Some(cart) => Step::Commit { snapshot: Snapshot { lines, seen: cart.applied_seq } },
                None => Step::ReadOrders { applied_seq: None },
            }),
            Step::Commit { snapshot } => self.commit(state, &request, snapshot),
            Step::Clear { order } => {
                self.take_out(&mut state.cart, &state.orders[order]);
                None
            }
        };
        state.servers[server] = next.map(|next| Request { next, ..request });
    }

    /// One read of the database.
    fn read_orders(&self, state: &State, request: &mut Request, applied_seq: Option<Seq>) -> Option<Step> {
        if self.rules.key == KeyRule::LookedUpBefore
            && let Task::Place(key) = request.task
            && state.answers[key] != Answer::Unknown
        {
            return None;
        }
        request.caught_up = true;
        if self.rules.fence == Fence::DatabaseSeq {
            request.noted_seq = state.seq;
        }
        let Some(applied_seq) = applied_seq else {
            return Some(Step::Make { seq: if self.rules.made_with_seq { state.seq } else { 0 } });
        };
        let orders = if self.rules.replays { state.orders_after(applied_seq) } else { Vec::new() };
        Some(if orders.is_empty() { Step::Act } else { Step::Replay { orders } })
    }

    /// One Lua call: a change of the lines, or a snapshot of them. Where the cart is missing again the request starts
    /// again.
    fn act(&self, state: &mut State, request: &Request) -> Option<Step> {
        let promised = state.promised();
        let Some(cart) = &mut state.cart else { return Some(Step::ReadOrders { applied_seq: None }) };
        let fence = self.rules.fence;
        match request.task {
            Task::Add(sku) => {
                cart.lines[sku] += 1;
                cart.revision += u8::from(fence == Fence::Revision);
                state.added[sku] += 1;
                state.lost[sku] += i8::from(request.caught);
                None
            }
            Task::Remove(sku) => {
                if cart.lines[sku] > 0 {
                    cart.lines[sku] -= 1;
                    cart.revision += u8::from(fence == Fence::Revision);
                    state.removed[sku] += 1;
                    state.raced[sku] += u8::from(cart.lines[sku] < promised[sku]);
                }
                None
            }
            Task::Place(_) if !self.rules.snapshot_in_one_call => {
                Some(Step::ReadAppliedSeq { lines: cart.lines })
            }
            Task::Place(_) => {
                let seen = match fence {
                    Fence::AppliedSeq | Fence::Unguarded | Fence::None => cart.applied_seq,
                    Fence::DatabaseSeq => request.noted_seq,
                    Fence::Revision => cart.revision,
                };
                Some(Step::Commit { snapshot: Snapshot { lines: cart.lines, seen } })
            }
        }
    }

    /// The order's transaction.
    fn commit(&self, state: &mut State, request: &Request, snapshot: Snapshot) -> Option<Step> {
        let Task::Place(key) = request.task else { unreachable!("only an order is committed") };
        if self.rules.key == KeyRule::InTransaction && state.answers[key] != Answer::Unknown {
            return None;
        }
        let changed = match self.rules.fence {
            Fence::AppliedSeq | Fence::DatabaseSeq => snapshot.seen != state.seq,
            Fence::Revision => state.orders.iter().any(|order| order.snapshot.seen == snapshot.seen),
            Fence::Unguarded | Fence::None => false,
        };
        if changed && !request.caught_up {
            return Some(Step::ReadCart);
        }
        if changed || snapshot.lines == NOTHING {
            state.answers[key] = if changed { Answer::CartChanged } else { Answer::EmptyCart };
            return None;
        }
        let before = if self.rules.fence == Fence::Unguarded { snapshot.seen } else { state.seq };
        state.seq = before + 1;
        state.answers[key] = Answer::Placed;
        let after_loss = self.lost_something(state);
        state.orders.push(Order { user_seq: state.seq, key, snapshot, left_behind: false, after_loss });
        let order = state.orders.len() - 1;
        (self.rules.clearing == Clearing::ByServer).then_some(Step::Clear { order })
    }

    /// One Lua call: an order leaves the cart.
    fn take_out(&self, cart: &mut Option<Cart>, order: &Order) {
        let Some(cart) = cart else { return };
        let in_turn = cart.applied_seq + 1 == order.user_seq;
        if !in_turn && matches!(self.rules.taking_out, TakingOut::InTurn | TakingOut::WholeLines) {
            return;
        }
        cart.applied_seq = order.user_seq;
        for (have, ordered) in zip(&mut cart.lines, order.snapshot.lines) {
            *have = match self.rules.taking_out {
                TakingOut::InTurn | TakingOut::Always => have.saturating_sub(ordered),
                TakingOut::WholeLines if ordered == 0 => *have,
                TakingOut::WholeLines | TakingOut::WholeCart => 0,
            };
        }
    }

    fn deliver(&self, state: &mut State) -> Option<()> {
        let next = *state.orders_after(state.cart?.applied_seq).first()?;
        self.take_out(&mut state.cart, &state.orders[next]);
        Some(())
    }
}

fn read_cart(state: &State) -> Step {
    Step::ReadOrders { applied_seq: state.cart.map(|cart| cart.applied_seq) }
}

/// A server forgets its request.
fn crash(state: &mut State, server: usize) {
    state.crashes_left -= 1;
    let request = state.servers[server].take().expect("only a server with a request crashes");
    if let Step::Clear { order } = request.next {
        let pending = state.cart.is_some_and(|cart| cart.applied_seq < state.orders[order].user_seq);
        state.orders[order].left_behind = pending;
    }
}

/// What is observed.
impl CartModel {
    /// Redis has another cart from now on.
    fn lose(&self, state: &mut State, cart: Option<Cart>) {
        let had = self.replayed_lines(state);
        state.cart = cart;
        let has = self.replayed_lines(state);
        for sku in [0, 1] {
            state.lost[sku] += had[sku] as i8 - has[sku] as i8;
        }
        for request in state.servers.iter_mut().flatten() {
            request.caught = true;
        }
    }

    fn lost_something(&self, state: &State) -> bool {
        (state.tails_left, state.wipes_left) != (self.bounds.tails, self.bounds.wipes)
    }

    /// The cart as the next request would find it.
    fn replayed(&self, state: &State) -> Option<Cart> {
        let mut cart = state.cart;
        if self.rules.replays || self.rules.clearing == Clearing::ByOutbox {
            for order in state.orders_after(cart?.applied_seq) {
                self.take_out(&mut cart, &state.orders[order]);
            }
        }
        cart
    }

    fn replayed_lines(&self, state: &State) -> Lines {
        self.replayed(state).map_or(NOTHING, |cart| cart.lines)
    }
}

impl State {
    /// Whether no request is under way.
    fn is_quiet(&self) -> bool {
        self.servers.iter().all(Option::is_none)
    }

    /// The orders with a `user_seq` above this, by it.
    fn orders_after(&self, applied_seq: Seq) -> Vec<usize> {
        (0..self.orders.len()).filter(|&order| self.orders[order].user_seq > applied_seq).collect()
    }

    fn ordered(&self) -> Lines {
        sum(self.orders.iter().map(|order| order.snapshot.lines))
    }

    /// Units in the cart that belong to orders: placed and not yet taken out, or about to be placed.
    fn promised(&self) -> Lines {
        let pending = self.orders_after(self.cart.map_or(self.seq, |cart| cart.applied_seq));
        let pending = sum(pending.into_iter().map(|order| self.orders[order].snapshot.lines));
        let about_to_be = self.servers.iter().flatten().filter_map(|request| match &request.next {
            Step::ReadAppliedSeq { lines } => Some(*lines),
            Step::Commit { snapshot } => Some(snapshot.lines),
            _ => None,
        });
        // Of two snapshots only one can pass the fence.
        let most = about_to_be.fold(NOTHING, |most, lines| [0, 1].map(|sku| most[sku].max(lines[sku])));
        sum([pending, most])
    }
}

fn sum(all: impl IntoIterator<Item = Lines>) -> Lines {
    all.into_iter().fold(NOTHING, |sum, lines| [0, 1].map(|sku| sum[sku] + lines[sku]))
}

fn at_most(lines: Lines, others: Lines) -> bool {
    zip(lines, others).all(|(count, other)| count <= other)
}

/// Checks every state that can be reached.
fn assert_holds(bounds: Bounds) {
    let checker = CartModel { rules: PROTOCOL, bounds }.checker().spawn_bfs().join();
    println!("{} states, {} steps deep: {bounds:?}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

/// Checks until each of these properties is broken, and that it is.
fn assert_breaks(rules: Rules, bounds: Bounds, broken: &[&'static str]) {
    let all_of_them = HasDiscoveries::AllOf(broken.iter().copied().collect());
    let checker = CartModel { rules, bounds }.checker().finish_when(all_of_them).spawn_bfs().join();
    let found = checker.discoveries();
    println!("{} states: {rules:?}", checker.unique_state_count());
    for property in broken {
        let path = found.get(property).unwrap_or_else(|| panic!("{rules:?} keeps: {property}"));
        println!("not: {property}: {:?}", path.clone().into_actions());
    }
}

#[test]
fn the_protocol_holds_while_servers_crash_and_keys_are_sent_again() {
    assert_holds(PLAIN);
}

#[test]
fn the_protocol_holds_for_two_skus() {
    assert_holds(TWO_SKUS);
}

#[test]
fn the_protocol_holds_for_three_orders() {
    assert_holds(THREE_KEYS);
}

#[test]
fn the_protocol_holds_for_three_servers() {
    assert_holds(THREE_SERVERS);
}

#[test]
fn the_protocol_holds_while_units_are_removed() {
    assert_holds(REMOVING);
}

#[test]
fn the_protocol_holds_when_redis_returns_to_an_earlier_state() {
    assert_holds(LOSING_TAILS);
}

#[test]
fn the_protocol_holds_when_redis_loses_the_cart() {
    assert_holds(LOSING_ALL);
}

#[test]
fn the_protocol_holds_when_redis_loses_both_and_units_are_removed() {
    assert_holds(LOSING_BOTH);
}

#[test]
fn commit_then_clear_orders_twice_and_loses_additions() {
    let rules = Rules {
        key: KeyRule::Ignored,
        fence: Fence::None,
        replays: false,
        taking_out: TakingOut::WholeCart,
        ..PROTOCOL
    };
    assert_breaks(rules, PLAIN, &[KEY_ORDERS_ONCE, UNIT_ORDERED_ONCE, ADDITIONS_STAY]);
}

#[test]
fn a_key_alone_orders_a_unit_twice() {
    let rules = Rules { fence: Fence::None, replays: false, taking_out: TakingOut::Always, ..PROTOCOL };
    assert_breaks(rules, PLAIN, &[UNIT_ORDERED_ONCE, ORDERED_LEAVES]);
}

#[test]
fn a_key_with_an_outbox_orders_a_unit_twice() {
    let rules = Rules { fence: Fence::None, replays: false, clearing: Clearing::ByOutbox, ..PROTOCOL };
    assert_breaks(rules, PLAIN, &[UNIT_ORDERED_ONCE]);
}

#[test]
fn a_unique_cart_revision_orders_a_unit_twice() {
    let rules = Rules { fence: Fence::Revision, replays: false, taking_out: TakingOut::Always, ..PROTOCOL };
    assert_breaks(rules, PLAIN, &[UNIT_ORDERED_ONCE]);
}

#[test]
fn a_replay_without_the_fence_orders_a_unit_twice() {
    let rules = Rules { fence: Fence::None, orders_replay_first: true, ..PROTOCOL };
    assert_breaks(rules, PLAIN, &[UNIT_ORDERED_ONCE]);
}

#[test]
fn a_fence_without_a_guard_numbers_two_orders_alike() {
    assert_breaks(Rules { fence: Fence::Unguarded, ..PROTOCOL }, PLAIN, &[UNIT_ORDERED_ONCE, NO_GAPS]);
}

#[test]
fn a_fence_of_the_databases_own_seq_orders_a_unit_twice_when_redis_lost_its_tail() {
    let rules = Rules { fence: Fence::DatabaseSeq, orders_replay_first: true, ..PROTOCOL };
    assert_breaks(rules, LOSING_TAILS, &[UNIT_ORDERED_ONCE]);
}

#[test]
fn a_snapshot_in_two_calls_orders_a_unit_twice() {
    assert_breaks(Rules { snapshot_in_one_call: false, ..PROTOCOL }, PLAIN, &[UNIT_ORDERED_ONCE]);
}

#[test]
fn a_missing_cart_that_starts_at_zero_loses_later_additions() {
    assert_breaks(Rules { made_with_seq: false, ..PROTOCOL }, LOSING_ALL, &[ADDITIONS_STAY]);
}

#[test]
fn a_key_looked_up_before_the_transaction_places_two_orders() {
    let rules = Rules { key: KeyRule::LookedUpBefore, orders_replay_first: true, ..PROTOCOL };
    assert_breaks(rules, PLAIN, &[KEY_ORDERS_ONCE]);
}

#[test]
fn orders_taken_out_without_their_turn_lose_additions() {
    assert_breaks(Rules { taking_out: TakingOut::Always, ..PROTOCOL }, PLAIN, &[ADDITIONS_STAY]);
}

#[test]
fn lines_deleted_whole_lose_additions() {
    assert_breaks(Rules { taking_out: TakingOut::WholeLines, ..PROTOCOL }, PLAIN, &[ADDITIONS_STAY]);
}

#[test]
fn a_protocol_without_replay_leaves_ordered_units_in_the_cart() {
    assert_breaks(Rules { replays: false, ..PROTOCOL }, PLAIN, &[ORDERED_LEAVES, ORDERABLE]);
}
