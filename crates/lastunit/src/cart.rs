//! What a buyer has gathered.

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Sku,
    demand::MAX_COUNT,
    ids::SkuId,
    money::{Amount, Currency},
};

/// One SKU of a cart, priced as of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CartLine {
    /// Which SKU.
    pub sku_id: SkuId,
    /// How many units.
    pub count: u32,
    /// Whether it is ordered when the cart is.
    pub selected: bool,
    /// Today's price of one unit.
    pub unit_price: Amount,
    /// count × unit_price; the highest amount there is where that is higher still.
    pub amount: Amount,
    /// Units that could be ordered now: the stock, or 0 while it isn't on sale.
    pub available: i64,
}

impl CartLine {
    /// A line of a SKU at this price, of which so many could be ordered now.
    pub fn new(sku_id: SkuId, count: u32, selected: bool, unit_price: Amount, available: i64) -> Self {
        let amount = unit_price.checked_mul(count).unwrap_or(Amount::MAX);
        Self { sku_id, count, selected, unit_price, amount, available }
    }

    /// A line of this SKU as it is now.
    pub fn of_sku(sku: &Sku, count: u32, selected: bool) -> Self {
        Self::new(sku.id, count, selected, sku.price, if sku.on_sale { sku.stock } else { 0 })
    }
}

/// A buyer's cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cart {
    /// By SKU id.
    pub lines: Vec<CartLine>,
    /// Units of the selected lines.
    pub selected_count: u64,
    /// Amount of the selected lines, without freight.
    pub selected_amount: Amount,
    /// The shop's currency.
    pub currency: Currency,
}

impl Cart {
    /// Sums up the lines.
    pub fn new(lines: Vec<CartLine>, currency: Currency) -> Self {
        let selected = || lines.iter().filter(|line| line.selected);
        let selected_count = selected().map(|line| u64::from(line.count)).sum();
        let selected_amount = selected()
            .try_fold(Amount::ZERO, |sum, line| sum.checked_add(line.amount))
            .unwrap_or(Amount::MAX);
        Self { lines, selected_count, selected_amount, currency }
    }
}

/// The orders that were placed from a cart, by which a cart that is kept elsewhere catches up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CartLog {
    /// How many orders were placed from the cart.
    pub seq: u64,
    /// Those that were asked for, oldest first.
    pub orders: Vec<CartOrder>,
}

impl CartLog {
    /// Gathers the lines of orders, each with its order's seq, into orders; those of an order are side by side.
    pub fn new(seq: u64, lines: Vec<(u64, (SkuId, u32))>) -> Self {
        let mut orders: Vec<CartOrder> = Vec::new();
        for (seq, line) in lines {
            match orders.last_mut().filter(|order| order.seq == seq) {
                Some(order) => order.lines.push(line),
                None => orders.push(CartOrder { seq, lines: vec![line] }),
            }
        }
        Self { seq, orders }
    }
}

/// An order that was placed from a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CartOrder {
    /// The how-manieth from this cart, from 1.
    pub seq: u64,
    /// What it took: SKU and units.
    pub lines: Vec<(SkuId, u32)>,
}

/// What a buyer sets a cart line to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartLineSetting {
    /// 1 to [`MAX_COUNT`].
    pub count: u32,
    /// true when absent.
    #[serde(default = "crate::catalogue::yes")]
    pub selected: bool,
}

impl CartLineSetting {
    /// Checks the count.
    pub fn validate(&self) -> Result<(), String> {
        if (1..=MAX_COUNT).contains(&self.count) {
            Ok(())
        } else {
            Err(format!("`count` must be 1 to {MAX_COUNT}; DELETE takes a line out"))
        }
    }
}
