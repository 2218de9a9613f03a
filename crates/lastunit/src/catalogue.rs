//! What a shop sells, and by which settings.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ProductId, SkuId},
    money::{Amount, Currency},
    text::check_field,
};

/// The most units a SKU can have in stock, and the largest change of it.
pub const MAX_STOCK: i64 = 1_000_000_000;
/// The most SKUs of one product.
pub const MAX_SKUS_PER_PRODUCT: usize = 1_000;

/// The sellable unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sku {
    /// Small number, given when the SKU is created.
    pub id: SkuId,
    /// The shop's own code, unique in the shop.
    pub code: Arc<str>,
    /// The product it belongs to.
    pub product_id: ProductId,
    /// The product's name.
    pub product: String,
    /// The SKU's own name.
    pub name: Arc<str>,
    /// Price of one unit, in minor units.
    pub price: Amount,
    /// The shop's currency.
    pub currency: Currency,
    /// Units that can still be promised.
    pub stock: i64,
    /// Units sold so far.
    pub sales: i64,
    /// Whether it can be ordered.
    pub on_sale: bool,
}

/// What is shown in the catalogue: the sum of its SKUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Small number, given when the product is created.
    pub id: ProductId,
    /// The shop's own name for it in URLs and imports, unique in the shop.
    pub handle: String,
    /// Shown to people.
    pub name: String,
    /// Shown to people; plain text or the shop's own HTML, always escaped by us.
    pub description: String,
    /// Units sold of all its SKUs.
    pub sales: i64,
    /// Its SKUs by id.
    pub skus: Vec<Sku>,
}

/// A product to be created, or by [`crate::Store::import`] updated, with its SKUs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// Unique in the shop; made from the name when absent.
    #[serde(default)]
    pub handle: Option<String>,
    /// 1 to 255 characters.
    pub name: String,
    /// Up to 100,000 characters.
    #[serde(default)]
    pub description: String,
    /// 1 to [`MAX_SKUS_PER_PRODUCT`].
    pub skus: Vec<NewSku>,
}

/// A SKU to be created.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSku {
    /// Unique in the shop, 1 to 255 characters.
    pub code: String,
    /// 1 to 255 characters.
    pub name: String,
    /// In minor units of the shop's currency.
    pub price: Amount,
    /// Units there are at first, 0 to [`MAX_STOCK`].
    #[serde(default)]
    pub stock: i64,
    /// Whether it can be ordered; true when absent.
    #[serde(default = "yes")]
    pub on_sale: bool,
}

pub(crate) fn yes() -> bool {
    true
}

impl NewProduct {
    /// A product that is sold as one SKU of the same name.
    pub fn single(code: impl Into<String>, name: impl Into<String>, price: Amount, stock: i64) -> Self {
        let (code, name) = (code.into(), name.into());
        let sku = NewSku { code, name: name.clone(), price, stock, on_sale: true };
        Self { handle: None, name, description: String::new(), skus: vec![sku] }
    }

    /// The handle given, or one made from the name: lower case, words joined by hyphens.
    pub fn handle(&self) -> String {
        self.handle.clone().unwrap_or_else(|| slug(&self.name))
    }

    /// Checks lengths, characters and ranges; the error names the field.
    pub fn validate(&self) -> Result<(), String> {
        check_field("name", &self.name, 1, 255, false)?;
        check_field("handle", &self.handle(), 1, 255, false)?;
        check_field("description", &self.description, 0, 100_000, true)?;
        if !(1..=MAX_SKUS_PER_PRODUCT).contains(&self.skus.len()) {
            return Err(format!("`skus` must hold 1 to {MAX_SKUS_PER_PRODUCT} SKUs"));
        }
        for sku in &self.skus {
            check_field("code", &sku.code, 1, 255, false)?;
            check_field("name", &sku.name, 1, 255, false)?;
            if !(0..=MAX_STOCK).contains(&sku.stock) {
                return Err(format!("`stock` of {} must be 0 to {MAX_STOCK}", sku.code));
            }
        }
        Ok(())
    }
}

/// Lower case, with every run of other characters than letters and digits turned into one hyphen.
pub fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Changes to a SKU; what is absent stays. Stock is changed by [`StockChange`] alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkuPatch {
    /// The new price in minor units.
    #[serde(default)]
    pub price: Option<Amount>,
    /// The new name, 1 to 255 characters.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it can be ordered.
    #[serde(default)]
    pub on_sale: Option<bool>,
}

/// A change of stock by the shop, written to the ledger with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StockChange {
    /// Units to add; negative only for `adjusted`. Not 0, and within ±[`MAX_STOCK`].
    pub delta: i64,
    /// Why the stock changes, as a kind.
    pub kind: StockChangeKind,
    /// Why, in words: 1 to 255 characters.
    pub reason: String,
}

/// How a shop changes stock by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockChangeKind {
    /// Goods came in.
    Received,
    /// A count corrected it, up or down.
    Adjusted,
}

impl StockChangeKind {
    /// As it stands in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Adjusted => "adjusted",
        }
    }
}

impl StockChange {
    /// Checks range, sign and reason.
    pub fn validate(&self) -> Result<(), String> {
        if self.delta == 0 || self.delta.unsigned_abs() > MAX_STOCK.unsigned_abs() {
            return Err(format!("`delta` must be between -{MAX_STOCK} and {MAX_STOCK}, and not 0"));
        }
        if self.kind == StockChangeKind::Received && self.delta < 0 {
            return Err("`delta` must be positive for `received`; use `adjusted` to take units out".into());
        }
        check_field("reason", &self.reason, 1, 255, false)
    }
}

/// By which rules a shop charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShopSettings {
    /// The currency of every price; it can't be changed once there are SKUs.
    pub currency: Currency,
    /// What shipping costs, in minor units.
    pub freight: Amount,
    /// The goods amount from which shipping is free; absent or null: never.
    #[serde(default)]
    pub free_from: Option<Amount>,
}

impl ShopSettings {
    /// What shipping costs for goods of this amount.
    pub fn freight_for(&self, goods: Amount) -> Amount {
        if self.free_from.is_some_and(|from| goods >= from) { Amount::ZERO } else { self.freight }
    }
}
