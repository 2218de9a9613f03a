//! The invariants as queries: each finds the rows that break one. They are plain SQL that every database here
//! understands, and need no index, for they run offline.

/// The most violations that are named of one invariant.
pub(crate) const MAX_NAMED: usize = 100;

/// An invariant's stable name, and the query whose every row is a violation; its columns say where and how.
pub(crate) struct Invariant {
    pub name: &'static str,
    pub violations: &'static str,
}

pub(crate) const INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "counters_not_negative",
        violations: "
            SELECT shop_id AS shop, id AS sku, stock, sales, price FROM sku
            WHERE stock < 0 OR sales < 0 OR price < 0",
    },
    // initial + received + restocked - sold - held = stock: what comes in is positive, what goes out negative.
    Invariant {
        name: "stock_matches_ledger",
        violations: "
            SELECT s.shop_id AS shop, s.id AS sku, s.stock, COALESCE(m.delta, 0) AS ledger
            FROM sku s
            LEFT JOIN (SELECT shop_id, sku_id, SUM(delta) AS delta FROM stock_movement GROUP BY shop_id, sku_id) m
              ON m.shop_id = s.shop_id AND m.sku_id = s.id
            WHERE s.stock <> COALESCE(m.delta, 0)",
    },
    Invariant {
        name: "sku_sales_match_orders",
        violations: "
            SELECT s.shop_id AS shop, s.id AS sku, s.sales, COALESCE(l.sold, 0) AS ordered
            FROM sku s
            LEFT JOIN (
                SELECT l.shop_id, l.sku_id, SUM(l.count) AS sold
                FROM order_line l JOIN orders o ON o.shop_id = l.shop_id AND o.id = l.order_id
                WHERE o.status NOT IN ('canceled', 'expired') GROUP BY l.shop_id, l.sku_id
            ) l ON l.shop_id = s.shop_id AND l.sku_id = s.id
            WHERE s.sales <> COALESCE(l.sold, 0)",
    },
    Invariant {
        name: "product_sales_match_skus",
        violations: "
            SELECT p.shop_id AS shop, p.id AS product, p.sales, COALESCE(s.sales, 0) AS of_skus
            FROM product p
            LEFT JOIN (SELECT shop_id, product_id, SUM(sales) AS sales FROM sku GROUP BY shop_id, product_id) s
              ON s.shop_id = p.shop_id AND s.product_id = p.id
            WHERE p.sales <> COALESCE(s.sales, 0)",
    },
    Invariant {
        name: "order_totals_match_lines",
        violations: "
            SELECT o.shop_id AS shop, o.id AS order_id, o.goods_amount, COALESCE(l.amount, 0) AS of_lines,
                   o.total_count, COALESCE(l.units, 0) AS units, o.freight, o.total_amount
            FROM orders o
            LEFT JOIN (
                SELECT shop_id, order_id, SUM(count * unit_price) AS amount, SUM(count) AS units
                FROM order_line GROUP BY shop_id, order_id
            ) l ON l.shop_id = o.shop_id AND l.order_id = o.id
            WHERE o.goods_amount <> COALESCE(l.amount, 0) OR o.total_count <> COALESCE(l.units, 0)
               OR o.total_amount <> o.goods_amount + o.freight",
    },
    Invariant {
        name: "sold_movements_match_lines",
        violations: "
            SELECT l.shop_id AS shop, l.order_id, l.sku_id AS sku, l.count AS ordered, COALESCE(-m.delta, 0) AS sold
            FROM order_line l
            LEFT JOIN stock_movement m ON m.shop_id = l.shop_id AND m.source_id = l.order_id
              AND m.sku_id = l.sku_id AND m.kind = 'sold'
            WHERE COALESCE(-m.delta, 0) <> l.count
            UNION ALL
            SELECT m.shop_id, m.source_id, m.sku_id, 0, -m.delta
            FROM stock_movement m
            LEFT JOIN order_line l ON l.shop_id = m.shop_id AND l.order_id = m.source_id AND l.sku_id = m.sku_id
            WHERE m.kind = 'sold' AND l.order_id IS NULL",
    },
    Invariant {
        name: "restocked_once_and_only_if_canceled",
        violations: "
            SELECT l.shop_id AS shop, l.order_id, l.sku_id AS sku, o.status, l.count AS ordered,
                   COALESCE(m.delta, 0) AS restocked
            FROM order_line l
            JOIN orders o ON o.shop_id = l.shop_id AND o.id = l.order_id
            LEFT JOIN stock_movement m ON m.shop_id = l.shop_id AND m.source_id = l.order_id
              AND m.sku_id = l.sku_id AND m.kind = 'restocked'
            WHERE COALESCE(m.delta, 0) <> CASE WHEN o.status IN ('canceled', 'expired') THEN l.count ELSE 0 END
            UNION ALL
            SELECT m.shop_id, m.source_id, m.sku_id, 'no such line', 0, m.delta
            FROM stock_movement m
            LEFT JOIN order_line l ON l.shop_id = m.shop_id AND l.order_id = m.source_id AND l.sku_id = m.sku_id
            WHERE m.kind = 'restocked' AND l.order_id IS NULL",
    },
    Invariant {
        name: "orders_have_one_key",
        violations: "
            SELECT o.shop_id AS shop, o.id AS order_id, COALESCE(k.key_count, 0) AS key_count
            FROM orders o
            LEFT JOIN (
                SELECT shop_id, order_id, COUNT(*) AS key_count, MIN(user_id) AS first_user, MAX(user_id) AS last_user
                FROM idempotency_key WHERE order_id IS NOT NULL GROUP BY shop_id, order_id
            ) k ON k.shop_id = o.shop_id AND k.order_id = o.id
            WHERE COALESCE(k.key_count, 0) <> 1 OR k.first_user <> o.user_id OR k.last_user <> o.user_id
            UNION ALL
            SELECT k.shop_id, k.order_id, 1
            FROM idempotency_key k
            LEFT JOIN orders o ON o.shop_id = k.shop_id AND o.id = k.order_id
            WHERE k.order_id IS NOT NULL AND o.id IS NULL",
    },
    Invariant {
        name: "orders_have_their_events",
        violations: "
            SELECT o.shop_id AS shop, o.id AS order_id, o.status, 'no order.placed' AS event
            FROM orders o
            LEFT JOIN outbox_event e ON e.shop_id = o.shop_id AND e.subject_id = o.id AND e.kind = 'order.placed'
            WHERE e.subject_id IS NULL
            UNION ALL
            SELECT o.shop_id, o.id, o.status, 'no order.canceled'
            FROM orders o
            LEFT JOIN outbox_event e ON e.shop_id = o.shop_id AND e.subject_id = o.id AND e.kind = 'order.canceled'
            WHERE o.status = 'canceled' AND e.subject_id IS NULL
            UNION ALL
            SELECT o.shop_id, o.id, o.status, 'order.canceled too early'
            FROM orders o
            JOIN outbox_event e ON e.shop_id = o.shop_id AND e.subject_id = o.id AND e.kind = 'order.canceled'
            WHERE o.status <> 'canceled'",
    },
    Invariant {
        name: "no_orphans",
        violations: "
            SELECT 'order_line without its order' AS what, l.shop_id AS shop, l.order_id AS id, l.sku_id AS sku
            FROM order_line l LEFT JOIN orders o ON o.shop_id = l.shop_id AND o.id = l.order_id WHERE o.id IS NULL
            UNION ALL
            SELECT 'order_line without its SKU', l.shop_id, l.order_id, l.sku_id
            FROM order_line l LEFT JOIN sku s ON s.shop_id = l.shop_id AND s.id = l.sku_id WHERE s.id IS NULL
            UNION ALL
            SELECT 'order without lines', o.shop_id, o.id, NULL
            FROM orders o LEFT JOIN order_line l ON l.shop_id = o.shop_id AND l.order_id = o.id
            WHERE l.order_id IS NULL
            UNION ALL
            SELECT 'stock_movement without its SKU', m.shop_id, m.source_id, m.sku_id
            FROM stock_movement m LEFT JOIN sku s ON s.shop_id = m.shop_id AND s.id = m.sku_id WHERE s.id IS NULL
            UNION ALL
            SELECT 'SKU without its product', s.shop_id, NULL, s.id
            FROM sku s LEFT JOIN product p ON p.shop_id = s.shop_id AND p.id = s.product_id WHERE p.id IS NULL
            UNION ALL
            SELECT 'cart line without its SKU', c.shop_id, NULL, c.sku_id
            FROM cart_line c LEFT JOIN sku s ON s.shop_id = c.shop_id AND s.id = c.sku_id WHERE s.id IS NULL
            UNION ALL
            SELECT 'cart order without its order', c.shop_id, c.order_id, NULL
            FROM cart_order c
            LEFT JOIN orders o ON o.shop_id = c.shop_id AND o.id = c.order_id AND o.user_id = c.user_id
            WHERE o.id IS NULL
            UNION ALL
            SELECT 'cart order that its cart did not count', c.shop_id, c.order_id, NULL
            FROM cart_order c LEFT JOIN cart_head h ON h.shop_id = c.shop_id AND h.user_id = c.user_id
            WHERE h.seq IS NULL OR h.seq < c.seq
            UNION ALL
            SELECT 'event without its order', e.shop_id, e.subject_id, NULL
            FROM outbox_event e LEFT JOIN orders o ON o.shop_id = e.shop_id AND o.id = e.subject_id
            WHERE o.id IS NULL",
    },
];
