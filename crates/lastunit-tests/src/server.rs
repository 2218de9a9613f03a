//! Lastunit as its clients meet it: a server in this process or the binary as a process of its own, and clients
//! over real sockets.

mod client;
mod contract;
pub mod load;
mod process;
mod raw;
mod shop;

pub use client::{Answer, Call, Client, HasId, Lost};
pub use contract::operations;
pub use process::{Database, Process, Ran};
pub use raw::Raw;
pub use shop::{Options, Shop};

use serde_json::{Value, json};

/// Nothing here takes nearly so long; past it a test fails instead of hanging.
pub const GUARD: std::time::Duration = std::time::Duration::from_secs(60);

/// An address as a client sends it.
pub fn address() -> Value {
    json!({
        "receiver": "Ada Lovelace", "line1": "1 High Street", "city": "Leeds", "postal_code": "LS1 1AA",
        "country": "GB", "phone": "+44 113 496 0000",
    })
}

/// An order of these lines, SKU and count each, paid online.
pub fn order_of(lines: &[(i64, i64)]) -> Value {
    let lines: Vec<_> =
        lines.iter().map(|(sku_id, count)| json!({"sku_id": sku_id, "count": count})).collect();
    json!({"lines": lines, "address": address(), "pay_method": "online"})
}

/// An order of the selected lines of the cart, paid online.
pub fn order_of_cart() -> Value {
    json!({"address": address(), "pay_method": "online"})
}

/// A call that places this order under this key.
pub fn placing(order: &Value, key: &str) -> Call {
    Call::post("/v1/orders").json(order).header("idempotency-key", key)
}
