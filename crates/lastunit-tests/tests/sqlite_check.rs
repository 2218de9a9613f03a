//! The check has to be able to fail: each invariant is broken in the file itself, behind the store's back, and has
//! to be named. And what the database itself has to refuse, it refuses.

use std::{path::PathBuf, sync::Arc};

use lastunit::*;
use lastunit_store::SqliteStore;
use lastunit_tests::{Bench, Fresh};
use rusqlite::Connection;

/// A shop with a bit of everything: an order of two lines, a canceled one, a kept refusal and a cart.
struct Shop {
    bench: Bench,
    file: PathBuf,
}

impl Shop {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("shop.db");
        let store = Arc::new(SqliteStore::open(&file).expect("a new database"));
        let bench =
            Bench::new(Fresh { stores: vec![store], keep: Box::new(folder) }, Strategy::Batched).await;
        let skus = bench.skus(500, &[10, 10]).await;
        bench.buy(&bench.ask("ada").lines(&[(skus[0], 2), (skus[1], 1)])).await;
        let canceled = bench.buy(&bench.ask("bob").line(skus[0], 3)).await;
        bench.cancel("bob", canceled.id).await;
        bench.refusal(&bench.ask("ada").line(skus[0], 100)).await;
        bench.put("ada", skus[1], 1, true).await;
        bench.buy(&bench.ask("ada")).await;
        bench.put("ada", skus[1], 1, true).await;
        bench.assert_holds().await;
        Self { bench, file }
    }

    /// A connection of its own, that may do what the schema forbids.
    fn unguarded(&self) -> Connection {
        let connection = Connection::open(&self.file).expect("the file");
        let triggers = "DROP TRIGGER stock_movement_is_append_only_update;
                        DROP TRIGGER stock_movement_is_append_only_delete;";
        let pragmas = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;";
        connection.execute_batch(&format!("{pragmas} {triggers}")).expect("no more guards");
        connection
    }

    async fn assert_named(&self, sql: &str, invariants: &[&str]) {
        let report = self.bench.store.check().await.expect("a check");
        let named: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        for invariant in invariants {
            assert!(report.checked.contains(invariant), "{invariant} is not among {:?}", report.checked);
            let found = report.violations.iter().any(|violation| violation.invariant == *invariant);
            assert!(found, "{invariant} was not named after {sql}; but: {named:#?}");
        }
    }
}

/// Each is a test: after the SQL, the check names all of these invariants.
macro_rules! tampering {
    ($($name:ident: $sql:expr => [$($invariant:literal),+];)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let shop = Shop::open().await;
            let changed = shop.unguarded().execute($sql, []).expect("the SQL");
            assert!(changed > 0, "nothing was tampered with");
            shop.assert_named($sql, &[$($invariant),+]).await;
        }
    )*};
}

