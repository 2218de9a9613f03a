//! Many rows in few statements: most of what a one-row statement costs is its start and its end.

use rusqlite::{
    Connection, Statement,
    types::{ToSqlOutput, ValueRef},
};

/// Rows that a statement takes, the most first; a statement is prepared once for each size.
const SIZES: [usize; 3] = [16, 4, 1];

/// Inserts rows of `N` values each. `into` names the table and its columns: `orders (shop_id, id, …)`.
pub(super) fn insert<const N: usize>(
    connection: &Connection,
    into: &str,
    rows: &[[ValueRef<'_>; N]],
) -> rusqlite::Result<()> {
    for chunk in chunks(rows) {
        let row = format!("({})", ["?"; N].join(", "));
        let sql = format!("INSERT INTO {into} VALUES {}", vec![row; chunk.len()].join(", "));
        let mut statement = connection.prepare_cached(&sql)?;
        bind(&mut statement, chunk)?;
        statement.raw_execute()?;
    }
    Ok(())
}

/// The rows in as few pieces as there are statements for.
pub(super) fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= left.len())?;
        let (chunk, rest) = left.split_at(size);
        left = rest;
        Some(chunk)
    })
}

/// Binds the rows' values to a statement's first parameters.
pub(super) fn bind<const N: usize>(
    statement: &mut Statement<'_>,
    rows: &[[ValueRef<'_>; N]],
) -> rusqlite::Result<()> {
    for (at, value) in rows.iter().flatten().enumerate() {
        statement.raw_bind_parameter(at + 1, ToSqlOutput::Borrowed(*value))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_row_once_and_in_order() {
        for length in [0, 1, 3, 4, 15, 16, 17, 63, 64, 101] {
            let rows: Vec<usize> = (0..length).collect();
            let pieces: Vec<&[usize]> = chunks(&rows).collect();
            assert_eq!(pieces.concat(), rows);
            assert!(pieces.iter().all(|piece| SIZES.contains(&piece.len())));
        }
    }
}
