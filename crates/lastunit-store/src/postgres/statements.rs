//! The SQL of an order's path. Every statement names its shop first, so that it stays inside one shard, and keeps to
//! what distributed engines share.
//!
//! Many rows go in as arrays, one a column: a statement costs about the same for one row as for a hundred.
//!
//! What is looked up for each of many rows has only one sensible plan in every text here, whatever the planner believes
//! of the tables' sizes: LATERAL with a LIMIT is one look into the index a row; `= ANY` bounds what is joined.

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

/// All that deciding needs beside the lines of the store's carts, in one statement: the server answers each with a message of
/// its own, and wakes this process for it. What a row is, its first column says (see `place::column`); each kind of row uses
/// some of the columns.
///
/// The parts are run in their order, which is that of locks. Those that lock give rows as they are once they are locked;
/// the others as they were when the statement began. So a key that a twin kept while a lock was waited for isn't seen: its
/// INSERT will say so. The lock of SKUs is the weakest that keeps other orders out: rows that refer to one may be inserted
/// beside it.
macro_rules! see {
    ($lock_cart:literal, $lock_skus:literal) => {
        concat!(
            r#"
    SELECT 1::bigint AS part, head.seq AS number, NULL::bigint AS other, head.user_id AS text, NULL::text AS name,
           NULL::bigint AS price, NULL::bigint AS stock, NULL::bigint AS sales, NULL::boolean AS on_sale,
           NULL::bytea AS fingerprint, NULL::uuid AS order_id
    FROM UNNEST($2::text[]) AS asked (user_id)
    CROSS JOIN LATERAL (
        SELECT user_id, seq FROM cart_head h
        WHERE h.shop_id = $1 AND h.user_id = asked.user_id LIMIT 1"#,
            $lock_cart,
            r#") AS head
    UNION ALL
    SELECT 2, id, product_id, code, name, price, stock, sales, on_sale, NULL, NULL
    FROM (
        SELECT id, product_id, code, name, price, stock, sales, on_sale FROM sku
        WHERE shop_id = $1 AND id = ANY($3) ORDER BY id"#,
            $lock_skus,
            r#") AS named
    UNION ALL
    SELECT 3, asked.at, NULL, kept.refusal, NULL, NULL, NULL, NULL, NULL, kept.fingerprint, kept.order_id
    FROM UNNEST($4::text[], $5::text[], $6::text[]) WITH ORDINALITY AS asked (user_id, operation, "key", at)
    CROSS JOIN LATERAL (
        SELECT fingerprint, order_id, refusal FROM idempotency_key k
        WHERE k.shop_id = $1 AND k.user_id = asked.user_id AND k.operation = asked.operation
          AND k."key" = asked."key" LIMIT 1) AS kept
    UNION ALL
    SELECT 4, asked.at, NULL, saved.address, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM UNNEST($7::text[], $8::uuid[]) WITH ORDINALITY AS asked (user_id, id, at)
    CROSS JOIN LATERAL (
        SELECT address FROM address a
        WHERE a.shop_id = $1 AND a.user_id = asked.user_id AND a.id = asked.id LIMIT 1) AS saved
    UNION ALL
    SELECT 5, freight, free_from, currency, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM shop WHERE shop_id = $1"#
        )
    };
}
pub(super) const SEE: &str = see!("", "");
pub(super) const LOCK_AND_SEE: &str = see!(" FOR UPDATE", " FOR NO KEY UPDATE");

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

pub(super) const TAKE_STOCK_OF_ONE: &str = "
    UPDATE sku SET stock = stock - $3, sales = sales + $3
    WHERE shop_id = $1 AND id = $2 AND stock >= $3 AND price = $4 AND on_sale";
pub(super) const OVERWRITE_STOCK: &str =
    "UPDATE sku SET stock = $3, sales = $4 WHERE shop_id = $1 AND id = $2";

pub(super) const INSERT_KEYS: &str = r#"
    INSERT INTO idempotency_key (shop_id, user_id, operation, "key", fingerprint, order_id, refusal, created_at)
    SELECT $1::bigint, UNNEST($2::text[]), UNNEST($3::text[]), UNNEST($4::text[]), UNNEST($5::bytea[]),
           UNNEST($6::uuid[]), UNNEST($7::text[]), UNNEST($8::bigint[])"#;
/// All that is written for orders whose SKUs are locked, in one statement. It counts the carts, SKUs and products that it
/// found, in this order, which is that of locks; what is only inserted comes after them. Where it found too few, it divides
/// by zero: so the COMMIT that was sent behind it rolls back.
pub(super) const PLACE: &str = r#"
    WITH carts AS (
        INSERT INTO cart_head (shop_id, user_id, seq)
        SELECT $1::bigint, ordered.user_id, ordered.seen + 1
        FROM (SELECT UNNEST($2::text[]), UNNEST($3::bigint[])) AS ordered (user_id, seen)
        ON CONFLICT (shop_id, user_id) DO UPDATE SET seq = excluded.seq WHERE cart_head.seq = excluded.seq - 1
        RETURNING 1
    ), skus AS (
        UPDATE sku SET stock = sku.stock - sold.units, sales = sku.sales + sold.units
        FROM (SELECT UNNEST($4::bigint[]), UNNEST($5::bigint[]), UNNEST($6::bigint[])) AS sold (id, units, price)
        WHERE sku.shop_id = $1 AND sku.id = ANY($4) AND sku.id = sold.id
          AND sku.stock >= sold.units AND sku.price = sold.price AND sku.on_sale
        RETURNING 1
    ), locked AS (
        SELECT id FROM product WHERE shop_id = $1 AND id = ANY($7) ORDER BY id FOR NO KEY UPDATE
    ), products AS (
        UPDATE product SET sales = product.sales + sold.units
        FROM locked, (SELECT UNNEST($7::bigint[]), UNNEST($8::bigint[])) AS sold (id, units)
        WHERE product.shop_id = $1 AND product.id = ANY($7) AND product.id = locked.id AND product.id = sold.id
        RETURNING 1
    ), decided AS (
        INSERT INTO idempotency_key (shop_id, user_id, operation, "key", fingerprint, order_id, refusal, created_at)
        SELECT $1::bigint, UNNEST($9::text[]), UNNEST($10::text[]), UNNEST($11::text[]), UNNEST($12::bytea[]),
               UNNEST($13::uuid[]), UNNEST($14::text[]), UNNEST($15::bigint[])
    ), placed AS (
        INSERT INTO orders (shop_id, id, user_id, status, pay_method, total_count, goods_amount, freight, total_amount,
                            currency, address, created_at)
        SELECT $1::bigint, UNNEST($16::uuid[]), UNNEST($17::text[]), UNNEST($18::text[]), UNNEST($19::text[]),
               UNNEST($20::bigint[]), UNNEST($21::bigint[]), UNNEST($22::bigint[]), UNNEST($23::bigint[]),
               UNNEST($24::text[]), UNNEST($25::text[]), UNNEST($26::bigint[])
    ), of_carts AS (
        INSERT INTO cart_order (shop_id, user_id, seq, order_id)
        SELECT $1::bigint, UNNEST($27::text[]), UNNEST($28::bigint[]), UNNEST($29::uuid[])
    ), lines AS (
        INSERT INTO order_line (shop_id, order_id, sku_id, code, name, count, unit_price, amount)
        SELECT $1::bigint, UNNEST($30::uuid[]), UNNEST($31::bigint[]), UNNEST($32::text[]), UNNEST($33::text[]),
               UNNEST($34::bigint[]), UNNEST($35::bigint[]), UNNEST($36::bigint[])
    ), movements AS (
        INSERT INTO stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at)
        SELECT $1::bigint, UNNEST($30::uuid[]), UNNEST($31::bigint[]), 'sold', -UNNEST($34::bigint[]), '',
               UNNEST($37::bigint[])
    ), events AS (
        INSERT INTO outbox_event (shop_id, subject_id, kind, created_at)
        SELECT $1::bigint, UNNEST($16::uuid[]), 'order.placed', UNNEST($26::bigint[])
    )
    SELECT 1 / (((SELECT COUNT(*) FROM carts) = CARDINALITY($2) AND (SELECT COUNT(*) FROM skus) = CARDINALITY($4)
                 AND (SELECT COUNT(*) FROM products) = CARDINALITY($7))::integer)"#;

/// All of the above: a connection prepares them before its first order, so that they can be sent without a pause.
pub(super) const ALL: &[&str] = &[
    CARTS,
    LOCK_CARTS,
    CART_LINES,
    SEE,
    LOCK_AND_SEE,
    COUNT_CART_ORDERS,
    EMPTY_CART_LINES,
    REDUCE_CART_LINES,
    TAKE_STOCK_OF_ONE,
    OVERWRITE_STOCK,
    INSERT_KEYS,
    PLACE,
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
            // Of an upsert, the condition is on the row that its key led to.
            let mut conditions =
                upper.split("WHERE ").skip(1).filter(|it| !it.starts_with("CART_HEAD.SEQ = EXCLUDED"));
            let of_shop = conditions.all(|condition| {
                let (column, value) = condition.split_once(" = ").expect("a comparison");
                column.split('.').next_back() == Some("SHOP_ID") && value.starts_with("$1")
            }) && upper.split("INSERT INTO ").skip(1).all(|insert| {
                let (_, columns) = insert.split_once('(').expect("a list of columns");
                columns.starts_with("SHOP_ID,")
            });
            assert!(of_shop, "{sql}");
        }
    }
}