tampering! {
    stock_out_of_nothing: "UPDATE sku SET stock = stock + 1 WHERE id = 1" => ["stock_matches_ledger"];
    stock_lost: "UPDATE sku SET stock = stock - 1 WHERE id = 2" => ["stock_matches_ledger"];
    a_receipt_deleted: "DELETE FROM stock_movement WHERE kind = 'received' AND sku_id = 1"
        => ["stock_matches_ledger"];
    all_movements_deleted: "DELETE FROM stock_movement"
        => ["stock_matches_ledger", "sold_movements_match_lines", "restocked_once_and_only_if_canceled"];
    a_receipt_altered: "UPDATE stock_movement SET delta = 11 WHERE kind = 'received' AND sku_id = 1"
        => ["stock_matches_ledger"];
    a_sale_deleted: "DELETE FROM stock_movement WHERE kind = 'sold' AND sku_id = 2"
        => ["stock_matches_ledger", "sold_movements_match_lines"];
    a_sale_altered: "UPDATE stock_movement SET delta = -2 WHERE kind = 'sold' AND sku_id = 2"
        => ["stock_matches_ledger", "sold_movements_match_lines"];
    a_sale_to_nobody: "INSERT INTO stock_movement VALUES (1, randomblob(16), 1, 'sold', -1, '', 0)"
        => ["stock_matches_ledger", "sold_movements_match_lines"];
    sku_sales_bumped: "UPDATE sku SET sales = sales + 1 WHERE id = 1"
        => ["sku_sales_match_orders", "product_sales_match_skus"];
    sales_moved_to_another_sku: "UPDATE sku SET sales = sales + CASE id WHEN 1 THEN 1 ELSE -1 END"
        => ["sku_sales_match_orders"];
    product_sales_bumped: "UPDATE product SET sales = sales + 1" => ["product_sales_match_skus"];
    a_total_altered: "UPDATE orders SET goods_amount = goods_amount - 1, total_amount = total_amount - 1"
        => ["order_totals_match_lines"];
    a_total_that_isnt_the_sum: "UPDATE orders SET total_amount = total_amount - 1"
        => ["order_totals_match_lines"];
    a_freight_forgotten: "UPDATE orders SET freight = 0" => ["order_totals_match_lines"];
    a_count_of_units_altered: "UPDATE orders SET total_count = total_count + 1"
        => ["order_totals_match_lines"];
    a_line_repriced: "UPDATE order_line SET unit_price = 499, amount = count * 499 WHERE sku_id = 1"
        => ["order_totals_match_lines"];
    a_lines_amount_altered: "UPDATE order_line SET amount = amount + 1 WHERE sku_id = 1"
        => ["database_intact"];
    a_lines_count_altered: "UPDATE order_line SET count = count + 1, amount = amount + unit_price WHERE sku_id = 2"
        => ["order_totals_match_lines", "sold_movements_match_lines", "sku_sales_match_orders"];
    a_line_deleted: "DELETE FROM order_line WHERE sku_id = 2"
        => ["order_totals_match_lines", "sold_movements_match_lines", "sku_sales_match_orders"];
    all_lines_deleted: "DELETE FROM order_line" => ["no_orphans", "order_totals_match_lines"];
    a_line_of_no_order: "INSERT INTO order_line VALUES (1, randomblob(16), 1, 'c', 'n', 1, 1, 1)"
        => ["no_orphans", "database_intact"];
    a_line_of_no_sku: "UPDATE order_line SET sku_id = 99 WHERE sku_id = 2"
        => ["no_orphans", "sold_movements_match_lines"];
    an_order_deleted: "DELETE FROM orders WHERE user_id = 'ada'" => ["no_orphans", "orders_have_one_key"];
    a_sku_deleted: "DELETE FROM sku WHERE id = 2" => ["no_orphans", "product_sales_match_skus"];
    a_product_deleted: "DELETE FROM product" => ["no_orphans"];
    a_cart_line_of_no_sku: "INSERT INTO cart_line VALUES (1, 'ada', 99, 1, 1)" => ["no_orphans"];
    a_movement_of_no_sku: "INSERT INTO stock_movement VALUES (1, randomblob(16), 99, 'received', 1, '', 0)"
        => ["no_orphans"];
    a_key_deleted: "DELETE FROM idempotency_key WHERE order_id IS NOT NULL AND user_id = 'ada'"
        => ["orders_have_one_key"];
    a_key_of_no_order: "UPDATE idempotency_key SET order_id = randomblob(16) WHERE user_id = 'bob'"
        => ["orders_have_one_key"];
    a_second_key: "INSERT INTO idempotency_key SELECT shop_id, user_id, operation, 'other', fingerprint, order_id,
                   NULL, created_at FROM idempotency_key WHERE user_id = 'bob'" => ["orders_have_one_key"];
    a_key_of_another_buyer: "UPDATE idempotency_key SET user_id = 'eve' WHERE user_id = 'bob'"
        => ["orders_have_one_key"];
    an_order_of_another_buyer: "UPDATE orders SET user_id = 'eve' WHERE user_id = 'bob'"
        => ["orders_have_one_key"];
    an_order_revived: "UPDATE orders SET status = 'unpaid' WHERE status = 'canceled'"
        => ["restocked_once_and_only_if_canceled", "sku_sales_match_orders"];
    an_order_canceled_without_restock: "UPDATE orders SET status = 'canceled' WHERE user_id = 'ada'"
        => ["restocked_once_and_only_if_canceled", "sku_sales_match_orders", "orders_have_their_events"];
    a_restock_deleted: "DELETE FROM stock_movement WHERE kind = 'restocked'"
        => ["restocked_once_and_only_if_canceled", "stock_matches_ledger"];
    a_restock_doubled: "UPDATE stock_movement SET delta = delta * 2 WHERE kind = 'restocked'"
        => ["restocked_once_and_only_if_canceled", "stock_matches_ledger"];
    a_restock_of_no_order: "INSERT INTO stock_movement VALUES (1, randomblob(16), 1, 'restocked', 1, '', 0)"
        => ["restocked_once_and_only_if_canceled", "stock_matches_ledger"];
    an_event_deleted: "DELETE FROM outbox_event WHERE kind = 'order.placed'" => ["orders_have_their_events"];
    a_cancel_event_deleted: "DELETE FROM outbox_event WHERE kind = 'order.canceled'"
        => ["orders_have_their_events"];
    an_event_of_no_order: "INSERT INTO outbox_event VALUES (1, randomblob(16), 'order.placed', 0, NULL)"
        => ["no_orphans"];
    a_cancel_event_of_a_standing_order: "INSERT INTO outbox_event SELECT shop_id, id, 'order.canceled', 0, NULL
                                         FROM orders WHERE user_id = 'ada'" => ["orders_have_their_events"];
    a_cart_order_of_no_order: "UPDATE cart_order SET order_id = randomblob(16)" => ["no_orphans", "database_intact"];
    a_cart_order_of_another_buyer: "UPDATE cart_order SET user_id = 'eve'" => ["no_orphans"];
    a_cart_order_that_wasnt_counted: "UPDATE cart_head SET seq = 0" => ["no_orphans"];
    negative_stock: "UPDATE sku SET stock = -1 WHERE id = 1" => ["counters_not_negative", "database_intact"];
    negative_sales: "UPDATE sku SET sales = -1 WHERE id = 1" => ["counters_not_negative"];
    a_negative_price: "UPDATE sku SET price = -1 WHERE id = 1" => ["counters_not_negative"];
}

