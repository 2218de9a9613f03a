//! What is sent to the server for an order.

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{
    remote::{four_orders, until},
    servers::Postgres,
};

use crate::open;

/// What distributed engines don't share, or do differently.
const FORBIDDEN: [&str; 6] = ["SAVEPOINT", "ADVISORY", "NEXTVAL", "SKIP LOCKED", "DEFERR", "TRIGGER"];

/// The statements in a server's log, each on one line.
fn statements(log: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut of_statement = false;
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix('\t') {
            if of_statement && let Some(statement) = statements.last_mut() {
                statement.push_str(rest);
            }
            continue;
        }
        let text = line.split_once("LOG:  ").map_or("", |(_, text)| text);
        let sql = text.strip_prefix("statement: ");
        let sql =
            sql.or_else(|| text.strip_prefix("execute ").and_then(|text| Some(text.split_once(": ")?.1)));
        of_statement = sql.is_some();
        statements.extend(sql.map(str::to_owned));
    }
    statements
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_of_an_order_names_its_shop() {
    let server = Postgres::start(&[("log_statement", "all"), ("fsync", "off")]);
    for (at, prepared) in [true, false].into_iter().enumerate() {
        let config = RemoteConfig { prepared, ..RemoteConfig::default() };
        for strategy in Strategy::SAFE {
            let database = server.create_database();
            let bench = open(&server.url_of(&database), config.clone(), strategy).await;
            let mark = format!("marker {at} {strategy:?}");
            let begin = || drop(server.client(&format!("SELECT 'from {mark}'")));
            four_orders(&bench, begin).await;
            server.client(&format!("SELECT 'to {mark}'"));
            let log = server.log();
            let (_, log) = log.split_once(&format!("from {mark}")).expect("the mark");
            let (log, _) = log.split_once(&format!("to {mark}")).expect("the mark");
            let mut of_orders = 0;
            for sql in statements(log) {
                let upper = sql.trim_start().to_uppercase();
                for word in FORBIDDEN {
                    assert!(!upper.contains(word), "{word} in {sql}");
                }
                let frame = ["BEGIN", "SET LOCAL", "COMMIT", "ROLLBACK", "SELECT '"];
                if frame.iter().any(|start| upper.starts_with(start)) {
                    continue;
                }
                of_orders += 1;
                let mut inserts = upper.split("INSERT INTO ").skip(1).peekable();
                let names_shop = match upper.split_once("VALUES").or(upper.split_once("WHERE")) {
                    _ if inserts.peek().is_some() => inserts.all(|insert| {
                        insert.split_once('(').is_some_and(|(_, columns)| columns.starts_with("SHOP_ID,"))
                    }),
                    Some((_, condition)) => condition.contains("SHOP_ID = $1"),
                    None => false,
                };
                assert!(names_shop, "{strategy:?}: {sql}");
            }
            assert!(of_orders > 15, "{of_orders} statements of four orders were logged");
        }
    }
}

/// Plans are made while the tables are empty, where reading all of a table is as cheap as its index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cart_and_no_order_reads_all_of_a_table() {
    let server = Postgres::shared();
    for strategy in Strategy::SAFE {
        let database = server.create_database();
        let bench = open(&server.url_of(&database), RemoteConfig::default(), strategy).await;
        let skus = bench.skus(500, &[1000, 1000]).await;
        // From here on the planner knows that they are empty.
        server.client_of(&database, "VACUUM ANALYZE");
        let read = "SELECT string_agg(relname || ' ' || seq_scan, ', ' ORDER BY relname), SUM(idx_scan) > 500
                    FROM pg_stat_user_tables
                    WHERE relname IN ('idempotency_key', 'orders', 'order_line', 'sku', 'product', 'stock_movement',
                                      'cart_head', 'cart_line', 'cart_order', 'outbox_event', 'address')";
        let mut before = String::new();
        until("what was done before is counted", || {
            let last = std::mem::replace(&mut before, server.client_of(&database, read));
            std::thread::sleep(std::time::Duration::from_millis(300));
            last == before
        })
        .await;
        let address = bench.save_address("ada", Address::example()).await;
        for _ in 0..30 {
            bench.put("ada", skus[0], 1, true).await;
            let asks = [bench.ask("ada"), bench.ask("bob").lines(&[(skus[0], 1), (skus[1], 1)])];
            bench.place_at_once(asks.into()).await;
            bench.buy(&bench.ask("ada").line(skus[1], 1).to(address)).await;
        }
        bench.store.close().await;
        let mut after = String::new();
        until("what was done is counted", || {
            after = server.client_of(&database, read);
            after.ends_with("|t")
        })
        .await;
        assert_eq!(after.split('|').next(), before.split('|').next(), "{strategy:?}: reads of whole tables");
    }
}
