//! Service keys, as hashes.

use lastunit::{Role, ServiceKey, StoreError, Timestamp};
use rusqlite::{Connection, params};

use super::{columns::Column, store_error as error};

pub(super) fn list(connection: &Connection) -> Result<Vec<ServiceKey>, StoreError> {
    connection
        .prepare_cached(
            "SELECT hash, role, label, created_at FROM service_key WHERE revoked_at IS NULL
             ORDER BY created_at, label",
        )
        .and_then(|mut select| {
            let keys = select.query_map([], |row| {
                let created_at = Timestamp::from_unix_ms(row.get(3)?);
                Ok(ServiceKey {
                    hash: row.get(0)?,
                    role: row.named(1, Role::parse)?,
                    label: row.get(2)?,
                    created_at,
                })
            })?;
            keys.collect()
        })
        .map_err(error)
}

pub(super) fn add(connection: &Connection, key: &ServiceKey) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO service_key (hash, role, label, created_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (hash) DO UPDATE SET role = excluded.role, label = excluded.label, revoked_at = NULL",
        )
        .and_then(|mut upsert| {
            upsert.execute(params![key.hash, key.role.as_str(), key.label, key.created_at.unix_ms()])
        })
        .map(drop)
        .map_err(error)
}

pub(super) fn revoke(
    connection: &Connection,
    label: &str,
    made_before: Option<Timestamp>,
    at: Timestamp,
) -> Result<usize, StoreError> {
    let before = made_before.map_or(i64::MAX, Timestamp::unix_ms);
    connection
        .prepare_cached(
            "UPDATE service_key SET revoked_at = ?2 WHERE label = ?1 AND created_at < ?3 AND revoked_at IS NULL",
        )
        .and_then(|mut update| update.execute(params![label, at.unix_ms(), before]))
        .map_err(error)
}
