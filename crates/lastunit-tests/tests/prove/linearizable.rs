//! The bounds by which the checker judges a SKU, held against a search for an order of all calls that explains all answers:
//! exact, and exponential, so only for small histories.

use std::sync::Arc;

use lastunit_bench::history::{
    Answer, Call, FinalState, History, Op, Outcome, Recorder, Run, SkuAtStart, canary, judge, read,
};
use lastunit_tests::{
    all_at_once,
    server::{Client, Shop, order_of},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

const STOCK: i64 = 5;

/// A SKU whose calls come one after the other.
#[derive(Clone)]
struct Shelf(i64);

#[derive(Debug, Clone)]
enum Ask {
    Order(i64),
    Look,
}

#[derive(Debug, Clone, PartialEq)]
enum Told {
    Placed,
    Short(i64),
    Stock(i64),
}

impl SequentialSpec for Shelf {
    type Op = Ask;
    type Ret = Told;

    fn invoke(&mut self, ask: &Ask) -> Told {
        match ask {
            Ask::Look => Told::Stock(self.0),
            Ask::Order(count) if *count > self.0 => Told::Short(self.0),
            Ask::Order(count) => {
                self.0 -= count;
                Told::Placed
            }
        }
    }
}

fn asked_and_told(op: &Op) -> (Ask, Told) {
    let body: Value = serde_json::from_str(&op.answer.body).expect("JSON");
    let number = |pointer| body.pointer(pointer).and_then(Value::as_i64).expect("a number");
    match &op.call {
        Call::Place { lines: Some(lines), .. } => {
            let told = match op.outcome() {
                Outcome::Ok => Told::Placed,
                _ => Told::Short(number("/lines/0/available")),
            };
            (Ask::Order(lines[0].1), told)
        }
        Call::ReadSku { .. } => (Ask::Look, Told::Stock(number("/stock"))),
        other => panic!("{other:?}"),
    }
}

/// Whether some order of the calls explains all answers.
fn is_explained(history: &History) -> bool {
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (place, op) in history.ops.iter().enumerate() {
        moments.extend([(op.start_us, false, place), (op.end_us, true, place)]);
    }
    moments.sort_unstable();
    let mut tester = LinearizabilityTester::new(Shelf(history.run.skus[0].stock));
    for (_, is_end, place) in moments {
        let (ask, told) = asked_and_told(&history.ops[place]);
        let noted = if is_end { tester.on_return(place, told) } else { tester.on_invoke(place, ask) };
        noted.expect("a history");
    }
    tester.is_consistent()
}

/// Whether the bounds find something wrong.
fn is_out_of_bounds(history: &History) -> bool {
    let mut state = FinalState::default();
    for op in
        history.ops.iter().filter(|op| matches!(op.call, Call::Place { .. }) && op.outcome() == Outcome::Ok)
    {
        let order = serde_json::from_str(&op.answer.body).expect("JSON");
        state.orders.entry(op.buyer.clone()).or_default().push(order);
    }
    let verdict = judge(history, &state);
    let of_stock = ["sold_only_what_was_there", "sold_out_only_when_sold_out", "stock_seen_is_possible"];
    verdict.violated().iter().any(|name| of_stock.contains(name))
}

/// An order's body, as far as the checks of a stock look at it.
fn order(sku: i64, key: &str, count: i64) -> Value {
    json!({
        "id": key, "status": "unpaid", "pay_method": "online", "total_count": count, "goods_amount": 0, "freight": 0,
        "total_amount": 0, "address": {"receiver": canary("ada"), "line2": key},
        "lines": [{"sku_id": sku, "count": count, "unit_price": 0, "amount": 0}],
    })
}

fn place(sku: i64, key: &str, count: i64) -> Call {
    Call::Place { key: key.into(), fingerprint: String::new(), lines: Some(vec![(sku, count)]) }
}

/// A call: when it leaves, how long it takes, units (none: a look), what it is told (a figure; none: placed).
type Guess = (u64, u64, Option<i64>, Option<i64>);

fn guessed(guesses: &[Guess]) -> History {
    let run = Run { skus: vec![SkuAtStart { id: 1, price: 0, stock: STOCK }], ..Run::default() };
    let op = |(place_in_list, &(start_us, took, count, told)): (usize, &Guess)| {
        let key = format!("k{place_in_list}");
        let answer =
            |status, body: Value| Answer { status: Some(status), replayed: false, body: body.to_string() };
        let (call, answer) = match (count, told) {
            (None, told) => (Call::ReadSku { sku: 1 }, answer(200, json!({"stock": told.unwrap_or(STOCK)}))),
            (Some(count), None) => (place(1, &key, count), answer(201, order(1, &key, count))),
            (Some(count), Some(there)) => {
                let lines = json!([{"sku_id": 1, "requested": count, "available": there}]);
                (place(1, &key, count), answer(409, json!({"code": "insufficient_stock", "lines": lines})))
            }
        };
        let id = place_in_list as u64;
        Op { id, client: 0, buyer: "ada".into(), call, start_us, end_us: start_us + took, answer }
    };
    let mut ops: Vec<Op> = guesses.iter().enumerate().map(op).collect();
    ops.sort_by_key(|op| op.start_us);
    History { run, ops, ..History::default() }
}

fn guesses(apart_us: u64) -> impl Strategy<Value = Vec<Guess>> {
    let count = proptest::option::weighted(0.7, 1..5i64);
    let guess = (0..40u64, 0..20u64, count, proptest::option::weighted(0.5, 0..6i64));
    proptest::collection::vec(guess, 1..7).prop_map(move |mut guesses| {
        for (place, guess) in guesses.iter_mut().enumerate() {
            guess.0 += apart_us * place as u64;
        }
        guesses
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn what_can_be_explained_is_within_bounds(guesses in guesses(0)) {
        let history = guessed(&guesses);
        prop_assert!(!(is_explained(&history) && is_out_of_bounds(&history)), "{history:?}");
    }

    #[test]
    fn one_after_the_other_the_bounds_are_exact(guesses in guesses(100)) {
        let history = guessed(&guesses);
        prop_assert_eq!(is_explained(&history), !is_out_of_bounds(&history), "{:?}", history);
    }
}

/// Four buyers at once, two calls each.
async fn crowd(shop: &Shop, round: u64) -> History {
    let sku = shop.sku(100, STOCK).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.jsonl");
    let run = Run { skus: vec![SkuAtStart { id: sku, price: 100, stock: STOCK }], ..Run::default() };
    let recorder = Arc::new(Recorder::create(&path, &run).expect("a file"));
    let buyer = |number: u64| {
        let (recorder, name) = (recorder.clone(), format!("b{number}"));
        let client: Client = shop.buyer(&name);
        async move {
            let (key, count) =
                (format!("{round}-{number}"), 1 + i64::try_from((round + number) % 3).expect("small"));
            let told = |answer: lastunit_tests::server::Answer| Answer {
                status: Some(answer.status),
                replayed: answer.replayed(),
                body: answer.text(),
            };
            let op = recorder.invoke(0, &name, place(sku, &key, count)).expect("written");
            let answer = client.place(&order_of(&[(sku, count)]), &key).await;
            recorder.complete(op, told(answer)).expect("written");
            let op = recorder.invoke(0, &name, Call::ReadSku { sku }).expect("written");
            let answer = client.get(&format!("/v1/skus/{sku}")).await;
            recorder.complete(op, told(answer)).expect("written");
        }
    };
    all_at_once((0..4).map(buyer)).await;
    read(&path).expect("a history")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lastunit_says_can_be_explained() {
    let shop = Shop::open().await;
    for round in 0..40 {
        let mut history = crowd(&shop, round).await;
        assert!(is_explained(&history), "{history:?}");
        // Nobody can have seen more than there was.
        let look = history.ops.iter_mut().find(|op| matches!(op.call, Call::ReadSku { .. })).expect("a look");
        look.answer.body = json!({"stock": STOCK + 1}).to_string();
        assert!(!is_explained(&history));
    }
}
