//! Values bound to statements and read from rows; a value that the domain refuses is a bad row, never a panic.

use std::borrow::Cow;

use lastunit::{Address, Amount, Currency, OrderId, ProductId, SkuId, StoreError, Timestamp};
use uuid::Uuid;

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Bool(bool),
    Text(Cow<'a, str>),
    Uuid(Uuid),
    Bytes(Cow<'a, [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value.into())
    }
}

impl From<Uuid> for Value<'_> {
    fn from(value: Uuid) -> Self {
        Self::Uuid(value)
    }
}

impl<'a> From<&'a [u8; 32]> for Value<'a> {
    fn from(value: &'a [u8; 32]) -> Self {
        Self::Bytes(value.as_slice().into())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Binds values of different kinds: `values![shop.get(), user.as_str()]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::remote::Value::from($value)),*] };
}
pub(crate) use values;

/// A row that was read; columns are numbered from 0.
#[derive(Debug)]
pub struct Row(pub Vec<Value<'static>>);

impl Row {
    fn value(&self, at: usize) -> Result<&Value<'static>, StoreError> {
        self.0.get(at).ok_or_else(|| bad_column(at, "it is missing"))
    }

    pub fn is_null(&self, at: usize) -> Result<bool, StoreError> {
        Ok(*self.value(at)? == Value::Null)
    }

    pub fn int(&self, at: usize) -> Result<i64, StoreError> {
        match self.value(at)? {
            Value::Int(value) => Ok(*value),
            other => Err(bad_column(at, format!("{other:?} is no integer"))),
        }
    }

    /// An integer that fits into a smaller or unsigned one.
    pub fn number<T: TryFrom<i64>>(&self, at: usize) -> Result<T, StoreError> {
        let value = self.int(at)?;
        T::try_from(value).map_err(|_| bad_column(at, format!("{value} is out of range")))
    }

    pub fn bool(&self, at: usize) -> Result<bool, StoreError> {
        match self.value(at)? {
            Value::Bool(value) => Ok(*value),
            Value::Int(value @ (0 | 1)) => Ok(*value == 1),
            other => Err(bad_column(at, format!("{other:?} is no boolean"))),
        }
    }

    pub fn text(&self, at: usize) -> Result<&str, StoreError> {
        match self.value(at)? {
            Value::Text(value) => Ok(value),
            Value::Bytes(value) => std::str::from_utf8(value).map_err(|error| bad_column(at, error)),
            other => Err(bad_column(at, format!("{other:?} is no text"))),
        }
    }

    pub fn uuid(&self, at: usize) -> Result<Uuid, StoreError> {
        match self.value(at)? {
            Value::Uuid(value) => Ok(*value),
            Value::Bytes(value) => Uuid::from_slice(value).map_err(|error| bad_column(at, error)),
            other => Err(bad_column(at, format!("{other:?} is no UUID"))),
        }
    }

    pub fn hash(&self, at: usize) -> Result<[u8; 32], StoreError> {
        match self.value(at)? {
            Value::Bytes(value) => {
                value.as_ref().try_into().map_err(|_| bad_column(at, "it isn't 32 bytes long"))
            }
            other => Err(bad_column(at, format!("{other:?} is no hash"))),
        }
    }

    pub fn amount(&self, at: usize) -> Result<Amount, StoreError> {
        Amount::new(self.int(at)?).map_err(|error| bad_column(at, error))
    }

    pub fn currency(&self, at: usize) -> Result<Currency, StoreError> {
        Currency::new(self.text(at)?).map_err(|error| bad_column(at, error))
    }

    pub fn sku_id(&self, at: usize) -> Result<SkuId, StoreError> {
        SkuId::new(self.int(at)?).map_err(|error| bad_column(at, error))
    }

    pub fn product_id(&self, at: usize) -> Result<ProductId, StoreError> {
        ProductId::new(self.int(at)?).map_err(|error| bad_column(at, error))
    }

    pub fn order_id(&self, at: usize) -> Result<OrderId, StoreError> {
        self.uuid(at).map(OrderId)
    }

    pub fn timestamp(&self, at: usize) -> Result<Timestamp, StoreError> {
        self.int(at).map(Timestamp::from_unix_ms)
    }

    /// A JSON text.
    pub fn address(&self, at: usize) -> Result<Address, StoreError> {
        serde_json::from_str(self.text(at)?).map_err(|error| bad_column(at, error))
    }

    /// A text that names a value of a closed list.
    pub fn named<T>(&self, at: usize, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let text = self.text(at)?;
        parse(text).ok_or_else(|| bad_column(at, format!("unknown value {text:?}")))
    }
}

fn bad_column(at: usize, why: impl std::fmt::Display) -> StoreError {
    StoreError::Internal(format!("column {at} of a row can't be read: {why}"))
}
