//! What the clients asked for, and what they were told.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use lastunit::*;
use uuid::Uuid;

/// All of it.
#[derive(Default)]
pub(super) struct Book(Mutex<Entries>);

#[derive(Default)]
pub(super) struct Entries {
    /// Requests to place an order. Two may have one key.
    pub orders: Vec<Asked>,
    /// Cancellations that were sent, and whether one was acknowledged.
    pub cancels: BTreeMap<(ShopId, UserId, OrderId), bool>,
    pub stock_changes: Vec<StockChanged>,
}

pub(super) struct Asked {
    pub request: PlaceRequest,
    pub replies: Vec<Reply>,
    /// Whether it was sent at all: its future was polled.
    pub sent: bool,
}

pub(super) struct StockChanged {
    pub shop: ShopId,
    pub sku: SkuId,
    pub change: StockChange,
    pub source: Uuid,
    pub acknowledged: bool,
    /// What the last call was told: whether it is in the ledger.
    pub last: Option<bool>,
}

impl Book {
    pub fn open(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("not poisoned")
    }

    /// Writes a request down; its number.
    pub fn asked(&self, request: PlaceRequest) -> usize {
        let mut entries = self.open();
        entries.orders.push(Asked { request, replies: Vec::new(), sent: false });
        entries.orders.len() - 1
    }

    pub fn request(&self, number: usize) -> PlaceRequest {
        self.open().orders[number].request.clone()
    }

    /// Orders that this buyer was told of.
    pub fn placed(&self, user: &UserId) -> Vec<(ShopId, OrderId)> {
        let entries = self.open();
        let theirs = entries.orders.iter().filter(|asked| asked.request.user == *user);
        let placed = theirs.filter_map(|asked| Some((asked.request.shop, asked.placed()?.id)));
        placed.collect()
    }
}

impl Asked {
    /// The order that the buyer was told of, if any.
    pub fn placed(&self) -> Option<&Order> {
        self.replies.iter().find_map(|reply| match &reply.outcome {
            Outcome::Placed(order) => Some(&**order),
            Outcome::Refused(_) | Outcome::Rejected(_) => None,
        })
    }
}

/// Whether a reply is one that is kept under its key.
pub(super) fn is_kept(reply: &Reply) -> bool {
    !matches!(reply.outcome, Outcome::Rejected(_))
}
