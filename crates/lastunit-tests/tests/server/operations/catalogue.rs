//! What is for sale.

use lastunit_tests::server::{HasId, Shop};
use serde_json::json;

async fn mug(shop: &Shop) -> serde_json::Value {
    let mug = json!({"name": "Mug", "description": "<b>Hot</b>", "skus": [
        {"code": "MUG-R", "name": "Red mug", "price": 1250, "stock": 3},
        {"code": "MUG-B", "name": "Blue mug", "price": 1350, "stock": 0, "on_sale": false},
    ]});
    shop.admin().post("/v1/admin/products", &mug).await.is(201)
}

pub async fn skus_are_listed_or_found_by_code(shop: &Shop) {
    let product = mug(shop).await;
    let ada = shop.buyer("ada");
    let all = ada.get("/v1/skus").await.is(200);
    assert_eq!(all, json!({"items": product["skus"], "next_cursor": null}));
    let found = ada.get("/v1/skus?code=MUG-B").await.is(200);
    assert_eq!(found["items"], json!([product["skus"][1]]));
    assert_eq!(ada.get("/v1/skus?code=mug-b").await.is(200)["items"], json!([]));

    let first = ada.get("/v1/skus?limit=1").await.is(200);
    let cursor = first["next_cursor"].as_str().expect("another page");
    let second = ada.get(&format!("/v1/skus?limit=1&cursor={cursor}")).await.is(200);
    assert_eq!(json!([first["items"][0], second["items"][0]]), product["skus"]);
    assert!(second["next_cursor"].is_null());
    for query in ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=", "page=2", "limit=1&limit=2"] {
        ada.get(&format!("/v1/skus?{query}")).await.problem(422, "invalid_request");
    }
}

pub async fn a_sku_is_read(shop: &Shop) {
    let product = mug(shop).await;
    let id = product["skus"][0].id();
    let sku = shop.buyer("ada").get(&format!("/v1/skus/{id}")).await.is(200);
    let expected = json!({
        "id": product["skus"][0]["id"], "code": "MUG-R", "product_id": product["id"], "product": "Mug",
        "name": "Red mug", "price": 1250, "currency": "GBP", "stock": 3, "sales": 0, "on_sale": true,
    });
    assert_eq!(sku, expected);
    for id in ["999", "0", "-1", "x", "1.0", "9223372036854775808", "1%00"] {
        shop.buyer("ada").get(&format!("/v1/skus/{id}")).await.problem(404, "not_found");
    }
}

pub async fn products_are_listed_with_their_skus(shop: &Shop) {
    let product = mug(shop).await;
    let cap = json!({"name": "Cap", "skus": [{"code": "CAP", "name": "Cap", "price": 900}]});
    let cap = shop.admin().post("/v1/admin/products", &cap).await.is(201);
    let ada = shop.buyer("ada");
    assert_eq!(ada.get("/v1/products").await.is(200), json!({"items": [product, cap], "next_cursor": null}));
    let page = ada.get("/v1/products?limit=1").await.is(200);
    let cursor = page["next_cursor"].as_str().expect("another page");
    let rest = ada.get(&format!("/v1/products?cursor={cursor}")).await.is(200);
    assert_eq!(rest["items"], json!([cap]));
    ada.get("/v1/products?code=MUG-R").await.problem(422, "invalid_request");
}
