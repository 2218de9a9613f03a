-- shop_id leads every primary key, unique key and foreign key: an order is decided inside one shard.
-- Amounts are minor units, times are milliseconds since 1970 (UTC), JSON is kept as the text it was.
--
-- What names things is compared byte by byte (COLLATE "C"), so that it sorts here as it does in the program, which
-- takes locks in that order.
--
-- The stock ledger is append-only by what is written, not by a trigger: distributed engines have none in the path
-- of an order. The check compares it with the stock.

CREATE TABLE shop (
    shop_id    BIGINT NOT NULL PRIMARY KEY CHECK (shop_id >= 1),
    currency   TEXT   NOT NULL CHECK (length(currency) = 3),
    freight    BIGINT NOT NULL CHECK (freight >= 0),
    free_from  BIGINT CHECK (free_from >= 0),
    created_at BIGINT NOT NULL
);

-- Pages of products and SKUs are half empty at first, so that the next version of a row that is sold all the time
-- finds room beside the last one, and no index has to be told of it.
CREATE TABLE product (
    shop_id     BIGINT NOT NULL REFERENCES shop,
    id          BIGINT NOT NULL CHECK (id >= 1),
    handle      TEXT   COLLATE "C" NOT NULL,
    name        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    sales       BIGINT NOT NULL DEFAULT 0 CHECK (sales >= 0),
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (shop_id, id),
    UNIQUE (shop_id, handle)
) WITH (fillfactor = 50);

CREATE TABLE sku (
    shop_id    BIGINT  NOT NULL,
    id         BIGINT  NOT NULL CHECK (id >= 1),
    product_id BIGINT  NOT NULL,
    code       TEXT    COLLATE "C" NOT NULL,
    name       TEXT    NOT NULL,
    price      BIGINT  NOT NULL CHECK (price BETWEEN 0 AND 9007199254740991),
    stock      BIGINT  NOT NULL CHECK (stock >= 0),
    sales      BIGINT  NOT NULL DEFAULT 0 CHECK (sales >= 0),
    on_sale    BOOLEAN NOT NULL,
    created_at BIGINT  NOT NULL,
    PRIMARY KEY (shop_id, id),
    UNIQUE (shop_id, code),
    FOREIGN KEY (shop_id, product_id) REFERENCES product (shop_id, id)
) WITH (fillfactor = 50);
CREATE INDEX sku_by_product ON sku (shop_id, product_id);

-- The append-only stock ledger. source_id is the order that sold or restocked, or a UUID of the change's own;
-- the primary key lets an order sell and restock a SKU once.
-- Neither the ledger nor the lines of orders refer to their SKU by a foreign key: it is locked, and its row counted, by
-- the transaction that writes them, and looking it up again for every row took a quarter of the server's time.
-- `lastunit check` looks for rows without their SKU.
CREATE TABLE stock_movement (
    shop_id    BIGINT NOT NULL,
    source_id  UUID   NOT NULL,
    sku_id     BIGINT NOT NULL,
    kind       TEXT   NOT NULL CHECK (kind IN ('received', 'sold', 'held', 'released', 'restocked', 'adjusted')),
    delta      BIGINT NOT NULL CHECK (delta <> 0),
    reason     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (shop_id, source_id, sku_id, kind),
    CHECK (CASE kind WHEN 'adjusted' THEN TRUE WHEN 'sold' THEN delta < 0 WHEN 'held' THEN delta < 0 ELSE delta > 0 END)
);

-- seq counts the orders placed from the cart: an order has to find it as its request saw it.
-- Neither carts nor orders refer to their shop: the foreign key would have every order lock the shop's one row, beside
-- all others. An order reads the shop's settings first, and a shop is never deleted.
CREATE TABLE cart_head (
    shop_id BIGINT NOT NULL,
    user_id TEXT   COLLATE "C" NOT NULL,
    seq     BIGINT NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (shop_id, user_id)
);

