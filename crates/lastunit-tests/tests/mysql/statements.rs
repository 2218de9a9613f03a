//! What is sent to the server for an order.

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{remote::four_orders, servers::MariaDb};

use crate::{open, status};

/// What distributed engines don't share, or do differently.
const FORBIDDEN: [&str; 6] =
    ["SAVEPOINT", "GET_LOCK", "LAST_INSERT_ID", "SKIP LOCKED", "AUTO_INCREMENT", "TRIGGER"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_of_an_order_names_its_shop() {
    let server = MariaDb::start(&[("general-log", "ON"), ("log-output", "TABLE")]);
    for prepared in [true, false] {
        let config = RemoteConfig { prepared, ..RemoteConfig::default() };
        for strategy in Strategy::SAFE {
            let database = server.create_database();
            let bench = open(&server.url_of(&database), config.clone(), strategy).await;
            four_orders(&bench, || drop(server.client("TRUNCATE TABLE mysql.general_log"))).await;
            let log = server.client(
                "SELECT REGEXP_REPLACE(argument, '[ \\n]+', ' ') FROM mysql.general_log
                 WHERE command_type IN ('Execute', 'Query') AND argument NOT LIKE '%general_log%'",
            );
            let mut of_orders = 0;
            for sql in log.lines() {
                for word in FORBIDDEN {
                    assert!(!sql.to_uppercase().contains(word), "{word} in {sql}");
                }
                // The second is how a connection that is new begins.
                if ["START TRANSACTION", "COMMIT", "ROLLBACK"].contains(&sql) || is_setting(sql) {
                    continue;
                }
                of_orders += 1;
                let names_shop = match sql.split_once(" WHERE ") {
                    _ if sql.starts_with("INSERT") => sql.contains(" (shop_id, "),
                    Some((_, condition)) => condition.contains("shop_id = 1"),
                    None => false,
                };
                assert!(names_shop, "{strategy:?}: {sql}");
            }
            assert!(of_orders > 25, "{of_orders} statements of four orders were logged");
        }
    }
}

fn is_setting(sql: &str) -> bool {
    sql.starts_with("SET ") || sql.starts_with("SELECT @@")
}

/// Plans are made while the tables are small, where reading all of a table is as cheap as its index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_reads_all_of_a_table() {
    let server = MariaDb::start(&[("innodb-flush-log-at-trx-commit", "0")]);
    for strategy in Strategy::SAFE {
        for others in [0, 50] {
            let database = server.create_database();
            let bench = open(&server.url_of(&database), RemoteConfig::default(), strategy).await;
            let skus = bench.skus(500, &[1000, 1000]).await;
            for _ in 0..others {
                bench.sku(500, 1).await;
            }
            let address = bench.save_address("ada", Address::example()).await;
            bench.put("ada", skus[0], 1, true).await;
            let scans = || {
                let read = |name| status(&server, name);
                ["handler_read_rnd_next", "handler_read_first", "handler_read_last"].map(read)
            };
            // Asking reads tables, too.
            let asking = {
                let before = scans();
                let after = scans();
                [after[0] - before[0], after[1] - before[1], after[2] - before[2]]
            };
            for _ in 0..10 {
                let before = scans();
                let asks = [bench.ask("ada"), bench.ask("bob").lines(&[(skus[0], 1), (skus[1], 1)])];
                bench.place_at_once(asks.into()).await;
                bench.buy(&bench.ask("ada").line(skus[1], 1).to(address)).await;
                let after = scans();
                let scanned = [0, 1, 2].map(|at| after[at] - before[at] - asking[at]);
                assert_eq!(scanned, [0, 0, 0], "{strategy:?}: reads of whole tables");
                bench.put("ada", skus[0], 1, true).await;
            }
        }
    }
}
