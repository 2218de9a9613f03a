//! Service keys: kept as hashes, rotated without a gap, and refused soon after they are revoked.

use lastunit_tests::server::{Client, Database, GUARD, Process};
use tokio::time::timeout;

/// A new key of a command that prints one.
async fn printed(database: &Database, args: &[&str]) -> String {
    let out = database.run(args).await.ok();
    let key = out.trim().to_owned();
    assert!(key.starts_with("lu_") && key.len() == 67, "one key and nothing else: {out:?}");
    key
}

/// Asks a running server again and again until it answers this key so.
async fn until(server: &Process, key: &str, status: u16) {
    let client = Client::new(server.address).keyed(key);
    let asked = async { while client.get("/v1/skus").await.status != status {} };
    timeout(GUARD, asked).await.expect("a running server notices");
}

#[tokio::test]
async fn row_26_a_key_is_rotated_without_a_gap_and_the_old_one_refused() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    let first = printed(&database, &["keys", "add", "till"]).await;
    let other = printed(&database, &["keys", "add", "back office", "--role", "admin"]).await;
    until(&server, &first, 200).await;

    let second = printed(&database, &["keys", "rotate", "till"]).await;
    until(&server, &second, 200).await;
    until(&server, &first, 200).await;
    // It has the role of the one that it replaces.
    let settings = Client::new(server.address).keyed(&second).get("/v1/admin/settings").await;
    settings.problem(403, "forbidden");

    assert_eq!(database.run(&["keys", "revoke", "till", "--old"]).await.ok().trim(), "1 revoked");
    until(&server, &first, 401).await;
    until(&server, &second, 200).await;
    let none = database.run(&["keys", "revoke", "till", "--old"]).await;
    assert_eq!(none.code, Some(2));
    assert!(none.err.contains("no older key"), "{none:?}");

    // Twice in a row, and then all of them: the admin's key isn't touched.
    let third = printed(&database, &["keys", "rotate", "till"]).await;
    let fourth = printed(&database, &["keys", "rotate", "till"]).await;
    assert_eq!(database.run(&["keys", "revoke", "till", "--old"]).await.ok().trim(), "2 revoked");
    until(&server, &fourth, 200).await;
    assert_eq!(database.run(&["keys", "revoke", "till"]).await.ok().trim(), "1 revoked");
    for revoked in [&second, &third, &fourth] {
        until(&server, revoked, 401).await;
    }
    until(&server, &other, 200).await;

    let unknown = database.run(&["keys", "rotate", "till"]).await;
    assert_eq!((unknown.code, unknown.out.as_str()), (Some(2), ""));
    assert!(unknown.err.contains("there is no key of the label \"till\""), "{unknown:?}");
}

#[tokio::test]
async fn only_hashes_are_kept() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    let key = printed(&database, &["keys", "add", "the till"]).await;
    until(&server, &key, 200).await;
    server.terminate();
    let (_, log) = server.ended().await;
    let files: Vec<Vec<u8>> = ["shop.db", "shop.db-wal"]
        .iter()
        .filter_map(|name| std::fs::read(database.path(name)).ok())
        .collect();
    let holds = |text: &str| {
        files.iter().any(|file| file.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    assert!(holds("the till"), "the label is there");
    for secret in [key.as_str(), &key[3..], Database::KEY] {
        assert!(!holds(secret) && !log.contains(secret));
    }
}

#[tokio::test]
async fn row_27_a_guessed_key_and_a_revoked_one_are_answered_alike() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    let key = printed(&database, &["keys", "add", "till"]).await;
    until(&server, &key, 200).await;
    database.run(&["keys", "revoke", "till"]).await.ok();
    until(&server, &key, 401).await;
    let guessed = "lu_0000000000000000000000000000000000000000000000000000000000000000";
    let answers = [&key, guessed, "x"].map(|key| Client::new(server.address).keyed(key));
    let mut bodies = Vec::new();
    for client in answers {
        let answer = client.buyer("ada").get("/v1/orders").await;
        answer.problem(401, "unauthenticated");
        bodies.push(answer.without_id());
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}
