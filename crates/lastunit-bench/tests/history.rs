//! The checker, on histories that are made up: right ones, wrong ones, and right ones that were made wrong.

use std::collections::BTreeMap;

use lastunit_bench::history::{
    Answer, Call, Event, FinalState, History, Op, Recorder, Run, SkuAtEnd, SkuAtStart, Verdict, canary,
    judge, read,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const HOT: i64 = 1;
const OTHER: i64 = 2;
const STOCK: i64 = 10;
const PRICE: i64 = 100;
const FREIGHT: i64 = 450;

/// A history that is written by hand, and what is there at its end.
struct Script {
    history: History,
    state: FinalState,
}

impl Script {
    fn new() -> Self {
        let sku = |id| SkuAtStart { id, price: PRICE, stock: STOCK };
        let run = Run { freight: FREIGHT, skus: vec![sku(HOT), sku(OTHER)], ..Run::default() };
        let end = |id| SkuAtEnd { id, stock: STOCK, sales: 0 };
        let state = FinalState { skus: vec![end(HOT), end(OTHER)], ..FinalState::default() };
        Self { history: History { run, ..History::default() }, state }
    }

    fn call(&mut self, buyer: &str, (start_us, end_us): (u64, u64), call: Call, answer: Answer) -> &mut Self {
        let id = self.history.ops.len() as u64;
        self.history.ops.push(Op { id, client: 0, buyer: buyer.into(), call, start_us, end_us, answer });
        self
    }

    /// An order of these lines that is answered 201 and kept; without lines, one of the cart that took these.
    fn placed(&mut self, key: &str, when: (u64, u64), lines: &[(i64, i64)]) -> &mut Self {
        self.sold(key, lines);
        self.call("ada", when, place(key, Some(lines)), ok(201, &order("ada", key, key, lines)))
    }

    fn placed_from_cart(&mut self, key: &str, when: (u64, u64), lines: &[(i64, i64)]) -> &mut Self {
        self.sold(key, lines);
        self.call("ada", when, place(key, None), ok(201, &order("ada", key, key, lines)))
    }

    /// Keeps an order at the end, under an id like its key.
    fn sold(&mut self, key: &str, lines: &[(i64, i64)]) -> &mut Self {
        self.state.orders.entry("ada".into()).or_default().push(order("ada", key, key, lines));
        for &(id, count) in lines {
            let sku = self.sku(id);
            sku.stock -= count;
            sku.sales += count;
        }
        self
    }

    fn sku(&mut self, id: i64) -> &mut SkuAtEnd {
        self.state.skus.iter_mut().find(|sku| sku.id == id).expect("a SKU")
    }

    fn refused(&mut self, key: &str, when: (u64, u64), asked: i64, available: i64) -> &mut Self {
        let lines = [(HOT, asked)];
        self.call("ada", when, place(key, Some(&lines)), short(asked, available))
    }

    fn sees(&mut self, when: (u64, u64), stock: i64) -> &mut Self {
        self.call("ada", when, Call::ReadSku { sku: HOT }, ok(200, &json!({"id": HOT, "stock": stock})))
    }

    fn received(&mut self, when: (u64, u64), delta: i64, answer: Answer) -> &mut Self {
        self.call("keeper", when, Call::Receive { sku: HOT, delta }, answer)
    }

    fn set_line(&mut self, when: (u64, u64), count: i64) -> &mut Self {
        self.call("ada", when, Call::SetLine { sku: HOT, count }, ok(200, &json!({})))
    }

    fn cart(&mut self, when: (u64, u64), count: i64) -> &mut Self {
        let lines = if count == 0 { json!([]) } else { json!([{"sku_id": HOT, "count": count}]) };
        self.call("ada", when, Call::ReadCart, ok(200, &json!({"lines": lines})))
    }

    fn in_cart_at_the_end(&mut self, count: i64) -> &mut Self {
        self.state.carts.insert("ada".into(), if count == 0 { vec![] } else { vec![(HOT, count)] });
        self
    }

    fn verdict(&mut self) -> Verdict {
        self.history.ops.sort_by_key(|op| op.start_us);
        judge(&self.history, &self.state)
    }

    #[track_caller]
    fn holds(&mut self) {
        let verdict = self.verdict();
        assert!(
            verdict.holds(),
            "{:#?}",
            verdict.checks.iter().filter(|check| check.violated > 0).collect::<Vec<_>>()
        );
    }

    #[track_caller]
    fn violates(&mut self, check: &str) {
        assert_eq!(self.verdict().violated(), [check]);
    }
}

fn place(key: &str, lines: Option<&[(i64, i64)]>) -> Call {
    Call::Place { key: key.into(), fingerprint: String::new(), lines: lines.map(<[_]>::to_vec) }
}

fn order(buyer: &str, key: &str, id: &str, lines: &[(i64, i64)]) -> Value {
    let goods: i64 = lines.iter().map(|line| line.1 * PRICE).sum();
    let line = |&(sku, count): &(i64, i64)| json!({"sku_id": sku, "count": count, "unit_price": PRICE, "amount": count * PRICE});
    json!({
        "id": id, "status": "unpaid", "pay_method": "online", "lines": lines.iter().map(line).collect::<Vec<_>>(),
        "total_count": lines.iter().map(|line| line.1).sum::<i64>(), "goods_amount": goods, "freight": FREIGHT,
        "total_amount": goods + FREIGHT, "address": {"receiver": canary(buyer), "line2": key},
    })
}

fn ok(status: u16, body: &Value) -> Answer {
    Answer { status: Some(status), replayed: false, body: body.to_string() }
}

fn short(asked: i64, available: i64) -> Answer {
    let lines = json!([{"sku_id": HOT, "requested": asked, "available": available}]);
    ok(409, &json!({"code": "insufficient_stock", "request_id": "r", "lines": lines}))
}

fn lost() -> Answer {
    Answer::default()
}

#[test]
fn a_right_history_holds() {
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 4), (OTHER, 1)]);
    // Nobody answered the first call; the second one found it done.
    script.call("ada", (30, 40), place("b", Some(&[(HOT, 3)])), lost()).placed("b", (50, 60), &[(HOT, 3)]);
    script.refused("c", (70, 80), 4, 3).sees((75, 85), 3);
    script.refused("c", (81, 82), 4, 3);
    let mut canceled = order("ada", "b", "b", &[(HOT, 3)]);
    canceled["status"] = "canceled".into();
    script.call("ada", (90, 100), Call::Cancel { order: "b".into() }, ok(200, &canceled));
    script.state.orders.insert("ada".into(), vec![order("ada", "a", "a", &[(HOT, 4), (OTHER, 1)]), canceled]);
    (script.sku(HOT).stock, script.sku(HOT).sales) = (6, 4);
    script.sees((110, 120), 6);
    script.holds();
}

