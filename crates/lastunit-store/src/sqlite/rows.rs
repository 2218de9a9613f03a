//! Many rows in few statements: most of what a one-row INSERT costs is its start and its end.

use rusqlite::{
    Connection,
    types::{ToSqlOutput, ValueRef},
};

/// Rows a statement inserts, the most first; each size is prepared once a connection.
const SIZES: [usize; 3] = [16, 4, 1];

/// Inserts rows of `N` values each. `into` names the table and its columns: `orders (shop_id, id, …)`.
pub(super) fn insert<const N: usize>(
    connection: &Connection,
    into: &str,
    rows: &[[ValueRef<'_>; N]],
) -> rusqlite::Result<()> {
    let mut left = rows;
    for size in SIZES {
        if left.len() < size {
            continue;
        }
        let row = format!("({})", ["?"; N].join(", "));
        let sql = format!("INSERT INTO {into} VALUES {}", vec![row; size].join(", "));
        let mut statement = connection.prepare_cached(&sql)?;
        while let Some((chunk, rest)) = left.split_at_checked(size) {
            for (at, value) in chunk.iter().flatten().enumerate() {
                statement.raw_bind_parameter(at + 1, ToSqlOutput::Borrowed(*value))?;
            }
            statement.raw_execute()?;
            left = rest;
        }
    }
    Ok(())
}

/// An integer column.
pub(super) fn int<'a>(value: impl Into<i64>) -> ValueRef<'a> {
    ValueRef::Integer(value.into())
}

/// A text column.
pub(super) fn text(value: &str) -> ValueRef<'_> {
    ValueRef::Text(value.as_bytes())
}

/// A UUID or a hash.
pub(super) fn blob(value: &[u8]) -> ValueRef<'_> {
    ValueRef::Blob(value)
}
