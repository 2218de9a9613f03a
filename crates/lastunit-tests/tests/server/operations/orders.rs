//! Orders, in both manners.

use lastunit_tests::server::{Call, HasId, Shop, address, order_of, order_of_cart};
use serde_json::{Value, json};

pub async fn an_order_is_placed(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let seen = shop.bench.read_sku(lastunit::SkuId::new(sku).expect("an id")).await;
    let answer = shop.buyer("ada").place(&order_of(&[(sku, 2)]), "first").await;
    assert!(!answer.replayed());
    let mut order = answer.is(201);
    // A time and an id of its own.
    let placed = order.as_object_mut().expect("an object");
    assert!(placed.remove("id").is_some() && placed.remove("created_at").is_some());
    let line = json!({"sku_id": sku, "code": seen.code, "name": "A SKU", "count": 2, "unit_price": 250,
        "amount": 500});
    let expected = json!({
        "status": "unpaid", "pay_method": "online", "lines": [line], "total_count": 2, "goods_amount": 500,
        "freight": 1000, "total_amount": 1500, "currency": "GBP", "address": address(),
    });
    assert_eq!(order, expected);

    let cash = json!({"lines": [{"sku_id": sku, "count": 1}], "address": address(),
        "pay_method": "cash_on_delivery", "expected_total": 1250});
    assert_eq!(shop.buyer("ada").place(&cash, "second").await.is(201)["status"], "to_ship");
    let short = shop.buyer("ada").place(&order_of(&[(sku, 3)]), "third").await;
    let problem = short.problem(409, "insufficient_stock");
    assert_eq!(problem["lines"], json!([{"sku_id": sku, "requested": 3, "available": 2}]));
}

pub async fn an_order_is_read(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let order = ada.place(&order_of(&[(sku, 2)]), "k").await.is(201);
    assert_eq!(ada.get(&format!("/v1/orders/{}", order.id())).await.is(200), order);
    for id in ["01890a5d-ac96-774b-bcce-b302099a8057", "1", "x"] {
        ada.get(&format!("/v1/orders/{id}")).await.problem(404, "not_found");
    }
}

pub async fn orders_are_listed_newest_first(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    assert_eq!(ada.get("/v1/orders").await.is(200), json!({"items": [], "next_cursor": null}));
    let first = ada.place(&order_of(&[(sku, 1)]), "1").await.is(201);
    let second = ada.place(&order_of(&[(sku, 2)]), "2").await.is(201);
    let listed = ada.get("/v1/orders").await.is(200);
    assert_eq!(listed, json!({"items": [second, first], "next_cursor": null}));
    ada.get("/v1/orders?cursor=1").await.problem(422, "invalid_request");
}

pub async fn an_order_is_canceled(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let mut order = ada.place(&order_of(&[(sku, 2)]), "k").await.is(201);
    order["status"] = json!("canceled");
    let cancel = Call::post(format!("/v1/orders/{}/cancel", order.id()));
    for _ in 0..2 {
        assert_eq!(ada.send(cancel.clone()).await.is(200), order);
    }
    let unknown = Call::post("/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057/cancel");
    ada.send(unknown).await.problem(404, "not_found");
}

pub async fn a_cart_is_committed_in_the_origins_manner(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let address = ada.post("/v1/addresses", &address()).await.is(201);
    ada.put(&format!("/v1/cart/lines/{sku}"), &json!({"count": 2})).await.is(200);
    let body = json!({"address_id": address["id"], "pay_method": 2});
    let reply = ada.post("/orders/commit/", &body).await.is(200);
    assert_eq!((&reply["code"], &reply["errmsg"]), (&json!(0), &json!("The order is placed.")));
    let id = reply["order_id"].as_str().expect("an id");
    let order: Value = ada.get(&format!("/v1/orders/{id}")).await.is(200);
    assert_eq!((&order["total_amount"], &order["pay_method"]), (&json!(1500), &json!("online")));
    ada.place(&order_of_cart(), "k").await.problem(422, "empty_cart");
}
