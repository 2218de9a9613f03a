//! Power losses on SQLite. The server runs for real, and all that it asks of the disk is written down in order, with the
//! moments at which buyers were told of their orders. Afterwards the power is lost at hundreds of moments of that record.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use lastunit::Store;
use lastunit_store::SqliteStore;
use lastunit_tests::{
    Chance,
    server::{Database, load::sku},
};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::{
    buyers::{Buyers, Door},
    disk::{self, Disk, Event, Left},
};

/// Moments at which the power is lost.
const LOSSES: u64 = 300;
/// The same where syncs are lies.
const LOSSES_OF_A_LIAR: u64 = 60;
/// Orders in each run of the server. The last one is long enough for the log to be moved while it is written.
const ORDERS: [usize; 4] = [250, 250, 250, 4_500];
/// The same where syncs are lies.
const ORDERS_OF_A_LIAR: [usize; 1] = [500];
const STOCK: i64 = 1_000_000;
/// As many images are looked at as there are cores to do so.
const AT_ONCE: usize = 2;

/// Compiles the library that writes down what goes to the disk.
fn library(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/power_loss.c");
    let library = folder.join("power_loss.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status();
    assert!(compiled.expect("a C compiler, as cc").success(), "{} doesn't compile", source.display());
    library
}

/// Runs servers one after the other under load, and gives the record. Each moves its log into the database as it
/// ends, and removes it.
async fn record(orders: &[usize], liar: bool) -> Vec<u8> {
    let database = Database::default();
    let (file, log, library) = (database.path("shop.db"), database.path("log"), library(&database.path("")));
    let [file, log, library] =
        [file, log, library].map(|path| path.into_os_string().into_string().expect("UTF-8"));
    let mut environment = vec![
        ("LASTUNIT_SERVICE_KEY", Database::KEY),
        ("LD_PRELOAD", &library),
        ("POWER_LOSS_FILE", &file),
        ("POWER_LOSS_LOG", &log),
    ];
    if liar {
        environment.push(("POWER_LOSS_LIES", "-wal"));
    }
    let door = Door::default();
    let mut buyers = None;
    for orders in orders {
        let server = database.serve_with(&[], &environment).await;
        door.lead_to([server.address]);
        if buyers.is_none() {
            let mut skus = Vec::new();
            for _ in 0..3 {
                skus.push(sku(&server.admin(), 100, STOCK).await);
            }
            let log = fs::OpenOptions::new().append(true).open(&log).expect("the log");
            // Later than the answer, never earlier: what the log has in front of it, the disk had when the buyer knew.
            buyers = Some(Buyers::start_with(&door, &skus, move |key, order| {
                (&log).write_all(&disk::acknowledged(key, order)).expect("the log");
            }));
        }
        buyers.as_ref().expect("there by now").orders(*orders).await;
        // A kill could cut the record off in the middle.
        server.terminate();
        assert_eq!(server.ended().await.0.code(), Some(0));
    }
    drop(buyers);
    fs::read(log).expect("the log")
}

/// What a power loss left.
#[derive(Default)]
struct After {
    /// Orders that were acknowledged before it.
    acknowledged: usize,
    /// Of those, how many aren't there.
    lost: usize,
    /// How long it took to open the database.
    opened: Duration,
    /// Why it can't be used, or what of it is wrong.
    broken: Option<String>,
}

/// Starts on what is there after a power loss.
async fn start_again(folder: tempfile::TempDir, acknowledged: Vec<(String, String)>) -> After {
    let path = folder.path().join("shop.db");
    let begun = Instant::now();
    let mut after = After { acknowledged: acknowledged.len(), ..After::default() };
    let store = match SqliteStore::open(&path) {
        Ok(store) => store,
        Err(error) => return After { broken: Some(error.to_string()), ..after },
    };
    after.opened = begun.elapsed();
    match store.check().await {
        Ok(report) if report.violations.is_empty() => {}
        Ok(report) => after.broken = Some(format!("{:?}", report.violations)),
        Err(error) => after.broken = Some(error.to_string()),
    }
    store.close().await;
    let kept = orders(&path).unwrap_or_else(|error| {
        after.broken.get_or_insert(error.to_string());
        HashMap::new()
    });
    after.lost = acknowledged.iter().filter(|(key, order)| kept.get(key) != Some(order)).count();
    after
}

/// The order of every key.
fn orders(path: &Path) -> rusqlite::Result<HashMap<String, String>> {
    let connection = Connection::open(path)?;
    let mut select = connection.prepare(
        "SELECT k.key, lower(hex(o.id)) FROM idempotency_key k JOIN orders o ON o.shop_id = k.shop_id AND o.id = k.order_id",
    )?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Loses the power at so many moments of a record; what each left.
async fn lose_power(log: Vec<u8>, losses: u64) -> Vec<After> {
    let events = disk::events(&log);
    let mut chance = Chance(42);
    let mut moments: Vec<usize> =
        (0..losses).map(|_| chance.below(events.len() as u64 + 1) as usize).collect();
    moments.sort_unstable();
    let (mut disk, mut acknowledged, mut seen) = (Disk::new(&log), Vec::new(), 0);
    let (mut images, mut after) = (JoinSet::new(), Vec::new());
    for (n, moment) in moments.into_iter().enumerate() {
        for event in &events[seen..moment] {
            disk.see(event);
            if let Event::Acknowledged { key, order } = event {
                acknowledged.push((key.clone(), order.replace('-', "")));
            }
        }
        seen = moment;
        let folder = tempfile::tempdir().expect("a temporary folder");
        disk.lose_power(Left::ALL[n % Left::ALL.len()], &mut chance, folder.path());
        if images.len() == AT_ONCE {
            after.extend(images.join_next().await.transpose().expect("no panic"));
        }
        images.spawn(start_again(folder, acknowledged.clone()));
    }
    after.extend(images.join_all().await);
    after
}

/// Asserts that there is everything in a record that a power loss may interrupt.
fn assert_is_full(log: &[u8]) {
    let events = disk::events(log);
    let is = |what: fn(&Event) -> bool| events.iter().filter(|event| what(event)).count();
    let database = events.iter().find_map(|event| match event {
        Event::Created { inode, name } if name == "shop.db" => Some(*inode),
        _ => None,
    });
    let newest_log = events.iter().rposition(|event| matches!(event, Event::Created { .. })).expect("files");
    let last_order =
        events.iter().rposition(|event| matches!(event, Event::Acknowledged { .. })).expect("orders");
    let of_database =
        |event: &&Event| matches!(event, Event::Wrote { inode, .. } if Some(*inode) == database);
    let counts = [
        ("writes", is(|event| matches!(event, Event::Wrote { .. }))),
        (
            "writes to the database while its log is written",
            events[newest_log..last_order].iter().filter(of_database).count(),
        ),
        ("syncs", is(|event| matches!(event, Event::SyncEnded { .. }))),
        ("removed logs", is(|event| matches!(event, Event::Unlinked { .. }))),
        ("orders acknowledged", is(|event| matches!(event, Event::Acknowledged { .. }))),
    ];
    println!("power may be lost amid {counts:?}");
    assert!(counts.iter().all(|(_, count)| *count > 0), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_order_is_lost_with_the_power() {
    let log = record(&ORDERS, false).await;
    assert_is_full(&log);
    let after = lose_power(log, LOSSES).await;
    let broken: Vec<&String> = after.iter().filter_map(|after| after.broken.as_ref()).collect();
    let lost: usize = after.iter().map(|after| after.lost).sum();
    let most = after.iter().map(|after| after.acknowledged).max().expect("a loss");
    let slowest = after.iter().map(|after| after.opened).max().expect("a loss");
    println!(
        "{LOSSES} power losses on SQLite, up to {most} orders acknowledged before: {lost} lost, {} databases broken; \
         open again after {slowest:.1?} at most",
        broken.len()
    );
    assert_eq!((lost, &broken[..]), (0, &[][..]));
}

/// A disk that says it has synced the log, and hasn't, is what `synchronous = NORMAL` would be. If the test above could
/// not see what that loses, it would show nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_lies_loses_orders_and_is_found_out() {
    let after = lose_power(record(&ORDERS_OF_A_LIAR, true).await, LOSSES_OF_A_LIAR).await;
    let lost: usize = after.iter().map(|after| after.lost).sum();
    let seen = after.iter().filter(|after| after.lost > 0).count();
    println!("{LOSSES_OF_A_LIAR} power losses on a disk that lies: {seen} lost orders, {lost} in all");
    assert!(lost > 0);
}