/// What a program that isn't Lastunit may try, and the database itself stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_itself_refuses_what_must_not_be() {
    let shop = Shop::open().await;
    let connection = Connection::open(&shop.file).expect("the file");
    connection.pragma_update(None, "foreign_keys", "ON").expect("a pragma");
    for sql in [
        "UPDATE sku SET stock = stock - 100",
        "UPDATE sku SET price = -1",
        "UPDATE orders SET total_amount = total_amount - 1",
        "UPDATE order_line SET amount = amount - 1",
        "UPDATE order_line SET count = -50, amount = -50 * unit_price",
        "UPDATE orders SET status = 'free'",
        "UPDATE stock_movement SET delta = delta + 1",
        "DELETE FROM stock_movement",
        "INSERT INTO stock_movement SELECT * FROM stock_movement WHERE kind = 'sold'",
        "INSERT INTO stock_movement VALUES (1, randomblob(16), 1, 'sold', 1, '', 0)",
        "INSERT INTO stock_movement VALUES (1, randomblob(16), 99, 'received', 1, '', 0)",
        "INSERT INTO idempotency_key SELECT * FROM idempotency_key",
        "DELETE FROM sku",
        "DELETE FROM orders",
        "DELETE FROM product",
    ] {
        let done = connection.execute(sql, []);
        assert!(done.is_err(), "the database allowed {sql}: {done:?}");
    }
    shop.bench.assert_holds().await;
}

/// A check that finds too much would be read as one that finds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_violation_says_where_it_is() {
    let shop = Shop::open().await;
    shop.unguarded().execute("UPDATE sku SET stock = 77 WHERE id = 2", []).expect("the SQL");
    let report = shop.bench.store.check().await.expect("a check");
    let [violation] = report.violations.as_slice() else {
        panic!("one thing is wrong, and not: {:?}", report.violations);
    };
    assert_eq!(violation.invariant, "stock_matches_ledger");
    for figure in ["shop 1", "sku 2", "stock 77", "ledger 8"] {
        assert!(violation.detail.contains(figure), "{figure} is missing: {violation}");
    }
}
