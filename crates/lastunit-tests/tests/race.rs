//! The race condition, caught: `lastunit race` on every database, and the witness that tells of it.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lastunit::*;
use lastunit_store::{MySqlStore, PostgresStore, RemoteConfig, SqliteConfig, SqliteStore};
use lastunit_tests::{
    Bench, Fresh,
    server::{Database, Ran},
    servers::{MariaDb, Postgres},
};
use serde_json::Value;

/// Runs a race that also writes `race.json`; what it left, and that document.
async fn race(database: &Database, args: &[&str]) -> (Ran, Value) {
    let ran = database.run(&[&["race", "--json", "race.json"], args].concat()).await;
    let json = std::fs::read_to_string(database.path("race.json"));
    let json = json.unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let document = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran, document)
}

fn of<'a>(document: &'a Value, strategy: &str) -> &'a Value {
    let all = document["strategies"].as_array().expect("strategies");
    all.iter().find(|run| run["strategy"] == strategy).expect("each strategy is there")
}

/// The naive strategy oversold, and the output says by how much, how it came and that the check sees it.
fn assert_naive_is_caught(ran: &Ran, document: &Value) {
    let naive = of(document, "naive");
    let figure = |name: &str| naive[name].as_i64().expect("a figure");
    assert!(figure("oversold") > 0 && figure("lost_updates") > 0, "{naive}");
    assert_eq!(figure("placed"), document["attempts"].as_i64().expect("attempts") - figure("refused"));
    let violations = naive["violations"].as_array().expect("violations");
    assert!(violations.contains(&"stock_matches_ledger".into()), "{naive}");
    assert_eq!(naive["broken"], false, "it is what naive is known for");
    assert!(ran.out.contains(&format!("OVERSOLD by {}", figure("oversold"))), "{}", ran.out);

    let story = &document["lost_update"];
    let steps = story["steps"].as_array().expect("steps");
    let that = |does: &str| steps.iter().filter(move |step| step["does"] == does).collect::<Vec<_>>();
    let (reads, writes) = (that("read"), that("write"));
    assert!(reads.len() >= 2 && reads.len() == writes.len(), "{story}");
    assert!(steps[..2].iter().all(|step| step["does"] == "read"), "two read before one wrote: {story}");
    assert!(reads.iter().all(|step| step["stock"] == reads[0]["stock"]), "{story}");
    assert!(writes.iter().all(|step| step["stock"] == writes[0]["stock"]), "{story}");
    assert!(steps.iter().map(|step| step["at_ms"].as_f64().expect("a time")).is_sorted(), "{story}");
    let told = ran.out.lines().filter(|line| line.contains("  reads   stock ")).count();
    assert_eq!(told, reads.len(), "{}", ran.out);
    assert!(ran.out.contains("2 units sold, 1 counted"), "{}", ran.out);
}

/// Every other strategy sold what there was, once, and so says its line.
fn assert_others_are_exact(ran: &Ran, document: &Value) {
    let units = document["stock"].as_i64().expect("units") * document["skus"].as_i64().expect("SKUs");
    for strategy in Strategy::SAFE {
        let run = of(document, strategy.as_str());
        let figure = |name: &str| run[name].as_i64().expect("a figure");
        assert_eq!((figure("oversold"), figure("lost_updates")), (0, 0), "{run}");
        assert_eq!(figure("units_sold") + figure("stock_left"), units, "{run}");
        let answered = figure("placed") + figure("refused") + figure("gave_up");
        assert_eq!(answered, document["attempts"].as_i64().expect("attempts"), "{run}");
        assert_eq!((&run["violations"], &run["broken"]), (&serde_json::json!([]), &false.into()), "{run}");
        let verdict = format!("exact: {} of {units} units sold", figure("units_sold"));
        let line = ran.out.lines().find(|line| line.starts_with(strategy.as_str()));
        assert!(line.is_some_and(|line| line.contains(&verdict)), "{verdict}: {}", ran.out);
    }
}

