//! GET /metrics: text that Prometheus reads, and figures that match what was done.

use std::collections::{BTreeMap, BTreeSet};

use lastunit_tests::server::{Call, Client, HasId, Shop, order_of, order_of_cart};

/// Every sample by its name and labels. Asserts the form: OpenMetrics text, each family declared once and before
/// its samples, and no sample twice.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    let mut described = BTreeSet::new();
    let mut samples = BTreeMap::new();
    let body = text.strip_suffix("# EOF\n").expect("an end");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name, rest) = (words.next(), words.next(), words.next());
            let (name, rest) = (name.expect("a name").to_owned(), rest.expect("a text").to_owned());
            match kind {
                Some("TYPE") => {
                    assert!(["counter", "gauge", "histogram"].contains(&rest.as_str()), "{line}");
                    assert!(families.insert(name, rest).is_none(), "{line}");
                }
                Some("HELP") => assert!(described.insert(name), "{line}"),
                Some("UNIT") => assert_eq!(rest, "seconds", "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let name = sample.split('{').next().expect("a name");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
        let is_of = |(family, kind): (&String, &String)| {
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(family))
        };
        assert!(families.iter().any(is_of), "no family: {line}");
        if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let labels =
                labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).expect("labels");
            let quoted = |label: &str| label.contains("=\"") && label.ends_with('"');
            assert!(labels.split(',').all(quoted), "{line}");
        }
        let value: f64 = value.parse().expect("a number");
        assert!(value >= 0.0 && samples.insert(sample.to_owned(), value).is_none(), "{line}");
    }
    assert_eq!(families.keys().collect::<BTreeSet<_>>(), described.iter().collect());
    samples
}

async fn figures(client: &Client) -> BTreeMap<String, f64> {
    parse(&client.get("/metrics").await.text())
}

#[tokio::test]
async fn figures_match_what_was_done() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 5).await;
    let (ada, stranger) = (shop.buyer("ada"), shop.stranger());
    let before = figures(&stranger).await;
    assert_eq!(before["lastunit_orders_placed_total"], 0.0);

    let order = ada.place(&order_of(&[(sku, 2)]), "1").await.is(201);
    ada.place(&order_of(&[(sku, 1)]), "2").await.is(201);
    for _ in 0..3 {
        assert!(ada.place(&order_of(&[(sku, 1)]), "2").await.replayed());
    }
    ada.place(&order_of(&[(sku, 9)]), "3").await.problem(409, "insufficient_stock");
    ada.place(&order_of(&[(999, 1)]), "4").await.problem(409, "sku_unavailable");
    ada.place(&order_of_cart(), "5").await.problem(422, "empty_cart");
    ada.place(&order_of(&[(sku, 2)]), "2").await.problem(422, "idempotency_key_reused");
    ada.get(&format!("/v1/orders/{}", order.id())).await.is(200);
    ada.get("/v1/orders/7").await.problem(404, "not_found");
    ada.get("/nowhere/%3Cscript%3E").await.problem(404, "not_found");
    ada.send(Call::new("BREW", "/v1/orders")).await.problem(405, "method_not_allowed");

    let after = figures(&stranger).await;
    let http = |method: &str, route: &str, status: &str| {
        format!(
            "lastunit_http_request_seconds_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        )
    };
    for (sample, value) in [
        ("lastunit_orders_placed_total".to_owned(), 2.0),
        ("lastunit_orders_replayed_total".to_owned(), 3.0),
        ("lastunit_orders_refused_total{reason=\"insufficient_stock\"}".to_owned(), 1.0),
        ("lastunit_orders_refused_total{reason=\"sku_unavailable\"}".to_owned(), 1.0),
        ("lastunit_orders_refused_total{reason=\"empty_cart\"}".to_owned(), 1.0),
        ("lastunit_orders_refused_total{reason=\"idempotency_key_reused\"}".to_owned(), 1.0),
        ("lastunit_transactions_retried_total".to_owned(), 0.0),
        ("lastunit_batch_size_sum".to_owned(), 9.0),
        ("lastunit_batch_size_count".to_owned(), 9.0),
        ("lastunit_commit_seconds_count".to_owned(), 9.0),
        ("lastunit_queue_depth".to_owned(), 0.0),
        ("lastunit_http_connections_open".to_owned(), 2.0),
        ("lastunit_http_connections_refused_total".to_owned(), 0.0),
        // The one that asks.
        ("lastunit_http_requests_in_flight".to_owned(), 1.0),
        (http("POST", "/v1/orders", "2xx"), 5.0),
        (http("POST", "/v1/orders", "4xx"), 4.0),
        (http("GET", "/v1/orders/{id}", "2xx"), 1.0),
        (http("GET", "/v1/orders/{id}", "4xx"), 1.0),
        (http("GET", "unmatched", "4xx"), 1.0),
        (http("other", "/v1/orders", "4xx"), 1.0),
        (http("GET", "/metrics", "2xx"), 1.0),
    ] {
        assert_eq!(after.get(&sample), Some(&value), "{sample}");
    }
    // Nothing that a client makes up becomes a label.
    let text = stranger.get("/metrics").await.text();
    for word in ["script", "BREW", "ada", &order.id()] {
        assert!(!text.contains(word), "{word}");
    }
}

#[tokio::test]
async fn buckets_are_cumulative() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 50).await;
    for n in 0..20 {
        shop.buyer("ada").place(&order_of(&[(sku, 1)]), &format!("k{n}")).await.is(201);
    }
    let text = shop.stranger().get("/metrics").await.text();
    let samples = parse(&text);
    let buckets: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with("lastunit_commit_seconds_bucket{"))
        .map(|line| line.rsplit_once(' ').expect("a value").1.parse().expect("a number"))
        .collect();
    assert!(buckets.len() > 10 && buckets.is_sorted(), "{buckets:?}");
    assert_eq!(buckets.last(), Some(&samples["lastunit_commit_seconds_count"]));
    assert_eq!(samples["lastunit_commit_seconds_count"], 20.0);
}
