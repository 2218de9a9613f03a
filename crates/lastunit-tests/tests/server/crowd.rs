//! Many who come at the same instant.

use lastunit_tests::{
    all_at_once,
    server::{Database, GUARD, Raw},
};
use tokio::time::timeout;

/// Fewer than a process may have files, and than connections that Linux lets wait by default.
const CROWD: usize = 500;

/// With the 128 that wait by default, everybody past them was let in a second later, at best.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_let_in_while_the_server_is_busy() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    server.signal("-STOP");
    let connections = all_at_once((0..CROWD).map(|_| Raw::connect(server.address)));
    let connections = timeout(GUARD, connections).await;
    server.signal("-CONT");
    for mut connection in connections.expect("all are connected while nobody accepts them") {
        connection.write("GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(connection.rest().await.starts_with("HTTP/1.1 200 OK"));
    }
}
