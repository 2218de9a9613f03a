//! Bad bodies and the answer to each: rows 1 to 10 of the table of bad input.

use lastunit_tests::server::{Answer, Call, Client, HasId, Raw, Shop, address, order_of, order_of_cart};
use serde_json::{Value, json};

/// Places with a body that needn't be JSON.
async fn place_bytes(buyer: &Client, body: impl Into<bytes::Bytes>) -> Answer {
    buyer.send(Call::post("/v1/orders").bytes(body).header("idempotency-key", "k")).await
}

/// Asserts that nothing was ordered and nothing is for sale but this.
async fn assert_untouched(shop: &Shop, sku: i64, stock: i64) {
    assert_eq!(shop.stock(sku).await, stock);
    assert_eq!(shop.buyer("ada").get("/v1/orders").await.is(200)["items"], json!([]));
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn row_01_fields_that_the_server_decides() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    for field in
        ["price", "total", "total_amount", "freight", "user", "user_id", "role", "status", "shop_id", "id"]
    {
        let mut order = order_of(&[(sku, 1)]);
        order[field] = json!(0);
        let problem = ada.place(&order, "k").await.problem(422, "invalid_request");
        let named = format!("unknown field `{field}`");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(&named)), "{problem}");

        let mut order = order_of(&[(sku, 1)]);
        order["lines"][0][field] = json!(0);
        ada.place(&order, "k").await.problem(422, "invalid_request");
        let line = json!({"count": 1, field: 0});
        ada.put(&format!("/v1/cart/lines/{sku}"), &line).await.problem(422, "invalid_request");
    }
    assert_untouched(&shop, sku, 5).await;
}

#[tokio::test]
async fn row_02_bad_counts() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    for count in [
        "0",
        "-0",
        "-1",
        "-50",
        "10001",
        "1e9",
        "1000000000",
        "4294967296",
        "4294967297",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551617",
        "1.5",
        "1.0",
        "1e0",
        "1e999",
        "NaN",
        "-NaN",
        "Infinity",
        "-Infinity",
        "\"1\"",
        "\"NaN\"",
        "null",
        "true",
        "[1]",
        "{}",
    ] {
        let order = format!(
            r#"{{"lines": [{{"sku_id": {sku}, "count": {count}}}], "address": {}, "pay_method": "online"}}"#,
            address()
        );
        let problem = place_bytes(&ada, order).await.problem(422, "invalid_request");
        assert!(!problem.to_string().contains("u32"), "{problem}");
        let line = Call::new("PUT", format!("/v1/cart/lines/{sku}"));
        let answer = ada.send(line.bytes(format!(r#"{{"count": {count}}}"#))).await;
        answer.problem(422, "invalid_request");
    }
    assert_eq!(ada.get("/v1/cart").await.is(200)["lines"], json!([]));
    assert_untouched(&shop, sku, 5).await;
}

#[tokio::test]
async fn row_03_amounts_that_overflow() {
    let shop = Shop::open().await;
    let most = 9_007_199_254_740_991_i64;
    let (dear, cheap) = (shop.sku(most, 10).await, shop.sku(1, 10).await);
    let ada = shop.buyer("ada");
    for lines in [&[(dear, 2)][..], &[(dear, 10_000)], &[(dear, 1), (cheap, 1)], &[(dear, 1)]] {
        let problem = ada.place(&order_of(lines), "k").await.problem(422, "invalid_request");
        assert!(problem.to_string().contains(&most.to_string()), "{problem}");
    }
    // Without freight the dearest order there can be is placed, to the last minor unit.
    let free = json!({"currency": "GBP", "freight": 0});
    shop.admin().put("/v1/admin/settings", &free).await.is(200);
    assert_eq!(ada.place(&order_of(&[(dear, 1)]), "k").await.is(201)["total_amount"], most);
    ada.put(&format!("/v1/cart/lines/{dear}"), &json!({"count": 10_000})).await.is(200);
    assert_eq!(ada.get("/v1/cart").await.is(200)["selected_amount"], most);
    ada.place(&order_of_cart(), "cart").await.problem(422, "invalid_request");
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn row_04_lines_of_one_sku() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 10).await;
    let ada = shop.buyer("ada");
    let short = ada.place(&order_of(&[(sku, 6), (sku, 6)]), "1").await.problem(409, "insufficient_stock");
    assert_eq!(short["lines"], json!([{"sku_id": sku, "requested": 12, "available": 10}]));
    let much = order_of(&[(sku, 6_000), (sku, 6_000)]);
    ada.place(&much, "2").await.problem(422, "invalid_request");
    let order = ada.place(&order_of(&[(sku, 6), (sku, 4)]), "3").await.is(201);
    assert_eq!((&order["lines"][0]["count"], &order["lines"][1]), (&json!(10), &Value::Null));
    assert_eq!(shop.stock(sku).await, 0);
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn row_05_an_empty_cart() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    ada.place(&order_of_cart(), "1").await.problem(422, "empty_cart");
    ada.put(&format!("/v1/cart/lines/{sku}"), &json!({"count": 1, "selected": false})).await.is(200);
    ada.place(&order_of_cart(), "2").await.problem(422, "empty_cart");
    ada.place(&order_of(&[]), "3").await.problem(422, "invalid_request");
    assert_untouched(&shop, sku, 5).await;
}

#[tokio::test]
async fn row_06_skus_that_cant_be_ordered() {
    let shop = Shop::open().await;
    let (sku, off) = (shop.sku(250, 5).await, shop.sku(250, 5).await);
    shop.admin().patch(&format!("/v1/admin/skus/{off}"), &json!({"on_sale": false})).await.is(200);
    let lines = order_of(&[(sku, 1), (off, 1), (999, 1), (i64::MAX, 1)]);
    let problem = shop.buyer("ada").place(&lines, "k").await.problem(409, "sku_unavailable");
    assert_eq!(problem["sku_ids"], json!([off, 999, i64::MAX]));
    for sku in [0, -1] {
        let answer = shop.buyer("ada").place(&order_of(&[(sku, 1)]), "k2").await;
        answer.problem(422, "invalid_request");
    }
    assert_untouched(&shop, sku, 5).await;
}

#[tokio::test]
async fn row_07_another_total_than_expected() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let mut order = order_of(&[(sku, 2)]);
    for expected in [0, 500, 1499, 1501, 9_007_199_254_740_991_i64] {
        order["expected_total"] = json!(expected);
        let problem = ada.place(&order, &format!("k{expected}")).await.problem(409, "total_changed");
        assert_eq!(problem["total_amount"], 1500);
    }
    assert_untouched(&shop, sku, 5).await;
    order["expected_total"] = json!(1500);
    ada.place(&order, "right").await.is(201);
}