#[test]
fn a_sold_out_that_was_wrong_is_found_and_one_that_may_be_right_is_not() {
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 8)]).refused("b", (30, 40), 3, 0);
    script.violates("sold_out_only_when_sold_out");
    // While somebody else's order may have taken them.
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 8)]).placed("c", (35, 50), &[(HOT, 2)]).refused("b", (30, 40), 3, 0);
    script.holds();
    // More than was asked for is no reason.
    Script::new().refused("b", (30, 40), 3, 10).violates("sold_out_only_when_sold_out");
    // It was true before the call that is repeated here was answered at last.
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 10)]);
    script.call("ada", (25, 26), place("b", Some(&[(HOT, 3)])), lost());
    script.received((30, 40), 50, ok(200, &json!({"stock": 50}))).refused("b", (50, 60), 3, 0);
    script.sku(HOT).stock += 50;
    script.holds();
}

#[test]
fn more_than_was_there_is_found_though_more_came_in_later() {
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 9)]).placed("b", (21, 30), &[(HOT, 2)]);
    script.received((50, 60), 5, ok(200, &json!({"stock": 4})));
    script.sku(HOT).stock += 5;
    script.violates("sold_only_what_was_there");
}

#[test]
fn a_stock_that_never_was_is_found() {
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 4)]).sees((15, 16), 10).sees((15, 16), 6).sees((21, 22), 6).holds();
    script.sees((21, 22), 10).violates("stock_seen_is_possible");
    let mut script = Script::new();
    script.sees((1, 2), -1);
    assert_eq!(script.verdict().violated(), ["stock_never_negative", "stock_seen_is_possible"]);
}

