//! A buyer's cart and addresses.

use lastunit_tests::server::{HasId, Shop, address};
use serde_json::json;

pub async fn a_cart_is_read(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let empty = json!({"lines": [], "selected_count": 0, "selected_amount": 0, "currency": "GBP"});
    assert_eq!(ada.get("/v1/cart").await.is(200), empty);
    ada.put(&format!("/v1/cart/lines/{sku}"), &json!({"count": 7})).await.is(200);
    let cart = ada.get("/v1/cart").await.is(200);
    let line = json!({"sku_id": sku, "count": 7, "selected": true, "unit_price": 250, "amount": 1750,
        "available": 5});
    let expected = json!({"lines": [line], "selected_count": 7, "selected_amount": 1750, "currency": "GBP"});
    assert_eq!(cart, expected);
    assert_eq!(shop.buyer("bob").get("/v1/cart").await.is(200), empty);
    shop.stranger().keyed("x").get("/v1/cart").await.problem(401, "unauthenticated");
    shop.admin().get("/v1/cart").await.problem(422, "invalid_request");
}

pub async fn a_cart_is_emptied(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let (ada, bob) = (shop.buyer("ada"), shop.buyer("bob"));
    for buyer in [&ada, &bob] {
        buyer.put(&format!("/v1/cart/lines/{sku}"), &json!({"count": 1})).await.is(200);
    }
    for _ in 0..2 {
        assert_eq!(ada.delete("/v1/cart").await.is(200)["lines"], json!([]));
    }
    assert_eq!(bob.get("/v1/cart").await.is(200)["lines"].as_array().map(Vec::len), Some(1));
}

pub async fn a_cart_line_is_set(shop: &Shop) {
    let (one, two) = (shop.sku(250, 5).await, shop.sku(100, 5).await);
    let ada = shop.buyer("ada");
    let line = |sku: i64| format!("/v1/cart/lines/{sku}");
    ada.put(&line(two), &json!({"count": 10_000, "selected": false})).await.is(200);
    let cart = ada.put(&line(one), &json!({"count": 2})).await.is(200);
    assert_eq!((&cart["lines"][0]["sku_id"], &cart["lines"][1]["sku_id"]), (&json!(one), &json!(two)));
    assert_eq!((&cart["selected_count"], &cart["selected_amount"]), (&json!(2), &json!(500)));
    let cart = ada.put(&line(two), &json!({"count": 3, "selected": true})).await.is(200);
    assert_eq!((&cart["selected_count"], &cart["selected_amount"]), (&json!(5), &json!(800)));
    ada.put(&line(999), &json!({"count": 1})).await.problem(404, "not_found");
    ada.put("/v1/cart/lines/x", &json!({"count": 1})).await.problem(404, "not_found");
}

pub async fn a_cart_line_is_removed(shop: &Shop) {
    let (one, two) = (shop.sku(250, 5).await, shop.sku(100, 5).await);
    let ada = shop.buyer("ada");
    for sku in [one, two] {
        ada.put(&format!("/v1/cart/lines/{sku}"), &json!({"count": 1})).await.is(200);
    }
    for _ in 0..2 {
        let cart = ada.delete(&format!("/v1/cart/lines/{one}")).await.is(200);
        assert_eq!(cart["lines"].as_array().map(Vec::len), Some(1));
        assert_eq!(cart["lines"][0]["sku_id"], two);
    }
}

pub async fn addresses_are_listed_by_page(shop: &Shop) {
    let ada = shop.buyer("ada");
    assert_eq!(ada.get("/v1/addresses").await.is(200), json!({"items": [], "next_cursor": null}));
    let mut saved = Vec::new();
    for _ in 0..3 {
        saved.push(ada.post("/v1/addresses", &address()).await.is(201));
    }
    let page = ada.get("/v1/addresses?limit=2").await.is(200);
    assert_eq!(page["items"], json!(saved[..2]));
    let cursor = page["next_cursor"].as_str().expect("another page");
    let page = ada.get(&format!("/v1/addresses?limit=2&cursor={cursor}")).await.is(200);
    assert_eq!(page, json!({"items": [saved[2]], "next_cursor": null}));
    assert_eq!(shop.buyer("bob").get("/v1/addresses").await.is(200)["items"], json!([]));
}

pub async fn an_address_is_saved(shop: &Shop) {
    let mut full = address();
    full["line2"] = json!("Flat 2");
    full["region"] = json!("Yorkshire");
    let ada = shop.buyer("ada");
    let mut saved = ada.post("/v1/addresses", &full).await.is(201);
    saved.as_object_mut().expect("an object").remove("id");
    assert_eq!(saved, full);
    for (field, bad) in [
        ("country", json!("gb")),
        ("country", json!("XX")),
        ("phone", json!("call me")),
        ("receiver", json!("")),
        ("receiver", json!(" ")),
        ("receiver", json!("x".repeat(101))),
        ("city", json!(null)),
        ("line1", json!(1)),
        ("id", json!("01890a5d-ac96-774b-bcce-b302099a8057")),
    ] {
        let mut wrong = address();
        wrong[field] = bad;
        let problem = ada.post("/v1/addresses", &wrong).await.problem(422, "invalid_request");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(field)), "{problem}");
    }
}

pub async fn an_address_is_read(shop: &Shop) {
    let ada = shop.buyer("ada");
    let saved = ada.post("/v1/addresses", &address()).await.is(201);
    assert_eq!(ada.get(&format!("/v1/addresses/{}", saved.id())).await.is(200), saved);
    for id in ["01890a5d-ac96-774b-bcce-b302099a8057", "1", "x"] {
        ada.get(&format!("/v1/addresses/{id}")).await.problem(404, "not_found");
    }
}

pub async fn an_address_is_deleted(shop: &Shop) {
    let ada = shop.buyer("ada");
    let path = format!("/v1/addresses/{}", ada.post("/v1/addresses", &address()).await.is(201).id());
    assert_eq!(ada.delete(&path).await.status, 204);
    ada.delete(&path).await.problem(404, "not_found");
    ada.get(&path).await.problem(404, "not_found");
}
