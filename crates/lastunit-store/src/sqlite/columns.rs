//! Columns to domain values; a value that the domain refuses is a bad row, never a panic.

use std::error::Error;

use lastunit::{Address, Amount, Currency, ProductId, SkuId};
use rusqlite::{Row, types::Type};

/// Reads typed values from a row.
pub(super) trait Column {
    fn amount(&self, at: usize) -> rusqlite::Result<Amount>;
    fn address(&self, at: usize) -> rusqlite::Result<Address>;
    fn currency(&self, at: usize) -> rusqlite::Result<Currency>;
    fn product_id(&self, at: usize) -> rusqlite::Result<ProductId>;
    fn sku_id(&self, at: usize) -> rusqlite::Result<SkuId>;
    fn named<T>(&self, at: usize, parse: fn(&str) -> Option<T>) -> rusqlite::Result<T>;
}

impl Column for Row<'_> {
    fn amount(&self, at: usize) -> rusqlite::Result<Amount> {
        Amount::new(self.get(at)?).map_err(|e| invalid(at, Type::Integer, e))
    }

    fn address(&self, at: usize) -> rusqlite::Result<Address> {
        serde_json::from_str(self.get_ref(at)?.as_str()?).map_err(|e| invalid(at, Type::Text, e))
    }

    fn currency(&self, at: usize) -> rusqlite::Result<Currency> {
        Currency::new(self.get_ref(at)?.as_str()?).map_err(|e| invalid(at, Type::Text, e))
    }

    fn product_id(&self, at: usize) -> rusqlite::Result<ProductId> {
        ProductId::new(self.get(at)?).map_err(|e| invalid(at, Type::Integer, e))
    }

    fn sku_id(&self, at: usize) -> rusqlite::Result<SkuId> {
        SkuId::new(self.get(at)?).map_err(|e| invalid(at, Type::Integer, e))
    }

    fn named<T>(&self, at: usize, parse: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
        let text = self.get_ref(at)?.as_str()?;
        parse(text).ok_or_else(|| invalid(at, Type::Text, format!("unknown value {text:?}")))
    }
}

/// A column's value that isn't what it must be.
fn invalid(at: usize, kind: Type, why: impl Into<Box<dyn Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, kind, why.into())
}
