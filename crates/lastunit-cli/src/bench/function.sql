-- Everything that an order of one unit each of these SKUs (in ascending id) writes. What nobody else waits for
-- comes first, so that the contended rows are held as short as they can be.
CREATE FUNCTION lastunit_bench_place(
    p_user text, p_key text, p_fingerprint bytea, p_order uuid, p_skus bigint[], p_address text, p_at bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_sku bigint;
    v_product record;
BEGIN
    INSERT INTO idempotency_key (shop_id, user_id, operation, "key", fingerprint, order_id, created_at)
    VALUES (1, p_user, 'place_order', p_key, p_fingerprint, p_order, p_at);
    INSERT INTO orders (shop_id, id, user_id, status, pay_method, total_count, goods_amount, freight, total_amount,
                        currency, address, created_at)
    SELECT 1, p_order, p_user, 'to_ship', 'cash_on_delivery', count(*), sum(price), 450, sum(price) + 450, 'GBP',
           p_address, p_at
    FROM sku WHERE shop_id = 1 AND id = ANY (p_skus);
    INSERT INTO order_line (shop_id, order_id, sku_id, code, name, count, unit_price, amount)
    SELECT 1, p_order, id, code, name, 1, price, price FROM sku WHERE shop_id = 1 AND id = ANY (p_skus);
    INSERT INTO stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at)
    SELECT 1, p_order, id, 'sold', -1, '', p_at FROM unnest(p_skus) AS id;
    INSERT INTO outbox_event (shop_id, subject_id, kind, created_at) VALUES (1, p_order, 'order.placed', p_at);
    FOREACH v_sku IN ARRAY p_skus LOOP
        UPDATE sku SET stock = stock - 1, sales = sales + 1 WHERE shop_id = 1 AND id = v_sku AND stock >= 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'SKU % is sold out', v_sku;
        END IF;
    END LOOP;
    FOR v_product IN
        SELECT product_id, count(*) AS units FROM sku WHERE shop_id = 1 AND id = ANY (p_skus)
        GROUP BY product_id ORDER BY product_id
    LOOP
        UPDATE product SET sales = sales + v_product.units WHERE shop_id = 1 AND id = v_product.product_id;
    END LOOP;
END
$$;
