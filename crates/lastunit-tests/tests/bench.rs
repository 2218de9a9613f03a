//! `lastunit bench`, the real binary with tiny durations: not how fast it is, but whether its report is consistent, and
//! what it leaves in a shop.

use lastunit_tests::{
    server::{Database, Ran, order_of},
    servers::{MariaDb, Postgres},
};
use serde_json::Value;

/// A run's report.
struct Report(Value);

/// Runs `lastunit bench` with these options, and reads its report.
async fn bench(database: &Database, options: &[&str]) -> (Report, String) {
    let ran = try_bench(database, options).await;
    let out = ran.ok();
    let json = std::fs::read(database.path("report/report.json")).expect("a report");
    let report = Report(serde_json::from_slice(&json).expect("JSON"));
    report.assert_consistent();
    let svg = std::fs::read_to_string(database.path("report/report.svg")).expect("charts");
    assert_well_formed(&svg);
    let markdown = std::fs::read_to_string(database.path("report/report.md")).expect("a report");
    for row in report.rows() {
        let name = text(&row["name"]);
        assert!(out.contains(name) && markdown.contains(name) && svg.contains(name), "{name}: {out}");
    }
    (report, out)
}

async fn try_bench(database: &Database, options: &[&str]) -> Ran {
    let short = ["bench", "--rounds", "2", "--buyers", "4", "--report", "report"];
    let seconds: &[&str] = if options.contains(&"--seconds") { &[] } else { &["--seconds", "0.2"] };
    database.run(&[&short[..], seconds, options].concat()).await
}

impl Report {
    fn rows(&self) -> &Vec<Value> {
        self.0["rows"].as_array().expect("rows")
    }

    fn row(&self, name: &str) -> &Value {
        self.rows().iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {}", self.0))
    }

    fn says(&self, words: &str) -> bool {
        self.0["notes"].as_array().expect("notes").iter().any(|note| text(note).contains(words))
    }

    /// The rate of a limit, or of a row that others are held against.
    fn rate(&self, name: &str) -> f64 {
        let limits = self.0["limits"].as_array().expect("limits");
        let found = limits.iter().chain(self.rows()).find(|line| line["name"] == name);
        number(&found.unwrap_or_else(|| panic!("{name} wasn't measured: {}", self.0))["per_second"])
    }

    /// Whatever has to hold of every report.
    fn assert_consistent(&self) {
        assert!(number(&self.0["machine"]["cores"]) >= 1.0);
        for limit in self.0["limits"].as_array().expect("limits") {
            let runs: Vec<f64> = limit["runs"].as_array().expect("runs").iter().map(number).collect();
            assert_eq!(number(&limit["per_second"]), upper_median(&runs), "{limit}");
            assert!(runs.iter().all(|rate| *rate > 0.0), "{limit}");
        }
        assert!(!self.rows().is_empty());
        for row in self.rows() {
            assert_latency(&row["latency_ms"]);
            let runs = row["runs"].as_array().expect("runs");
            let rates: Vec<f64> = runs.iter().map(|run| number(&run["per_second"])).collect();
            assert_eq!(rates.len(), 2, "rounds of {row}");
            assert_eq!(number(&row["per_second"]), upper_median(&rates), "{row}");
            assert_eq!(number(&row["least_per_second"]), rates.iter().copied().fold(f64::MAX, f64::min));
            assert_eq!(number(&row["most_per_second"]), rates.iter().copied().fold(0.0, f64::max));
            for run in runs {
                assert_eq!(count(&run["answered"]), count(&run["placed"]) + count(&run["refused"]), "{run}");
                assert_close(
                    number(&run["per_second"]),
                    count(&run["answered"]) as f64 / number(&run["seconds"]),
                );
                assert_latency(&run["latency_ms"]);
                let open = row["load"] == "open loop";
                assert_eq!(run.get("worst_start_late_ms").is_some(), open, "{run}");
            }
            for ratio in row["ratios"].as_array().expect("ratios") {
                let quotient = number(&row["per_second"]) / self.rate(text(&ratio["to"]));
                assert_close(number(&ratio["ratio"]), quotient);
            }
        }
    }

