//! A crowd that trickles, and an ordinary client beside it.

use std::time::Duration;

use lastunit_tests::server::{GUARD, Raw, Shop, order_of};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{task::JoinSet, time::timeout};

/// As many connections as this machine lets one process hold both ends of, at most 1,000.
fn crowd() -> usize {
    // Other tests run beside this one.
    const OTHERS: u64 = 400;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = usize::try_from(files.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX).min(1_000);
    assert!(count >= 100, "only {files} files may be open at once (ulimit -n): that is no crowd");
    count
}

/// How long the server bears with one of them: until all are there, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_30_a_thousand_connections_that_trickle() {
    let shop = Shop::open_with(|options| {
        options.server.header_timeout = PATIENCE;
        options.server.body_timeout = PATIENCE;
    })
    .await;
    let sku = shop.sku(100, 1_000_000).await;
    let head = "GET /v1/orders HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned();
    let body = shop.head("POST /v1/orders", "eve") + "Idempotency-Key: slow\r\nContent-Length: 60000\r\n\r\n";

    let count = crowd();
    let mut slow = JoinSet::new();
    for n in 0..count {
        let (address, begin) = (shop.address, if n % 2 == 0 { head.clone() } else { body.clone() });
        slow.spawn(async move {
            let mut raw = Raw::connect(address).await;
            raw.write(begin).await;
            while !raw.is_over() && raw.write(" ").await {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            raw.rest().await
        });
    }
    let all_are_there = async {
        let open = format!("lastunit_http_connections_open {}\n", count + 1);
        let watcher = shop.stranger();
        while !watcher.get("/metrics").await.text().contains(&open) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, all_are_there).await.expect("the whole crowd is connected at once");

    // One client that keeps its connection, and one that comes anew each time.
    let (kept, order) = (shop.buyer("ada"), order_of(&[(sku, 1)]));
    for n in 0..50 {
        kept.place(&order, &format!("kept-{n}")).await.is(201);
        shop.buyer("bob").place(&order, &format!("anew-{n}")).await.is(201);
    }
    assert!(slow.try_join_next().is_none(), "they were served while all of the crowd was there");

    let told = timeout(PATIENCE + GUARD, slow.join_all()).await.expect("the server has enough of every one");
    assert_eq!(told.len(), count);
    for told in told {
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 408 "), "{told}");
    }
    kept.place(&order, "after").await.is(201);
    assert_eq!(shop.stock(sku).await, 1_000_000 - 101);
    shop.bench.assert_holds().await;
}