#[test]
fn goods_that_nobody_acknowledged_may_have_come_in() {
    for (stock, right) in
        [(10, true), (13, true), (17, true), (20, true), (14, false), (9, false), (27, false)]
    {
        let mut script = Script::new();
        script.received((1, 2), 3, lost()).received((3, 4), 7, lost());
        script.sku(HOT).stock = stock;
        if right { script.holds() } else { script.violates("stock_adds_up") }
    }
}

#[test]
fn keys_that_dont_keep_their_promises_are_found() {
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 1)]);
    script.state.orders.clear();
    (script.sku(HOT).stock, script.sku(HOT).sales) = (STOCK, 0);
    script.violates("acknowledged_orders_are_kept");

    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 1)]);
    script.state.orders.get_mut("ada").expect("hers")[0]["address"]["city"] = "Hull".into();
    script.violates("acknowledged_orders_are_kept");

    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 1)]).sold("a", &[(HOT, 1)]);
    script.state.orders.get_mut("ada").expect("hers")[1]["id"] = "another".into();
    script.violates("one_order_a_key");

    let mut script = Script::new();
    script.call("ada", (5, 6), place("a", Some(&[(HOT, 11)])), short(11, 10)).sold("a", &[(HOT, 11)]);
    let violated = script.verdict();
    assert!(violated.violated().contains(&"refused_keys_have_no_order"), "{violated:?}");

    let mut script = Script::new();
    script.refused("a", (5, 6), 11, 10).refused("a", (7, 8), 11, 9).violates("replays_repeat_the_answer");

    Script::new().call("ada", (5, 6), place("a", Some(&[(HOT, 1)])), lost()).violates("every_key_is_decided");
}

#[test]
fn orders_that_nobody_asked_for_or_that_cost_something_else_are_found() {
    Script::new().sold("never sent", &[(HOT, 1)]).violates("orders_are_what_was_asked_for");
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 1)]);
    for order in script.state.orders.values_mut().flatten() {
        order["total_amount"] = 1.into();
    }
    assert_eq!(script.verdict().violated(), ["acknowledged_orders_are_kept", "totals_add_up"]);
}

#[test]
fn a_status_that_goes_back_or_changes_unasked_is_found() {
    let seen = |script: &mut Script, when, status: &str| {
        let mut order = order("ada", "a", "a", &[(HOT, 1)]);
        order["status"] = status.into();
        script.call("ada", when, Call::ReadOrder { order: "a".into() }, ok(200, &order));
    };
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 1)]);
    seen(&mut script, (30, 40), "unpaid");
    script.holds();
    seen(&mut script, (50, 60), "canceled");
    script.violates("status_changes_are_legal");
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 1)]);
    script.call("ada", (25, 26), Call::Cancel { order: "a".into() }, lost());
    seen(&mut script, (30, 40), "canceled");
    seen(&mut script, (35, 50), "unpaid");
    script.violates("status_changes_are_legal");
    let mut script = Script::new();
    script.placed("a", (10, 20), &[(HOT, 1)]);
    seen(&mut script, (30, 40), "shipped");
    script.violates("status_changes_are_legal");
}

#[test]
fn units_that_vanish_from_a_cart_or_are_ordered_twice_are_found() {
    let ordered = |edited: i64, at_the_end: i64| {
        let mut script = Script::new();
        script.set_line((1, 2), 1).cart((3, 4), 1);
        // Raised while it is being ordered.
        script.placed_from_cart("a", (10, 30), &[(HOT, 1)]).set_line((15, 20), edited);
        script.cart((40, 50), at_the_end).in_cart_at_the_end(at_the_end);
        script
    };
    // Ordered first; or read first, raised, and one taken out.
    ordered(5, 5).holds();
    ordered(5, 4).holds();
    ordered(5, 0).violates("carts_add_up");
    ordered(5, 1).violates("carts_add_up");

    // Two tabs.
    let mut script = Script::new();
    script.set_line((1, 2), 3).placed_from_cart("a", (10, 30), &[(HOT, 3)]);
    script.placed_from_cart("b", (12, 28), &[(HOT, 3)]).in_cart_at_the_end(0);
    script.violates("carts_add_up");

    // A line that nobody knows of may be set at any time.
    let set = |at_the_end| {
        let mut script = Script::new();
        script.set_line((1, 2), 3).cart((3, 4), 3);
        script.call("ada", (5, 6), Call::SetLine { sku: HOT, count: 9 }, lost());
        script.cart((7, 8), 3).in_cart_at_the_end(at_the_end);
        script
    };
    set(3).holds();
    set(9).holds();
    set(4).violates("carts_add_up");

    // Nothing was selected, though something was.
    let mut script = Script::new();
    let empty = ok(422, &json!({"code": "empty_cart"}));
    script.set_line((1, 2), 3).call("ada", (5, 6), place("a", None), empty).in_cart_at_the_end(3);
    script.violates("carts_add_up");
}

