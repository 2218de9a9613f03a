//! The SQL of an order's path. Every statement names its shop, so that it stays inside one shard, and keeps to what
//! distributed engines share.
//!
//! Statements for many rows are made in a few sizes. One that may name a row twice is filled up to the next size by
//! repeating its last row; an INSERT is cut into pieces instead.

use crate::remote::{Batched, insert, numbered};

/// What the shop charges, beside each key that is kept; a single row without a key if none is.
pub(super) static KEYS: Batched = Batched::new(|keys| {
    format!(
        r#"SELECT s.currency, s.freight, s.free_from,
                  k.user_id, k.operation, k."key", k.fingerprint, k.order_id, k.refusal
           FROM shop s
           LEFT JOIN idempotency_key k
             ON k.shop_id = s.shop_id AND (k.user_id, k.operation, k."key") IN ({})
           WHERE s.shop_id = $1"#,
        tuples(keys, 3)
    )
});
pub(super) static ADDRESSES: Batched = Batched::new(|addresses| {
    let addresses = tuples(addresses, 2);
    format!("SELECT user_id, id, address FROM address WHERE shop_id = $1 AND (user_id, id) IN ({addresses})")
});

pub(super) static CARTS: Batched = Batched::new(|users| {
    format!("SELECT user_id, seq FROM cart_head WHERE shop_id = $1 AND user_id IN ({})", list(users))
});
/// Makes the heads that aren't there, and locks all of them, in the order in which they are given. A SELECT … FOR
/// UPDATE would lock the gap where there is none, and two that make heads in one gap would wait for each other.
pub(super) static MAKE_CARTS: Batched = Batched::new(|users| {
    let row = |at: usize| format!("($1, ${}, 0)", at + 2);
    let rows: Vec<String> = (0..users).map(row).collect();
    format!(
        "INSERT INTO cart_head (shop_id, user_id, seq) VALUES {} ON DUPLICATE KEY UPDATE seq = cart_head.seq",
        rows.join(", ")
    )
});
/// Like all that is read under locks it is a locking read: only those see what is committed by now, whatever the
/// isolation is.
pub(super) static LOCK_CARTS: Batched = Batched::new(|users| {
    let users = list(users);
    format!(
        "SELECT user_id, seq FROM cart_head FORCE INDEX (PRIMARY)
         WHERE shop_id = $1 AND user_id IN ({users}) ORDER BY user_id FOR UPDATE"
    )
});
pub(super) static CART_LINES: Batched = Batched::new(cart_lines);
pub(super) static LOCK_CART_LINES: Batched =
    Batched::new(|users| format!("{} ORDER BY user_id, sku_id FOR UPDATE", cart_lines(users)));

pub(super) static SKUS: Batched = Batched::new(skus);
pub(super) static LOCK_SKUS: Batched = Batched::new(|ids| format!("{} ORDER BY id FOR UPDATE", skus(ids)));

/// For heads that are locked.
pub(super) static COUNT_CART_ORDERS: Batched = Batched::new(|users| {
    let users = list(users);
    format!("UPDATE cart_head SET seq = seq + 1 WHERE shop_id = $1 AND user_id IN ({users})")
});
pub(super) const COUNT_CART_ORDER: &str =
    "UPDATE cart_head SET seq = seq + 1 WHERE shop_id = $1 AND user_id = $2 AND seq = $3";
pub(super) const FIRST_CART_ORDER: &str = "INSERT INTO cart_head (shop_id, user_id, seq) VALUES ($1, $2, 1)";
/// Lines that were ordered whole. By quantity, not by id: units that the buyer added since stay in the cart.
pub(super) static EMPTY_CART_LINES: Batched = Batched::new(|lines| {
    let lines = tuples(lines, 3);
    format!("DELETE FROM cart_line WHERE shop_id = $1 AND (user_id, sku_id, count) IN ({lines}) AND selected")
});
/// A line that has more than was ordered; to be run after those that were ordered whole are gone.
pub(super) const REDUCE_CART_LINE: &str = "
    UPDATE cart_line SET count = count - $4
    WHERE shop_id = $1 AND user_id = $2 AND sku_id = $3 AND count > $4";

/// For rows that are locked.
pub(super) static TAKE_STOCK: Batched = Batched::new(|skus| {
    let (units, ids) = (units_by_id(skus), ids_of_pairs(skus));
    format!(
        "UPDATE sku SET stock = stock - {units}, sales = sales + {units} WHERE shop_id = $1 AND id IN ({ids})"
    )
});
pub(super) const TAKE_STOCK_OF_ONE: &str = "
    UPDATE sku SET stock = stock - $3, sales = sales + $3
    WHERE shop_id = $1 AND id = $2 AND stock >= $3 AND price = $4 AND on_sale";
