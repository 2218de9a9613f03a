//! What one order asks for: summed per SKU and sorted by SKU id, by construction.
//!
//! Two demands therefore take their locks in one order, and two lines of one SKU can't each pass the stock
//! check.

use crate::ids::SkuId;

/// The most units of one SKU in one order or cart, after its lines are summed.
pub const MAX_COUNT: u32 = 10_000;
/// The most different SKUs in one order or cart.
pub const MAX_LINES: usize = 100;

/// One SKU of a demand; `count` is 1 to [`MAX_COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DemandLine {
    /// Which SKU.
    pub sku_id: SkuId,
    /// How many units.
    pub count: u32,
}

/// What one order asks for: 1 to [`MAX_LINES`] lines, each SKU once, in ascending SKU id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Demand(Box<[DemandLine]>);

/// Why lines don't make a demand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDemand {
    /// No line at all.
    #[error("an order needs at least one line")]
    Empty,
    /// More than [`MAX_LINES`] SKUs.
    #[error("an order takes at most {MAX_LINES} different SKUs")]
    TooManyLines,
    /// A count of zero, or of more than [`MAX_COUNT`] once the lines of a SKU are summed.
    #[error("the count of SKU {sku_id} must be 1 to {MAX_COUNT}, its lines summed")]
    Count {
        /// The SKU whose count is wrong.
        sku_id: SkuId,
    },
}

impl Demand {
    /// Sums the lines per SKU, sorts them by SKU id and checks the limits.
    pub fn new(lines: impl IntoIterator<Item = (SkuId, u32)>) -> Result<Self, InvalidDemand> {
        let mut lines: Vec<DemandLine> =
            lines.into_iter().map(|(sku_id, count)| DemandLine { sku_id, count }).collect();
        if let Some(zero) = lines.iter().find(|line| line.count == 0) {
            return Err(InvalidDemand::Count { sku_id: zero.sku_id });
        }
        lines.sort_unstable_by_key(|line| line.sku_id);
        lines.dedup_by(|from, into| {
            let same = from.sku_id == into.sku_id;
            if same {
                into.count = into.count.saturating_add(from.count);
            }
            same
        });
        if lines.is_empty() {
            return Err(InvalidDemand::Empty);
        }
        if lines.len() > MAX_LINES {
            return Err(InvalidDemand::TooManyLines);
        }
        match lines.iter().find(|line| line.count > MAX_COUNT) {
            Some(line) => Err(InvalidDemand::Count { sku_id: line.sku_id }),
            None => Ok(Self(lines.into_boxed_slice())),
        }
    }

    /// The lines in ascending SKU id, each SKU once.
    pub fn lines(&self) -> &[DemandLine] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(lines: &[(i64, u32)]) -> Result<Vec<(i64, u32)>, InvalidDemand> {
        Demand::new(lines.iter().map(|&(id, count)| (SkuId::new(id).unwrap(), count)))
            .map(|d| d.lines().iter().map(|l| (l.sku_id.get(), l.count)).collect())
    }

    #[test]
    fn lines_of_one_sku_are_summed_then_limited() {
        assert_eq!(demand(&[(7, 2), (3, 1), (7, 3)]), Ok(vec![(3, 1), (7, 5)]));
        assert!(demand(&[(7, MAX_COUNT), (7, 1)]).is_err());
        assert!(demand(&[(7, u32::MAX), (7, u32::MAX)]).is_err());
    }

    #[test]
    fn nothing_zero_and_too_many_are_refused() {
        assert_eq!(demand(&[]), Err(InvalidDemand::Empty));
        assert!(demand(&[(1, 0), (1, 5)]).is_err());
        let many: Vec<_> = (1..=MAX_LINES as i64 + 1).map(|id| (id, 1)).collect();
        assert_eq!(demand(&many), Err(InvalidDemand::TooManyLines));
    }
}
