-- The orders that were placed from a cart, in their order: a cart that is kept elsewhere catches up by them.
CREATE TABLE cart_order (
    shop_id  INTEGER NOT NULL,
    user_id  TEXT    NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq >= 1),
    order_id BLOB    NOT NULL,
    PRIMARY KEY (shop_id, user_id, seq),
    FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id)
) STRICT, WITHOUT ROWID;
