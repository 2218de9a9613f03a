//! The most that a database can store: the rows of orders as Lastunit writes them, by plain SQL, many orders a
//! transaction, one transaction after the other. Nothing is read, decided or answered.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use lastunit::{Address, OrderId, Source, SystemSource};
use lastunit_bench::Picks;
use mysql_async::prelude::Queryable;
use rusqlite::{Connection, params_from_iter, types::ToSqlOutput};

use super::{
    fill,
    in_process::draw,
    load::Workload,
    place::{Fresh, Place, mysql, postgres},
};
use crate::store_url::StoreUrl;

/// Orders a transaction.
const BATCH: usize = 2000;
/// More SKUs than these make no difference: an order's rows aren't looked up by SKU.
const MOST_SKUS: i64 = 1000;

/// Orders stored a second, each with the workload's lines; the rows are made outside the measured time. At the end the
/// shop is put in order, and every invariant checked: so the rows are those that orders have.
pub async fn orders_per_second(place: &Place, workload: Workload, seconds: f64) -> Result<f64> {
    let skus = workload.skus.clamp(workload.lines as i64, MOST_SKUS.max(workload.lines as i64));
    let (fresh, store) = fill::shop(place, None, skus, fill::PLENTY).await?;
    store.close().await;
    let picks = Workload { skus, ..workload }.picks()?;
    let mut writer = Writer::open(&fresh).await?;
    let mut sold = BTreeMap::new();
    let (mut orders, mut took) = (0, Duration::ZERO);
    while took.as_secs_f64() < seconds {
        let tables = batch(&picks, &mut sold)?;
        (writer, took) = writer.write(tables, took).await?;
        orders += BATCH as u64;
    }
    writer.close().await?;
    settle(&fresh, &sold).await?;
    fresh.check_and_drop(orders).await?;
    Ok(orders as f64 / took.as_secs_f64())
}

/// A column's value.
#[derive(Debug, Clone)]
enum Value {
    Null,
    Int(i64),
    Text(String),
    /// A UUID or a hash.
    Bytes(Vec<u8>),
}

/// A table's new rows, their values in the order of its columns.
struct Rows {
    table: &'static str,
    values: Vec<Vec<Value>>,
}

/// The rows of a batch of orders, and what they sell.
fn batch(picks: &Picks, sold: &mut BTreeMap<i64, i64>) -> Result<[Rows; 5]> {
    use Value::{Bytes, Int, Null};
    let text = |text: &str| Value::Text(text.to_owned());
    let address = serde_json::to_string(&Address::example())?;
    let rows = |table| Rows { table, values: Vec::with_capacity(BATCH) };
    let mut keys = rows("idempotency_key");
    let mut orders = rows("orders");
    let mut lines = rows("order_line");
    let mut movements = rows("stock_movement");
    let mut events = rows("outbox_event");
    for n in 0..BATCH {
        let at = SystemSource.now();
        let id = Bytes(OrderId(SystemSource.uuid(at)).0.as_bytes().to_vec());
        let at = Int(at.unix_ms());
        let user = text(&format!("buyer-{}", n % 64));
        let mut skus = draw(picks)?;
        skus.sort_unstable();
        let (count, goods) = (skus.len() as i64, 1000 * skus.len() as i64);
        keys.values.push(vec![
            Int(1),
            user.clone(),
            text("place_order"),
            text(&format!("{:016x}", rand::random::<u64>())),
            Bytes(rand::random::<[u8; 32]>().to_vec()),
            id.clone(),
            Null,
            at.clone(),
        ]);
        orders.values.push(vec![
            Int(1),
            id.clone(),
            user,
            text("to_ship"),
            text("cash_on_delivery"),
            Int(count),
            Int(goods),
            Int(450),
            Int(goods + 450),
            text("GBP"),
            text(&address),
            at.clone(),
            Null,
        ]);
        for sku in skus {
            let (code, name) = (format!("BENCH-{sku}"), format!("Benchmark SKU {sku}"));
            let sku = sku.get();
            *sold.entry(sku).or_default() += 1;
            lines.values.push(vec![
                Int(1),
                id.clone(),
                Int(sku),
                text(&code),
                text(&name),
                Int(1),
                Int(1000),
                Int(1000),
            ]);
            let (kind, reason) = (text("sold"), text(""));
            movements.values.push(vec![Int(1), id.clone(), Int(sku), kind, Int(-1), reason, at.clone()]);
        }
        events.values.push(vec![Int(1), id, text("order.placed"), at, Null]);
    }
    // Keys are random: sorted, those of a batch that share a page come one after the other.
    keys.values.sort_unstable_by(|one, other| match (&one[1..4], &other[1..4]) {
        ([Value::Text(user), _, Value::Text(key)], [Value::Text(other), _, Value::Text(other_key)]) => {
            (user, key).cmp(&(other, other_key))
        }
        _ => std::cmp::Ordering::Equal,
    });
    Ok([orders, keys, lines, movements, events])
}