#[test]
fn anothers_data_and_answers_that_nobody_documented_are_found() {
    let mut script = Script::new();
    let list = json!({"items": [order("bob", "k", "k", &[(HOT, 1)])], "next_cursor": null});
    script.call("ada", (1, 2), Call::ListOrders, ok(200, &list)).violates("nobody_sees_others");
    for (status, code, right) in [
        (503, "store_unavailable", true),
        (503, "teapot", false),
        (500, "internal_error", false),
        (404, "not_found", false),
    ] {
        let mut script = Script::new();
        script.call("ada", (1, 2), Call::ListOrders, ok(status, &json!({"code": code})));
        if right { script.holds() } else { script.violates("answers_are_documented") }
    }
}

#[test]
fn invariants_of_the_database_count_too() {
    let mut script = Script::new();
    let name = "stock_matches_ledger".to_owned();
    let violations = vec!["sku=1".to_owned()];
    script.state.invariants.push(lastunit_bench::history::Invariant {
        name,
        examined: "1".into(),
        violations,
    });
    script.violates("stock_matches_ledger");
}

#[test]
fn a_history_is_read_as_it_was_written_and_may_end_in_the_middle_of_a_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.jsonl");
    let run = Run { seed: 7, name: "r".into(), ..Run::default() };
    let recorder = Recorder::create(&path, &run).expect("a file");
    assert!(Recorder::create(&path, &run).is_err(), "a history isn't written over");
    let first = recorder.invoke(1, "ada", place("a", None)).expect("written");
    let second = recorder.invoke(2, "bob", Call::ListOrders).expect("written");
    recorder.complete(second, ok(200, &json!({"items": "ü"}))).expect("written");
    let written = std::fs::read(&path).expect("the file");
    let lines: Vec<Event> = written
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert!(matches!(lines[1], Event::Invoke(_)), "the call is there before its answer");

    let history = read(&path).expect("a history");
    assert_eq!((history.run, history.ops.len()), (run, 2));
    let open = &history.ops[first as usize];
    assert_eq!((open.end_us, open.answer.status), (u64::MAX, None));
    let done = &history.ops[second as usize];
    assert_eq!((done.buyer.as_str(), done.answer.status), ("bob", Some(200)));
    assert!(done.start_us <= done.end_us);
    std::fs::write(&path, &written[..written.len() - 5]).expect("cut off");
    assert_eq!(read(&path).expect("a history").ops[second as usize].answer.status, None);
    std::fs::write(&path, [&b"{}\n"[..], &written].concat()).expect("broken");
    assert!(read(&path).is_err());
}

#[test]
fn every_check_has_a_name_of_its_own_and_says_what_it_looked_at() {
    let verdict = Script::new().verdict();
    for (place, check) in verdict.checks.iter().enumerate() {
        assert!(verdict.checks[..place].iter().all(|other| other.name != check.name));
        assert!(check.examined.starts_with(|first: char| first.is_ascii_digit()), "{check:?}");
    }
}

/// Something that is done to one SKU, at one instant.
#[derive(Debug, Clone)]
enum Deed {
    Order(i64),
    /// The so manieth order that isn't canceled.
    Cancel(usize),
    Receive(i64),
    Look,
}

/// What is done, how long before it its call leaves and how long after it is answered, and whether the answer is lost.
type Step = (Deed, u64, u64, bool);

fn steps(most_us: u64) -> impl Strategy<Value = Vec<Step>> {
    let deed = prop_oneof![
        4 => (1..6i64).prop_map(Deed::Order),
        1 => (0..8usize).prop_map(Deed::Cancel),
        1 => (1..9i64).prop_map(Deed::Receive),
        3 => Just(Deed::Look),
    ];
    proptest::collection::vec((deed, 0..=most_us, 0..=most_us, proptest::bool::weighted(0.15)), 1..60)
}

