//! What `lastunit prove` found: a cart's line came back after it was ordered.
//!
//! The answer to the COMMIT that sets a line is lost. Before the line is set again, to be sure, an order takes it.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lastunit::{CartLineSetting, ShopId, Store, StoreError, Strategy};
use lastunit_store::{MySqlStore, PostgresStore, RemoteConfig};
use lastunit_tests::{
    buyer, placed,
    remote::{bounded, shop},
    servers::{MariaDb, Postgres},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

/// Leads to a database, and loses the answer to one COMMIT.
struct Lossy {
    address: SocketAddr,
    /// Whether the next COMMIT is the one.
    armed: Arc<AtomicBool>,
    /// Given when it has happened.
    lost: Arc<Semaphore>,
    /// Whether new connections are let through.
    open: watch::Sender<bool>,
}

impl Lossy {
    async fn start(port: u16, commit: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (open, opened) = watch::channel(true);
        let address = listener.local_addr().expect("its address");
        let (armed, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
        let lossy = Self { address, armed: armed.clone(), lost: lost.clone(), open };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (armed, lost, mut opened) = (armed.clone(), lost.clone(), opened.clone());
                tokio::spawn(async move {
                    opened.wait_for(|open| *open).await.ok();
                    let server = TcpStream::connect(("127.0.0.1", port)).await.expect("the database");
                    pass_on(client, server, commit, &armed, &lost).await;
                });
            }
        });
        lossy
    }
}

async fn pass_on(
    mut client: TcpStream,
    mut server: TcpStream,
    commit: &[u8],
    armed: &AtomicBool,
    lost: &Semaphore,
) {
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let asked = &asked[..count.unwrap_or(0)];
                if asked.is_empty() || server.write_all(asked).await.is_err() {
                    return;
                }
                let is_commit = asked.windows(commit.len()).any(|window| window == commit);
                if is_commit && armed.swap(false, Ordering::SeqCst) {
                    let answer = server.read(&mut answered).await;
                    assert!(answer.is_ok_and(|count| count > 0), "it was committed");
                    lost.add_permits(1);
                    return;
                }
            }
            count = server.read(&mut answered) => {
                let answered = &answered[..count.unwrap_or(0)];
                if answered.is_empty() || client.write_all(answered).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// `direct` leads to the same database as `through`, which goes by way of `lossy`.
async fn a_line_that_was_ordered_stays_out_of_the_cart(
    lossy: Lossy,
    through: Arc<dyn Store>,
    direct: Arc<dyn Store>,
) {
    let shop = shop(vec![direct], Strategy::Batched).await;
    let sku = shop.sku(500, 10).await;
    // The cart's head is there, so that the next COMMIT is that of its line.
    shop.put("ada", sku, 1, true).await;
    let (ada, line) = (buyer("ada"), CartLineSetting { count: 2, selected: true });
    through.cart(ShopId::FIRST, &ada).await.expect("a connection");

    lossy.armed.store(true, Ordering::SeqCst);
    lossy.open.send_replace(false);
    let set = tokio::spawn(async move { through.set_cart_line(ShopId::FIRST, &ada, sku, line).await });
    bounded(lossy.lost.acquire()).await.expect("open").forget();
    assert_eq!(placed(&shop.place(&shop.ask("ada")).await).lines[0].count, 2, "it was committed");
    lossy.open.send_replace(true);

    let set = bounded(set).await.expect("no panic");
    assert!(matches!(set, Err(StoreError::CommitUnknown(_))), "{set:?}");
    assert_eq!(shop.cart("ada").await, []);
    shop.assert_holds().await;
}

fn one_connection() -> RemoteConfig {
    RemoteConfig { max_connections: NonZeroUsize::MIN, ..RemoteConfig::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let database = Postgres::shared_database();
    let port = Postgres::shared().port();
    let lossy = Lossy::start(port, b"COMMIT\0").await;
    let direct = PostgresStore::connect(database.url(), RemoteConfig::default()).await.expect("a store");
    let url = database.url().replace(&format!(":{port}/"), &format!(":{}/", lossy.address.port()));
    let through = PostgresStore::connect(&url, one_connection()).await.expect("a store");
    a_line_that_was_ordered_stays_out_of_the_cart(lossy, Arc::new(through), Arc::new(direct)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb() {
    let database = MariaDb::shared_database();
    let port = MariaDb::shared().port();
    let lossy = Lossy::start(port, b"\x03COMMIT").await;
    let direct = MySqlStore::connect(database.url(), RemoteConfig::default()).await.expect("a store");
    let url = database.url().replace(&format!(":{port}/"), &format!(":{}/", lossy.address.port()));
    let through = MySqlStore::connect(&url, one_connection()).await.expect("a store");
    a_line_that_was_ordered_stays_out_of_the_cart(lossy, Arc::new(through), Arc::new(direct)).await;
}
