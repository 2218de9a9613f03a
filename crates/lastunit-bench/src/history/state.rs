//! What the shop says at the end, when all is healed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was read at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FinalState {
    /// The SKUs of the run.
    pub skus: Vec<SkuAtEnd>,
    /// Every order of every buyer of the run, by buyer; the body as the API gives it.
    pub orders: BTreeMap<String, Vec<Value>>,
    /// What every buyer's cart holds: SKU and units.
    pub carts: BTreeMap<String, Vec<(i64, i64)>>,
    /// What was checked in the database itself, offline.
    pub invariants: Vec<Invariant>,
}

/// A SKU after the last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuAtEnd {
    /// Its id.
    pub id: i64,
    /// Units in stock.
    pub stock: i64,
    /// Units sold and not returned.
    pub sales: i64,
}

/// An invariant of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invariant {
    /// Its stable name.
    pub name: String,
    /// What it was checked on: `1,204 orders`.
    pub examined: String,
    /// Where it is broken.
    pub violations: Vec<String>,
}

/// What the checks need of an order's body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OrderBody {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: String,
    /// How it is paid.
    pub pay_method: String,
    /// What was ordered.
    pub lines: Vec<OrderLineBody>,
    /// Units of all lines.
    pub total_count: i64,
    /// Sum of the lines.
    pub goods_amount: i64,
    /// What shipping costs.
    pub freight: i64,
    /// All of it.
    pub total_amount: i64,
    /// Where it goes.
    pub address: AddressBody,
}

impl OrderBody {
    /// Reads a body.
    pub fn parse(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }

    /// The key under which it was placed, which its address names.
    pub fn key(&self) -> &str {
        self.address.line2.as_deref().unwrap_or_default()
    }

    /// Whether its units are back in stock.
    pub fn is_canceled(&self) -> bool {
        self.status == "canceled"
    }
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OrderLineBody {
    /// Which SKU.
    pub sku_id: i64,
    /// Units.
    pub count: i64,
    /// The price of one.
    pub unit_price: i64,
    /// Of all of them.
    pub amount: i64,
}

/// What the checks need of an address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AddressBody {
    /// Names the key.
    #[serde(default)]
    pub line2: Option<String>,
}
