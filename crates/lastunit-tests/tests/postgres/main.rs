//! PostgreSQL: what it refuses to use, and what becomes of orders when the server, the connection or the standby fails.

mod connections;
mod failures;
mod pooler;
mod schema;
mod standby;
mod statements;

use std::sync::Arc;

use lastunit::*;
use lastunit_store::{PostgresStore, RemoteConfig};
use lastunit_tests::{
    Bench,
    remote::{self, Holder},
    servers::Postgres,
};

/// A shop on an empty database.
async fn open(url: &str, config: RemoteConfig, strategy: Strategy) -> Bench {
    let store = PostgresStore::connect(url, config).await.expect("a store");
    remote::shop(vec![Arc::new(store)], strategy).await
}

/// How many of a database's connections are Lastunit's and meet a condition on `pg_stat_activity`.
fn count(server: &Postgres, database: &str, condition: &str) -> usize {
    let sql = format!("SELECT COUNT(*) FROM pg_stat_activity WHERE {}", ours(database, condition));
    server.client(&sql).parse().expect("a number")
}

/// The condition on `pg_stat_activity` that it is a connection of Lastunit's.
fn ours(database: &str, condition: &str) -> String {
    format!("datname = '{database}' AND application_name = 'lastunit' AND {condition}")
}

/// The condition on a connection that it waits for somebody else's lock.
const WAITS: &str = "wait_event_type = 'Lock'";

/// Somebody else's transaction, which holds a lock on every SKU until it is ended.
async fn lock_all_skus(server: &'static Postgres, database: &str) -> Holder {
    let name = database.to_owned();
    let hold =
        move || drop(server.client_of(&name, "BEGIN; SELECT 1 FROM sku FOR UPDATE; SELECT pg_sleep(600)"));
    let sleeps = format!("datname = '{database}' AND application_name = 'psql' AND wait_event = 'PgSleep'");
    let ask = move |what: &str| server.client(&format!("SELECT {what} FROM pg_stat_activity WHERE {sleeps}"));
    let end = ask.clone();
    Holder::start(hold, || ask("COUNT(*)") == "1", move || drop(end("pg_terminate_backend(pid)"))).await
}
