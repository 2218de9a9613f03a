//! Texts that would like to be more than text: rows 23, 24 and 29 of the table of bad input.

use lastunit_tests::server::{Answer, Call, HasId, Raw, Shop, address, order_of};
use serde_json::json;

/// Every one a plain text to a checkout engine.
const TEXTS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd",
    "Robert'); DROP TABLE orders; --",
    "${jndi:ldap://x} {{7*7}} %s%n \\u0000 ' \" ; 東京 🎉",
];

#[tokio::test]
async fn row_23_markup_and_formulas_are_kept_as_text() {
    let shop = Shop::open().await;
    let (admin, ada) = (shop.admin(), shop.buyer("ada"));
    for text in TEXTS {
        let product = json!({"name": text, "handle": text, "description": text, "skus": [
            {"code": text, "name": text, "price": 100, "stock": 5},
        ]});
        let product = admin.post("/v1/admin/products", &product).await.is(201);
        let sku = &product["skus"][0];
        for field in
            [&product["name"], &product["handle"], &product["description"], &sku["code"], &sku["name"]]
        {
            assert_eq!(field, text);
        }
        let mut to = address();
        for field in ["receiver", "line1", "line2", "city", "region"] {
            to[field] = json!(text);
        }
        let order =
            json!({"lines": [{"sku_id": sku["id"], "count": 1}], "address": to, "pay_method": "online"});
        let order = ada.place(&order, text.split(" 東").next().expect("a part")).await.is(201);
        let answer = ada.get(&format!("/v1/orders/{}", order.id())).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.is(200), order);
        assert_eq!((&order["address"], &order["lines"][0]["name"]), (&to, &json!(text)));
    }
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn row_23_an_id_of_a_request_cant_break_a_line() {
    let shop = Shop::open().await;
    let get = |id: &str| {
        format!("GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: {id}\r\n\r\n")
    };
    let said = Raw::say(shop.address, get("trace-7")).await;
    assert!(said.to_lowercase().contains("\r\nx-request-id: trace-7\r\n"), "{said}");
    // Split, it is another header of the request, and none of the answer.
    let said = Raw::say(shop.address, get("a\r\nX-Forged: 1")).await;
    assert!(said.starts_with("HTTP/1.1 200 ") && !said.contains("Forged"), "{said}");
    for bad in ["a\rX-Forged: 1", "a\r\n X-Forged: 1", "a\0b", "a\x1b[2Jb"] {
        let said = Raw::say(shop.address, get(bad)).await;
        assert!(said.starts_with("HTTP/1.1 400 ") && !said.contains("Forged"), "{bad:?}: {said}");
    }
    let kept = Call::new("GET", "/health/live").header("x-request-id", "%0d%0aSet-Cookie: a=b");
    let answer = shop.stranger().send(kept).await;
    assert_eq!(
        (answer.header("x-request-id"), answer.header("set-cookie")),
        (Some("%0d%0aSet-Cookie: a=b"), None)
    );
    for replaced in ["a\tb", "\u{fc}", &"x".repeat(65)] {
        let call = Call::new("GET", "/nowhere").header("x-request-id", replaced);
        let problem = shop.stranger().send(call).await.problem(404, "not_found");
        assert_eq!(problem["request_id"].as_str().map(str::len), Some(16), "{problem}");
    }
}

