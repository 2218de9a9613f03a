//! The lines of a history, as they stand in its file: one JSON object each.

use serde::{Deserialize, Serialize};

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line.
    Run(Run),
    /// A call is about to leave.
    Invoke(Invoke),
    /// A call was answered, or given up.
    Complete(Complete),
    /// Something was broken on purpose.
    Fault(Fault),
}

/// What was run, and what was in the shop when it began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What every choice derived from.
    pub seed: u64,
    /// Part of every name of this run: of its buyers, its SKUs, its keys.
    pub name: String,
    /// What shipping costs, in minor units.
    pub freight: i64,
    /// The goods amount from which shipping is free, in minor units.
    pub free_from: Option<i64>,
    /// The SKUs that are sold.
    pub skus: Vec<SkuAtStart>,
}

/// A SKU before the first call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuAtStart {
    /// Its id.
    pub id: i64,
    /// Its price in minor units; it doesn't change.
    pub price: i64,
    /// Units in stock.
    pub stock: i64,
}

/// A call, on disk before its request leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invoke {
    /// Its number in this history.
    pub op: u64,
    /// Which client sent it: a sequence of calls, but for those that it sends at once.
    pub client: u32,
    /// For whom.
    pub buyer: String,
    /// When, in microseconds of a monotonic clock since the history began.
    pub at_us: u64,
    /// What was asked.
    pub call: Call,
}

/// What can be asked of a shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// POST /v1/orders.
    Place {
        /// The Idempotency-Key. The order's address names it too (`line2`), so that an order tells its key.
        key: String,
        /// The first half of SHA-256 of the request's body, in hex.
        fingerprint: String,
        /// SKU and units; none: the selected lines of the cart.
        lines: Option<Vec<(i64, i64)>>,
    },
    /// POST /v1/orders/{id}/cancel.
    Cancel {
        /// The order's id.
        order: String,
    },
    /// GET /v1/orders/{id}.
    ReadOrder {
        /// The order's id.
        order: String,
    },
    /// GET /v1/orders, the first page.
    ListOrders,
    /// GET /v1/skus/{id}.
    ReadSku {
        /// The SKU's id.
        sku: i64,
    },
    /// GET /v1/cart.
    ReadCart,
    /// PUT /v1/cart/lines/{sku_id}, selected.
    SetLine {
        /// The SKU's id.
        sku: i64,
        /// Units that it is set to.
        count: i64,
    },
    /// DELETE /v1/cart/lines/{sku_id}.
    RemoveLine {
        /// The SKU's id.
        sku: i64,
    },
    /// POST /v1/admin/skus/{id}/stock, received.
    Receive {
        /// The SKU's id.
        sku: i64,
        /// Units that came in.
        delta: i64,
    },
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Complete {
    /// Its number.
    pub op: u64,
    /// When, on the same clock.
    pub at_us: u64,
    /// What came back.
    pub answer: Answer,
}

/// What came back, if anything did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status; none: nobody answered in time.
    pub status: Option<u16>,
    /// Whether it says that it repeats an earlier answer.
    #[serde(default)]
    pub replayed: bool,
    /// The whole body; or why there is none.
    pub body: String,
}

/// What an answer says of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was refused for good.
    Fail,
    /// Nobody knows.
    Info,
}

/// Something that was broken on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What was done: `kill -9`.
    pub kind: String,
    /// To whom: `server 2`.
    pub target: String,
    /// When it began, on the same clock.
    pub from_us: u64,
    /// When it was healed.
    pub until_us: u64,
    /// How often it struck: connections cut, say.
    pub count: u64,
}

/// The codes of refusals that are kept under their key.
pub(super) const REFUSALS: &[&str] =
    &["insufficient_stock", "sku_unavailable", "empty_cart", "cart_changed", "total_changed"];

impl Answer {
    /// The code of a problem, if it is one.
    pub fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(body.get("code")?.as_str()?.to_owned())
    }

    /// What it says of its call.
    pub fn outcome(&self) -> Outcome {
        match self.status {
            None | Some(429 | 500..) => Outcome::Info,
            Some(200..300) => Outcome::Ok,
            Some(409) if self.code().as_deref() == Some("idempotency_key_in_flight") => Outcome::Info,
            Some(_) => Outcome::Fail,
        }
    }
}