/// A shop without a fault does these, one every 10 µs.
fn simulate(steps: &[Step]) -> Script {
    let mut script = Script::new();
    let (mut stock, mut live) = (STOCK, Vec::<(String, i64)>::new());
    let mut orders: BTreeMap<String, Value> = BTreeMap::new();
    for (number, &(ref deed, before, after, is_lost)) in steps.iter().enumerate() {
        let at = 1_000 + 10 * number as u64;
        let when = (at - before, at + after);
        let told = |answer: Answer| if is_lost { lost() } else { answer };
        match *deed {
            Deed::Order(count) => {
                let (key, lines) = (format!("k{number}"), [(HOT, count)]);
                let answer = if count <= stock {
                    stock -= count;
                    live.push((key.clone(), count));
                    let order = order("ada", &key, &key, &lines);
                    orders.insert(key.clone(), order.clone());
                    ok(201, &order)
                } else {
                    short(count, stock)
                };
                script.call("ada", when, place(&key, Some(&lines)), told(answer.clone()));
                if is_lost {
                    // Sent again at the very end, it says what was decided then.
                    script.call("ada", (900_000, 900_001), place(&key, Some(&lines)), answer);
                }
            }
            Deed::Cancel(place) if place < live.len() => {
                let (key, count) = live.swap_remove(place);
                stock += count;
                let order = orders.get_mut(&key).expect("placed");
                order["status"] = "canceled".into();
                let answer = ok(200, order);
                script.call("ada", when, Call::Cancel { order: key }, told(answer));
            }
            Deed::Cancel(_) => {}
            Deed::Receive(delta) => {
                stock += delta;
                script.received(when, delta, told(ok(200, &json!({"stock": stock}))));
            }
            Deed::Look => drop(script.sees(when, stock)),
        }
    }
    script.state.orders.insert("ada".into(), orders.into_values().collect());
    *script.sku(HOT) = SkuAtEnd { id: HOT, stock, sales: live.iter().map(|(_, count)| count).sum() };
    script
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_a_right_shop_says_is_never_called_wrong(steps in steps(80)) {
        let verdict = simulate(&steps).verdict();
        prop_assert!(verdict.holds(), "{:?}", verdict.checks.iter().filter(|check| check.violated > 0).collect::<Vec<_>>());
    }

    /// One call after the other, the bounds are exact: any other figure is found.
    #[test]
    fn a_figure_that_is_off_is_found(steps in steps(4), which in 0..1_000usize, off in prop_oneof![-3..0i64, 1..4i64]) {
        let steps: Vec<Step> = steps.into_iter().map(|(deed, before, after, _)| (deed, before, after, false)).collect();
        let mut script = simulate(&steps);
        let shows = |op: &Op| match op.call {
            Call::ReadSku { .. } => true,
            Call::Place { .. } => op.answer.status == Some(409),
            _ => false,
        };
        let figures: Vec<usize> =
            script.history.ops.iter().enumerate().filter(|(_, op)| shows(op)).map(|(place, _)| place).collect();
        prop_assume!(!figures.is_empty());
        let answer = &mut script.history.ops[figures[which % figures.len()]].answer;
        let mut body: Value = serde_json::from_str(&answer.body).expect("JSON");
        let figure = body.pointer_mut(if body.get("lines").is_some() { "/lines/0/available" } else { "/stock" });
        let figure = figure.expect("a figure");
        *figure = (figure.as_i64().expect("a number") + off).into();
        answer.body = body.to_string();
        let verdict = script.verdict();
        let violated = verdict.violated();
        prop_assert!(
            violated.contains(&"stock_seen_is_possible") || violated.contains(&"sold_out_only_when_sold_out"),
            "{violated:?}"
        );
    }

    #[test]
    fn an_order_that_vanishes_or_is_there_twice_is_found(steps in steps(80), which in 0..1_000usize, twice: bool) {
        let mut script = simulate(&steps);
        let orders = script.state.orders.get_mut("ada").expect("hers");
        prop_assume!(!orders.is_empty());
        let place = which % orders.len();
        let check = if twice {
            let mut again = orders[place].clone();
            again["id"] = "again".into();
            orders.push(again);
            "one_order_a_key"
        } else {
            orders.remove(place);
            "acknowledged_orders_are_kept"
        };
        let verdict = script.verdict();
        prop_assert!(verdict.violated().contains(&check), "{:?}", verdict.violated());
    }
}
