//! What only an admin may do.

use lastunit_tests::server::{Call, HasId, Shop, order_of};
use serde_json::json;

pub async fn a_product_is_created(shop: &Shop) {
    let admin = shop.admin();
    let mug = json!({"name": "Big Mug", "skus": [{"code": "MUG", "name": "Mug", "price": 1250, "stock": 3}]});
    let product = admin.post("/v1/admin/products", &mug).await.is(201);
    let sku = json!({
        "id": product["skus"][0]["id"], "code": "MUG", "product_id": product["id"], "product": "Big Mug",
        "name": "Mug", "price": 1250, "currency": "GBP", "stock": 3, "sales": 0, "on_sale": true,
    });
    let expected = json!({"id": product["id"], "handle": "big-mug", "name": "Big Mug", "description": "",
        "sales": 0, "skus": [sku]});
    assert_eq!(product, expected);
    admin.post("/v1/admin/products", &mug).await.problem(409, "conflict");
    for wrong in [
        json!({"name": "X", "skus": []}),
        json!({"name": "X", "skus": [{"code": "X", "name": "X", "price": -1}]}),
        json!({"name": "X", "skus": [{"code": "X", "name": "X", "price": 9_007_199_254_740_992_i64}]}),
        json!({"name": "X", "skus": [{"code": "X", "name": "X", "price": 1, "stock": -1}]}),
        json!({"name": "X", "skus": [{"code": "X", "name": "X", "price": 1, "currency": "EUR"}]}),
        json!({"name": "!", "skus": [{"code": "X", "name": "X", "price": 1}]}),
        json!({"name": "X", "id": 7, "skus": [{"code": "X", "name": "X", "price": 1}]}),
    ] {
        admin.post("/v1/admin/products", &wrong).await.problem(422, "invalid_request");
    }
}

pub async fn a_sku_is_patched(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let (admin, path) = (shop.admin(), format!("/v1/admin/skus/{sku}"));
    let before = admin.get(&format!("/v1/skus/{sku}")).await.is(200);
    let mut expected = before.clone();
    expected["price"] = json!(300);
    expected["name"] = json!("Better");
    assert_eq!(admin.patch(&path, &json!({"price": 300, "name": "Better"})).await.is(200), expected);
    expected["on_sale"] = json!(false);
    assert_eq!(admin.patch(&path, &json!({"on_sale": false})).await.is(200), expected);
    let refused = shop.buyer("ada").place(&order_of(&[(sku, 1)]), "k").await;
    assert_eq!(refused.problem(409, "sku_unavailable")["sku_ids"], json!([sku]));
    for wrong in [json!({"stock": 9}), json!({"price": -1}), json!({"name": ""}), json!({"sales": 0})] {
        admin.patch(&path, &wrong).await.problem(422, "invalid_request");
    }
    admin.patch("/v1/admin/skus/999", &json!({"price": 1})).await.problem(404, "not_found");
    assert_eq!(admin.get(&format!("/v1/skus/{sku}")).await.is(200), expected);
}

pub async fn stock_is_changed(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let (admin, path) = (shop.admin(), format!("/v1/admin/skus/{sku}/stock"));
    let change = |delta: i64, kind: &str| json!({"delta": delta, "kind": kind, "reason": "a count"});
    assert_eq!(admin.post(&path, &change(50, "received")).await.is(200)["stock"], 55);
    assert_eq!(admin.post(&path, &change(-55, "adjusted")).await.is(200)["stock"], 0);
    admin.post(&path, &change(-1, "adjusted")).await.problem(409, "conflict");
    for (delta, kind) in [(0, "received"), (-1, "received"), (1, "sold"), (1_000_000_001, "received")] {
        admin.post(&path, &change(delta, kind)).await.problem(422, "invalid_request");
    }
    let silent = json!({"delta": 1, "kind": "received", "reason": " "});
    admin.post(&path, &silent).await.problem(422, "invalid_request");
    admin.post("/v1/admin/skus/999/stock", &change(1, "received")).await.problem(404, "not_found");
    assert_eq!(shop.stock(sku).await, 0);
}

pub async fn settings_are_read(shop: &Shop) {
    let settings = shop.admin().get("/v1/admin/settings").await.is(200);
    assert_eq!(settings, json!({"currency": "GBP", "freight": 1000, "free_from": null}));
}

pub async fn settings_are_set(shop: &Shop) {
    let sku = shop.sku(250, 5).await;
    let admin = shop.admin();
    let settings = json!({"currency": "GBP", "freight": 300, "free_from": 500});
    assert_eq!(admin.put("/v1/admin/settings", &settings).await.is(200), settings);
    assert_eq!(admin.get("/v1/admin/settings").await.is(200), settings);
    let ada = shop.buyer("ada");
    assert_eq!(ada.place(&order_of(&[(sku, 1)]), "1").await.is(201)["freight"], 300);
    assert_eq!(ada.place(&order_of(&[(sku, 2)]), "2").await.is(201)["freight"], 0);

    // Another shop is opened by its settings, and sees nothing of this one.
    let yen = json!({"currency": "JPY", "freight": 0, "free_from": null});
    let open = Call::new("PUT", "/v1/admin/settings").json(&yen).header("lastunit-shop", "2");
    assert_eq!(admin.send(open).await.is(200), yen);
    let skus = Call::new("GET", "/v1/skus").header("lastunit-shop", "2");
    assert_eq!(admin.send(skus).await.is(200)["items"], json!([]));
    let order = ada.get("/v1/orders").await.is(200)["items"][0].id();
    let elsewhere = Call::new("GET", format!("/v1/orders/{order}")).header("lastunit-shop", "2");
    ada.send(elsewhere).await.problem(404, "not_found");
}