/// The drawing is well-formed, and has an area in red if units were oversold.
fn assert_drawn(file: &Path, oversold: bool) {
    const RED: &str = "#CC2026";
    let svg = std::fs::read_to_string(file).expect("the drawing");
    let document = roxmltree::Document::parse(&svg).expect("well-formed XML");
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let areas = document.descendants().filter(|node| node.has_tag_name("polygon"));
    let red = areas.filter(|node| node.attribute("fill") == Some(RED)).count();
    assert_eq!(red, usize::from(oversold), "areas in red");
    let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    for strategy in Strategy::ALL {
        assert!(texts.contains(&strategy.as_str()), "{strategy:?} is in {texts:?}");
    }
    assert_eq!(texts.contains(&"oversold"), oversold, "{texts:?}");
}

#[tokio::test]
async fn naive_is_caught_and_the_others_are_exact() {
    let database = Database::default();
    let args = ["--buyers", "8", "--stock", "10", "--attempts", "200", "--svg", "race.svg"];
    let (ran, document) = race(&database, &args).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_naive_is_caught(&ran, &document);
    assert_others_are_exact(&ran, &document);
    assert_eq!(of(&document, "batched")["units_sold"], 10);
    assert_drawn(&database.path("race.svg"), true);
    assert!(!database.path("shop.db").exists(), "--store names it, and it isn't touched");
    assert!(ran.err.contains("shop.db isn't touched"), "{ran:?}");
    assert_eq!(ran.err.lines().filter(|line| line.contains("200 attempts in")).count(), 5, "{ran:?}");
}

#[tokio::test]
async fn orders_of_several_lines_race_too() {
    let database = Database::default();
    let args = ["--buyers", "8", "--stock", "8", "--attempts", "200", "--lines", "3", "--think-ms", "1"];
    let (ran, document) = race(&database, &args).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(document["skus"], 6);
    assert_naive_is_caught(&ran, &document);
    assert_others_are_exact(&ran, &document);
}

#[tokio::test]
async fn a_single_buyer_has_nobody_to_race_with() {
    let database = Database::default();
    let args = ["--buyers", "1", "--stock", "3", "--attempts", "9", "--think-ms", "0", "--svg", "race.svg"];
    let (ran, document) = race(&database, &args).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let naive = of(&document, "naive");
    assert_eq!((&naive["placed"], &naive["refused"], &naive["oversold"]), (&3.into(), &6.into(), &0.into()));
    assert_eq!(document["lost_update"], Value::Null);
    assert!(ran.out.contains("this time nobody raced"), "{}", ran.out);
    assert!(ran.out.contains("a single buyer has nobody to race with"), "{}", ran.out);
    assert_others_are_exact(&ran, &document);
    assert_drawn(&database.path("race.svg"), false);
}

#[tokio::test]
async fn what_cant_be_raced_is_said_before_the_race() {
    let database = Database::default();
    let nowhere = "postgres://nobody:s3cr3t@127.0.0.1:1/nowhere";
    for (args, why) in [
        (vec!["--svg", "no/such/folder/race.svg"], "no/such/folder/race.svg can't be written"),
        (vec!["--buyers", "0"], "--buyers"),
        (vec!["--think-ms", "1001"], "--think-ms"),
        (vec!["--store", nowhere], "PostgreSQL can't be reached"),
    ] {
        let ran = database.run(&[vec!["race"], args].concat()).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(why) && !ran.err.contains("panicked"), "{ran:?}");
        assert!(!ran.out.contains("s3cr3t") && !ran.err.contains("s3cr3t"), "{ran:?}");
        assert!(!ran.out.contains("exact"), "{ran:?}");
    }
}

/// Few buyers on a server, at the address of a database there: naive is caught, the others are exact.
async fn assert_raced_at(url: String) {
    let args = ["--buyers", "6", "--stock", "5", "--attempts", "60"];
    let (ran, document) = race(&Database::at(url, "store"), &args).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_naive_is_caught(&ran, &document);
    assert_others_are_exact(&ran, &document);
}

#[tokio::test]
async fn on_postgresql_no_database_is_left_and_none_touched() {
    let server = Postgres::shared();
    let name = server.create_database();
    assert_raced_at(server.url_of(&name)).await;
    let left = "SELECT datname FROM pg_database WHERE datname LIKE 'lastunit_run_%'";
    assert_eq!(server.client(left).trim(), "");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.client_of(&name, tables).trim(), "0");
}

