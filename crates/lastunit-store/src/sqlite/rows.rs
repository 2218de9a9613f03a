//! Many rows in few statements: most of what a one-row statement costs is its start and its end.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use rusqlite::{
    Connection, Statement,
    types::{ToSqlOutput, ValueRef},
};

use crate::rows::chunks;

/// Rows that a statement takes, the most first; a statement is prepared once for each size.
pub(super) const SIZES: [usize; 3] = [16, 4, 1];

/// Inserts rows of `N` values each. `into` names the table and its columns: `orders (shop_id, id, …)`.
///
/// A row that can't be inserted may leave those before it: whoever calls rolls back. So SQLite needs no journal for each
/// statement, but where a foreign key asks for one.
pub(super) fn insert<const N: usize>(
    connection: &Connection,
    into: &'static str,
    rows: &[[ValueRef<'_>; N]],
) -> rusqlite::Result<()> {
    for chunk in chunks(rows, &SIZES) {
        let mut statement = connection.prepare_cached(&insert_of(into, chunk.len(), N))?;
        bind(&mut statement, chunk)?;
        statement.raw_execute()?;
    }
    Ok(())
}

/// The text of such a statement, which is long: it is put together once.
fn insert_of(into: &'static str, rows: usize, columns: usize) -> Rc<str> {
    thread_local!(static TEXTS: RefCell<HashMap<(&'static str, usize), Rc<str>>> = RefCell::default());
    let text = || {
        let row = format!("({})", vec!["?"; columns].join(", "));
        format!("INSERT OR FAIL INTO {into} VALUES {}", vec![row; rows].join(", ")).into()
    };
    TEXTS.with_borrow_mut(|texts| texts.entry((into, rows)).or_insert_with(text).clone())
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
