//! The schema of a database: bringing it up to date.

use std::time::Duration;

use lastunit::StoreError;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow, error::SqlState};

use super::{
    errors::{Failure, text_of},
    pool::Connection,
};
use crate::{
    migrate::{Migration, pending, refuse_unless},
    remote::RemoteConfig,
};

const MIGRATIONS: &[Migration] = &[
    Migration { name: "initial", sql: include_str!("../../migrations/postgres/0001_initial.sql") },
    Migration { name: "order_lines", sql: include_str!("../../migrations/postgres/0002_order_lines.sql") },
    Migration { name: "cart_orders", sql: include_str!("../../migrations/postgres/0003_cart_orders.sql") },
];

/// "LASTUNIT" in ASCII: whoever migrates holds this lock, so that servers that start at once take turns.
const LOCK: i64 = 0x4C41_5354_554E_4954;

/// How long migrating may take, another server's turn included.
const PATIENCE: Duration = Duration::from_secs(120);

/// Applies what is missing, in one transaction, or refuses the database.
pub(super) async fn bring_up_to_date(address: &Config, config: &RemoteConfig) -> Result<(), StoreError> {
    let connection = match timeout(config.wait_timeout, Connection::open(address)).await {
        Ok(connection) => connection.map_err(cant_connect)?,
        Err(_) => return Err(StoreError::Unavailable("PostgreSQL can't be reached in time".into())),
    };
    let migrated = timeout(PATIENCE, migrate(&connection.client, config.migrate)).await;
    migrated.unwrap_or_else(|_| {
        Err(StoreError::Unavailable("PostgreSQL didn't finish the migration in time".into()))
    })
}

/// What is wrong with the address is no reason to try again.
fn cant_connect(error: tokio_postgres::Error) -> StoreError {
    let code = error.code().map_or("", SqlState::code);
    match code.starts_with("28") || code.starts_with("3D") {
        true => StoreError::Unusable(text_of(&error)),
        false => StoreError::Unavailable(text_of(&error)),
    }
}

async fn migrate(client: &Client, may_change: bool) -> Result<(), StoreError> {
    let encoding = rows(client, "SHOW server_encoding").await?;
    let encoding = encoding.first().and_then(|row| row.get(0)).unwrap_or_default();
    if encoding != "UTF8" {
        let text =
            format!("the database's encoding is {encoding}, which can't hold every name: it has to be UTF8");
        return Err(StoreError::Unusable(text));
    }
    let has = applied(client).await?;
    let missing = pending(MIGRATIONS, &has)?;
    refuse_unless(may_change, &missing, has.len())?;
    if missing.is_empty() {
        return Ok(());
    }
    run(
        client,
        &format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
             SET LOCAL lock_timeout = {limit};
             SET LOCAL statement_timeout = {limit};
             SELECT pg_advisory_xact_lock({LOCK});",
            limit = PATIENCE.as_millis()
        ),
    )
    .await?;
    // Somebody else may have migrated while the lock was waited for.
    let applied = applied(client).await?;
    if applied.is_empty() {
        let create = "CREATE TABLE IF NOT EXISTS lastunit_migration (
                          version  BIGINT NOT NULL PRIMARY KEY,
                          name     TEXT   NOT NULL,
                          checksum TEXT   NOT NULL)";
        run(client, create).await?;
    }
    for (version, migration) in pending(MIGRATIONS, &applied)? {
        tracing::info!(version, name = migration.name, "migrating");
        run(client, migration.sql).await?;
        let insert = format!(
            "INSERT INTO lastunit_migration (version, name, checksum) VALUES ({version}, '{}', '{}')",
            migration.name,
            migration.checksum()
        );
        run(client, &insert).await?;
    }
    run(client, "COMMIT").await
}

/// Version and checksum of the migrations that the database has, in order.
async fn applied(client: &Client) -> Result<Vec<(i64, String)>, StoreError> {
    // Not to_regclass(): it may answer from a cache that is older than the lock.
    let table = "SELECT 1 FROM pg_class WHERE relname = 'lastunit_migration' AND pg_table_is_visible(oid)";
    if rows(client, table).await?.is_empty() {
        return Ok(Vec::new());
    }
    let found = rows(client, "SELECT version, checksum FROM lastunit_migration ORDER BY version").await?;
    let unreadable = || StoreError::Unusable("the table lastunit_migration isn't Lastunit's".into());
    let migration = |row: &SimpleQueryRow| Some((row.get(0)?.parse().ok()?, row.get(1)?.to_owned()));
    found.iter().map(|row| migration(row).ok_or_else(unreadable)).collect()
}

async fn run(client: &Client, sql: &str) -> Result<(), StoreError> {
    client.batch_execute(sql).await.map_err(|error| {
        let text = text_of(&error);
        let code = error.code().cloned();
        if code == Some(SqlState::DUPLICATE_TABLE) || code == Some(SqlState::DUPLICATE_OBJECT) {
            StoreError::Unusable(format!(
                "the database has something else of a name that Lastunit needs: give Lastunit a database or a \
                 schema of its own ({text})"
            ))
        } else if code == Some(SqlState::INSUFFICIENT_PRIVILEGE) {
            StoreError::Unusable(format!("Lastunit may not create its tables: {text}"))
        } else {
            Failure::Said(error).into()
        }
    })
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<SimpleQueryRow>, StoreError> {
    let found = client.simple_query(sql).await.map_err(Failure::Said)?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    Ok(found.into_iter().filter_map(row).collect())
}
