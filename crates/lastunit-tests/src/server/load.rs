//! What tests of many buyers at once have in common.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::{Client, Database};

/// Buyers that order at once.
pub const CLIENTS: u64 = 64;

/// A new SKU.
pub async fn sku(admin: &Client, price: i64, stock: i64) -> i64 {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    let name = format!("load-{}", NAMES.fetch_add(1, Ordering::Relaxed));
    let product =
        json!({"name": name, "skus": [{"code": name, "name": name, "price": price, "stock": stock}]});
    let product = admin.post("/v1/admin/products", &product).await.is(201);
    product["skus"][0]["id"].as_i64().expect("an id")
}

/// Units in stock.
pub async fn stock(admin: &Client, sku: i64) -> i64 {
    admin.get(&format!("/v1/skus/{sku}")).await.is(200)["stock"].as_i64().expect("a stock")
}

/// The buyer that uses a key.
pub fn buyer_of(key: &str) -> &str {
    key.split('/').next().expect("buyer/number")
}

/// How many orders a check finds, all invariants holding.
pub async fn orders_in(database: &Database) -> usize {
    let report = database.assert_holds().await;
    let count = report.split(": ").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{report}"))
}
