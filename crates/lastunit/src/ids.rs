//! Typed ids: a SKU id can't be passed where a product id is meant, and none can hold a value that the
//! database would refuse.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text or number that doesn't have the form its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidValue {
    /// What was given, as a user would call it: "shop id", "Idempotency-Key".
    pub what: &'static str,
    /// The rule it broke, to stand behind "must be".
    pub rule: &'static str,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Takes a positive number; anything else is [`InvalidValue`].
            pub fn new(id: i64) -> Result<Self, InvalidValue> {
                if id >= 1 { Ok(Self(id)) } else { Err(InvalidValue { what: $what, rule: "a positive integer" }) }
            }

            /// The number as it stands in the database.
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::new(text.parse().unwrap_or(0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::new(i64::deserialize(from)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                text.parse().map(Self).map_err(|_| InvalidValue { what: $what, rule: "a UUID" })
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The longest text that is taken, in bytes.
            pub const MAX_LEN: usize = $max;

            /// Takes printable ASCII of 1 to [`Self::MAX_LEN`] characters; anything else is [`InvalidValue`].
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidValue> {
                let text = text.into();
                let printable = text.bytes().all(|b| (0x20..=0x7e).contains(&b));
                if printable && (1..=Self::MAX_LEN).contains(&text.len()) {
                    Ok(Self(text.into_boxed_str()))
                } else {
                    Err(InvalidValue { what: $what, rule: $rule })
                }
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A shop: the unit of sharding, first in every key. Who has a single shop has shop 1.
    ShopId, "shop id"
);
number_id!(
    /// A product (SPU), counted per shop.
    ProductId, "product id"
);
number_id!(
    /// A SKU, the sellable unit, counted per shop.
    SkuId, "SKU id"
);

impl ShopId {
    /// The shop of those who have only one.
    pub const FIRST: Self = Self(1);
}

uuid_id!(
    /// An order; UUID v7, so that it can't be guessed and new orders sort last.
    OrderId, "order id"
);
uuid_id!(
    /// A saved address; UUID v7.
    AddressId, "address id"
);

text_id!(
    /// A buyer, as the shop's own system names them; opaque to Lastunit.
    UserId, "Lastunit-User", 64, "1 to 64 printable ASCII characters"
);
text_id!(
    /// A client's name for one attempt at placing an order: the same key never places two.
    IdempotencyKey, "Idempotency-Key", 255, "1 to 255 printable ASCII characters"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_no_database_row_could_hold() {
        assert!(SkuId::new(0).is_err() && SkuId::new(-1).is_err());
        assert!("7x".parse::<SkuId>().is_err() && "9223372036854775808".parse::<SkuId>().is_err());
        assert_eq!("7".parse::<SkuId>().map(SkuId::get), Ok(7));
        assert!("nonsense".parse::<OrderId>().is_err());
    }

    #[test]
    fn text_ids_take_printable_ascii_up_to_their_length() {
        assert!(UserId::new("").is_err() && UserId::new("a\nb").is_err() && UserId::new("ü").is_err());
        assert!(UserId::new("x".repeat(64)).is_ok() && UserId::new("x".repeat(65)).is_err());
        assert!(
            IdempotencyKey::new("k".repeat(255)).is_ok() && IdempotencyKey::new("k".repeat(256)).is_err()
        );
    }
}
