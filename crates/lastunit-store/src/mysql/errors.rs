//! The errors of MariaDB and MySQL, by what a caller can do about them.

use std::time::Duration;

use lastunit::StoreError;
use mysql_async::{DriverError, Error, ServerError};

/// Why a call to the server gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no answer in time.
    Late(Duration),
    /// The server or the connection said no.
    Said(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

impl Failure {
    /// Whether the connection may still be used after a rollback: the server refused a statement, and no more.
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Late(_) => false,
            Self::Said(Error::Server(error)) => !is_unavailable(error.code),
            Self::Said(_) => false,
        }
    }

    /// Whether it says that a transaction that was to be committed was rolled back instead.
    pub fn rolled_back(&self) -> bool {
        matches!(self, Self::Said(Error::Server(error)) if is_conflict(error.code))
    }

    /// What it says, for the log.
    pub fn text(&self) -> String {
        match self {
            Self::Late(limit) => format!("MySQL gave no answer within {limit:?}"),
            Self::Said(Error::Server(ServerError { code, message, .. })) => {
                format!("MySQL: {message} ({code})")
            }
            Self::Said(error) => format!("MySQL: {error}"),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Said(Error::Server(error)) if is_conflict(error.code) => Self::Conflict,
            Failure::Said(Error::Server(error)) if is_unavailable(error.code) => {
                Self::Unavailable(failure.text())
            }
            Failure::Said(Error::Server(_)) => Self::Internal(failure.text()),
            Failure::Said(Error::Driver(DriverError::ConnectionClosed) | Error::Io(_)) | Failure::Late(_) => {
                Self::Unavailable(failure.text())
            }
            Failure::Said(_) => Self::Internal(failure.text()),
        }
    }
}

/// Somebody else was faster, or in the way for too long.
fn is_conflict(code: u16) -> bool {
    match code {
        // A row that changed since the snapshot; a lock that wasn't got in time (only the statement is undone); a
        // deadlock (on a cluster: also at COMMIT).
        1020 | 1205 | 1213 => true,
        // A row with this key is there already.
        1062 => true,
        // The statement was canceled, or took longer than the server lets it.
        1317 | 1969 | 3024 => true,
        // A lock that isn't waited for; a group of servers that decided otherwise.
        3572 | 3101 => true,
        _ => false,
    }
}

/// The server can't do it now, or not on this connection.
fn is_unavailable(code: u16) -> bool {
    match code {
        // Too many connections, of all or of this user; no thread; no room for one more prepared statement.
        1040 | 1203 | 1226 | 1135 | 1461 => true,
        // It shuts down; the connection was killed or was idle for too long; the network.
        1053 | 1077 | 1079 | 1927 | 2006 | 2013 | 4031 | 1152 | 1158..=1161 | 1184 => true,
        // It takes no writes.
        1290 | 1836 | 3100 => true,
        // No memory, no disk, a table that is full, too many transactions; a commit or a rollback that failed.
        1021 | 1026 | 1037 | 1038 | 1041 | 1114 | 1180 | 1181 | 1637 => true,
        // A node that has no cluster.
        1047 => true,
        // No login: it may be the server that changed.
        1044 | 1045 | 1049 | 1129 | 1130 | 1698 => true,
        _ => false,
    }
}

/// Whether a first connection failed for a reason that waiting won't mend: no login, or no such database.
pub(super) fn is_for_good(error: &Error) -> bool {
    matches!(error, Error::Server(error) if matches!(error.code, 1044 | 1045 | 1049 | 1130 | 1251 | 1698))
        || matches!(error, Error::Url(_) | Error::Driver(DriverError::UnknownAuthPlugin { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_server(code: u16) -> StoreError {
        Failure::from(Error::Server(ServerError { code, message: "no".into(), state: "HY000".into() })).into()
    }

    #[test]
    fn errors_say_what_a_caller_can_do() {
        for code in [1213, 1205, 1020, 1062] {
            assert_eq!(of_server(code), StoreError::Conflict, "{code}");
        }
        for code in [1040, 1203, 1053, 2006, 2013, 1927, 1290, 1836] {
            assert!(matches!(of_server(code), StoreError::Unavailable(_)), "{code}");
        }
        // CHECK constraints of MariaDB and of MySQL, and a foreign key.
        for code in [4025, 3819, 1452] {
            assert!(matches!(of_server(code), StoreError::Internal(_)), "{code}");
        }
    }
}