#[tokio::test]
async fn on_mariadb_no_database_is_left_and_none_touched() {
    let server = MariaDb::shared();
    let name = server.create_database();
    assert_raced_at(server.url_of(&name)).await;
    assert_eq!(server.client("SHOW DATABASES LIKE 'lastunit_run_%'").trim(), "");
    assert_eq!(server.client_of(&name, "SHOW TABLES").trim(), "");
}

/// Notes what it is told, and makes the store pause.
#[derive(Default)]
struct Note(Mutex<Vec<String>>);

const PAUSE: Duration = Duration::from_millis(30);

impl Note {
    fn add(&self, text: String) {
        self.0.lock().expect("not poisoned").push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

impl Witness for Note {
    fn read(&self, orders: &[PlaceOrder], seen: &Seen) -> Duration {
        let stocks: Vec<i64> = seen.skus.values().map(|sku| sku.stock).collect();
        self.add(format!("{} reads {stocks:?}", orders[0].request.user.as_str()));
        PAUSE
    }

    fn wrote(&self, orders: &[PlaceOrder], stock: &[(SkuId, StockWrite)]) {
        let writes: Vec<StockWrite> = stock.iter().map(|(_, write)| *write).collect();
        self.add(format!("{} writes {writes:?}", orders[0].request.user.as_str()));
    }

    fn ended(&self, _orders: &[PlaceOrder], result: &Result<Vec<Reply>, StoreError>) {
        let placed = |reply: &Reply| matches!(reply.outcome, Outcome::Placed(_));
        let told = result.as_ref().map(|replies| replies.iter().filter(|reply| placed(reply)).count());
        self.add(format!("placed {told:?}"));
    }
}

/// However it is kept apart, an order tells the witness what it read, then what it wrote, then how it ended; and pauses.
async fn assert_witnessed(note: Arc<Note>, store: Arc<dyn Store>) {
    let fresh = Fresh { stores: vec![store.clone()], keep: Box::new(()) };
    let bench = Bench::new(fresh, Strategy::Batched).await;
    for locking in [Locking::None, Locking::CompareAndSet, Locking::Exclusive, Locking::Shared] {
        let sku = bench.sku(500, 5).await;
        let place = async |buyer: &str, count| {
            let order = bench.prepared(&bench.ask(buyer).line(sku, count), CartSnapshot::NOT_NEEDED);
            let replies =
                store.place(ShopId::FIRST, Arc::new(vec![order]), locking, &NextBatch::default()).await;
            (replies.expect("a reply"), note.take())
        };
        let begun = Instant::now();
        let (replies, told) = place("ada", 2).await;
        assert!(begun.elapsed() >= PAUSE, "{locking:?}: {:?}", begun.elapsed());
        let write = if locking == Locking::None { "To(3)" } else { "By(2)" };
        let expected = ["ada reads [5]".to_owned(), format!("ada writes [{write}]"), "placed Ok(1)".into()];
        assert_eq!(told, expected, "{locking:?}: {replies:?}");
        let (replies, told) = place("bob", 4).await;
        assert!(matches!(replies[0].outcome, Outcome::Refused(_)), "{replies:?}");
        assert_eq!(told, ["bob reads [3]", "bob writes []", "placed Ok(0)"], "{locking:?}");
    }
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_tells_a_witness() {
    let (note, folder) = (Arc::<Note>::default(), tempfile::tempdir().expect("a temporary folder"));
    let config = SqliteConfig { watched: Watched::by(note.clone()), ..SqliteConfig::default() };
    let store = SqliteStore::open_with(folder.path().join("shop.db"), config).expect("a new database");
    assert_witnessed(note, Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_tells_a_witness() {
    let (note, server) = (Arc::<Note>::default(), Postgres::shared());
    let config = RemoteConfig { watched: Watched::by(note.clone()), ..RemoteConfig::default() };
    let store = PostgresStore::connect(&server.url_of(&server.create_database()), config).await;
    assert_witnessed(note, Arc::new(store.expect("a new database"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_tells_a_witness() {
    let (note, server) = (Arc::<Note>::default(), MariaDb::shared());
    let config = RemoteConfig { watched: Watched::by(note.clone()), ..RemoteConfig::default() };
    let store = MySqlStore::connect(&server.url_of(&server.create_database()), config).await;
    assert_witnessed(note, Arc::new(store.expect("a new database"))).await;
}