#[tokio::test]
async fn row_08_a_foreign_currency() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let mut order = order_of(&[(sku, 1)]);
    order["currency"] = json!("EUR");
    shop.buyer("ada").place(&order, "k").await.problem(422, "invalid_request");
    let settings = |currency: &str| json!({"currency": currency, "freight": 1000});
    let path = "/v1/admin/settings";
    for currency in ["gbp", "XQQ", "", "EURO", "£"] {
        shop.admin().put(path, &settings(currency)).await.problem(422, "invalid_request");
    }
    // Prices stand in the old one.
    shop.admin().put(path, &settings("EUR")).await.problem(409, "conflict");
    assert_untouched(&shop, sku, 5).await;
}

#[tokio::test]
async fn row_09_bodies_that_are_too_large_or_too_deep() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let lines =
        |count: i64, sku: fn(i64) -> i64| order_of(&(0..count).map(|n| (sku(n), 1)).collect::<Vec<_>>());
    ada.place(&lines(10_000, |_| 1), "k").await.problem(413, "too_large");
    ada.place(&lines(1_001, |_| 1), "k").await.problem(422, "invalid_request");
    ada.place(&lines(101, |n| n + 1), "k").await.problem(422, "invalid_request");

    let megabytes = vec![b' '; 10 * 1024 * 1024];
    place_bytes(&ada, megabytes.clone()).await.problem(413, "too_large");
    let product = Call::post("/v1/admin/products").bytes(megabytes.clone());
    shop.admin().send(product).await.problem(413, "too_large");
    // In chunks, so that no Content-Length gives it away.
    let mut raw = Raw::connect(shop.address).await;
    let head = shop.head("POST /v1/orders", "ada");
    raw.write(format!("{head}Idempotency-Key: k\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"))
        .await;
    for piece in megabytes.chunks(64 * 1024) {
        raw.write(format!("{:x}\r\n", piece.len())).await;
        raw.write(piece).await;
        raw.write("\r\n").await;
    }
    raw.write("0\r\n\r\n").await;
    let said = raw.rest().await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    // A length that is said and never sent is refused without waiting for it.
    let huge =
        format!("{head}Idempotency-Key: k\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n");
    let said = Raw::say(shop.address, huge).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");

    for (open, close) in [("[", "]"), ("{\"lines\":", "}"), ("{\"lines\":[", "]}"), ("{\"x\":", "}")] {
        let deep = format!("{}1{}", open.repeat(5_000), close.repeat(5_000));
        for (body, what) in [(deep.clone(), "closed"), (deep[..10_000].to_owned(), "cut")] {
            let answer = place_bytes(&ada, body).await;
            assert!(matches!(answer.status, 413 | 422), "{what} {open}: {}", answer.text());
        }
    }
    assert_untouched(&shop, sku, 5).await;
}

