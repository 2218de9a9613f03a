//! Every operation of the OpenAPI document: its status, its headers and its body.

mod admin;
mod buyers;
mod catalogue;
mod operation;
mod orders;

use std::collections::BTreeSet;

use lastunit_tests::server::{Call, Client, Shop, operations};

/// A test of each operation, and the list of them that is held against the document.
macro_rules! scenarios {
    ($($operation:literal => $module:ident::$name:ident;)+) => {
        const COVERED: &[&str] = &[$($operation),+];
        $(
            #[tokio::test]
            async fn $name() {
                let shop = Shop::open().await;
                $module::$name(&shop).await;
                shop.bench.assert_holds().await;
            }
        )+
    };
}

scenarios! {
    "GET /v1/skus" => catalogue::skus_are_listed_or_found_by_code;
    "GET /v1/skus/{id}" => catalogue::a_sku_is_read;
    "GET /v1/products" => catalogue::products_are_listed_with_their_skus;
    "GET /v1/cart" => buyers::a_cart_is_read;
    "DELETE /v1/cart" => buyers::a_cart_is_emptied;
    "PUT /v1/cart/lines/{sku_id}" => buyers::a_cart_line_is_set;
    "DELETE /v1/cart/lines/{sku_id}" => buyers::a_cart_line_is_removed;
    "GET /v1/addresses" => buyers::addresses_are_listed_by_page;
    "POST /v1/addresses" => buyers::an_address_is_saved;
    "GET /v1/addresses/{id}" => buyers::an_address_is_read;
    "DELETE /v1/addresses/{id}" => buyers::an_address_is_deleted;
    "GET /v1/orders" => orders::orders_are_listed_newest_first;
    "POST /v1/orders" => orders::an_order_is_placed;
    "GET /v1/orders/{id}" => orders::an_order_is_read;
    "POST /v1/orders/{id}/cancel" => orders::an_order_is_canceled;
    "POST /orders/commit/" => orders::a_cart_is_committed_in_the_origins_manner;
    "POST /v1/admin/products" => admin::a_product_is_created;
    "PATCH /v1/admin/skus/{id}" => admin::a_sku_is_patched;
    "POST /v1/admin/skus/{id}/stock" => admin::stock_is_changed;
    "GET /v1/admin/settings" => admin::settings_are_read;
    "PUT /v1/admin/settings" => admin::settings_are_set;
    "GET /health/live" => operation::it_lives;
    "GET /health/ready" => operation::it_is_ready;
    "GET /metrics" => operation::figures_are_shown;
    "GET /openapi.json" => operation::the_document_is_served;
}

#[test]
fn every_documented_operation_has_a_scenario() {
    let documented: BTreeSet<String> = operations().into_iter().collect();
    let covered: BTreeSet<String> = COVERED.iter().map(|&operation| operation.to_owned()).collect();
    assert_eq!(covered, documented);
    assert_eq!(COVERED.len(), covered.len(), "a scenario stands there twice");
}

/// A call of a documented operation, with ids that nothing has and a body that no operation takes.
pub(crate) fn call_of(operation: &str) -> Call {
    let (method, path) = operation.split_once(' ').expect("METHOD PATH");
    let id = if path.contains("skus") { "1" } else { "01890a5d-ac96-774b-bcce-b302099a8057" };
    Call::new(method, path.replace("{id}", id).replace("{sku_id}", "1")).bytes("{}")
}

#[tokio::test]
async fn every_operation_of_the_api_needs_a_valid_service_key() {
    let shop = Shop::open().await;
    let wrong: [(&str, Client); 4] = [
        ("no key", shop.stranger()),
        ("an unknown key", shop.stranger().keyed("shop-key-of-a-test-0123456789abcdeF")),
        ("another scheme", shop.stranger().with("authorization", "Basic YTpi")),
        ("an empty key", shop.stranger().with("authorization", "Bearer ")),
    ];
    for operation in operations() {
        let call = call_of(&operation);
        for (what, client) in &wrong {
            let answer = client.clone().buyer("ada").send(call.clone()).await;
            if call.path.starts_with("/v1/") {
                answer.problem(401, "unauthenticated");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{operation}: {what}");
            } else if call.path == "/orders/commit/" {
                assert_eq!(answer.is(200)["code"], 4002, "{operation}: {what}");
            } else {
                assert_eq!(answer.status, 200, "{operation}: {what}");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_of_the_api_refuses_a_shop_that_isnt_there_or_is_no_shop() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 5).await;
    for (method, path) in [
        ("GET", "/v1/skus"),
        ("GET", "/v1/skus?code=A"),
        ("GET", "/v1/products"),
        ("GET", "/v1/cart"),
        ("GET", "/v1/orders"),
        ("GET", "/v1/addresses"),
        ("GET", "/v1/admin/settings"),
        ("GET", &format!("/v1/skus/{sku}")),
    ] {
        let call = Call::new(method, path);
        let answer = shop.admin().buyer("ada").send(call.clone().header("lastunit-shop", "2")).await;
        answer.problem(404, "not_found");
        for bad in ["0", "-1", "x", "1.0", "9223372036854775808", ""] {
            let answer = shop.admin().buyer("ada").send(call.clone().header("lastunit-shop", bad)).await;
            answer.problem(422, "invalid_request");
        }
    }
}
