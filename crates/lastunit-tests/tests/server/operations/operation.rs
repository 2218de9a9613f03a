//! What the server's operators look at.

use lastunit_tests::server::{Shop, operations};
use serde_json::json;

pub async fn it_lives(shop: &Shop) {
    let answer = shop.stranger().get("/health/live").await;
    assert_eq!(answer.is(200), json!({"status": "ok"}));
}

pub async fn it_is_ready(shop: &Shop) {
    let answer = shop.stranger().get("/health/ready").await;
    assert_eq!(answer.is(200), json!({"status": "ok"}));
}

pub async fn figures_are_shown(shop: &Shop) {
    let answer = shop.stranger().get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with("# EOF\n"), "{}", answer.text());
}

pub async fn the_document_is_served(shop: &Shop) {
    let document = shop.stranger().get("/openapi.json").await.is(200);
    assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    let paths = document["paths"].as_object().expect("paths");
    let served: usize = paths.values().filter_map(|item| item.as_object()).map(serde_json::Map::len).sum();
    assert_eq!(served, operations().len());
}