#[tokio::test]
async fn row_10_bodies_that_are_no_json_or_say_a_thing_twice() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let ada = shop.buyer("ada");
    let good = order_of(&[(sku, 1)]).to_string();
    let cut = &good[..good.len() - 1];
    for (what, body, status) in [
        ("a key twice", format!(r#"{cut},"pay_method":"online"}}"#).into_bytes(), 422),
        ("lines twice", format!(r#"{cut},"lines":[{{"sku_id":{sku},"count":5}}]}}"#).into_bytes(), 422),
        ("a count twice", good.replace(r#""count":1"#, r#""count":1,"count":2"#).into_bytes(), 422),
        ("trailing data", format!("{good}{good}").into_bytes(), 400),
        ("a trailing comma", format!("{cut},}}").into_bytes(), 400),
        ("no body", Vec::new(), 400),
        ("cut off", cut.as_bytes().to_vec(), 400),
        ("invalid UTF-8", [good.replace("Ada", "").as_bytes(), b"\xff"].concat(), 400),
        ("UTF-8 cut short", swap(&good, "Ada", b"\xe2\x82"), 400),
        ("a surrogate in bytes", swap(&good, "Ada", b"\xed\xa0\x80"), 400),
        ("a lone surrogate escaped", good.replace("Ada", "\\ud800").into_bytes(), 400),
        ("a raw NUL", good.replace("Ada", "A\0a").into_bytes(), 400),
        ("a raw line break", good.replace("Ada", "A\na").into_bytes(), 400),
        ("a byte order mark", format!("\u{feff}{good}").into_bytes(), 400),
        ("an array", format!("[{good}]").into_bytes(), 422),
        ("a text", json!(good).to_string().into_bytes(), 422),
        ("null", b"null".to_vec(), 422),
    ] {
        let answer = place_bytes(&ada, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        answer.problem(status, if status == 400 { "malformed_request" } else { "invalid_request" });
    }
    for media in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let call = Call::post("/v1/orders").header("content-type", media).header("idempotency-key", "k");
        ada.send(call).await.problem(415, "unsupported_media_type");
    }
    assert_untouched(&shop, sku, 5).await;
    place_bytes(&ada, good).await.is(201);
}

fn swap(text: &str, from: &str, to: &[u8]) -> Vec<u8> {
    let (before, after) = text.split_once(from).expect("it is there");
    [before.as_bytes(), to, after.as_bytes()].concat()
}

#[tokio::test]
async fn row_10_control_characters_and_bidi_marks_in_texts() {
    let shop = Shop::open().await;
    let sku = shop.sku(250, 5).await;
    let (ada, admin) = (shop.buyer("ada"), shop.admin());
    let before = admin.get(&format!("/v1/skus/{sku}")).await.is(200);
    for bad in
        ["a\0b", "a\u{1b}[31mb", "a\r\nb", "a\u{7f}b", "a\u{85}b", "a\u{202e}b", "a\u{2066}b", "\u{200f}a"]
    {
        for field in ["receiver", "line1", "line2", "city", "region", "postal_code", "phone"] {
            let mut wrong = address();
            wrong[field] = json!(bad);
            ada.post("/v1/addresses", &wrong).await.problem(422, "invalid_request");
            let mut order = order_of(&[(sku, 1)]);
            order["address"] = wrong;
            let problem = ada.place(&order, "k").await.problem(422, "invalid_request");
            assert!(!problem.to_string().contains(bad), "it isn't repeated: {problem}");
        }
        let product = |name: &str, code: &str, handle: &str| json!({"name": name, "handle": handle, "skus": [{"code": code, "name": "x", "price": 1}]});
        for wrong in [product(bad, "x", "x"), product("x", bad, "x"), product("x", "x", bad)] {
            admin.post("/v1/admin/products", &wrong).await.problem(422, "invalid_request");
        }
        let path = format!("/v1/admin/skus/{sku}");
        admin.patch(&path, &json!({"name": bad})).await.problem(422, "invalid_request");
        let change = json!({"delta": 1, "kind": "received", "reason": bad});
        admin.post(&format!("{path}/stock"), &change).await.problem(422, "invalid_request");
    }
    assert_eq!(admin.get(&format!("/v1/skus/{sku}")).await.is(200), before);
    assert_eq!(ada.get("/v1/addresses").await.is(200)["items"], json!([]));
    assert_eq!(before["id"].to_string(), before.id());
    assert_untouched(&shop, sku, 5).await;
}
