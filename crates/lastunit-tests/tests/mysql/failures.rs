//! Servers and connections that fail while orders are placed.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{placed, remote::outage, servers::MariaDb};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{WAITS, lock_all_skus, open, transactions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_is_recovered_from() {
    let server = MariaDb::shared();
    for strategy in [Strategy::Batched, Strategy::Pessimistic, Strategy::Optimistic] {
        let database = MariaDb::shared_database();
        let bench = open(database.url(), RemoteConfig::default(), strategy).await;
        let kill = || {
            let waiting = transactions(server, database.name(), WAITS);
            let killed = waiting.first().map(|id| server.client(&format!("KILL {id}")));
            killed.is_some()
        };
        let lock = lock_all_skus(server, database.name());
        outage::a_killed_connection_is_recovered_from(&bench, lock, kill).await;
    }
}

/// The server takes the COMMIT, and its answer is lost: the connection ends instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_found_by_its_key() {
    let server = MariaDb::shared();
    for strategy in Strategy::SAFE {
        let database = MariaDb::shared_database();
        let lossy = Lossy::before(server.port()).await;
        let through = database.url().replace(&server.port().to_string(), &lossy.port.to_string());
        let bench = open(&through, RemoteConfig::default(), strategy).await;
        let sku = bench.sku(500, 10).await;
        lossy.to_lose.store(1, Ordering::SeqCst);
        let reply = bench.engine.place(bench.ask("ada").line(sku, 1).0).await.expect("an answer");
        assert_eq!(lossy.to_lose.load(Ordering::SeqCst), 0, "no answer was lost");
        assert!(reply.replayed, "{strategy:?}: it was committed before: {reply:?}");
        assert_eq!(bench.orders("ada").await, [placed(&reply).clone()]);
        bench.assert_counters(sku, 9, 1).await;
        bench.assert_holds().await;
    }
}

/// Stands before a server, and loses the answers to some COMMITs.
struct Lossy {
    port: u16,
    to_lose: Arc<AtomicUsize>,
}

impl Lossy {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let to_lose = Arc::new(AtomicUsize::new(0));
        let losing = to_lose.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server");
                tokio::spawn(pass_on(client, server, losing.clone()));
            }
        });
        Self { port, to_lose }
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, to_lose: Arc<AtomicUsize>) {
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut lost = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let less = |left: usize| left.checked_sub(1);
                let commits = asked[..length].ends_with(b"COMMIT");
                lost = commits && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if lost || client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_keeps_every_acknowledged_order() {
    for strategy in [Strategy::Batched, Strategy::Pessimistic] {
        let server = MariaDb::start(&[]);
        let bench = open(&server.url(), RemoteConfig::default(), strategy).await;
        outage::a_server_killed_under_load_keeps_every_acknowledged_order(&server, &bench).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_unavailable_in_bounded_time_and_recovers() {
    let server = MariaDb::start(&[]);
    let bench = open(&server.url(), outage::impatient(), Strategy::Batched).await;
    let ours =
        "SELECT id FROM information_schema.processlist WHERE db = 'lastunit' AND id <> CONNECTION_ID()";
    let connections = || server.client(ours).lines().map(str::to_owned).collect();
    outage::a_frozen_server_is_unavailable_in_bounded_time_and_recovers(&server, &bench, connections).await;
}
