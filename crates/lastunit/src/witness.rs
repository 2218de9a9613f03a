//! Demonstrations: somebody who looks over a store's shoulder while it places orders, and may slow it down.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use crate::{
    decide::{Decision, Seen, SkuSeen},
    ids::SkuId,
    order::{PlaceOrder, Reply},
    store::StoreError,
};

/// Is told what a store does with a batch of orders, in the store's own thread or task; it mustn't block, nor panic.
pub trait Witness: Send + Sync + 'static {
    /// The store has read what the orders are decided on, and has neither decided nor written anything yet. It waits
    /// for so long before it goes on, holding the locks that it has by then.
    fn read(&self, orders: &[PlaceOrder], seen: &Seen) -> Duration;

    /// The store has written what was decided, in a transaction that isn't committed yet: the stock of these SKUs, in
    /// ascending id.
    fn wrote(&self, orders: &[PlaceOrder], stock: &[(SkuId, StockWrite)]);

    /// The transaction was committed, and these are the replies; or why it wasn't.
    fn ended(&self, orders: &[PlaceOrder], result: &Result<Vec<Reply>, StoreError>);
}

/// How a SKU's stock was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockWrite {
    /// To a value that was computed from what had been read, whatever it is by now: the naive strategy.
    To(i64),
    /// Reduced by so many units, whatever it is by now.
    By(i64),
}

/// Whether a store has a [`Witness`]; normally nobody watches.
#[derive(Clone, Default)]
pub struct Watched(Option<Arc<dyn Witness>>);

impl Watched {
    /// By this witness.
    pub fn by(witness: Arc<dyn Witness>) -> Self {
        Self(Some(witness))
    }

    /// Whether somebody watches.
    pub fn is_watched(&self) -> bool {
        self.0.is_some()
    }

    /// For stores: as [`Witness::read`].
    pub fn read(&self, orders: &[PlaceOrder], seen: &Seen) -> Option<Duration> {
        self.0.as_ref().map(|witness| witness.read(orders, seen))
    }

    /// For stores: as [`Witness::wrote`]. `overwritten` are the rows that stock was computed from, if it was.
    pub fn wrote(
        &self,
        orders: &[PlaceOrder],
        decision: &Decision,
        overwritten: Option<&HashMap<SkuId, SkuSeen>>,
    ) {
        let Some(witness) = &self.0 else { return };
        let stock = decision.skus.iter().map(|(id, sold)| {
            let write = match overwritten {
                Some(rows) => StockWrite::To(rows[id].stock - sold.units),
                None => StockWrite::By(sold.units),
            };
            (*id, write)
        });
        witness.wrote(orders, &stock.collect::<Vec<_>>());
    }

    /// For stores: as [`Witness::ended`].
    pub fn ended(&self, orders: &[PlaceOrder], result: &Result<Vec<Reply>, StoreError>) {
        if let Some(witness) = &self.0 {
            witness.ended(orders, result);
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watched" } else { "Unwatched" })
    }
}

/// By the same witness, or both by nobody.
impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Watched {}