#[tokio::test]
async fn row_24_sql_in_a_parameter_finds_nothing() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 5).await;
    let ada = shop.buyer("ada");
    let order = ada.place(&order_of(&[(sku, 1)]), "k").await.is(201);
    for sql in [
        "'",
        "''",
        "' OR 1=1 --",
        "\" OR \"\"=\"",
        "1; DROP TABLE sku; --",
        "1 UNION SELECT * FROM service_key",
        "%",
        "_",
        "*",
        "1 OR 1=1",
        "\\'; --",
        "0x31",
        "(SELECT 1)",
        "1--",
    ] {
        let encoded: String = sql.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let found = ada.get(&format!("/v1/skus?code={encoded}")).await.is(200);
        assert_eq!(found["items"], json!([]), "{sql}");
        for list in ["/v1/skus", "/v1/products", "/v1/orders", "/v1/addresses"] {
            let answer = ada.get(&format!("{list}?cursor={encoded}")).await;
            assert_nothing_internal(&answer);
            answer.problem(422, "invalid_request");
            let answer = ada.get(&format!("{list}?limit={encoded}")).await;
            answer.problem(422, "invalid_request");
        }
        for path in ["/v1/skus/", "/v1/orders/", "/v1/addresses/"] {
            let answer = ada.get(&format!("{path}{encoded}")).await;
            assert_nothing_internal(&answer);
            answer.problem(404, "not_found");
        }
        let other = ada.clone().buyer(sql);
        assert_eq!(other.get("/v1/orders").await.is(200)["items"], json!([]), "{sql}");
        let shops = Call::new("GET", "/v1/skus").header("lastunit-shop", sql);
        ada.send(shops).await.problem(422, "invalid_request");
    }
    for query in ["sort=price", "sort=stock;DROP TABLE sku", "order=desc", "limit=1&sort=id", "code=a&code=b"]
    {
        let path = format!("/v1/skus?{}", query.replace(' ', "%20"));
        ada.get(&path).await.problem(422, "invalid_request");
    }
    assert_eq!(ada.get("/v1/orders").await.is(200)["items"], json!([order]));
    shop.bench.assert_holds().await;
}

fn assert_nothing_internal(answer: &Answer) {
    let text = answer.text().to_lowercase();
    for internal in ["select", "sqlite", "rusqlite", "panicked", ".rs", "shop.db", "src/", "syntax error"] {
        assert!(!text.contains(internal), "{text}");
    }
}

#[tokio::test]
async fn row_29_paths_that_climb_lead_nowhere() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada");
    for path in [
        "/v1/../v1/admin/settings",
        "/v1/orders/../admin/settings",
        "/../../etc/passwd",
        "/v1/skus/../../etc/passwd",
        "/v1/%2e%2e/admin/settings",
        "/v1/skus/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/skus/..%5c..%5cwin.ini",
        "/v1/skus/%00",
        "/v1/skus/1%00",
        "//v1/skus",
        "/v1//skus",
        "/v1/skus/",
        "/V1/skus",
        "/v1/skus;a=b",
        "/v1/skus/1/",
        "/v1/skus%2f1",
        "/.env",
        "/shop.db",
        "/v1/admin",
        "/admin",
        "/v1/orders/%ff",
    ] {
        let answer = ada.get(path).await;
        assert_nothing_internal(&answer);
        answer.problem(404, "not_found");
    }
    // What a proxy may send, and what makes no sense.
    let raw = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    for (target, status) in
        [("http://x/health/live", 200), ("http://x/../etc/passwd", 404), ("*", 404), ("x", 404)]
    {
        let said = Raw::say(shop.address, raw(target)).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {said}");
    }
}

#[tokio::test]
async fn row_29_a_method_is_what_it_is() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 5).await;
    let ada = shop.buyer("ada");
    let line = format!("/v1/cart/lines/{sku}");
    let cart = ada.put(&line, &json!({"count": 1})).await.is(200);
    for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let read = ada.send(Call::new("GET", "/v1/cart").header(header, "DELETE")).await;
        assert_eq!(read.is(200), cart);
        let posted = ada.send(Call::post("/v1/cart").header(header, "DELETE")).await;
        posted.problem(405, "method_not_allowed");
    }
    ada.send(Call::new("GET", "/v1/skus?_method=DELETE")).await.problem(422, "invalid_request");
    for (method, path, allowed) in [
        ("POST", "/v1/cart", "DELETE"),
        ("PATCH", "/v1/orders", "POST"),
        ("DELETE", "/v1/orders", "GET"),
        ("GET", "/orders/commit/", "POST"),
        ("TRACE", "/v1/skus", "GET"),
        ("OPTIONS", "/v1/skus", "GET"),
        ("PROPFIND", "/v1/skus", "GET"),
        ("POST", "/health/live", "GET"),
    ] {
        let answer = ada.send(Call::new(method, path)).await;
        answer.problem(405, "method_not_allowed");
        let allow = answer.header("allow").unwrap_or_default();
        assert!(allow.split([',', ' ']).any(|one| one == allowed), "{method} {path}: {allow}");
    }
    assert_eq!(ada.get("/v1/cart").await.is(200), cart);
}
