//! The way of one buyer from a cart to an order and back.

use lastunit_tests::server::{Call, HasId, Shop, address, order_of};
use serde_json::{Value, json};

#[tokio::test]
async fn a_cart_becomes_an_order_that_is_replayed_listed_and_canceled() {
    let shop = Shop::open().await;
    let product = json!({"name": "Mug", "skus": [
        {"code": "MUG-R", "name": "Red mug", "price": 1250, "stock": 3},
        {"code": "MUG-B", "name": "Blue mug", "price": 1350, "stock": 4},
        {"code": "MUG-G", "name": "Green mug", "price": 1450, "stock": 5},
    ]});
    let product = shop.admin().post("/v1/admin/products", &product).await.is(201);
    let [red, blue, green] = [0, 1, 2].map(|at| product["skus"][at].id());

    let ada = shop.buyer("ada");
    let line = |sku: &str| format!("/v1/cart/lines/{sku}");
    ada.put(&line(&blue), &json!({"count": 1})).await.is(200);
    ada.put(&line(&red), &json!({"count": 2})).await.is(200);
    let cart = ada.put(&line(&green), &json!({"count": 5, "selected": false})).await.is(200);
    assert_eq!((&cart["selected_count"], &cart["selected_amount"]), (&json!(3), &json!(3850)));
    let address_id = ada.post("/v1/addresses", &address()).await.is(201)["id"].clone();

    let body = json!({"address_id": address_id, "pay_method": "online", "expected_total": 4850});
    let placed = ada.place(&body, "a-first-try").await;
    let order = placed.is(201);
    assert!(!placed.replayed());
    assert_eq!((&order["goods_amount"], &order["total_amount"]), (&json!(3850), &json!(4850)));
    let codes: Vec<&Value> = order["lines"].as_array().expect("lines").iter().map(|l| &l["code"]).collect();
    assert_eq!(codes, ["MUG-R", "MUG-B"]);
    let cart = ada.get("/v1/cart").await.is(200);
    assert_eq!(cart["lines"].as_array().map(Vec::len), Some(1), "only what was ordered left the cart");

    // The cart is another one by now; the key is looked up first.
    let replayed = ada.place(&body, "a-first-try").await;
    assert!(replayed.replayed());
    assert_eq!(replayed.is(201), order);
    assert_eq!(replayed.body, placed.body);

    let path = format!("/v1/orders/{}", order.id());
    assert_eq!(ada.get(&path).await.is(200), order);
    let stocks = async || {
        let skus = ada.get("/v1/skus").await.is(200);
        skus["items"].as_array().expect("items").iter().map(|sku| sku["stock"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(stocks().await, [1, 3, 5]);
    for _ in 0..2 {
        let canceled = ada.send(Call::post(format!("{path}/cancel"))).await.is(200);
        assert_eq!(canceled["status"], "canceled");
        assert_eq!(stocks().await, [3, 4, 5]);
    }
    assert_eq!(ada.get(&path).await.is(200)["status"], "canceled");
    // What was answered once is answered again, whatever came of the order since.
    assert_eq!(ada.place(&body, "a-first-try").await.is(201), order);
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn pages_of_orders_hold_each_order_once_newest_first() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 100).await;
    let ada = shop.buyer("ada");
    let mut placed = Vec::new();
    for n in 0..25 {
        placed.push(ada.place(&order_of(&[(sku, 1)]), &format!("k{n}")).await.is(201).id());
    }
    shop.buyer("bob").place(&order_of(&[(sku, 1)]), "k0").await.is(201);
    placed.reverse();
    for limit in [1, 7, 20, 24, 25, 100] {
        let mut seen = Vec::new();
        let mut path = format!("/v1/orders?limit={limit}");
        loop {
            let page = ada.get(&path).await.is(200);
            let items = page["items"].as_array().expect("items");
            assert!((1..=limit).contains(&items.len()));
            seen.extend(items.iter().map(HasId::id));
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/orders?limit={limit}&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, placed, "by pages of {limit}");
    }
    assert_eq!(ada.get("/v1/orders").await.is(200)["items"].as_array().map(Vec::len), Some(20));
    // A buyer can't go on from another's order into another's list.
    let cursor = placed.first().expect("an order");
    let bobs = shop.buyer("bob").get(&format!("/v1/orders?cursor={cursor}")).await.is(200);
    assert_eq!(bobs["items"], json!([]));
}

#[tokio::test]
async fn a_key_of_one_operation_is_another_ones_too() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 10).await;
    let ada = shop.buyer("ada");
    let saved = ada.post("/v1/addresses", &address()).await.is(201);
    let place = json!({"address_id": saved["id"], "pay_method": "online"});
    let commit = json!({"address_id": saved["id"], "pay_method": 2});
    let line = format!("/v1/cart/lines/{sku}");
    ada.put(&line, &json!({"count": 1})).await.is(200);
    let first = ada.place(&place, "k").await.is(201).id();
    ada.put(&line, &json!({"count": 1})).await.is(200);
    let second = ada.send(Call::post("/orders/commit/").json(&commit).header("idempotency-key", "k")).await;
    assert!(!second.replayed());
    assert_eq!(second.is(200)["code"], 0);
    assert_ne!(second.json()["order_id"], json!(first));
    assert_eq!(shop.stock(sku).await, 8);
}
