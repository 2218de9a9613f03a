//! Too many calls of one buyer, or with one service key: answered 429, while everybody else is served.

use std::{num::NonZeroU32, time::Duration};

use lastunit_tests::server::{Answer, Call, Client, Database, HasId, Raw, Shop, address, order_of, placing};
use serde_json::json;

/// A shop whose buyers may change this much a second, and whose keys may call this often.
async fn limited(buyer_rate: Option<u32>, key_rate: Option<u32>) -> Shop {
    Shop::open_with(|options| {
        options.server.buyer_rate = buyer_rate.and_then(NonZeroU32::new);
        options.server.key_rate = key_rate.and_then(NonZeroU32::new);
    })
    .await
}

/// Asserts that it is refused for now; for how long.
fn wait_of(refused: &Answer) -> Duration {
    refused.problem(429, "rate_limited");
    assert!(!refused.replayed());
    let seconds = refused.header("retry-after").and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.expect("whole seconds"))
}

/// Sends the same call until it is refused; how many weren't, and the refusal.
async fn until_refused(client: &Client, call: &Call) -> (usize, Answer) {
    for passed in 0..1_000 {
        let answer = client.send(call.clone()).await;
        if answer.status == 429 {
            return (passed, answer);
        }
    }
    panic!("nothing is refused");
}

