//! Values on their way to PostgreSQL and back.

use std::error::Error;

use bytes::BytesMut;
use lastunit::StoreError;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::errors::text_of;
use crate::remote::{Row, Value};

type Bound = Result<IsNull, Box<dyn Error + Sync + Send>>;

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Bound {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) if *kind == Type::INT4 => i32::try_from(*value)?.to_sql_checked(kind, out),
            Self::Int(value) => value.to_sql_checked(kind, out),
            Self::Bool(value) => value.to_sql_checked(kind, out),
            Self::Text(value) => value.as_ref().to_sql_checked(kind, out),
            Self::Uuid(value) => value.to_sql_checked(kind, out),
            Self::Bytes(value) => value.as_ref().to_sql_checked(kind, out),
        }
    }

    /// Each value says for itself.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The type that a value is sent as.
pub(super) fn type_of(value: &Value<'_>) -> Type {
    match value {
        // The server takes the type from where it stands.
        Value::Null => Type::UNKNOWN,
        Value::Int(_) => Type::INT8,
        Value::Bool(_) => Type::BOOL,
        Value::Text(_) => Type::TEXT,
        Value::Uuid(_) => Type::UUID,
        Value::Bytes(_) => Type::BYTEA,
    }
}

/// A row of whatever types Lastunit's columns have.
pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let value = |at: usize| -> Result<Value<'static>, StoreError> {
        let null = Value::Null;
        let column = row.columns()[at].type_();
        Ok(match *column {
            Type::INT8 => get::<Option<i64>>(row, at)?.map_or(null, Value::Int),
            Type::INT4 => get::<Option<i32>>(row, at)?.map_or(null, |value| Value::Int(value.into())),
            Type::BOOL => get::<Option<bool>>(row, at)?.map_or(null, Value::Bool),
            Type::TEXT => get::<Option<String>>(row, at)?.map_or(null, |value| Value::Text(value.into())),
            Type::UUID => get::<Option<Uuid>>(row, at)?.map_or(null, Value::Uuid),
            Type::BYTEA => get::<Option<Vec<u8>>>(row, at)?.map_or(null, |value| Value::Bytes(value.into())),
            _ => return Err(StoreError::Internal(format!("column {at} of a row is of type {column}"))),
        })
    };
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row)
}

/// A column of a row, of the type that the statement gives it.
pub(super) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a tokio_postgres::Row,
    at: usize,
) -> Result<T, StoreError> {
    row.try_get(at).map_err(|error| StoreError::Internal(text_of(&error)))
}

/// A parameter of a statement of an order's path: a number, or a column of many rows.
#[derive(Debug)]
pub(super) enum Param<'a> {
    Int(i64),
    Ints(Vec<i64>),
    Texts(Vec<&'a str>),
    TextsOrNull(Vec<Option<&'a str>>),
    Uuids(Vec<Uuid>),
    UuidsOrNull(Vec<Option<Uuid>>),
    Hashes(Vec<&'a [u8]>),
}

impl Param<'_> {
    /// As tokio-postgres takes it.
    pub fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Int(value) => (value, Type::INT8),
            Self::Ints(values) => (values, Type::INT8_ARRAY),
            Self::Texts(values) => (values, Type::TEXT_ARRAY),
            Self::TextsOrNull(values) => (values, Type::TEXT_ARRAY),
            Self::Uuids(values) => (values, Type::UUID_ARRAY),
            Self::UuidsOrNull(values) => (values, Type::UUID_ARRAY),
            Self::Hashes(values) => (values, Type::BYTEA_ARRAY),
        }
    }
}