/// A connection that stores batches, each durably.
enum Writer {
    Sqlite(Connection),
    Postgres(tokio_postgres::Client),
    MySql(mysql_async::Conn),
}

impl Writer {
    async fn open(fresh: &Fresh) -> Result<Self> {
        Ok(match &fresh.url {
            StoreUrl::Sqlite(path) => Self::Sqlite(sqlite(path)?),
            StoreUrl::Postgres(url, _) => Self::Postgres(postgres(url).await?),
            StoreUrl::MySql(url, _) => Self::MySql(mysql(url).await?),
        })
    }

    /// Stores a batch; the time that it took is added to what was taken before.
    async fn write(self, batch: [Rows; 5], before: Duration) -> Result<(Self, Duration)> {
        match self {
            Self::Sqlite(connection) => {
                let write = move || {
                    let begun = Instant::now();
                    write_to_sqlite(&connection, &batch)?;
                    anyhow::Ok((Self::Sqlite(connection), before + begun.elapsed()))
                };
                tokio::task::spawn_blocking(write).await?
            }
            Self::Postgres(client) => {
                let copies =
                    batch.map(|rows| (format!("COPY {} FROM STDIN", rows.table), copied(&rows.values)));
                let begun = Instant::now();
                client.batch_execute("BEGIN").await?;
                for (statement, text) in copies {
                    copy(&client, &statement, text).await?;
                }
                client.batch_execute("COMMIT").await?;
                Ok((Self::Postgres(client), before + begun.elapsed()))
            }
            Self::MySql(mut connection) => {
                let inserts: Vec<String> = batch.iter().flat_map(inserts).collect();
                let begun = Instant::now();
                connection.query_drop("BEGIN").await?;
                for insert in inserts {
                    connection.query_drop(insert).await?;
                }
                connection.query_drop("COMMIT").await?;
                Ok((Self::MySql(connection), before + begun.elapsed()))
            }
        }
    }

    async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.close().map_err(|(_, error)| error.into()),
            Self::Postgres(_) => Ok(()),
            Self::MySql(connection) => Ok(connection.disconnect().await?),
        }
    }
}

/// Set as the store sets its writer's connection, but that it moves the log itself.
fn sqlite(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -262144; PRAGMA wal_autocheckpoint = 32000",
    )?;
    Ok(connection)
}

/// Rows an INSERT: more of them only make it longer to prepare.
const ROWS_AN_INSERT: usize = 16;

