//! What a buyer has gathered.

use serde::{Deserialize, Serialize};

use crate::{
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
