//! Who may see and do what: rows 11 to 14 of the table of bad input, and of rows 25 to 27 what there is without sessions
//! and logins.

use lastunit_tests::server::{Answer, Call, GUARD, HasId, Shop, address, operations, order_of};
use serde_json::json;

use crate::operations::call_of;

/// What nobody has.
const NOBODYS: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn row_11_anothers_order_or_address_is_as_good_as_none() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let (ada, eve) = (shop.buyer("ada"), shop.buyer("eve"));
    let order = ada.place(&order_of(&[(sku, 2)]), "k").await.is(201);
    let saved = ada.post("/v1/addresses", &address()).await.is(201);
    let ship_to = |id: &str| {
        let body = json!({"lines": [{"sku_id": sku, "count": 1}], "address_id": id, "pay_method": "online"});
        Call::post("/v1/orders").json(&body).header("idempotency-key", "k")
    };
    let mut calls = vec![(ship_to(&saved.id()), ship_to(NOBODYS))];
    for (method, path, id) in [
        ("GET", "/v1/orders/{id}", order.id()),
        ("POST", "/v1/orders/{id}/cancel", order.id()),
        ("GET", "/v1/addresses/{id}", saved.id()),
        ("DELETE", "/v1/addresses/{id}", saved.id()),
    ] {
        let of = |id: &str| Call::new(method, path.replace("{id}", id));
        calls.push((of(&id), of(NOBODYS)));
    }
    for (theirs, none) in calls {
        let (theirs, none) = (eve.send(theirs).await, eve.send(none).await);
        theirs.problem(404, "not_found");
        assert_eq!(theirs.without_id(), none.without_id());
        let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&theirs), names(&none));
    }
    assert_eq!(ada.get(&format!("/v1/orders/{}", order.id())).await.is(200), order);
    assert_eq!(ada.get(&format!("/v1/addresses/{}", saved.id())).await.is(200), saved);
    for list in ["/v1/orders", "/v1/addresses"] {
        assert_eq!(eve.get(list).await.is(200)["items"], json!([]));
    }
    assert_eq!(shop.stock(sku).await, 3);
}

#[tokio::test]
async fn row_12_a_shops_key_is_no_admins() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let of_admin: Vec<String> = operations().into_iter().filter(|name| name.contains("/v1/admin/")).collect();
    assert!(of_admin.len() >= 5, "{of_admin:?}");
    for operation in &of_admin {
        shop.buyer("ada").send(call_of(operation)).await.problem(403, "forbidden");
        // Claiming to be more changes nothing.
        let claims = call_of(operation).header("lastunit-role", "admin").header("x-role", "admin");
        shop.buyer("admin").send(claims).await.problem(403, "forbidden");
    }
    let settings = shop.admin().get("/v1/admin/settings").await.is(200);
    assert_eq!(settings["freight"], 1000);
    assert_eq!(shop.stock(sku).await, 5);
}

