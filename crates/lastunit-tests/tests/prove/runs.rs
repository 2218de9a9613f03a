//! The command, as an engineer runs it.

use std::time::Duration;

use lastunit_tests::{
    server::{Database, Ran, order_of},
    servers::{MariaDb, Postgres, Redis},
};
use serde_json::Value;

/// A run that has to hold; what it reports.
async fn holds(database: &Database, options: &[&str]) -> Value {
    let mut args = vec!["prove", "--report", "report"];
    args.extend(options);
    let ran = database.run(&args).await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("verdict      every check holds"), "{}", ran.out);
    assert!(ran.err.contains("orders placed"), "no progress: {}", ran.err);
    let page = std::fs::read_to_string(database.path("report/report.html")).expect("a report");
    assert!(page.contains("<svg") && page.contains("every check holds") && !page.contains("src="), "{page}");
    let verdict = std::fs::read(database.path("report/verdict.json")).expect("a verdict");
    serde_json::from_slice(&verdict).expect("JSON")
}

/// The first number of what a check examined.
fn examined(verdict: &Value, check: &str) -> u64 {
    let checks = verdict["checks"].as_array().expect("checks");
    let check = checks.iter().find(|one| one["name"] == check).expect("the check");
    let digits = check["examined"].as_str().expect("a text").split(' ').next().expect("a number");
    digits.parse().expect("a number")
}

/// Nothing was proved by a run in which nothing happened.
fn assert_busy(verdict: &Value) {
    for check in [
        "acknowledged_orders_are_kept",
        "refused_keys_have_no_order",
        "replays_repeat_the_answer",
        "every_key_is_decided",
        "sold_out_only_when_sold_out",
        "carts_add_up",
    ] {
        assert!(examined(verdict, check) >= 10, "{check}: {verdict}");
    }
}

/// So many times a kind of fault struck.
fn struck(ran: &str, kind: &str) -> bool {
    ran.lines().any(|line| line.trim_start().starts_with(kind) && line.contains("struck"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_holds_and_may_be_proved_again() {
    let database = Database::default();
    let verdict = holds(&database, &["--minutes", "0.17", "--seed", "1"]).await;
    assert_busy(&verdict);
    let again = database.run(&["prove", "--report", "report", "--minutes", "0.05"]).await;
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("name another folder"), "{again:?}");
    let again = database.run(&["prove", "--minutes", "0.05"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let listed = database.run(&["keys", "list"]).await.ok();
    assert!(listed.contains("disposable"), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_with_carts_in_redis_and_three_servers_holds() {
    let (store, carts) = (Postgres::shared_database(), Redis::shared_database());
    let database = Database::at(store.url(), carts.url());
    let verdict = holds(&database, &["--minutes", "0.25", "--servers", "3", "--seed", "2"]).await;
    assert_busy(&verdict);
    let page = std::fs::read_to_string(database.path("report/report.html")).expect("a report");
    assert!(page.contains("database cut off") && page.contains("Redis connections"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_holds() {
    let store = MariaDb::shared_database();
    let database = Database::at(store.url(), "store");
    let verdict = holds(&database, &["--minutes", "0.2", "--servers", "2", "--seed", "3"]).await;
    assert_busy(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_whose_answer_is_lost_are_found_again() {
    let store = Postgres::shared_database();
    let database = Database::at(store.url(), "store");
    let faults = "cut-after-commit,cut-before-commit";
    let ran = database.run(&["prove", "--minutes", "0.1", "--seed", "4", "--faults", faults]).await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(struck(&ran.out, "database cut off after COMMIT"), "{}", ran.out);
    assert!(struck(&ran.out, "database cut off before COMMIT"), "{}", ran.out);
    assert!(ran.out.contains("not asked for"), "{}", ran.out);
}

fn violated(ran: &Ran, check: &str) {
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.out, ran.err);
    let verdict = ran.out.lines().find(|line| line.starts_with("verdict")).expect("a verdict");
    assert!(verdict.contains("VIOLATED") && verdict.contains(check), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_naive_strategy_is_caught_and_its_database_is_not_taken_again() {
    let database = Database::default();
    let naive = ["prove", "--strategy", "naive", "--minutes", "0.1", "--faults", "cut-clients"];
    let refused = database.run(&naive).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("--allow-overselling"), "{refused:?}");

    let ran = database.run(&[&naive[..], &["--allow-overselling", "--buyers", "24"]].concat()).await;
    violated(&ran, "stock_adds_up");
    violated(&ran, "stock_matches_ledger");
    let kept = ran.out.lines().find_map(|line| line.strip_prefix("report       ")).expect("a report");
    assert!(std::path::Path::new(kept).is_file(), "the evidence is kept: {}", ran.out);

    let again = database.run(&["prove", "--minutes", "0.05"]).await;
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("violations of an earlier run"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_use_is_refused() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    server.buyer("ada").place(&order_of(&[(1, 1)]), "k").await.is(201);
    server.terminate();
    server.ended().await;
    let ran = database.run(&["prove", "--minutes", "0.05"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("isn't empty"), "{ran:?}");
    assert!(database.assert_holds().await.contains(": 1 orders"), "it is as it was");

    let ran = Database::default().run(&["prove", "--servers", "2"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("one SQLite file has one server"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_gives_the_verdict_so_far() {
    let database = Database::default();
    let ran = database.interrupt(&["prove", "--minutes", "60"], Duration::from_secs(4)).await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("every check holds, as far as it got"), "{}", ran.out);
}