CREATE TABLE cart_line (
    shop_id  BIGINT  NOT NULL,
    user_id  TEXT    COLLATE "C" NOT NULL,
    sku_id   BIGINT  NOT NULL,
    count    BIGINT  NOT NULL CHECK (count BETWEEN 1 AND 10000),
    selected BOOLEAN NOT NULL,
    PRIMARY KEY (shop_id, user_id, sku_id),
    FOREIGN KEY (shop_id, sku_id) REFERENCES sku (shop_id, id)
);

CREATE TABLE address (
    shop_id BIGINT NOT NULL REFERENCES shop,
    user_id TEXT   COLLATE "C" NOT NULL,
    id      UUID   NOT NULL,
    address TEXT   NOT NULL CHECK (address::json IS NOT NULL),
    PRIMARY KEY (shop_id, user_id, id)
);

CREATE TABLE orders (
    shop_id      BIGINT NOT NULL,
    id           UUID   NOT NULL,
    user_id      TEXT   COLLATE "C" NOT NULL,
    status       TEXT   NOT NULL CHECK (status IN ('unpaid', 'to_ship', 'shipped', 'completed', 'canceled', 'expired')),
    pay_method   TEXT   NOT NULL CHECK (pay_method IN ('online', 'cash_on_delivery')),
    total_count  BIGINT NOT NULL CHECK (total_count >= 1),
    goods_amount BIGINT NOT NULL CHECK (goods_amount >= 0),
    freight      BIGINT NOT NULL CHECK (freight >= 0),
    total_amount BIGINT NOT NULL CHECK (total_amount BETWEEN 0 AND 9007199254740991),
    currency     TEXT   NOT NULL CHECK (length(currency) = 3),
    address      TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    canceled_at  BIGINT,
    PRIMARY KEY (shop_id, id),
    CHECK (total_amount = goods_amount + freight)
);

CREATE TABLE order_line (
    shop_id    BIGINT NOT NULL,
    order_id   UUID   NOT NULL,
    sku_id     BIGINT NOT NULL,
    code       TEXT   COLLATE "C" NOT NULL,
    name       TEXT   NOT NULL,
    count      BIGINT NOT NULL CHECK (count BETWEEN 1 AND 10000),
    unit_price BIGINT NOT NULL CHECK (unit_price >= 0),
    amount     BIGINT NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (shop_id, order_id, sku_id),
    FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id),
    CHECK (amount = count * unit_price)
);

-- One row a decided attempt: an order, or a refusal that is final for its key. Rows with an order stay for ever,
-- and list a buyer's orders: an index of orders by buyer would touch a second random page an order.
CREATE TABLE idempotency_key (
    shop_id     BIGINT NOT NULL,
    user_id     TEXT   COLLATE "C" NOT NULL,
    operation   TEXT   COLLATE "C" NOT NULL,
    key         TEXT   COLLATE "C" NOT NULL,
    fingerprint BYTEA  NOT NULL CHECK (octet_length(fingerprint) = 32),
    order_id    UUID,
    refusal     TEXT,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (shop_id, user_id, operation, key),
    CHECK ((order_id IS NULL) <> (refusal IS NULL))
);
CREATE INDEX idempotency_key_refused ON idempotency_key (shop_id, created_at) WHERE order_id IS NULL;

-- The orders that were placed from a cart, in their order: a cart that is kept elsewhere catches up by them.
CREATE TABLE cart_order (
    shop_id  BIGINT NOT NULL,
    user_id  TEXT   COLLATE "C" NOT NULL,
    seq      BIGINT NOT NULL CHECK (seq >= 1),
    order_id UUID   NOT NULL,
    PRIMARY KEY (shop_id, user_id, seq),
    FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id)
);

-- What others are to be told of, written with what happened.
CREATE TABLE outbox_event (
    shop_id      BIGINT NOT NULL,
    subject_id   UUID   NOT NULL,
    kind         TEXT   NOT NULL CHECK (kind IN ('order.placed', 'order.canceled')),
    created_at   BIGINT NOT NULL,
    delivered_at BIGINT,
    PRIMARY KEY (shop_id, subject_id, kind)
);

-- Only the SHA-256 of a key is kept.
CREATE TABLE service_key (
    hash       BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(hash) = 32),
    role       TEXT   NOT NULL CHECK (role IN ('shop', 'admin')),
    label      TEXT   COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