#[tokio::test]
async fn row_13_ids_are_not_enumerable() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let first = ada.place(&order_of(&[(sku, 1)]), "1").await.is(201).id();
    let second = ada.place(&order_of(&[(sku, 1)]), "2").await.is(201).id();
    let numbers = [&first, &second].map(|id| u128::from_str_radix(&id.replace('-', ""), 16).expect("hex"));
    // Of a UUID v7's bits at least 62 are random.
    assert!(numbers[0].abs_diff(numbers[1]) > 1 << 32);
    for next in [numbers[0] + 1, numbers[0] - 1, numbers[1] + 1] {
        let hex = format!("{next:032x}");
        let next = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        ada.get(&format!("/v1/orders/{next}")).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn row_14_a_key_used_by_another_buyer() {
    let shop = Shop::open().await;
    let (one, two) = (shop.sku(250, 5).await, shop.sku(100, 5).await);
    let (ada, bob) = (shop.buyer("ada"), shop.buyer("bob"));
    let adas = ada.place(&order_of(&[(one, 1)]), "shared").await.is(201);
    // Another body under the same key: bob's own matter.
    let bobs = bob.place(&order_of(&[(two, 2)]), "shared").await;
    assert!(!bobs.replayed());
    let bobs = bobs.is(201);
    assert_ne!(adas.id(), bobs.id());
    assert_eq!(ada.place(&order_of(&[(one, 1)]), "shared").await.is(201), adas);
    assert_eq!(bob.place(&order_of(&[(two, 2)]), "shared").await.is(201), bobs);
    assert_eq!((shop.stock(one).await, shop.stock(two).await), (4, 3));
}

#[tokio::test]
async fn row_25_a_cookie_and_a_form_of_another_site_come_to_nothing() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    // What a browser can be made to send: its cookies, a simple media type, and no header of our own.
    let order = order_of(&[(sku, 1)]).to_string();
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for path in ["/v1/orders", "/v1/addresses", "/v1/admin/settings"] {
            let forged = Call::post(path)
                .header("cookie", "session=admin; key=shop-key-of-a-test-0123456789abcdef")
                .header("origin", "https://evil.test")
                .header("referer", "https://evil.test/")
                .header("content-type", media);
            let answer = shop.stranger().send(forged.body(order.clone())).await;
            assert!(matches!(answer.status, 401 | 405), "{media} {path}: {}", answer.text());
        }
    }
    // And it lets no other site ask for more: a preflight is answered without leave, and no cookie is ever set.
    let preflight = Call::new("OPTIONS", "/v1/orders")
        .header("origin", "https://evil.test")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, idempotency-key");
    let asked = shop.stranger().send(preflight).await;
    asked.problem(405, "method_not_allowed");
    let answered =
        shop.buyer("ada").send(Call::new("GET", "/v1/skus").header("origin", "https://evil.test")).await;
    answered.is(200);
    for answer in [asked, answered] {
        let names: Vec<&str> = answer.headers.keys().map(|name| name.as_str()).collect();
        let given = names.iter().any(|name| name.starts_with("access-control-") || *name == "set-cookie");
        assert!(!given, "{names:?}");
    }
    assert_eq!(shop.stock(sku).await, 5);
}

#[tokio::test]
async fn row_26_a_revoked_service_key_is_refused_before_long() {
    let shop = Shop::open_with(|options| {
        options.server.service_key_refresh = std::time::Duration::from_millis(20);
    })
    .await;
    let ada = shop.buyer("ada");
    ada.get("/v1/orders").await.is(200);
    let revoked = shop.bench.store.revoke_service_keys("shop", None, shop.bench.now()).await;
    assert_eq!(revoked.expect("a revocation"), 1);
    let refused = async {
        // Over the same connection: it is the key that counts.
        while ada.get("/v1/orders").await.status == 200 {}
    };
    tokio::time::timeout(GUARD, refused).await.expect("a revoked key is refused");
    ada.get("/v1/orders").await.problem(401, "unauthenticated");
    shop.admin().get("/v1/admin/settings").await.is(200);
}

#[tokio::test]
async fn a_header_that_says_who_calls_may_stand_there_once() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada");
    let get = || Call::new("GET", "/v1/orders");
    let twice = get().header("lastunit-user", "ada").header("lastunit-user", "bob");
    ada.send(twice).await.problem(422, "invalid_request");
    let twice = get().header("lastunit-shop", "1").header("lastunit-shop", "2");
    ada.send(twice).await.problem(422, "invalid_request");
    let twice = get().header("authorization", "Bearer a").header("authorization", "Bearer b");
    ada.send(twice).await.problem(401, "unauthenticated");
    for bad in ["", "\u{fc}", &"x".repeat(65), "a\tb"] {
        ada.send(get().header("lastunit-user", bad)).await.problem(422, "invalid_request");
    }
    ada.send(get().header("lastunit-user", "x".repeat(64))).await.is(200);
}