pub(super) const OVERWRITE_STOCK: &str =
    "UPDATE sku SET stock = $3, sales = $4 WHERE shop_id = $1 AND id = $2";
pub(super) static SELL_PRODUCTS: Batched = Batched::new(|products| {
    let (units, ids) = (units_by_id(products), ids_of_pairs(products));
    format!("UPDATE product SET sales = sales + {units} WHERE shop_id = $1 AND id IN ({ids})")
});

pub(super) static INSERT_KEYS: Batched = Batched::new(|rows| {
    insert(
        r#"idempotency_key (shop_id, user_id, operation, "key", fingerprint, order_id, refusal, created_at)"#,
        rows,
    )
});
pub(super) static INSERT_ORDERS: Batched = Batched::new(|rows| {
    insert(
        "orders (shop_id, id, user_id, status, pay_method, total_count, goods_amount, freight, total_amount,
                 currency, address, created_at)",
        rows,
    )
});
pub(super) static INSERT_CART_ORDERS: Batched =
    Batched::new(|rows| insert("cart_order (shop_id, user_id, seq, order_id)", rows));
pub(super) static INSERT_LINES: Batched = Batched::new(|rows| {
    insert("order_line (shop_id, order_id, sku_id, code, name, count, unit_price, amount)", rows)
});
pub(super) static INSERT_MOVEMENTS: Batched = Batched::new(|rows| {
    insert("stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at)", rows)
});
pub(super) static INSERT_EVENTS: Batched =
    Batched::new(|rows| insert("outbox_event (shop_id, subject_id, kind, created_at)", rows));

fn skus(ids: usize) -> String {
    let ids = list(ids);
    format!(
        "SELECT id, product_id, code, name, price, stock, sales, on_sale FROM sku FORCE INDEX (PRIMARY)
         WHERE shop_id = $1 AND id IN ({ids})"
    )
}

fn cart_lines(users: usize) -> String {
    let users = list(users);
    format!(
        "SELECT user_id, sku_id, count, selected FROM cart_line FORCE INDEX (PRIMARY)
         WHERE shop_id = $1 AND user_id IN ({users})"
    )
}

/// So many values behind `$1`.
fn list(values: usize) -> String {
    numbered(2, values)
}

/// So many tuples behind `$1`: `($2, $3), ($4, $5)`.
fn tuples(count: usize, width: usize) -> String {
    let tuple = |at: usize| format!("({})", numbered(at * width + 2, width));
    (0..count).map(tuple).collect::<Vec<_>>().join(", ")
}

/// Of pairs of id and units behind `$1`: the units that belong to a row's id.
fn units_by_id(pairs: usize) -> String {
    let case = |at: usize| format!(" WHEN ${} THEN ${}", at * 2 + 2, at * 2 + 3);
    format!("CASE id{} END", (0..pairs).map(case).collect::<String>())
}

fn ids_of_pairs(pairs: usize) -> String {
    (0..pairs).map(|at| format!("${}", at * 2 + 2)).collect::<Vec<_>>().join(", ")
}

/// A statement as MariaDB and MySQL take it: parameters are question marks, each for one value, and an UPDATE or a
/// DELETE is told to find its rows by primary key. In a small table another index looks as good, or no index at all;
/// then others' rows are locked as well, or an index's entry before its row: and two wait for each other.
pub(super) struct Dialect {
    pub sql: String,
    /// Which value each question mark stands for, from 0.
    order: Vec<usize>,
}

impl Dialect {
    /// Translates a statement whose parameters are numbered; what is quoted stays as it is.
    pub fn of(sql: &str) -> Self {
        let mut translated = String::with_capacity(sql.len() + 24);
        let mut order = Vec::new();
        let mut quote = None;
        let mut rest = sql.trim_start();
        for (verb, found_by_key) in [("UPDATE ", "UPDATE "), ("DELETE FROM ", "DELETE $ FROM ")] {
            if let Some((table, behind)) =
                rest.strip_prefix(verb).and_then(|rest| rest.split_once(char::is_whitespace))
            {
                translated = format!("{}{table} FORCE INDEX (PRIMARY) ", found_by_key.replace('$', table));
                rest = behind;
                break;
            }
        }
        while let Some(next) = rest.chars().next() {
            let (_, behind) = rest.split_at(next.len_utf8());
            let digits = behind.len() - behind.trim_start_matches(|next: char| next.is_ascii_digit()).len();
            match (quote, next) {
                (None, '$') if digits > 0 => {
                    let number: usize = behind[..digits].parse().expect("a few digits");
                    order.push(number - 1);
                    translated.push('?');
                    rest = &behind[digits..];
                    continue;
                }
                (None, '\'' | '"') => quote = Some(next),
                (Some(end), _) if end == next => quote = None,
                _ => {}
            }
            translated.push(next);
            rest = behind;
        }
        Self { sql: translated, order }
    }

