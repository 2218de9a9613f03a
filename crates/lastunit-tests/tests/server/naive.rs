//! The problem itself, to prove that the checks can fail.

use lastunit_tests::{
    all_at_once,
    server::{
        Client, Database,
        load::{CLIENTS, sku},
        order_of,
    },
};

/// Everybody orders one unit of 20, once; how many got one.
async fn rush(admin: &Client) -> usize {
    let sku = sku(admin, 100, 20).await;
    let order = |n| {
        let client = admin.clone().buyer(&format!("b{n}"));
        async move { client.place(&order_of(&[(sku, 1)]), &format!("k-{sku}")).await.status }
    };
    let statuses = all_at_once((0..CLIENTS).map(order)).await;
    statuses.into_iter().filter(|&status| status == 201).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_naive_strategy_oversells_and_the_check_names_it() {
    let database = Database::default();
    let server = database.serve(&["--strategy", "naive", "--allow-overselling"]).await;
    let admin = server.admin();
    let mut most = 0;
    for _ in 0..20 {
        most = rush(&admin).await;
        if most > 20 {
            break;
        }
    }
    assert!(most > 20, "nobody oversold");
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));
    let check = database.run(&["check"]).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    let named =
        check.out.lines().any(|line| line.starts_with("violated: ") && line.contains("stock_matches_ledger"));
    assert!(named && !check.out.contains("all invariants hold"), "{check:?}");
}

#[tokio::test]
async fn the_naive_strategy_has_to_be_allowed() {
    let database = Database::default();
    let refused = database.run(&["serve", "--listen", "127.0.0.1:0", "--strategy", "naive"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.err.contains("sells what isn't there") && refused.err.contains("allow overselling"),
        "{refused:?}"
    );
    assert!(!refused.out.contains("listening"), "{refused:?}");
    let unknown = database.run(&["serve", "--strategy", "hope"]).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.err.contains("batched"), "{unknown:?}");
}