fn write_to_sqlite(connection: &Connection, batch: &[Rows; 5]) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for Rows { table, values } in batch {
        let row = format!("({})", vec!["?"; values[0].len()].join(","));
        let insert =
            |rows: usize| format!("INSERT INTO {table} VALUES {}", vec![row.as_str(); rows].join(","));
        let chunks = values.chunks_exact(ROWS_AN_INSERT);
        let (rest, sql) = (chunks.remainder(), insert(ROWS_AN_INSERT));
        for rows in chunks {
            connection.prepare_cached(&sql)?.execute(params_from_iter(rows.iter().flatten()))?;
        }
        if !rest.is_empty() {
            connection
                .prepare_cached(&insert(rest.len()))?
                .execute(params_from_iter(rest.iter().flatten()))?;
        }
    }
    Ok(connection.execute_batch("COMMIT")?)
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(ToSqlOutput::from(rusqlite::types::Null)),
            Self::Int(value) => value.to_sql(),
            Self::Text(value) => value.to_sql(),
            Self::Bytes(value) => value.to_sql(),
        }
    }
}

async fn copy(client: &tokio_postgres::Client, statement: &str, text: String) -> Result<()> {
    use futures_util::SinkExt;
    let sink = client.copy_in(statement).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(Bytes::from(text)).await?;
    sink.finish().await.context("rows can't be copied")?;
    Ok(())
}

/// Rows as PostgreSQL's COPY reads them.
fn copied(rows: &[Vec<Value>]) -> String {
    let mut text = String::new();
    for row in rows {
        for (at, value) in row.iter().enumerate() {
            if at > 0 {
                text.push('\t');
            }
            match value {
                Value::Null => text.push_str("\\N"),
                Value::Int(value) => push(&mut text, value),
                Value::Text(value) => text.push_str(value),
                Value::Bytes(value) if value.len() == 16 => push_hex(&mut text, value),
                Value::Bytes(value) => {
                    text.push_str("\\\\x");
                    push_hex(&mut text, value);
                }
            }
        }
        text.push('\n');
    }
    text
}

/// Rows as statements of MariaDB and MySQL.
fn inserts(Rows { table, values }: &Rows) -> Vec<String> {
    let statement = |rows: &[Vec<Value>]| {
        let mut sql = format!("INSERT INTO {table} VALUES ");
        for (at, row) in rows.iter().enumerate() {
            sql.push_str(if at == 0 { "(" } else { ",(" });
            for (at, value) in row.iter().enumerate() {
                if at > 0 {
                    sql.push(',');
                }
                match value {
                    Value::Null => sql.push_str("NULL"),
                    Value::Int(value) => push(&mut sql, value),
                    // None of the benchmark's texts holds a quote or a backslash.
                    Value::Text(value) => push(&mut sql, format_args!("'{value}'")),
                    Value::Bytes(value) => {
                        sql.push_str("0x");
                        push_hex(&mut sql, value);
                    }
                }
            }
            sql.push(')');
        }
        sql
    };
    values.chunks(BATCH).map(statement).collect()
}

fn push(text: &mut String, value: impl std::fmt::Display) {
    write!(text, "{value}").expect("a String takes all");
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| push(text, format_args!("{byte:02x}")));
}

/// Takes from the stock what was sold.
async fn settle(fresh: &Fresh, sold: &BTreeMap<i64, i64>) -> Result<()> {
    let update = |(sku, units): (&i64, &i64)| {
        format!(
            "UPDATE sku SET stock = stock - {units}, sales = sales + {units} WHERE shop_id = 1 AND id = {sku};"
        )
    };
    let skus: String = sold.iter().map(update).collect();
    let sql = format!(
        "BEGIN; {skus}
         UPDATE product SET sales = (SELECT SUM(sales) FROM sku
                                     WHERE sku.shop_id = product.shop_id AND sku.product_id = product.id);
         COMMIT"
    );
    match &fresh.url {
        StoreUrl::Sqlite(path) => Ok(sqlite(path)?.execute_batch(&sql)?),
        StoreUrl::Postgres(..) => {
            fresh.execute(&sql).await?;
            // PostgreSQL believes the tables are as empty as they were a moment ago, and the check would join them row by
            // row.
            fresh.execute("ANALYZE").await
        }
        StoreUrl::MySql(..) => fresh.execute(&sql).await,
    }
}
