//! The checker is checked: each bug that is put into a shop is caught, under the name of the promise that it breaks.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Result;
use lastunit::{Config, Engine, Role, ServiceKey, Source, Store, SystemSource};
use lastunit_bench::{
    history::{Invariant, Recorder, Verdict, judge, read},
    workload::{Counts, Plan, open_shop, read_all, resolve, shop_until},
};
use lastunit_server::{Metrics, Server, ServerConfig};
use lastunit_store::{RedisCarts, RedisConfig, SqliteStore};
use lastunit_tests::servers::Redis;
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::watch, time::sleep};

use crate::twisted::{Bug, Twisted};

const KEY: &str = "service-key-of-a-test-0123456789abcdef";
/// Bugs that need two calls to meet may need some of these.
const ROUNDS: u64 = 20;

fn open(file: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(file).expect("a database"))
}

async fn serve(store: Arc<dyn Store>) -> Result<Server> {
    let hash = Sha256::digest(KEY.as_bytes()).into();
    let key = ServiceKey { hash, role: Role::Admin, label: "test".into(), created_at: SystemSource.now() };
    store.add_service_key(key).await?;
    let engine = Engine::start(store, Config::default())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok(Server::start(listener, engine, ServerConfig::default(), Metrics::new()).await?)
}

/// What happens between shopping and reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    /// The machine loses power. With synchronous=NORMAL SQLite had told the disk to keep what was checkpointed; what is
    /// in the log alone is gone.
    PowerLoss,
}

/// Lets buyers shop for some hundred calls, and judges.
async fn shop(store: Arc<dyn Store>, file: &Path, seed: u64, then: Then) -> Result<Verdict> {
    let server = serve(store.clone()).await?;
    let run = open_shop(server.local_addr(), KEY, seed, &format!("r{seed}")).await?;
    if then == Then::PowerLoss {
        checkpoint(file);
    }
    let path = file.with_extension(format!("{seed}.jsonl"));
    let recorder = Arc::new(Recorder::create(&path, &run)?);
    let plan = Plan {
        servers: vec![server.local_addr()],
        service_key: KEY.into(),
        run: Arc::new(run),
        buyers: 8,
        think_ms: 2,
        give_up_after: Duration::from_secs(5),
        recorder,
        counts: Arc::new(Counts::default()),
    };
    let (stop, stopped) = watch::channel(false);
    let shopping = tokio::spawn({
        let plan = plan.clone();
        async move { shop_until(&plan, stopped).await }
    });
    // A number of calls and not a time, for machines are more or less busy.
    while plan.counts.calls.load(Ordering::Relaxed) < 1500 {
        sleep(Duration::from_millis(20)).await;
    }
    stop.send_replace(true);
    let shopped = shopping.await??;
    resolve(&plan, &shopped).await?;

    let mut state = match then {
        Then::Nothing => read_all(&plan, &shopped).await?,
        Then::PowerLoss => {
            let server = serve(open(&what_the_disk_has(file))).await?;
            let plan = Plan { servers: vec![server.local_addr()], ..plan };
            let state = read_all(&plan, &shopped).await?;
            server.shutdown();
            server.join().await;
            state
        }
    };
    let report = store.check().await?;
    let of = |name: &&'static str| Invariant {
        name: (*name).into(),
        examined: report.orders.to_string(),
        violations: report
            .violations
            .iter()
            .filter(|violation| violation.invariant == *name)
            .map(ToString::to_string)
            .collect(),
    };
    state.invariants = report.checked.iter().map(of).collect();
    server.shutdown();
    server.join().await;
    let history = read(&path)?;
    assert!(history.ops.len() > 300, "only {} calls", history.ops.len());
    Ok(judge(&history, &state))
}

fn checkpoint(file: &Path) {
    let database = rusqlite::Connection::open(file).expect("the database");
    database.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())).expect("a checkpoint");
}

/// The file without its log.
fn what_the_disk_has(file: &Path) -> PathBuf {
    let copy = file.with_extension("after-power-loss");
    std::fs::copy(file, &copy).expect("a copy");
    copy
}

/// A shop with a bug in it, on this file.
async fn twisted(bug: Bug, file: &Path, carts: &str) -> Arc<dyn Store> {
    let twisted = Twisted::new(open(file), bug, file.to_owned());
    match bug {
        Bug::NoFence => {
            Arc::new(RedisCarts::connect(carts, RedisConfig::default(), twisted).await.expect("carts"))
        }
        _ => twisted,
    }
}

/// Shops until the bug is caught; what was violated.
async fn violated(bug: Bug) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.db");
    let carts = Redis::shared_database();
    for round in 0..ROUNDS {
        let store = twisted(bug, &file, carts.url()).await;
        let verdict = shop(store, &file, round, Then::Nothing).await.expect("a verdict");
        if !verdict.holds() || bug == Bug::None {
            return verdict.violated().into_iter().map(String::from).collect();
        }
    }
    Vec::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_seeded_bug_is_caught_by_name() {
    let bugs = [
        (Bug::NoKey, "one_order_a_key"),
        (Bug::CartClearedById, "carts_add_up"),
        (Bug::AbsoluteStock, "stock_adds_up"),
        (Bug::NoLedgerRow, "stock_matches_ledger"),
        (Bug::NoFence, "carts_add_up"),
        (Bug::RestockedTwice, "stock_adds_up"),
        (Bug::Leak, "nobody_sees_others"),
        (Bug::FalseSoldOut, "sold_out_only_when_sold_out"),
        (Bug::OtherReplay, "replays_repeat_the_answer"),
        (Bug::StaleStatus, "status_changes_are_legal"),
        (Bug::LostOrder, "acknowledged_orders_are_kept"),
        (Bug::OtherPrice, "totals_add_up"),
    ];
    let mut missed = Vec::new();
    for (bug, check) in bugs {
        let violated = violated(bug).await;
        if !violated.iter().any(|name| name == check) {
            missed.push(format!("{bug:?}: {check} holds; violated: {violated:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bug_nothing_is_violated() {
    assert_eq!(violated(Bug::None).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_synchronous_is_caught_at_a_power_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.db");
    let verdict = shop(open(&file), &file, 0, Then::PowerLoss).await.expect("a verdict");
    assert!(verdict.violated().contains(&"acknowledged_orders_are_kept"), "{:?}", verdict.violated());
}
