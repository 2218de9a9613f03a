//! Products from a CSV file: Shopify's export format, or one SKU a row. All that is wrong with a file is named, by
//! line and column.

mod plain;
mod shopify;
mod table;

use crate::{Currency, NewProduct};
pub use table::Problem;
use table::Table;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// The format that it was recognised as, for people.
    pub format: &'static str,
    /// At least one, all of them valid, no code of a SKU twice.
    pub products: Vec<NewProduct>,
    /// What a person should know, though nothing is wrong.
    pub notes: Vec<String>,
}

/// Reads a file of either format (UTF-8) with prices in this currency; or all that is wrong with it.
pub fn read(bytes: &[u8], currency: Currency) -> Result<Import, Vec<Problem>> {
    let table = Table::read(bytes)?;
    let import = if table.has("Handle") {
        shopify::read(&table, currency)?
    } else if table.has("sku") {
        plain::read(&table, currency)?
    } else {
        return Err(vec![Problem::at_line(
            1,
            "the header is neither that of a Shopify export (Handle, Title, …) nor product,sku,name,price,stock",
        )]);
    };
    if import.products.is_empty() {
        return Err(vec![Problem::at_line(1, "there is no product in it")]);
    }
    let invalid: Vec<Problem> = import
        .products
        .iter()
        .filter_map(|product| product.validate().err().map(|why| (product, why)))
        .map(|(product, why)| Problem::of_file(format!("product {:?}: {why}", product.name)))
        .collect();
    if invalid.is_empty() { Ok(import) } else { Err(invalid) }
}
