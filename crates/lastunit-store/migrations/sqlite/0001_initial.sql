-- shop_id leads every primary key, unique key and foreign key: an order is decided inside one shard.
-- Amounts are minor units, times are milliseconds since 1970 (UTC), UUIDs are 16 bytes.

CREATE TABLE shop (
    shop_id    INTEGER NOT NULL PRIMARY KEY CHECK (shop_id >= 1),
    currency   TEXT    NOT NULL CHECK (length(currency) = 3),
    freight    INTEGER NOT NULL CHECK (freight >= 0),
    free_from  INTEGER CHECK (free_from >= 0),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE product (
    shop_id     INTEGER NOT NULL REFERENCES shop,
    id          INTEGER NOT NULL CHECK (id >= 1),
    handle      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    sales       INTEGER NOT NULL DEFAULT 0 CHECK (sales >= 0),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (shop_id, id),
    UNIQUE (shop_id, handle)
) STRICT;

CREATE TABLE sku (
    shop_id    INTEGER NOT NULL,
    id         INTEGER NOT NULL CHECK (id >= 1),
    product_id INTEGER NOT NULL,
    code       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    price      INTEGER NOT NULL CHECK (price BETWEEN 0 AND 9007199254740991),
    stock      INTEGER NOT NULL CHECK (stock >= 0),
    sales      INTEGER NOT NULL DEFAULT 0 CHECK (sales >= 0),
    on_sale    INTEGER NOT NULL CHECK (on_sale IN (0, 1)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (shop_id, id),
    UNIQUE (shop_id, code),
    FOREIGN KEY (shop_id, product_id) REFERENCES product (shop_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sku_by_product ON sku (shop_id, product_id);

-- The append-only stock ledger. source_id is the order that sold or restocked, or a UUID of the change's own;
-- the primary key lets an order sell and restock a SKU once.
CREATE TABLE stock_movement (
    shop_id    INTEGER NOT NULL,
    source_id  BLOB    NOT NULL CHECK (length(source_id) = 16),
    sku_id     INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('received', 'sold', 'held', 'released', 'restocked', 'adjusted')),
    delta      INTEGER NOT NULL CHECK (delta <> 0),
    reason     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (shop_id, source_id, sku_id, kind),
    FOREIGN KEY (shop_id, sku_id) REFERENCES sku (shop_id, id),
    CHECK (CASE kind WHEN 'adjusted' THEN 1 WHEN 'sold' THEN delta < 0 WHEN 'held' THEN delta < 0 ELSE delta > 0 END)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER stock_movement_is_append_only_update BEFORE UPDATE ON stock_movement
BEGIN SELECT RAISE(ABORT, 'the stock ledger is append-only'); END;
CREATE TRIGGER stock_movement_is_append_only_delete BEFORE DELETE ON stock_movement
BEGIN SELECT RAISE(ABORT, 'the stock ledger is append-only'); END;

-- seq counts the orders placed from the cart: an order has to find it as its request saw it.
CREATE TABLE cart_head (
    shop_id INTEGER NOT NULL REFERENCES shop,
    user_id TEXT    NOT NULL,
    seq     INTEGER NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (shop_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE cart_line (
    shop_id  INTEGER NOT NULL,
    user_id  TEXT    NOT NULL,
    sku_id   INTEGER NOT NULL,
    count    INTEGER NOT NULL CHECK (count BETWEEN 1 AND 10000),
    selected INTEGER NOT NULL CHECK (selected IN (0, 1)),
    PRIMARY KEY (shop_id, user_id, sku_id),
    FOREIGN KEY (shop_id, sku_id) REFERENCES sku (shop_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE address (
    shop_id INTEGER NOT NULL REFERENCES shop,
    user_id TEXT    NOT NULL,
    id      BLOB    NOT NULL CHECK (length(id) = 16),
    address TEXT    NOT NULL CHECK (json_valid(address)),
    PRIMARY KEY (shop_id, user_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    shop_id      INTEGER NOT NULL REFERENCES shop,
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    user_id      TEXT    NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('unpaid', 'to_ship', 'shipped', 'completed', 'canceled', 'expired')),
    pay_method   TEXT    NOT NULL CHECK (pay_method IN ('online', 'cash_on_delivery')),
    total_count  INTEGER NOT NULL CHECK (total_count >= 1),
    goods_amount INTEGER NOT NULL CHECK (goods_amount >= 0),
    freight      INTEGER NOT NULL CHECK (freight >= 0),
    total_amount INTEGER NOT NULL CHECK (total_amount BETWEEN 0 AND 9007199254740991),
    currency     TEXT    NOT NULL CHECK (length(currency) = 3),
    address      TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    canceled_at  INTEGER,
    PRIMARY KEY (shop_id, id),
    CHECK (total_amount = goods_amount + freight)
) STRICT, WITHOUT ROWID;

CREATE TABLE order_line (
    shop_id    INTEGER NOT NULL,
    order_id   BLOB    NOT NULL,
    sku_id     INTEGER NOT NULL,
    code       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    count      INTEGER NOT NULL CHECK (count BETWEEN 1 AND 10000),
    unit_price INTEGER NOT NULL CHECK (unit_price >= 0),
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (shop_id, order_id, sku_id),
    FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id),
    FOREIGN KEY (shop_id, sku_id) REFERENCES sku (shop_id, id),
    CHECK (amount = count * unit_price)
) STRICT, WITHOUT ROWID;

-- One row a decided attempt: an order, or a refusal that is final for its key. Rows with an order stay for ever,
-- and list a buyer's orders: an index of orders by buyer would touch a second random page an order.
CREATE TABLE idempotency_key (
    shop_id     INTEGER NOT NULL,
    user_id     TEXT    NOT NULL,
    operation   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    order_id    BLOB    CHECK (length(order_id) = 16),
    refusal     TEXT,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (shop_id, user_id, operation, key),
    CHECK ((order_id IS NULL) <> (refusal IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_key_refused ON idempotency_key (shop_id, created_at) WHERE order_id IS NULL;

-- What others are to be told of, written with what happened.
CREATE TABLE outbox_event (
    shop_id      INTEGER NOT NULL,
    subject_id   BLOB    NOT NULL CHECK (length(subject_id) = 16),
    kind         TEXT    NOT NULL CHECK (kind IN ('order.placed', 'order.canceled')),
    created_at   INTEGER NOT NULL,
    delivered_at INTEGER,
    PRIMARY KEY (shop_id, subject_id, kind)
) STRICT, WITHOUT ROWID;

-- Only the SHA-256 of a key is kept.
CREATE TABLE service_key (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    role       TEXT    NOT NULL CHECK (role IN ('shop', 'admin')),
    label      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