    /// The names of what a row is held against.
    fn bounds(&self, row: &str) -> Vec<&str> {
        let ratios = self.row(row)["ratios"].as_array().expect("ratios");
        ratios.iter().map(|ratio| text(&ratio["to"])).collect()
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn upper_median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn assert_close(one: f64, other: f64) {
    assert!((one - other).abs() <= other.abs() * 1e-9, "{one} isn't {other}");
}

fn assert_latency(latency: &Value) {
    let percentiles = ["p50", "p90", "p99", "p99_9", "max"].map(|name| number(&latency[name]));
    assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{percentiles:?}");
}

/// Every element is closed, in its turn, and there is one at the top.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut tops = 0;
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("an end of the tag");
        assert!(!text.contains('&') || text.contains(';'), "an open entity in {text:?}");
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "in {tag}");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        tops += usize::from(open.is_empty());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && svg.starts_with("<svg"), "{open:?} are left open");
    assert_eq!(tops, 1, "elements at the top");
}

#[tokio::test]
async fn the_standard_table_is_measured_with_its_limits() {
    let database = Database::default();
    let (report, out) = bench(&database, &[]).await;
    assert_eq!(report.rows().len(), 10, "{out}");
    assert!(report.says("all invariants checked"), "{out}");
    let bounds =
        ["bulk insert, 1 line an order", "append-only log, the fsyncs of batched", "fsyncs of 4 KiB"];
    assert_eq!(report.bounds("batched, one SKU"), bounds);
    assert_eq!(report.bounds("HTTP: orders, batched, one SKU")[0], "HTTP: a constant endpoint");
    assert_eq!(report.bounds("HTTP: orders, batched, one SKU")[1..], bounds);
    assert_eq!(report.bounds("batched, 3 lines over 1,000 SKUs")[0], "bulk insert, 3 lines an order");
    assert!(report.bounds("HTTP: a constant endpoint").is_empty());
    // Half of the rate that the closed loop had in the same round was asked for.
    for (open, closed) in [
        ("batched, open loop at half that rate", "batched, one SKU"),
        ("HTTP: open loop at half that rate", "HTTP: orders, batched, one SKU"),
    ] {
        let runs = |row: &str| report.row(row)["runs"].as_array().expect("runs").clone();
        for (open, closed) in runs(open).iter().zip(runs(closed)) {
            assert_close(number(&open["wanted_per_second"]), number(&closed["per_second"]) / 2.0);
        }
    }
}

#[tokio::test]
async fn rows_of_the_table_are_chosen_by_name() {
    let database = Database::default();
    let (report, _) = bench(&database, &["--only", "optimistic"]).await;
    let names: Vec<&str> = report.rows().iter().map(|row| text(&row["name"])).collect();
    assert_eq!(names, ["batched, one SKU", "optimistic: one transaction an order"]);
    assert_eq!(text(&report.0["options"]["only"]), "optimistic");
    let none = try_bench(&database, &["--only", "no such row"]).await;
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.err.contains("is in the name of no row") && none.err.contains("256 buyers"), "{none:?}");
}

#[tokio::test]
async fn every_popularity_is_measured_open_and_closed() {
    let database = Database::default();
    for popularity in ["hot", "uniform", "zipf", "zipf:0.8"] {
        let options = ["--popularity", popularity, "--skus", "30", "--lines", "4"];
        let (report, out) = bench(&database, &options).await;
        assert!(out.contains(&format!("4 lines an order, of 30 SKUs ({popularity})")), "{out}");
        assert_eq!(report.bounds("batched, closed loop")[0], "bulk insert, 4 lines an order");
        assert!(report.says("checked for all invariants"), "{out}");

        let (report, _) = bench(&database, &[&options[..], &["--rate", "100"]].concat()).await;
        for run in report.row("batched, open loop")["runs"].as_array().expect("runs") {
            assert_eq!(number(&run["wanted_per_second"]), 100.0);
            assert_eq!(
                count(&run["answered"]) + count(&run["not_started"]),
                20,
                "100 a second, 0.2 s: {run}"
            );
        }
    }
}

