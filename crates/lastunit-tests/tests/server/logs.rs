//! The log of the binary: one JSON object a line, whatever clients send.

use lastunit_tests::server::{Call, Database, Raw, order_of};
use serde_json::Value;

#[tokio::test]
async fn row_23_no_client_can_forge_a_line_of_the_log() {
    const FORGED: &str = r#"{"timestamp":"x","level":"ERROR","fields":{"message":"forged"}}"#;
    let database = Database::default();
    let server = database.serve(&["--log-format", "json", "--log", "debug"]).await;
    let ada = server.buyer("ada");
    for forged in ["\x1b[31mred\x1b[0m", "a\r\nforged", &format!("a\n{FORGED}")] {
        let encoded: String = forged.bytes().map(|byte| format!("%{byte:02x}")).collect();
        ada.get(&format!("/v1/orders/{encoded}")).await.problem(404, "not_found");
        ada.get(&format!("/{encoded}?{encoded}={encoded}")).await.problem(404, "not_found");
        ada.get(&format!("/v1/skus?code={encoded}")).await.is(200);
        ada.clone().buyer(&encoded.replace('%', "")).get("/v1/skus").await.is(200);
        ada.send(Call::new("GET", "/nowhere").header("x-request-id", &encoded))
            .await
            .problem(404, "not_found");
        let mut order = order_of(&[(1, 1)]);
        order["address"]["receiver"] = forged.into();
        ada.place(&order, "k").await.problem(422, "invalid_request");
        order[forged] = 1.into();
        ada.place(&order, "k").await.problem(422, "invalid_request");
        for header in ["X-Request-Id", "Lastunit-User", "User-Agent", "Idempotency-Key"] {
            let request = format!(
                "GET /v1/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}: {forged}\r\n\r\n"
            );
            assert!(Raw::say(server.address, request).await.starts_with("HTTP/1.1 4"));
        }
        Raw::say(server.address, format!("GET /{forged} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    }
    ada.send(Call::new("GET", "/nowhere").header("x-request-id", "the-trace"))
        .await
        .problem(404, "not_found");
    server.terminate();
    let (_, log) = server.ended().await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line:?}")))
        .collect();
    assert!(lines.len() > 20, "{log}");
    for line in &lines {
        assert!(["DEBUG", "INFO", "WARN"].contains(&line["level"].as_str().unwrap_or_default()), "{line}");
        assert_ne!(line["fields"]["message"], "forged");
    }
    assert!(!log.contains('\x1b') && !log.contains('\r'));
    assert!(lines.iter().any(|line| line["fields"]["request_id"] == "the-trace"));
    assert!(!log.contains(Database::KEY), "the key stays out of the log");
}

#[tokio::test]
async fn a_text_log_has_no_colours_where_nobody_looks() {
    let database = Database::default();
    let server = database.serve(&["--log", "debug"]).await;
    server.admin().get("/v1/skus").await.is(200);
    server.terminate();
    let (_, log) = server.ended().await;
    assert!(log.contains("stopped") && !log.contains('\x1b'), "{log}");
}
