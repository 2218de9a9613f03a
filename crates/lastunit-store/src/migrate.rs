//! Embedded migrations: numbered, applied in order, and recorded with a checksum, so that a database of a newer
//! version or with another history is refused instead of being misread.

use lastunit::StoreError;
use sha2::{Digest, Sha256};

/// One step of a schema; its version is its place in the list, from 1.
pub(crate) struct Migration {
    pub name: &'static str,
    pub sql: &'static str,
}

impl Migration {
    /// SHA-256 of the SQL, in hex.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Compares what a database has (version and checksum, in order) with what this program knows; gives the
/// migrations that are still to be applied, with their versions.
pub(crate) fn pending<'a>(
    known: &'a [Migration],
    applied: &[(i64, String)],
) -> Result<Vec<(i64, &'a Migration)>, StoreError> {
    if let Some((newest, _)) = applied.last().filter(|(newest, _)| *newest > known.len() as i64) {
        return Err(StoreError::Unusable(format!(
            "the database has schema version {newest}, and this Lastunit knows versions up to {}: run the newer \
             Lastunit that wrote it",
            known.len()
        )));
    }
    let known = || (1..).zip(known);
    for ((version, migration), (has_version, has_checksum)) in known().zip(applied) {
        if version != *has_version || migration.checksum() != *has_checksum {
            return Err(StoreError::Unusable(format!(
                "migration {version} ({}) of the database differs from this Lastunit's: it was made by an altered \
                 or a development version; restore it from a backup, or import into a new one",
                migration.name
            )));
        }
    }
    Ok(known().skip(applied.len()).collect())
}

/// Refuses a schema that isn't up to date where it may not be changed.
pub(crate) fn refuse_unless(
    may_change: bool,
    pending: &[(i64, &Migration)],
    has_version: usize,
) -> Result<(), StoreError> {
    match pending.last() {
        Some((needed, _)) if !may_change => Err(StoreError::Unusable(format!(
            "the database has schema version {has_version}, and this Lastunit needs version {needed}: bring it up \
             to date with `lastunit migrate`"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Migration; 2] =
        [Migration { name: "one", sql: "SELECT 1" }, Migration { name: "two", sql: "SELECT 2" }];

    fn versions(applied: &[(i64, String)]) -> Result<Vec<i64>, String> {
        let pending = pending(&KNOWN, applied).map_err(|error| error.to_string())?;
        Ok(pending.into_iter().map(|(version, _)| version).collect())
    }

    #[test]
    fn what_is_missing_is_pending_and_what_is_foreign_is_refused() {
        let first = (1, KNOWN[0].checksum());
        assert_eq!(versions(&[]), Ok(vec![1, 2]));
        assert_eq!(versions(std::slice::from_ref(&first)), Ok(vec![2]));
        assert!(versions(&[(1, "altered".into())]).unwrap_err().contains("migration 1 (one)"));
        let newer = versions(&[first, (2, KNOWN[1].checksum()), (3, "?".into())]);
        assert!(newer.unwrap_err().contains("schema version 3"));
    }
}