#[tokio::test]
async fn every_strategy_sells_out_exactly() {
    let database = Database::default();
    for strategy in ["batched", "queue", "pessimistic", "optimistic"] {
        let options = ["--strategy", strategy, "--stock", "50", "--attempts", "120"];
        let (report, out) = bench(&database, &options).await;
        let row = report.row(&format!("{strategy}, sell-out"));
        for run in row["runs"].as_array().expect("runs") {
            // What was turned away may have been placed: nobody knows.
            let (placed, turned_away) = (count(&run["placed"]), count(&run["turned_away"]));
            assert_eq!(count(&run["answered"]) + turned_away, 120, "{run}");
            assert!(placed <= 50 && placed + turned_away >= 50, "{run}");
        }
        assert!(report.says("0 units left"), "{out}");
        assert!(row["ratios"].as_array().expect("ratios").is_empty(), "a refusal isn't an order: {row}");
    }
}

#[tokio::test]
async fn orders_that_are_there_before_are_of_the_workload() {
    let database = Database::default();
    let (report, out) = bench(&database, &["--rows", "1000", "--over", "http", "--lines", "2"]).await;
    assert!(out.contains("2 lines an order, of 2 SKUs (hot), on 1000 orders"), "{out}");
    assert_eq!(report.rows().len(), 2);
    assert_eq!(report.bounds("HTTP: batched, closed loop")[0], "HTTP: a constant endpoint");
}

#[tokio::test]
async fn a_shop_that_runs_already_is_loaded_through_its_api() {
    let shop = Database::default();
    let server = shop.serve(&[]).await;
    let url = format!("http://{}", server.address);
    let at = ["--url", &url, "--service-key", Database::KEY];
    let runner = Database::default();
    let refused = try_bench(&runner, &at).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("--yes-place-orders"), "{refused:?}");
    let at = [&at[..], &["--yes-place-orders"]].concat();

    let options = ["--skus", "6", "--lines", "2", "--popularity", "zipf", "--rate", "200"];
    let (report, out) = bench(&runner, &[&at[..], &options].concat()).await;
    assert_eq!(report.bounds("HTTP: orders, open loop"), ["HTTP: a constant endpoint"]);
    assert!(report.says("can't be checked through its API") && report.says("6 SKUs of its own"), "{out}");
    assert!(report.0["limits"].as_array().expect("limits").is_empty(), "nothing is known of its disk: {out}");

    let options = ["--stock", "10", "--attempts", "25"];
    let (report, out) = bench(&runner, &[&at[..], &options].concat()).await;
    for run in report.row("HTTP: orders, sell-out")["runs"].as_array().expect("runs") {
        assert_eq!((count(&run["placed"]), count(&run["refused"]), count(&run["turned_away"])), (10, 15, 0));
    }
    assert!(report.says("10 orders of 1 units, and through the API stock fell by 10"), "{out}");

    // What it leaves: the demo untouched, its own SKUs off sale.
    let admin = server.admin();
    let skus = admin.get("/v1/skus?limit=100").await.is(200)["items"].take();
    for sku in skus.as_array().expect("SKUs") {
        let own = text(&sku["code"]).starts_with("lastunit-bench-");
        assert_eq!(sku["on_sale"].as_bool(), Some(!own), "{sku}");
        assert!(own || count(&sku["sales"]) == 0, "{sku}");
    }
    server.terminate();
    server.ended().await;
    shop.assert_holds().await;
}

