//! POST /orders/commit/, in the manners of the shop that Lastunit replaces: HTTP 200 whatever comes of it.

use lastunit_tests::server::{Answer, Call, Client, HasId, Shop, address};
use serde_json::{Value, json};

struct Ada {
    client: Client,
    address: Value,
}

impl Ada {
    async fn of(shop: &Shop) -> Self {
        let client = shop.buyer("ada");
        let address = client.post("/v1/addresses", &address()).await.is(201)["id"].clone();
        Self { client, address }
    }

    async fn put(&self, sku: i64, count: i64) {
        self.client.put(&format!("/v1/cart/lines/{sku}"), &json!({"count": count})).await.is(200);
    }

    fn body(&self) -> Value {
        json!({"address_id": self.address, "pay_method": 1})
    }

    async fn commit(&self, key: Option<&str>) -> Answer {
        self.send(self.body(), key).await
    }

    async fn send(&self, body: Value, key: Option<&str>) -> Answer {
        let call = Call::post("/orders/commit/").json(&body);
        let call = match key {
            Some(key) => call.header("idempotency-key", key),
            None => call,
        };
        self.client.send(call).await
    }
}

/// Asserts that it is a refusal in the origin's manner.
fn refused(answer: &Answer, code: i64) {
    let body = answer.is(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["order_id"], Value::Null);
    assert!(body["errmsg"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
}

#[tokio::test]
async fn a_selected_cart_is_ordered_and_leaves_the_cart() {
    let shop = Shop::open().await;
    let (one, two) = (shop.sku(250, 5).await, shop.sku(100, 5).await);
    let ada = Ada::of(&shop).await;
    ada.put(one, 2).await;
    ada.client.put(&format!("/v1/cart/lines/{two}"), &json!({"count": 1, "selected": false})).await.is(200);
    let reply = ada.commit(None).await.is(200);
    assert_eq!(reply["code"], 0);
    let id = reply["order_id"].as_str().expect("an id");
    let order = ada.client.get(&format!("/v1/orders/{id}")).await.is(200);
    let got = (&order["status"], &order["pay_method"], &order["total_amount"]);
    assert_eq!(got, (&json!("to_ship"), &json!("cash_on_delivery"), &json!(1500)));
    let cart = ada.client.get("/v1/cart").await.is(200);
    assert_eq!((&cart["lines"][0]["sku_id"], &cart["lines"][1]), (&json!(two), &Value::Null));
    assert_eq!((shop.stock(one).await, shop.stock(two).await), (3, 5));
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn without_a_key_a_repeated_call_finds_the_cart_empty() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = Ada::of(&shop).await;
    ada.put(sku, 2).await;
    assert_eq!(ada.commit(None).await.is(200)["code"], 0);
    refused(&ada.commit(None).await, 4004);
    assert_eq!(shop.stock(sku).await, 3);
}

#[tokio::test]
async fn with_a_key_a_repeated_call_is_answered_the_same() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = Ada::of(&shop).await;
    ada.put(sku, 2).await;
    let first = ada.commit(Some("k")).await;
    assert_eq!((first.is(200)["code"].as_i64(), first.replayed()), (Some(0), false));
    let again = ada.commit(Some("k")).await;
    assert_eq!((again.body.clone(), again.replayed()), (first.body, true));

    ada.put(sku, 4).await;
    let short = ada.commit(Some("short")).await;
    refused(&short, 4005);
    let again = ada.commit(Some("short")).await;
    assert_eq!((again.body.clone(), again.replayed()), (short.body, true));

    let other = json!({"address_id": ada.address, "pay_method": 2});
    refused(&ada.send(other, Some("k")).await, 4008);
    assert_eq!(shop.stock(sku).await, 3);
}

#[tokio::test]
async fn what_cant_be_ordered_is_refused_by_its_code() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = Ada::of(&shop).await;
    refused(&ada.commit(None).await, 4004);
    ada.put(sku, 6).await;
    refused(&ada.commit(None).await, 4005);
    let off = json!({"on_sale": false});
    shop.admin().patch(&format!("/v1/admin/skus/{sku}"), &off).await.is(200);
    refused(&ada.commit(None).await, 4006);
    assert_eq!(shop.stock(sku).await, 5);
    let cart = ada.client.get("/v1/cart").await.is(200);
    assert_eq!(cart["lines"][0]["count"], 6, "a refused order leaves the cart alone");
}

#[tokio::test]
async fn a_wrong_request_is_refused_by_its_code() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = Ada::of(&shop).await;
    ada.put(sku, 1).await;
    for wrong in [
        json!({}),
        json!({"address_id": ada.address}),
        json!({"address_id": ada.address, "pay_method": 0}),
        json!({"address_id": ada.address, "pay_method": 3}),
        json!({"address_id": ada.address, "pay_method": "1"}),
        json!({"address_id": 1, "pay_method": 1}),
        json!({"address_id": ada.address, "pay_method": 1, "total_amount": 1}),
        json!([]),
    ] {
        refused(&ada.send(wrong, None).await, 4001);
    }
    let commit = || Call::post("/orders/commit/");
    refused(&ada.client.send(commit().bytes("{")).await, 4001);
    refused(&ada.client.send(commit().bytes(" ".repeat(100_000))).await, 4001);
    refused(&ada.client.send(commit().header("content-type", "text/plain")).await, 4001);
    refused(&ada.client.send(commit().json(&ada.body()).header("idempotency-key", "")).await, 4001);
    refused(&shop.admin().send(commit().json(&ada.body())).await, 4001);
    refused(&shop.stranger().buyer("ada").send(commit().json(&ada.body())).await, 4002);
    let elsewhere = commit().json(&ada.body()).header("lastunit-shop", "2");
    refused(&ada.client.send(elsewhere).await, 4003);

    // Another's address is as good as none.
    let bobs = shop.buyer("bob").post("/v1/addresses", &address()).await.is(201).id();
    let none = "01890a5d-ac96-774b-bcce-b302099a8057";
    let answers = [bobs.as_str(), none].map(|id| json!({"address_id": id, "pay_method": 1}));
    let [bobs, none] = answers.map(|body| ada.send(body, None));
    let (bobs, none) = (bobs.await, none.await);
    refused(&bobs, 4003);
    assert_eq!(bobs.body, none.body);

    ada.client.get("/orders/commit/").await.problem(405, "method_not_allowed");
    ada.client.post("/orders/commit", &ada.body()).await.problem(404, "not_found");
    assert_eq!(shop.stock(sku).await, 5);
    assert_eq!(ada.commit(None).await.is(200)["code"], 0);
}
