//! The SQL of an order's path. Every statement names its shop first, so that it stays inside one shard, and keeps to
//! what distributed engines share.
//!
//! Many rows go in as arrays, one a column: a statement costs about the same for one row as for a hundred.
//!
//! What is looked up for each of many rows has only one sensible plan in every text here, whatever the planner believes
//! of the tables' sizes: LATERAL with a LIMIT is one look into the index a row; `= ANY` bounds what is joined.

pub(super) const SETTINGS: &str = "SELECT currency, freight, free_from FROM shop WHERE shop_id = $1";

pub(super) const CARTS: &str = "
    SELECT head.user_id, head.seq FROM UNNEST($2::text[]) AS asked (user_id)
    CROSS JOIN LATERAL (
        SELECT user_id, seq FROM cart_head h
        WHERE h.shop_id = $1 AND h.user_id = asked.user_id LIMIT 1) AS head";
/// Locked in the order in which they are given.
pub(super) const LOCK_CARTS: &str = "
    SELECT head.user_id, head.seq FROM UNNEST($2::text[]) AS asked (user_id)
    CROSS JOIN LATERAL (
        SELECT user_id, seq FROM cart_head h
        WHERE h.shop_id = $1 AND h.user_id = asked.user_id LIMIT 1 FOR UPDATE) AS head";
/// OFFSET 0 keeps it a look into the index a cart.
pub(super) const CART_LINES: &str = "
    SELECT asked.user_id, line.sku_id, line.count, line.selected FROM UNNEST($2::text[]) AS asked (user_id)
    CROSS JOIN LATERAL (
        SELECT sku_id, count, selected FROM cart_line c
        WHERE c.shop_id = $1 AND c.user_id = asked.user_id OFFSET 0) AS line";

pub(super) const SKUS: &str = "
    SELECT id, product_id, code, name, price, stock, sales, on_sale FROM sku
    WHERE shop_id = $1 AND id = ANY($2)";
/// The weakest lock that keeps other orders out: rows that refer to the SKU may be inserted beside it.
pub(super) const LOCK_SKUS: &str = "
    SELECT id, product_id, code, name, price, stock, sales, on_sale FROM sku
    WHERE shop_id = $1 AND id = ANY($2) ORDER BY id FOR NO KEY UPDATE";

/// `at` counts the keys that are asked for, from 1.
pub(super) const KEYS: &str = r#"
    SELECT asked.at, kept.fingerprint, kept.order_id, kept.refusal
    FROM UNNEST($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS asked (user_id, operation, "key", at)
    CROSS JOIN LATERAL (
        SELECT fingerprint, order_id, refusal FROM idempotency_key k
        WHERE k.shop_id = $1 AND k.user_id = asked.user_id AND k.operation = asked.operation
          AND k."key" = asked."key" LIMIT 1) AS kept"#;
/// `at` counts the addresses that are asked for, from 1.
pub(super) const ADDRESSES: &str = "
    SELECT asked.at, saved.address
    FROM UNNEST($2::text[], $3::uuid[]) WITH ORDINALITY AS asked (user_id, id, at)
    CROSS JOIN LATERAL (
        SELECT address FROM address a
        WHERE a.shop_id = $1 AND a.user_id = asked.user_id AND a.id = asked.id LIMIT 1) AS saved";

/// The rows come sorted by user. A cart that was never ordered from has no row yet.
pub(super) const COUNT_CART_ORDERS: &str = "
    INSERT INTO cart_head (shop_id, user_id, seq)
    SELECT $1::bigint, user_id, seen + 1 FROM UNNEST($2::text[], $3::bigint[]) AS ordered (user_id, seen)
    ON CONFLICT (shop_id, user_id) DO UPDATE SET seq = excluded.seq WHERE cart_head.seq = excluded.seq - 1";
/// Lines that were ordered whole. By quantity, not by id: units that the buyer added since stay in the cart.
pub(super) const EMPTY_CART_LINES: &str = "
    DELETE FROM cart_line USING UNNEST($2::text[], $3::bigint[], $4::bigint[]) AS ordered (user_id, sku_id, units)
    WHERE cart_line.shop_id = $1 AND cart_line.user_id = ANY($2)
      AND cart_line.user_id = ordered.user_id AND cart_line.sku_id = ordered.sku_id
      AND cart_line.count = ordered.units AND cart_line.selected";
/// Lines that have more than was ordered; to be run after those that were ordered whole are gone.
pub(super) const REDUCE_CART_LINES: &str = "
    UPDATE cart_line SET count = cart_line.count - ordered.units
    FROM UNNEST($2::text[], $3::bigint[], $4::bigint[]) AS ordered (user_id, sku_id, units)
    WHERE cart_line.shop_id = $1 AND cart_line.user_id = ANY($2)
      AND cart_line.user_id = ordered.user_id AND cart_line.sku_id = ordered.sku_id
      AND cart_line.count > ordered.units";

/// For rows that are locked already: it may find them in any order.
pub(super) const TAKE_STOCK: &str = "
    UPDATE sku SET stock = sku.stock - sold.units, sales = sku.sales + sold.units
    FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[]) AS sold (id, units, price)
    WHERE sku.shop_id = $1 AND sku.id = ANY($2) AND sku.id = sold.id
      AND sku.stock >= sold.units AND sku.price = sold.price AND sku.on_sale";
