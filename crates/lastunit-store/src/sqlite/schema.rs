//! The schema of a database file: whose it is, and bringing it up to date.

use std::path::Path;

use lastunit::StoreError;
use rusqlite::{Connection, params};

use super::store_error as error;
use crate::migrate::{Migration, pending, refuse_unless};

const MIGRATIONS: &[Migration] = &[
    Migration { name: "initial", sql: include_str!("../../migrations/sqlite/0001_initial.sql") },
    Migration { name: "cart_orders", sql: include_str!("../../migrations/sqlite/0002_cart_orders.sql") },
];

/// "LAST" in ASCII: marks the file as Lastunit's (PRAGMA application_id).
const APPLICATION_ID: i32 = 0x4C41_5354;

/// Refuses a file that holds somebody else's tables, before anything is changed in it.
pub(super) fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let unusable = |error: rusqlite::Error| {
        StoreError::Unusable(format!("{} can't be read as a SQLite database: {error}", path.display()))
    };
    let tables: i64 = connection
        .query_row("SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .map_err(unusable)?;
    let id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(unusable)?;
    if tables > 0 && id != APPLICATION_ID {
        let text =
            format!("{} is a SQLite database, but not one of Lastunit: name another file", path.display());
        return Err(StoreError::Unusable(text));
    }
    Ok(())
}

/// Applies what is missing, in one transaction; several processes may do so at once. Refuses instead if it may
/// not change the schema.
pub(super) fn migrate(connection: &Connection, may_change: bool) -> Result<(), StoreError> {
    connection.execute_batch("BEGIN IMMEDIATE").map_err(error)?;
    let migrated = apply(connection, may_change);
    let end = if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_batch(end).map_err(error)?;
    migrated
}

fn apply(connection: &Connection, may_change: bool) -> Result<(), StoreError> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS lastunit_migration (
                 version  INTEGER NOT NULL PRIMARY KEY,
                 name     TEXT    NOT NULL,
                 checksum TEXT    NOT NULL
             ) STRICT",
        )
        .map_err(error)?;
    let applied = connection
        .prepare("SELECT version, checksum FROM lastunit_migration ORDER BY version")
        .and_then(|mut select| select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(error)?;
    let applied: Vec<(i64, String)> = applied;
    let pending = pending(MIGRATIONS, &applied)?;
    refuse_unless(may_change, &pending, applied.len())?;
    for (version, migration) in pending {
        tracing::info!(version, name = migration.name, "migrating");
        connection.execute_batch(migration.sql).map_err(error)?;
        connection
            .execute(
                "INSERT INTO lastunit_migration (version, name, checksum) VALUES (?1, ?2, ?3)",
                params![version, migration.name, migration.checksum()],
            )
            .map_err(error)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(error)
}
