//! PostgreSQL's errors, by what a caller can do about them.

use lastunit::StoreError;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why a call to the server gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no answer in time.
    Late,
    /// The server or the connection said no.
    Said(tokio_postgres::Error),
}

impl Failure {
    /// Whether the connection may still be used after a rollback: the server refused a statement, and no more.
    pub fn is_orderly(&self) -> bool {
        let Some(error) = self.of_server() else { return false };
        // 08: the connection. 25: the transaction isn't what it is thought to be, or the server takes no writes.
        // 57P: the server shuts down. The last two: prepared statements that aren't what they were.
        let throw_away = ["08", "25", "57P"].iter().any(|class| error.code().code().starts_with(class))
            || is_stale_statement(error.code());
        !throw_away && !matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
    }

    fn of_server(&self) -> Option<&DbError> {
        match self {
            Self::Late => None,
            Self::Said(error) => error.as_db_error(),
        }
    }

    /// What it says, for the log.
    pub fn text(&self) -> String {
        match self {
            Self::Late => "PostgreSQL gave no answer in time".into(),
            Self::Said(error) => text_of(error),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let Some(error) = failure.of_server() else { return Self::Unavailable(failure.text()) };
        let code = error.code();
        let conflicts = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
            SqlState::UNIQUE_VIOLATION,
            // A write that didn't find all that it has to: `statements::PLACE`.
            SqlState::DIVISION_BY_ZERO,
        ];
        // Beside those of `is_orderly`: 28 and 53, no login, or no room for one more; 58, the server's disk.
        let unavailable = ["28", "53", "58"].iter().any(|class| code.code().starts_with(class));
        if conflicts.contains(code) {
            Self::Conflict
        } else if unavailable || !failure.is_orderly() {
            Self::Unavailable(failure.text())
        } else {
            Self::Internal(failure.text())
        }
    }
}

/// A statement was prepared for tables that have been altered since, or on another connection.
fn is_stale_statement(code: &SqlState) -> bool {
    *code == SqlState::FEATURE_NOT_SUPPORTED || is_on_another_connection(code)
}

/// Behind a pooler, what was prepared may be somebody else's.
fn is_on_another_connection(code: &SqlState) -> bool {
    [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT].contains(code)
}

/// What went wrong, with its code and its cause; tokio-postgres leaves both out.
pub(super) fn text_of(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(error), _) => {
            let pooler = " (behind a pooler of transactions, prepared statements have to be off)";
            let hint = if is_on_another_connection(error.code()) { pooler } else { "" };
            format!("PostgreSQL: {} ({}){hint}", error.message(), error.code().code())
        }
        (None, Some(cause)) => format!("PostgreSQL: {error}: {cause}"),
        (None, None) => format!("PostgreSQL: {error}"),
    }
}