#[tokio::test]
async fn a_buyer_who_orders_too_fast_waits_and_loses_nothing() {
    let shop = limited(Some(1), None).await;
    let sku = shop.sku(100, 1_000).await;
    let (ada, order) = (shop.buyer("ada"), order_of(&[(sku, 1)]));
    let mut placed = 0;
    let (key, refused) = loop {
        let key = format!("k{placed}");
        let answer = ada.place(&order, &key).await;
        if answer.status == 429 {
            break (key, answer);
        }
        answer.is(201);
        placed += 1;
    };
    assert!(placed >= 2, "two at once are no hurry");
    assert_eq!(
        (shop.stock(sku).await, shop.bench.orders("ada").await.len()),
        (1_000 - placed, placed as usize)
    );

    // Reading is no change, and others are others: bob, and who has the same name in another shop.
    for path in ["/v1/orders", "/v1/cart", "/v1/addresses", "/v1/skus"] {
        ada.get(path).await.is(200);
    }
    shop.buyer("bob").place(&order, &key).await.is(201);
    ada.send(placing(&order, &key).header("lastunit-shop", "2")).await.problem(404, "not_found");

    // Nothing was kept under the key: the same call goes through later, and then once.
    tokio::time::sleep(wait_of(&refused)).await;
    let late = ada.place(&order, &key).await;
    assert!(!late.replayed());
    let late = late.is(201);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let again = ada.place(&order, &key).await;
    assert_eq!((again.replayed(), again.is(201).id()), (true, late.id()));
    assert_eq!(shop.stock(sku).await, 1_000 - placed - 2);
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn every_change_of_a_buyer_counts() {
    let shop = limited(Some(1), None).await;
    let sku = shop.sku(100, 1_000).await;
    let nobodys = "01890a5d-ac96-774b-bcce-b302099a8057";
    let line = format!("/v1/cart/lines/{sku}");
    let calls = [
        placing(&order_of(&[(sku, 1)]), "k"),
        // What turns out to be wrong later counts too.
        Call::post("/v1/orders").bytes("{"),
        Call::new("PUT", &line).json(&json!({"count": 1})),
        Call::new("DELETE", &line),
        Call::new("DELETE", "/v1/cart"),
        Call::post("/v1/addresses").json(&address()),
        Call::new("DELETE", format!("/v1/addresses/{nobodys}")),
        Call::post(format!("/v1/orders/{nobodys}/cancel")),
    ];
    for (n, call) in calls.into_iter().enumerate() {
        let (passed, refused) = until_refused(&shop.buyer(&format!("buyer-{n}")), &call).await;
        assert!(passed >= 2, "{} {}: {passed}", call.method, call.path);
        wait_of(&refused);
    }
}

#[tokio::test]
async fn a_refusal_doesnt_wait_for_the_body() {
    let shop = limited(Some(1), None).await;
    // A body that is promised and never comes. In ten seconds it would be answered 408.
    let head = shop.head("POST /v1/orders", "ada") + "Idempotency-Key: k\r\nContent-Length: 60000\r\n\r\n";
    let change = Call::new("DELETE", "/v1/cart");
    let told = loop {
        until_refused(&shop.buyer("ada"), &change).await;
        let told = Raw::say(shop.address, &head).await;
        if !told.starts_with("HTTP/1.1 408 ") {
            break told;
        }
    };
    assert!(told.starts_with("HTTP/1.1 429 ") && told.contains("\r\nretry-after: 1\r\n"), "{told}");
}

#[tokio::test]
async fn row_27_a_key_that_calls_too_often_is_told_when_to_come_back() {
    let shop = limited(None, Some(3)).await;
    let (ada, admin) = (shop.buyer("ada"), shop.admin());
    let (passed, refused) = until_refused(&ada, &Call::new("GET", "/v1/orders")).await;
    assert!(passed >= 6, "{passed}");
    assert_eq!(wait_of(&refused), Duration::from_secs(1));
    // Whoever the key calls for. Another key is another's matter, and what needs no key isn't counted.
    wait_of(&until_refused(&shop.buyer("bob"), &Call::new("GET", "/v1/skus")).await.1);
    admin.get("/v1/admin/settings").await.is(200);
    for _ in 0..20 {
        shop.stranger().get("/health/live").await.is(200);
        shop.stranger()
            .keyed("who-guesses-a-key-is-not-counted")
            .get("/v1/skus")
            .await
            .problem(401, "unauthenticated");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    ada.get("/v1/orders").await.is(200);
}

#[tokio::test]
async fn the_origins_endpoint_says_so_in_its_manner() {
    let shop = limited(Some(1), None).await;
    let ada = shop.buyer("ada");
    let address = ada.post("/v1/addresses", &address()).await.is(201).id();
    let commit = Call::post("/orders/commit/").json(&json!({"address_id": address, "pay_method": 1}));
    let refused = loop {
        let answer = ada.send(commit.clone()).await;
        let code = answer.is(200)["code"].clone();
        if code == 5003 {
            break answer;
        }
        assert_eq!(code, 4004, "there is nothing in the cart");
    };
    assert_eq!(refused.header("retry-after"), Some("1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ada.send(commit).await.is(200)["code"], 4004);
}

#[tokio::test]
async fn refusals_are_counted_by_their_limit() {
    let shop = limited(Some(1), Some(20)).await;
    let ada = shop.buyer("ada");
    until_refused(&ada, &Call::new("DELETE", "/v1/cart")).await;
    let text = shop.stranger().get("/metrics").await.text();
    assert!(text.contains("lastunit_http_requests_rate_limited_total{limit=\"buyer\"} 1\n"), "{text}");
    assert!(!text.contains("limit=\"key\""), "{text}");
    until_refused(&ada, &Call::new("GET", "/v1/cart")).await;
    let text = shop.stranger().get("/metrics").await.text();
    assert!(text.contains("lastunit_http_requests_rate_limited_total{limit=\"key\"} 1\n"), "{text}");
}

#[tokio::test]
async fn the_limits_are_options_of_serve_and_off_without_them() {
    let database = Database::default();
    let server = database.serve(&["--buyer-rate", "1"]).await;
    let change = Call::new("DELETE", "/v1/cart");
    assert!(until_refused(&server.buyer("ada"), &change).await.0 >= 2);
    drop(server);

    let server = database
        .serve_with(&[], &[("LASTUNIT_KEY_RATE", "2"), ("LASTUNIT_SERVICE_KEY", Database::KEY)])
        .await;
    assert!(until_refused(&server.buyer("ada"), &Call::new("GET", "/v1/cart")).await.0 >= 4);
    drop(server);

    let server = database.serve(&[]).await;
    let ada = server.buyer("ada");
    for _ in 0..200 {
        ada.send(change.clone()).await.is(200);
    }
    for wrong in ["0", "1.5", "4294967296", "many"] {
        let refused = database.run(&["serve", "--listen", "127.0.0.1:0", "--buyer-rate", wrong]).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains("--buyer-rate"), "{refused:?}");
    }
}