#[tokio::test]
async fn a_key_of_a_shop_orders_what_is_on_sale() {
    let shop = Database::default();
    let server = shop.serve(&[]).await;
    let key = shop.run(&["keys", "add", "bench", "--role", "shop"]).await.ok();
    let url = format!("http://{}", server.address);
    let at = ["--url", &url, "--service-key", key.trim(), "--yes-place-orders"];
    let runner = Database::default();

    // A running server notices a new key within seconds.
    let client = lastunit_tests::server::Client::new(server.address).keyed(key.trim());
    while client.get("/v1/skus").await.status == 401 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let sold_out = try_bench(&runner, &[&at[..], &["--stock", "1", "--attempts", "2"]].concat()).await;
    assert_eq!(sold_out.code, Some(2));
    assert!(sold_out.err.contains("only an admin's may create"), "{sold_out:?}");
    let many = try_bench(&runner, &[&at[..], &["--skus", "500"]].concat()).await;
    assert!(many.err.contains("8 SKUs on sale and in stock"), "{many:?}");

    let (report, out) =
        bench(&runner, &[&at[..], &["--rate", "100", "--popularity", "uniform"]].concat()).await;
    assert!(report.says("the first 8 SKUs of the shop that are on sale"), "{out}");
    let placed: u64 = (report.row("HTTP: orders, open loop")["runs"].as_array().expect("runs").iter())
        .map(|run| count(&run["placed"]))
        .sum();
    let skus = client.get("/v1/skus").await.is(200)["items"].take();
    let sold: u64 = skus.as_array().expect("SKUs").iter().map(|sku| count(&sku["sales"])).sum();
    // The warm-ups' orders, a fifth, are not in the report.
    assert!(placed > 0 && sold >= placed, "{sold} units were sold, {placed} orders reported: {out}");
    let order = order_of(&[(1, 1)]);
    client.buyer("ada").place(&order, "after").await.is(201);
    server.terminate();
    server.ended().await;
    shop.assert_holds().await;
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_at_once() {
    let database = Database::default();
    for (options, says) in [
        (&["--buyers", "1025"][..], "1 to 1024"),
        (&["--only", "x", "--growth", "1000"], "--growth"),
        (&["--only", "x", "--lines", "2"], "--only"),
        (&["--growth", "1000", "--lines", "2"], "--rows"),
        (&["--server", "sqlite:x.db"], "--folder"),
        (&["--url", "http://127.0.0.1:9", "--service-key", "k", "--yes-place-orders"], "127.0.0.1:9"),
    ] {
        let options = [&["bench"], options].concat();
        let refused = database.run(&options).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains(says), "{says}: {refused:?}");
    }
}

/// A workload of every kind on a database server, and its bulk insert.
async fn on_a_server(url: &str, databases: impl Fn() -> String) {
    let database = Database::default();
    let before = databases();
    // Longer than a busy machine may take for one order.
    let server = ["--server", url, "--seconds", "1"];
    let options = ["--skus", "10001", "--lines", "2", "--popularity", "zipf", "--rows", "1000"];
    let (report, out) = bench(&database, &[&server[..], &options].concat()).await;
    assert_eq!(report.bounds("batched, closed loop"), ["bulk insert, 2 lines an order", "fsyncs of 4 KiB"]);
    assert!(report.says("checked for all invariants"), "{out}");
    let options = ["--strategy", "pessimistic", "--over", "http", "--stock", "20", "--attempts", "50"];
    let (report, _) = bench(&database, &[&server[..], &options].concat()).await;
    for run in report.row("HTTP: pessimistic, sell-out")["runs"].as_array().expect("runs") {
        assert_eq!(count(&run["placed"]) + count(&run["refused"]) + count(&run["turned_away"]), 50);
        assert!(count(&run["placed"]) <= 20, "{run}");
    }
    assert_eq!(databases(), before, "every database of the benchmark is dropped");
}

#[tokio::test]
async fn postgres_is_measured() {
    let server = Postgres::shared();
    let bench = "SELECT datname FROM pg_database WHERE datname LIKE 'lastunit_%'";
    on_a_server(&server.url(), || server.client(bench)).await;
}

#[tokio::test]
async fn mariadb_is_measured() {
    let server = MariaDb::shared();
    on_a_server(&server.url(), || server.client("SHOW DATABASES LIKE 'lastunit_%'")).await;
}
