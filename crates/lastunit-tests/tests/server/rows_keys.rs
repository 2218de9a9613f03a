//! Keys, and many calls at once: rows 15 to 18 of the table of bad input.

use std::collections::BTreeSet;

use lastunit_tests::{
    all_at_once,
    server::{Answer, Call, Client, HasId, Raw, Shop, address, order_of, order_of_cart, placing},
};
use serde_json::{Value, json};

/// The same buyer from 50 places at once, a call each.
async fn fifty(buyer: &Client, call: impl Fn(usize) -> Call) -> Vec<Answer> {
    let one = |n| {
        let (client, call) = (buyer.clone(), call(n));
        async move { client.send(call).await }
    };
    all_at_once((0..50).map(one)).await
}

#[tokio::test]
async fn row_15_a_key_with_another_body() {
    let shop = Shop::open().await;
    let (one, two) = (shop.sku(250, 9).await, shop.sku(100, 9).await);
    let ada = shop.buyer("ada");
    let first = order_of(&[(one, 2), (two, 1)]);
    let order = ada.place(&first, "k").await.is(201);
    let mut others = vec![order_of(&[(one, 1), (two, 1)]), order_of(&[(one, 2)]), order_of_cart()];
    for (field, value) in [
        ("pay_method", json!("cash_on_delivery")),
        ("expected_total", json!(1600)),
        ("address", {
            let mut other = address();
            other["receiver"] = json!("Ada Lovelac");
            other
        }),
    ] {
        let mut other = first.clone();
        other[field] = value;
        others.push(other);
    }
    for other in &others {
        let answer = ada.place(other, "k").await;
        answer.problem(422, "idempotency_key_reused");
        assert!(!answer.replayed());
    }
    // The same in other words: the lines in another order and split, the fields too, space between.
    let same = format!(
        "{{ \"pay_method\":\"online\", \"address\": {},\n \"lines\":{} }}",
        address(),
        json!([{"count": 1, "sku_id": two}, {"sku_id": one, "count": 1}, {"sku_id": one, "count": 1}]),
    );
    let again = ada.send(Call::post("/v1/orders").bytes(same).header("idempotency-key", "k")).await;
    assert_eq!((again.replayed(), again.is(201)), (true, order));
    assert_eq!((shop.stock(one).await, shop.stock(two).await), (7, 8));
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn row_15_a_key_that_is_missing_or_no_key() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let order = order_of(&[(sku, 1)]);
    let missing = ada.post("/v1/orders", &order).await;
    missing.problem(400, "idempotency_key_missing");
    for bad in ["", "a\tb", "k\u{e9}", "\u{80}", &"k".repeat(256)] {
        ada.place(&order, bad).await.problem(400, "malformed_request");
    }
    let twice = placing(&order, "a").header("idempotency-key", "a");
    ada.send(twice).await.problem(400, "malformed_request");
    for bad in ["a\0b", "a\x01b", "a\x1b[31m", "a\x7fb", "a\rb", "a\r\n b"] {
        let head = shop.head("POST /v1/orders", "ada");
        let body = order.to_string();
        let said = Raw::say(
            shop.address,
            format!(
                "{head}Connection: close\r\nIdempotency-Key: {bad}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
        .await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{bad:?}: {said}");
    }
    assert_eq!(shop.stock(sku).await, 5);
    for good in ["k".repeat(255), "!".into(), "a b ~".into(), "'; DROP TABLE orders; --".into()] {
        ada.place(&order, &good).await.is(201);
        assert!(ada.place(&order, &good).await.replayed());
    }
    assert_eq!(shop.stock(sku).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_16_fifty_calls_with_one_key() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 100).await;
    let ada = shop.buyer("ada");
    let order = order_of(&[(sku, 1)]);
    let answers = fifty(&ada, |_| placing(&order, "the-key")).await;
    let ids: BTreeSet<String> = answers.iter().map(|answer| answer.is(201).id()).collect();
    assert_eq!(ids.len(), 1, "one order");
    assert_eq!(answers.iter().filter(|answer| answer.replayed()).count(), 49);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(shop.stock(sku).await, 99);
    assert_eq!(shop.bench.orders("ada").await.len(), 1);

    // A refusal too is one, told fifty times.
    let much = order_of(&[(sku, 100)]);
    let answers = fifty(&ada, |_| placing(&much, "too-much")).await;
    assert!(answers.iter().all(|answer| answer.status == 409));
    assert_eq!(answers.iter().filter(|answer| answer.replayed()).count(), 49);
    shop.bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_17_fifty_calls_with_other_keys_on_one_cart() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 500).await;
    let ada = shop.buyer("ada");
    let address_id = ada.post("/v1/addresses", &address()).await.is(201)["id"].clone();
    let commit = json!({"address_id": address_id, "pay_method": 2});
    for round in 1..=4 {
        ada.put(&format!("/v1/cart/lines/{sku}"), &json!({"count": 3})).await.is(200);
        let natively = round % 2 == 0;
        let answers = fifty(&ada, |n| {
            let key = format!("{round}-{n}");
            if natively {
                placing(&order_of_cart(), &key)
            } else {
                Call::post("/orders/commit/").json(&commit).header("idempotency-key", key)
            }
        })
        .await;
        // A call that comes after the order sees an empty cart.
        let said: Vec<Value> = answers.iter().map(Answer::json).collect();
        let placed = said.iter().filter(|body| body["code"] == 0 || body["status"] == "unpaid").count();
        let refused =
            ["cart_changed", "empty_cart"].map(Value::from).into_iter().chain([4004.into(), 4007.into()]);
        let refused: Vec<Value> = refused.collect();
        assert_eq!(placed, 1, "{said:?}");
        assert_eq!(said.iter().filter(|body| refused.contains(&body["code"])).count(), 49, "{said:?}");
        assert!(answers.iter().all(|answer| !answer.replayed()));
        assert_eq!(shop.stock(sku).await, 500 - 3 * round);
        assert_eq!(ada.get("/v1/cart").await.is(200)["lines"], json!([]));
    }
    shop.bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_18_fifty_cancels_of_one_order() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 10).await;
    let ada = shop.buyer("ada");
    let order = ada.place(&order_of(&[(sku, 4)]), "k").await.is(201);
    let cancel = Call::post(format!("/v1/orders/{}/cancel", order.id()));
    for _ in 0..2 {
        let answers = fifty(&ada, |_| cancel.clone()).await;
        assert!(answers.iter().all(|answer| answer.is(200)["status"] == "canceled"));
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
        assert_eq!(shop.stock(sku).await, 10);
    }
    let bob = fifty(&shop.buyer("bob"), |_| cancel.clone()).await;
    assert!(bob.iter().all(|answer| answer.status == 404));
    shop.bench.assert_holds().await;
}
