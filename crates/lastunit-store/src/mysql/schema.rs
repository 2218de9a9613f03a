//! The schema of a database: bringing it up to date.

use std::time::Duration;

use lastunit::StoreError;
use mysql_async::{FromRowError, Row, prelude::FromRow};
use tokio::time::timeout;

use super::{
    errors::{Failure, is_for_good},
    pool::{Connection, Connections},
};
use crate::{
    migrate::{Migration, pending, refuse_unless},
    remote::RemoteConfig,
};

const MIGRATIONS: &[Migration] =
    &[Migration { name: "initial", sql: include_str!("../../migrations/mysql/0001_initial.sql") }];

/// How long migrating may take, another server's turn included.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whoever migrates a database holds this lock, so that servers that start at once take turns. A lock's name is the
/// server's, and of 64 characters at most.
const LOCK: &str = "CONCAT('lastunit.migrate.', LEFT(SHA2(DATABASE(), 256), 32))";

/// Applies what is missing, or refuses the database.
pub(super) async fn bring_up_to_date(
    connections: &Connections,
    config: &RemoteConfig,
) -> Result<(), StoreError> {
    let mut connection = match timeout(config.wait_timeout, connections.open()).await {
        Ok(connection) => connection.map_err(cant_connect)?,
        Err(_) => return Err(StoreError::Unavailable("MySQL can't be reached in time".into())),
    };
    let migrated = timeout(PATIENCE, migrate(&mut connection, config.migrate)).await;
    migrated
        .unwrap_or_else(|_| Err(StoreError::Unavailable("MySQL didn't finish the migration in time".into())))
}

/// What is wrong with the address is no reason to try again.
fn cant_connect(error: mysql_async::Error) -> StoreError {
    let for_good = is_for_good(&error);
    let text = Failure::from(error).text();
    if for_good { StoreError::Unusable(text) } else { StoreError::Unavailable(text) }
}

async fn migrate(connection: &mut Connection, may_migrate: bool) -> Result<(), StoreError> {
    refuse_old_server(connection).await?;
    let applied = applied(connection).await?;
    let pending = pending(MIGRATIONS, &applied)?;
    if pending.is_empty() {
        return Ok(());
    }
    refuse_unless(may_migrate, &pending, applied.len())?;
    // Closing the connection gives the lock back, however this ends.
    let lock = format!("SELECT GET_LOCK({LOCK}, {})", PATIENCE.as_secs());
    if one::<Option<i64>>(connection, &lock).await? != Some(1) {
        return Err(StoreError::Unavailable(
            "another program has been migrating the database for too long".into(),
        ));
    }
    apply(connection).await
}

/// CHECK constraints, common table expressions and locking reads have to be what they are in these versions.
async fn refuse_old_server(connection: &mut Connection) -> Result<(), StoreError> {
    let version: String = one(connection, "SELECT VERSION()").await?;
    let numbers: Vec<u32> = version
        .split(|next: char| !next.is_ascii_digit())
        .map_while(|number| number.parse().ok())
        .take(3)
        .collect();
    let oldest: &[u32] = if version.contains("MariaDB") { &[10, 6] } else { &[8, 0, 16] };
    if numbers.as_slice() >= oldest {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "the database server is version {version}: Lastunit needs MariaDB 10.6 or MySQL 8.0.16, or a newer one"
    )))
}

/// A migration's every statement commits by itself. So each may find its work done, by an earlier try that was
/// interrupted, and the migration is recorded last.
async fn apply(connection: &mut Connection) -> Result<(), StoreError> {
    // Somebody else may have been faster.
    let applied = applied(connection).await?;
    let pending = pending(MIGRATIONS, &applied)?;
    refuse_foreign(connection).await?;
    let record = "CREATE TABLE IF NOT EXISTS lastunit_migration (
                      version  BIGINT       NOT NULL PRIMARY KEY,
                      name     VARCHAR(255) NOT NULL,
                      checksum VARCHAR(64)  NOT NULL
                  ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    command(connection, record).await?;
    for (version, migration) in pending {
        tracing::info!(version, name = migration.name, "migrating");
        for statement in statements(migration.sql) {
            command(connection, statement).await?;
        }
        let (name, checksum) = (migration.name, migration.checksum());
        let done = format!("INSERT INTO lastunit_migration VALUES ({version}, '{name}', '{checksum}')");
        command(connection, &done).await?;
    }
    Ok(())
}

/// What was applied, oldest first; nothing if the database was never migrated.
async fn applied(connection: &mut Connection) -> Result<Vec<(i64, String)>, StoreError> {
    if !has_table(connection, "lastunit_migration").await? {
        return Ok(Vec::new());
    }
    all(connection, "SELECT version, checksum FROM lastunit_migration ORDER BY version").await
}

/// Tables by our names in a database that was never migrated are another program's: they aren't touched.
async fn refuse_foreign(connection: &mut Connection) -> Result<(), StoreError> {
    if has_table(connection, "lastunit_migration").await? {
        return Ok(());
    }
    for table in MIGRATIONS.iter().flat_map(|migration| statements(migration.sql)).filter_map(table_made_by) {
        if has_table(connection, table).await? {
            return Err(StoreError::Unusable(format!(
                "the database has a table {table:?} already, which isn't Lastunit's: name another database"
            )));
        }
    }
    Ok(())
}

async fn has_table(connection: &mut Connection, name: &str) -> Result<bool, StoreError> {
    let count = format!(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '{name}'"
    );
    Ok(one::<i64>(connection, &count).await? > 0)
}

/// The statements of a migration. None has a semicolon in a text or a comment.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(';').map(str::trim).filter(|statement| !statement.is_empty())
}

/// The table that a statement makes, if it makes one.
fn table_made_by(statement: &str) -> Option<&str> {
    let (_, name) = statement.split_once("CREATE TABLE IF NOT EXISTS ")?;
    name.split_whitespace().next()
}

async fn command(connection: &mut Connection, sql: &str) -> Result<(), StoreError> {
    connection.command(sql).await.map_err(|error| Failure::from(error).into())
}

async fn one<T: FromRow>(connection: &mut Connection, sql: &str) -> Result<T, StoreError> {
    let first = all(connection, sql).await?.into_iter().next();
    first.ok_or_else(|| StoreError::Internal(format!("no row: {sql}")))
}

async fn all<T: FromRow>(connection: &mut Connection, sql: &str) -> Result<Vec<T>, StoreError> {
    let rows = connection.query(sql, usize::MAX).await.map_err(Failure::from)?;
    let read = |row: Row| {
        T::from_row_opt(row).map_err(|FromRowError(row)| StoreError::Internal(format!("{row:?}: {sql}")))
    };
    rows.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_a_migration_can_be_run_again() {
        for sql in MIGRATIONS.iter().flat_map(|migration| statements(migration.sql)) {
            assert!(table_made_by(sql).is_some(), "{sql}");
            assert!(sql.contains("ENGINE = InnoDB"), "{sql}");
            assert!(!sql.contains("AUTO_INCREMENT"), "{sql}");
        }
        let tables =
            MIGRATIONS.iter().flat_map(|migration| statements(migration.sql)).filter_map(table_made_by);
        assert_eq!(tables.count(), 13);
    }
}
