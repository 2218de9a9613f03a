//! Runs the invariants on a snapshot of the file.

use lastunit::{CheckReport, StoreError, Violation};
use rusqlite::{Connection, Row, types::ValueRef};
use uuid::Uuid;

use super::store_error as error;
use crate::check::{INVARIANTS, MAX_NAMED};

pub(super) fn check(connection: &Connection) -> Result<CheckReport, StoreError> {
    let mut report = CheckReport::default();
    report.checked.push("database_intact");
    for pragma in ["PRAGMA integrity_check", "PRAGMA foreign_key_check"] {
        let found = rows(connection, pragma)?;
        let broken = found.into_iter().filter(|row| row != "integrity_check ok");
        report.violations.extend(broken.map(|detail| Violation { invariant: "database_intact", detail }));
    }
    for invariant in INVARIANTS {
        report.checked.push(invariant.name);
        let broken = rows(connection, invariant.violations)?.into_iter();
        report.violations.extend(broken.map(|detail| Violation { invariant: invariant.name, detail }));
    }
    let sum = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(error);
    report.skus = sum("SELECT COUNT(*) FROM sku")?.unsigned_abs();
    report.orders = sum("SELECT COUNT(*) FROM orders")?.unsigned_abs();
    report.stock = sum("SELECT COALESCE(SUM(stock), 0) FROM sku")?;
    report.sales = sum("SELECT COALESCE(SUM(sales), 0) FROM sku")?;
    Ok(report)
}

/// The first rows of a query, each as "column value, column value".
fn rows(connection: &Connection, sql: &str) -> Result<Vec<String>, StoreError> {
    let mut select = connection.prepare(sql).map_err(error)?;
    let names: Vec<String> = select.column_names().map(str::to_owned).collect();
    let mut found = select.query([]).map_err(error)?;
    let mut texts = Vec::new();
    while let Some(row) = found.next().map_err(error)? {
        if texts.len() == MAX_NAMED {
            break;
        }
        let fields = names.iter().enumerate().map(|(at, name)| Ok(format!("{name} {}", value(row, at)?)));
        texts.push(fields.collect::<rusqlite::Result<Vec<_>>>().map_err(error)?.join(", "));
    }
    Ok(texts)
}

fn value(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(at)? {
        ValueRef::Null => "none".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(blob) => match Uuid::from_slice(blob) {
            Ok(uuid) => uuid.to_string(),
            Err(_) => format!("{} bytes", blob.len()),
        },
    })
}