    /// The values, each as often as it is asked for.
    pub fn bind(&self, values: &[crate::remote::Value<'_>]) -> Vec<mysql_async::Value> {
        use crate::remote::Value;
        let bind = |at: &usize| match &values[*at] {
            Value::Null => mysql_async::Value::NULL,
            Value::Int(number) => mysql_async::Value::Int(*number),
            Value::Bool(truth) => mysql_async::Value::Int((*truth).into()),
            Value::Text(text) => mysql_async::Value::Bytes(text.as_bytes().to_vec()),
            Value::Uuid(uuid) => mysql_async::Value::Bytes(uuid.as_bytes().to_vec()),
            Value::Bytes(bytes) => mysql_async::Value::Bytes(bytes.to_vec()),
        };
        self.order.iter().map(bind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::SIZES;

    const BATCHED: [&Batched; 19] = [
        &KEYS,
        &ADDRESSES,
        &CARTS,
        &MAKE_CARTS,
        &LOCK_CARTS,
        &CART_LINES,
        &LOCK_CART_LINES,
        &SKUS,
        &LOCK_SKUS,
        &COUNT_CART_ORDERS,
        &EMPTY_CART_LINES,
        &TAKE_STOCK,
        &SELL_PRODUCTS,
        &INSERT_KEYS,
        &INSERT_ORDERS,
        &INSERT_CART_ORDERS,
        &INSERT_LINES,
        &INSERT_MOVEMENTS,
        &INSERT_EVENTS,
    ];
    const SINGLE: [&str; 5] =
        [COUNT_CART_ORDER, FIRST_CART_ORDER, REDUCE_CART_LINE, TAKE_STOCK_OF_ONE, OVERWRITE_STOCK];

    /// What distributed engines don't share, or do differently.
    const FORBIDDEN: [&str; 6] =
        ["SAVEPOINT", "GET_LOCK", "LAST_INSERT_ID", "SKIP LOCKED", "AUTO_INCREMENT", "TRIGGER"];

    #[test]
    fn every_statement_of_an_order_names_its_shop_and_keeps_to_what_engines_share() {
        let source = include_str!("statements.rs");
        let here = |what: &str| source.matches(&format!("pub(super) {what} ")).count();
        assert_eq!((BATCHED.len(), SINGLE.len()), (here("static"), here("const")), "listed, and there");
        let batched = BATCHED.iter().flat_map(|batched| SIZES.map(|size| batched.sql(size)));
        for sql in batched.chain(SINGLE) {
            for word in FORBIDDEN {
                assert!(!sql.contains(word), "{word} in {sql}");
            }
            let of_shop = match sql.split_once("WHERE ") {
                Some((_, condition)) => {
                    condition.starts_with("shop_id = $1") || condition.starts_with("s.shop_id = $1")
                }
                None => {
                    let (columns, values) = sql.split_once(") VALUES (").expect("an INSERT");
                    columns.contains("(shop_id, ") && values.starts_with("$1,")
                }
            };
            assert!(of_shop, "{sql}");
        }
    }

    #[test]
    fn numbered_parameters_become_question_marks_in_the_order_of_their_use() {
        let dialect = Dialect::of(
            r#"UPDATE t SET "a$1" = $2, b = '$1''$2', é = $10 WHERE c = $2 AND d = '€' AND e = $1"#,
        );
        assert_eq!(
            dialect.sql,
            r#"UPDATE t FORCE INDEX (PRIMARY) SET "a$1" = ?, b = '$1''$2', é = ? WHERE c = ? AND d = '€' AND e = ?"#
        );
        assert_eq!(dialect.order, [1, 9, 1, 0]);
        let delete = Dialect::of("DELETE FROM t\n WHERE a = $1");
        assert_eq!(delete.sql, "DELETE t FROM t FORCE INDEX (PRIMARY)  WHERE a = ?");
    }

    #[test]
    fn statements_of_many_rows_number_them_behind_the_shop() {
        assert!(TAKE_STOCK.sql(2).ends_with(
            "stock = stock - CASE id WHEN $2 THEN $3 WHEN $4 THEN $5 END, \
             sales = sales + CASE id WHEN $2 THEN $3 WHEN $4 THEN $5 END WHERE shop_id = $1 AND id IN ($2, $4)"
        ));
        assert_eq!(tuples(2, 3), "($2, $3, $4), ($5, $6, $7)");
    }
}
