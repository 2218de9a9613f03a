//! What is sold: few units of one SKU that everybody wants, and others beside it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use http::Method;
use serde_json::{Value, json};

use super::client::Wire;
use crate::history::{Run, SkuAtStart};

/// What shipping costs, and from which amount it is free.
const FREIGHT: i64 = 450;
const FREE_FROM: i64 = 5_000;

/// Code, price, stock.
type Offer = (&'static str, i64, i64);

/// Products, and of each its SKUs. The first SKU of all is the one that everybody wants; two share a
/// product, so that orders meet at its sales too.
const PRODUCTS: &[(&str, &[Offer])] = &[
    ("hot", &[("hot", 1_999, 20)]),
    ("pair", &[("pair-a", 350, 2_000), ("pair-b", 1_250, 2_000)]),
    ("plenty", &[("plenty", 700, 1_000_000)]),
];

/// Puts a run's products into shop 1 of a server where nothing is broken yet, and gives what the history begins with. Every
/// name begins with the run's, so that runs may follow each other on one database.
pub async fn open_shop(server: SocketAddr, service_key: &str, seed: u64, name: &str) -> Result<Run> {
    let client = Wire::new(vec![server], service_key, Duration::from_secs(30));
    let settings = json!({"currency": "GBP", "freight": FREIGHT, "free_from": FREE_FROM});
    client.ask(0, None, Method::PUT, "/v1/admin/settings", Some(&settings)).await?;
    let mut run =
        Run { seed, name: name.into(), freight: FREIGHT, free_from: Some(FREE_FROM), skus: Vec::new() };
    for (product, skus) in PRODUCTS {
        let of = |&(code, price, stock): &Offer| {
            let code = format!("{name}-{code}");
            json!({"code": code, "name": code, "price": price, "stock": stock})
        };
        let skus: Vec<Value> = skus.iter().map(of).collect();
        let body = json!({"name": format!("{name} {product}"), "skus": skus});
        let made = client.ask(0, None, Method::POST, "/v1/admin/products", Some(&body)).await?;
        for sku in made["skus"].as_array().context("a product without SKUs")? {
            let number = |field: &str| sku[field].as_i64().with_context(|| format!("a SKU without {field}"));
            run.skus.push(SkuAtStart { id: number("id")?, price: number("price")?, stock: number("stock")? });
        }
    }
    Ok(run)
}
