//! Money: integers of the currency's minor unit, and checked arithmetic only.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::InvalidValue;

/// An amount of money in minor units (cents, fen) of a currency kept beside it; 0 to [`Amount::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// 2⁵³ − 1: the largest integer that every JSON reader keeps exactly.
    pub const MAX: Self = Self(9_007_199_254_740_991);

    /// Takes 0 to [`Amount::MAX`] minor units.
    pub fn new(minor_units: i64) -> Result<Self, InvalidValue> {
        if (0..=Self::MAX.0).contains(&minor_units) {
            Ok(Self(minor_units))
        } else {
            Err(InvalidValue { what: "an amount", rule: "0 to 9007199254740991 minor units" })
        }
    }

    /// Minor units.
    pub fn get(self) -> i64 {
        self.0
    }

    /// The sum, or `None` past [`Amount::MAX`].
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|sum| Self::new(sum).ok())
    }

    /// This price for `count` units, or `None` past [`Amount::MAX`].
    pub fn checked_mul(self, count: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(count)).and_then(|product| Self::new(product).ok())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(i64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// An ISO 4217 currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Takes an ISO 4217 alphabetic code in capitals, such as `GBP`.
    pub fn new(code: &str) -> Result<Self, InvalidValue> {
        iso_currency::Currency::from_code(code)
            .map(Self)
            .ok_or(InvalidValue { what: "a currency", rule: "an ISO 4217 code such as GBP" })
    }

    /// The three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits behind the decimal point: 2 for GBP, 0 for JPY, 3 for KWD.
    pub fn decimals(self) -> u32 {
        self.0.exponent().unwrap_or(0).into()
    }

    /// Reads a decimal price such as `9.99` or `50` into minor units; more decimals than the currency has,
    /// a sign, or anything but digits and one point is refused.
    pub fn parse_amount(self, text: &str) -> Result<Amount, InvalidValue> {
        let wrong = InvalidValue {
            what: "a price",
            rule: "digits with at most the currency's decimals, such as 9.99",
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let decimals = self.decimals() as usize;
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > decimals {
            return Err(wrong);
        }
        let minor: i64 = format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| wrong)?;
        Amount::new(minor)
    }

    /// Writes an amount for people: `1000` of GBP as `10.00 GBP`.
    pub fn format(self, amount: Amount) -> String {
        let decimals = self.decimals() as usize;
        let digits = format!("{:0width$}", amount.get(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let point = if decimals > 0 { "." } else { "" };
        format!("{whole}{point}{fraction} {}", self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_limit() {
        assert_eq!(Amount::MAX.checked_add(Amount(1)), None);
        assert_eq!(Amount::MAX.checked_mul(2), None);
        assert_eq!(Amount(250).checked_mul(4), Some(Amount(1000)));
        assert!(Amount::new(-1).is_err());
    }

    #[test]
    fn prices_are_read_by_the_decimals_of_their_currency() {
        let gbp = Currency::new("GBP").unwrap();
        assert_eq!(gbp.parse_amount("50"), Ok(Amount(5000)));
        assert_eq!(gbp.parse_amount("9.9"), Ok(Amount(990)));
        assert_eq!(gbp.parse_amount("9.99"), Ok(Amount(999)));
        for wrong in ["", ".5", "9.999", "-1", "1e3", "£5", "1,000", " 5", "99999999999999999999"] {
            assert!(gbp.parse_amount(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Currency::new("JPY").unwrap().parse_amount("50"), Ok(Amount(50)));
        assert!(Currency::new("JPY").unwrap().parse_amount("50.5").is_err());
        assert_eq!(gbp.format(Amount(1)), "0.01 GBP");
        assert_eq!(Currency::new("JPY").unwrap().format(Amount(120)), "120 JPY");
        assert!(Currency::new("gbp").is_err());
    }
}
