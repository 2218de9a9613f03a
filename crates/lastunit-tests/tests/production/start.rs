//! Servers that start at once on an empty database.

use lastunit_tests::{
    server::{Client, Database, GUARD, Process},
    servers::{MariaDb, Postgres, Redis},
};
use serde_json::Value;
use tokio::{
    task::spawn_blocking,
    time::{Duration, sleep, timeout},
};

use crate::setup::{Kind, stop};

/// The moment in which they can be in each other's way is short.
const ROUNDS: usize = 4;

on_both!(
    servers_that_start_at_once_make_one_schema_and_one_catalogue,
    servers_that_start_at_once_print_keys_that_work,
    who_waited_for_another_to_migrate_finds_it_done,
);

async fn shop(server: &Client) -> (Value, Value) {
    let products = server.get("/v1/products?limit=100").await.is(200)["items"].clone();
    (server.get("/v1/admin/settings").await.is(200), products)
}

async fn servers_that_start_at_once_make_one_schema_and_one_catalogue(kind: Kind) {
    let one = Database::default();
    let expected = shop(&one.serve(&[]).await.admin()).await;
    for _ in 0..ROUNDS {
        let carts = Redis::shared_database();
        let database = Database::at(kind.database(), carts.url());
        let start = async || {
            let server = database.serve(&[]).await;
            assert_eq!(shop(&server.admin()).await, expected, "as soon as it listens: {}", server.greeting);
            server
        };
        let servers = tokio::join!(start(), start(), start());
        stop(vec![servers.0, servers.1, servers.2]).await;
        database.assert_holds().await;
        assert_eq!(shop(&database.serve(&[]).await.admin()).await, expected);
    }
}

async fn servers_that_start_at_once_print_keys_that_work(kind: Kind) {
    let database = Database::at(kind.database(), "store");
    let start = async || database.serve_with(&[], &[]).await;
    let servers = tokio::join!(start(), start(), start());
    let servers = vec![servers.0, servers.1, servers.2];
    let key = |server: &Process| {
        let line = server.greeting.lines().find_map(|line| line.strip_prefix("service key  "));
        line.map(str::to_owned)
    };
    let printed: Vec<(usize, String)> =
        servers.iter().enumerate().filter_map(|(n, server)| Some((n, key(server)?))).collect();
    assert!(!printed.is_empty());
    for (n, key) in printed {
        Client::new(servers[n].address).keyed(&key).get("/v1/admin/settings").await.is(200);
    }
    stop(servers).await;
}

/// Holds the lock of those who migrate until three wait for it.
const HOLD_ON_POSTGRES: &str = "DO $$ BEGIN
    PERFORM pg_advisory_xact_lock(x'4C415354554E4954'::bigint);
    WHILE (
        SELECT COUNT(*) FROM pg_locks JOIN pg_database AS here ON here.oid = database
        WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
    ) < 3 LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$";
const HOLD_ON_MARIADB: &str = "BEGIN NOT ATOMIC
    DO GET_LOCK(CONCAT('lastunit.migrate.', LEFT(SHA2(DATABASE(), 256), 32)), 10);
    WHILE (SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User lock' AND db = DATABASE()) < 3 DO
        DO SLEEP(0.01);
    END WHILE;
END";

/// Whether somebody holds it.
const HELD_ON_POSTGRES: &str =
    "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())";
const HELD_ON_MARIADB: &str =
    "SELECT IS_USED_LOCK(CONCAT('lastunit.migrate.', LEFT(SHA2(DATABASE(), 256), 32))) IS NOT NULL";

async fn who_waited_for_another_to_migrate_finds_it_done(kind: Kind) {
    let url = kind.database();
    let name = url.rsplit('/').next().expect("a database").to_owned();
    let run = move |on_postgres: &str, on_mariadb: &str| match kind {
        Kind::Postgres => Postgres::shared().client_of(&name, on_postgres),
        Kind::MariaDb => MariaDb::shared().client_of(&name, on_mariadb),
    };
    let hold = run.clone();
    let held = spawn_blocking(move || hold(HOLD_ON_POSTGRES, HOLD_ON_MARIADB));
    let asked = async {
        while run(HELD_ON_POSTGRES, HELD_ON_MARIADB) != "1" {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(GUARD, asked).await.expect("the lock is held");
    let database = Database::at(url, "store");
    let migrate = async || database.run(&["migrate"]).await.ok();
    let all = async { tokio::join!(migrate(), migrate(), migrate()) };
    timeout(GUARD, all).await.expect("they take turns");
    held.await.expect("three waited");
    database.assert_holds().await;
}
