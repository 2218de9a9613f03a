//! Service keys, as hashes.

use lastunit::{Role, ServiceKey, StoreError, Timestamp};

use super::{Row, Session, values};

pub(super) async fn list(session: &mut impl Session) -> Result<Vec<ServiceKey>, StoreError> {
    let select = "SELECT hash, role, label, created_at FROM service_key WHERE revoked_at IS NULL
                  ORDER BY created_at, label";
    let key = |row: &Row| {
        Ok(ServiceKey {
            hash: row.hash(0)?,
            role: row.named(1, Role::parse)?,
            label: row.text(2)?.into(),
            created_at: row.timestamp(3)?,
        })
    };
    session.rows(select, &[]).await?.iter().map(key).collect()
}

/// A repetition writes the same again.
pub(super) async fn add(session: &mut impl Session, key: &ServiceKey) -> Result<(), StoreError> {
    let update = "UPDATE service_key SET role = $2, label = $3, revoked_at = NULL WHERE hash = $1";
    let (role, label) = (key.role.as_str(), key.label.as_str());
    if session.execute(update, values![&key.hash, role, label]).await? == 0 {
        let insert = "INSERT INTO service_key (hash, role, label, created_at) VALUES ($1, $2, $3, $4)";
        session.execute(insert, values![&key.hash, role, label, key.created_at.unix_ms()]).await?;
    }
    Ok(())
}

pub(super) async fn revoke(
    session: &mut impl Session,
    label: &str,
    made_before: Option<Timestamp>,
    at: Timestamp,
) -> Result<usize, StoreError> {
    let before = made_before.map_or(i64::MAX, Timestamp::unix_ms);
    let update =
        "UPDATE service_key SET revoked_at = $2 WHERE label = $1 AND created_at < $3 AND revoked_at IS NULL";
    Ok(session.execute(update, values![label, at.unix_ms(), before]).await? as usize)
}
