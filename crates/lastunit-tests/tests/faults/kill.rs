//! kill -9 of the server, again and again.

use std::time::{Duration, Instant};

use lastunit_store::SqliteStore;
use lastunit_tests::{
    Chance,
    server::{Database, load::sku},
};

use crate::{
    buyers::{Buyers, Door},
    figures::median_and_most,
    verdict::Verdict,
};

const KILLS: usize = 200;
const STOCK: i64 = 1_000_000;
/// The most orders between a start and the next kill.
const MOST_ORDERS: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kills_of_the_server_lose_nothing() {
    let database = Database::default();
    let mut server = database.serve(&[]).await;
    let sku = sku(&server.admin(), 100, STOCK).await;
    let (door, mut chance) = (Door::default(), Chance(7));
    door.lead_to([server.address]);
    let buyers = Buyers::start(&door, &[sku]);
    let (mut starts, mut recoveries): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    for _ in 0..KILLS {
        buyers.orders(1 + chance.below(MOST_ORDERS) as usize).await;
        server.kill();
        let killed = Instant::now();
        // Nobody knocks while there is nobody.
        door.lead_to([]);
        server = database.serve(&[]).await;
        starts.push(killed.elapsed());
        door.lead_to([server.address]);
        recoveries.push(buyers.first_after(killed).await);
    }
    let (told, taken) = buyers.buy_the_rest(&server.admin(), sku).await;
    server.kill();
    assert!(told.others.is_empty(), "{:?}", told.others);
    assert!(told.unanswered >= KILLS, "{} calls were cut off by {KILLS} kills", told.unanswered);

    let store = SqliteStore::open_existing(database.path("shop.db")).expect("the database");
    let verdict = Verdict::of(&store, &told, &[sku], STOCK + taken).await;
    let recovery = format!(
        "{} calls cut off; the server listened again after {}, the first order was there after {}",
        told.unanswered,
        median_and_most(&mut starts),
        median_and_most(&mut recoveries)
    );
    verdict.assert_exact(&format!("{KILLS} SIGKILLs of the server on SQLite"), &recovery);
}