pub(super) const TAKE_STOCK_OF_ONE: &str = "
    UPDATE sku SET stock = stock - $3, sales = sales + $3
    WHERE shop_id = $1 AND id = $2 AND stock >= $3 AND price = $4 AND on_sale";
pub(super) const OVERWRITE_STOCK: &str =
    "UPDATE sku SET stock = $3, sales = $4 WHERE shop_id = $1 AND id = $2";

pub(super) const LOCK_PRODUCTS: &str =
    "SELECT id FROM product WHERE shop_id = $1 AND id = ANY($2) ORDER BY id FOR NO KEY UPDATE";
pub(super) const SELL_PRODUCTS: &str = "
    UPDATE product SET sales = product.sales + sold.units
    FROM UNNEST($2::bigint[], $3::bigint[]) AS sold (id, units)
    WHERE product.shop_id = $1 AND product.id = ANY($2) AND product.id = sold.id";

pub(super) const INSERT_KEYS: &str = r#"
    INSERT INTO idempotency_key (shop_id, user_id, operation, "key", fingerprint, order_id, refusal, created_at)
    SELECT $1::bigint, decided.* FROM UNNEST(
        $2::text[], $3::text[], $4::text[], $5::bytea[], $6::uuid[], $7::text[], $8::bigint[]) AS decided"#;
/// The keys and all that is only inserted for orders, in one statement: the server answers each with a message of its own,
/// and wakes this process for it. The rows that it counts are the orders' events.
pub(super) const INSERT_ORDERS: &str = r#"
    WITH decided AS (
        INSERT INTO idempotency_key (shop_id, user_id, operation, "key", fingerprint, order_id, refusal, created_at)
        SELECT $1::bigint, decided.* FROM UNNEST(
            $2::text[], $3::text[], $4::text[], $5::bytea[], $6::uuid[], $7::text[], $8::bigint[]) AS decided
    ), placed AS (
        INSERT INTO orders (shop_id, id, user_id, status, pay_method, total_count, goods_amount, freight, total_amount,
                            currency, address, created_at)
        SELECT $1::bigint, placed.* FROM UNNEST(
            $9::uuid[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[],
            $16::bigint[], $17::text[], $18::text[], $19::bigint[]) AS placed
    ), of_carts AS (
        INSERT INTO cart_order (shop_id, user_id, seq, order_id)
        SELECT $1::bigint, placed.* FROM UNNEST($20::text[], $21::bigint[], $22::uuid[]) AS placed
    ), lines AS (
        INSERT INTO order_line (shop_id, order_id, sku_id, code, name, count, unit_price, amount)
        SELECT $1::bigint, line.* FROM UNNEST(
            $23::uuid[], $24::bigint[], $25::text[], $26::text[], $27::bigint[], $28::bigint[], $29::bigint[]) AS line
    ), movements AS (
        INSERT INTO stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at)
        SELECT $1::bigint, order_id, sku_id, 'sold', -units, '', created_at
        FROM UNNEST($23::uuid[], $24::bigint[], $27::bigint[], $30::bigint[])
            AS sold (order_id, sku_id, units, created_at)
    )
    INSERT INTO outbox_event (shop_id, subject_id, kind, created_at)
    SELECT $1::bigint, order_id, 'order.placed', created_at
    FROM UNNEST($9::uuid[], $19::bigint[]) AS placed (order_id, created_at)"#;

/// All of the above: a connection prepares them before its first order, so that they can be sent without a pause.
pub(super) const ALL: &[&str] = &[
    SETTINGS,
    CARTS,
    LOCK_CARTS,
    CART_LINES,
    SKUS,
    LOCK_SKUS,
    KEYS,
    ADDRESSES,
    COUNT_CART_ORDERS,
    EMPTY_CART_LINES,
    REDUCE_CART_LINES,
    TAKE_STOCK,
    TAKE_STOCK_OF_ONE,
    OVERWRITE_STOCK,
    LOCK_PRODUCTS,
    SELL_PRODUCTS,
    INSERT_KEYS,
    INSERT_ORDERS,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What distributed engines don't share, or do differently.
    const FORBIDDEN: [&str; 6] = ["SAVEPOINT", "ADVISORY", "NEXTVAL", "SKIP LOCKED", "DEFERR", "TRIGGER"];

    #[test]
    fn every_statement_of_an_order_names_its_shop_and_keeps_to_what_engines_share() {
        let source = include_str!("statements.rs");
        let constants = source.matches("pub(super) const").count() - 2;
        assert_eq!(ALL.len(), constants, "statements that are listed, and that there are");
        for sql in ALL {
            let upper = sql.to_uppercase();
            for word in FORBIDDEN {
                assert!(!upper.contains(word), "{word} in {sql}");
            }
            let inserts = upper.matches("INSERT INTO ").count();
            assert_eq!(upper.matches("SELECT $1::BIGINT,").count(), inserts, "{sql}");
            let of_shop = match upper.split_once(" WHERE ").or(upper.split_once("\n    WHERE ")) {
                Some((_, condition)) if !upper.contains("INSERT INTO") => {
                    let (column, value) = condition.trim_start().split_once(" = ").expect("a comparison");
                    column.split('.').next_back() == Some("SHOP_ID") && value.starts_with("$1")
                }
                _ => upper.split("INSERT INTO ").skip(1).all(|insert| {
                    let (_, columns) = insert.split_once('(').expect("a list of columns");
                    columns.starts_with("SHOP_ID,")
                }),
            };
            assert!(of_shop, "{sql}");
        }
    }
}
