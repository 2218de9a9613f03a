//! Statements that take many values at once: most of what a row costs is its round trip.

use std::sync::OnceLock;

use lastunit::StoreError;

use super::{Row, Session, Value};
use crate::rows::chunks;

/// Rows that a statement takes, the most first; a statement is prepared once for each size.
pub(crate) const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// A statement for any number of rows, told how it reads for so many.
pub(crate) struct Batched {
    sql: fn(usize) -> String,
    made: [OnceLock<String>; SIZES.len()],
}

impl Batched {
    pub const fn new(sql: fn(usize) -> String) -> Self {
        Self { sql, made: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// For as many rows as one of [`SIZES`].
    pub fn sql(&'static self, rows: usize) -> &'static str {
        let made = SIZES.iter().zip(&self.made).find(|(size, _)| **size == rows);
        made.expect("a chunk has one of the sizes").1.get_or_init(|| (self.sql)(rows))
    }

    /// Inserts rows of `N` values each.
    pub async fn insert<const N: usize>(
        &'static self,
        session: &mut impl Session,
        rows: &[[Value<'_>; N]],
    ) -> Result<(), StoreError> {
        for chunk in chunks(rows, &SIZES) {
            session.execute(self.sql(chunk.len()), chunk.as_flattened()).await?;
        }
        Ok(())
    }

    /// Runs a query whose `$1` is the same for all, once for each chunk of the values that follow it.
    pub async fn select(
        &'static self,
        session: &mut impl Session,
        first: i64,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::with_capacity(values.len());
        for chunk in chunks(values, &SIZES) {
            let bound: Vec<Value<'_>> =
                std::iter::once(Value::Int(first)).chain(chunk.iter().cloned()).collect();
            rows.extend(session.rows(self.sql(chunk.len()), &bound).await?);
        }
        Ok(rows)
    }
}

/// An INSERT of so many rows; `into` names the table and its columns: `sku (shop_id, id)`.
pub(crate) fn insert(into: &str, rows: usize) -> String {
    let columns = into.split(',').count();
    let row = |at: usize| format!("({})", numbered(at * columns + 1, columns));
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("INSERT INTO {into} VALUES {}", rows.join(", "))
}

/// So many parameters: `$2, $3, $4`.
pub(crate) fn numbered(first: usize, count: usize) -> String {
    let numbers: Vec<String> = (first..first + count).map(|number| format!("${number}")).collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_numbers_its_values_row_by_row() {
        assert_eq!(insert("t (a, b)", 2), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
        assert_eq!(insert("t (a)", 1), "INSERT INTO t (a) VALUES ($1)");
    }
}
