//! The end: what was left open is resolved, and everything is read.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use super::{Plan, Shopped, client::Client};
use crate::history::{FinalState, Outcome, SkuAtEnd};

/// How often a call is sent again, and the pause in between: half a minute in all, where all is healed.
const TRIES: usize = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Sends every call with a key again that nobody answered, until it is answered; how many those were.
pub async fn resolve(plan: &Plan, shopped: &Shopped) -> Result<usize> {
    let mut open = JoinSet::new();
    for unresolved in &shopped.unresolved {
        let (client, (buyer, what)) = (Client::new(plan, u32::MAX), unresolved.clone());
        open.spawn(async move {
            for attempt in 0..TRIES {
                if client.call(attempt, &buyer, &what).await?.outcome() != Outcome::Info {
                    break;
                }
                sleep(PAUSE).await;
            }
            anyhow::Ok(())
        });
    }
    while let Some(resolved) = open.join_next().await {
        resolved??;
    }
    Ok(shopped.unresolved.len())
}

/// Reads all SKUs of the run, and every buyer's orders and cart. The invariants of the database are for others to check.
pub async fn read_all(plan: &Plan, shopped: &Shopped) -> Result<FinalState> {
    let client = Client::new(plan, u32::MAX);
    let mut state = FinalState::default();
    for sku in &plan.run.skus {
        let body = patiently(&client, None, &format!("/v1/skus/{}", sku.id)).await?;
        let number = |field: &str| body[field].as_i64().with_context(|| format!("a SKU without {field}"));
        state.skus.push(SkuAtEnd { id: sku.id, stock: number("stock")?, sales: number("sales")? });
    }
    for buyer in &shopped.buyers {
        state.orders.insert(buyer.clone(), orders(&client, buyer).await?);
        let cart = patiently(&client, Some(buyer), "/v1/cart").await?;
        let lines = cart["lines"].as_array().context("a cart without lines")?;
        let line = |line: &Value| Some((line["sku_id"].as_i64()?, line["count"].as_i64()?));
        state.carts.insert(buyer.clone(), lines.iter().filter_map(line).collect());
    }
    Ok(state)
}

async fn orders(client: &Client, buyer: &str) -> Result<Vec<Value>> {
    let mut orders = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = patiently(client, Some(buyer), &format!("/v1/orders?limit=100{cursor}")).await?;
        for order in page["items"].as_array().context("a list without items")? {
            orders.insert(order["id"].to_string(), order.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(orders.into_values().collect()),
        }
    }
}

/// Reads, again where it isn't answered: the shop may still be recovering.
async fn patiently(client: &Client, buyer: Option<&str>, path: &str) -> Result<Value> {
    let mut tries = 0;
    loop {
        match client.read(tries, buyer, path).await {
            Err(_) if tries < TRIES => tries += 1,
            read => return read,
        }
        sleep(PAUSE).await;
    }
}
