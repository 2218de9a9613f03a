-- shop_id leads every primary key, unique key and foreign key: an order is decided inside one shard.
-- Amounts are minor units, times are milliseconds since 1970 (UTC), UUIDs are 16 bytes. What is compared byte by byte
-- (keys, codes, users) is VARBINARY: a text comparison would ignore trailing blanks, and make two keys one.
-- What orders write has no foreign key to its SKU: InnoDB would keep an index by SKU for each, which costs an order of
-- three lines a quarter, and more the more SKUs there are. SKUs are never deleted, and `lastunit check` looks.
-- CREATE TABLE commits by itself: every statement here can be run again, so that a migration that was interrupted can.

CREATE TABLE IF NOT EXISTS shop (
    shop_id    BIGINT  NOT NULL PRIMARY KEY CHECK (shop_id >= 1),
    currency   CHAR(3) NOT NULL CHECK (CHAR_LENGTH(currency) = 3),
    freight    BIGINT  NOT NULL CHECK (freight >= 0),
    free_from  BIGINT  CHECK (free_from >= 0),
    created_at BIGINT  NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS product (
    shop_id     BIGINT          NOT NULL,
    id          BIGINT          NOT NULL CHECK (id >= 1),
    handle      VARBINARY(1020) NOT NULL,
    name        VARCHAR(255)    NOT NULL,
    description MEDIUMTEXT      NOT NULL,
    sales       BIGINT          NOT NULL DEFAULT 0 CHECK (sales >= 0),
    created_at  BIGINT          NOT NULL,
    PRIMARY KEY (shop_id, id),
    UNIQUE KEY product_handle (shop_id, handle),
    CONSTRAINT product_shop FOREIGN KEY (shop_id) REFERENCES shop (shop_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sku (
    shop_id    BIGINT          NOT NULL,
    id         BIGINT          NOT NULL CHECK (id >= 1),
    product_id BIGINT          NOT NULL,
    code       VARBINARY(1020) NOT NULL,
    name       VARCHAR(255)    NOT NULL,
    price      BIGINT          NOT NULL CHECK (price BETWEEN 0 AND 9007199254740991),
    stock      BIGINT          NOT NULL CHECK (stock >= 0),
    sales      BIGINT          NOT NULL DEFAULT 0 CHECK (sales >= 0),
    on_sale    BOOLEAN         NOT NULL CHECK (on_sale IN (0, 1)),
    created_at BIGINT          NOT NULL,
    PRIMARY KEY (shop_id, id),
    UNIQUE KEY sku_code (shop_id, code),
    KEY sku_by_product (shop_id, product_id),
    CONSTRAINT sku_product FOREIGN KEY (shop_id, product_id) REFERENCES product (shop_id, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The append-only stock ledger. source_id is the order that sold or restocked, or a UUID of the change's own. The
-- primary key lets an order sell and restock a SKU once. No trigger keeps it append-only: triggers have no place in the
-- path of an order.
CREATE TABLE IF NOT EXISTS stock_movement (
    shop_id    BIGINT       NOT NULL,
    source_id  BINARY(16)   NOT NULL,
    sku_id     BIGINT       NOT NULL,
    kind       VARCHAR(16)  NOT NULL CHECK (kind IN ('received', 'sold', 'held', 'released', 'restocked', 'adjusted')),
    delta      BIGINT       NOT NULL CHECK (delta <> 0),
    reason     VARCHAR(255) NOT NULL,
    created_at BIGINT       NOT NULL,
    PRIMARY KEY (shop_id, source_id, sku_id, kind),
    CONSTRAINT stock_movement_sign CHECK (
        CASE kind WHEN 'adjusted' THEN TRUE WHEN 'sold' THEN delta < 0 WHEN 'held' THEN delta < 0 ELSE delta > 0 END
    )
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- seq counts the orders placed from the cart: an order has to find it as its request saw it.
CREATE TABLE IF NOT EXISTS cart_head (
    shop_id BIGINT        NOT NULL,
    user_id VARBINARY(64) NOT NULL,
    seq     BIGINT        NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (shop_id, user_id),
    CONSTRAINT cart_head_shop FOREIGN KEY (shop_id) REFERENCES shop (shop_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Without a foreign key to its SKU, too: checking it would lock the SKU's row, for which orders wait.
CREATE TABLE IF NOT EXISTS cart_line (
    shop_id  BIGINT        NOT NULL,
    user_id  VARBINARY(64) NOT NULL,
    sku_id   BIGINT        NOT NULL,
    count    BIGINT        NOT NULL CHECK (count BETWEEN 1 AND 10000),
    selected BOOLEAN       NOT NULL CHECK (selected IN (0, 1)),
    PRIMARY KEY (shop_id, user_id, sku_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS address (
    shop_id BIGINT        NOT NULL,
    user_id VARBINARY(64) NOT NULL,
    id      BINARY(16)    NOT NULL,
    address TEXT          NOT NULL CHECK (JSON_VALID(address)),
    PRIMARY KEY (shop_id, user_id, id),
    CONSTRAINT address_shop FOREIGN KEY (shop_id) REFERENCES shop (shop_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS orders (
    shop_id      BIGINT        NOT NULL,
    id           BINARY(16)    NOT NULL,
    user_id      VARBINARY(64) NOT NULL,
    status       VARCHAR(16)   NOT NULL CHECK (status IN ('unpaid', 'to_ship', 'shipped', 'completed', 'canceled', 'expired')),
    pay_method   VARCHAR(32)   NOT NULL CHECK (pay_method IN ('online', 'cash_on_delivery')),
    total_count  BIGINT        NOT NULL CHECK (total_count >= 1),
    goods_amount BIGINT        NOT NULL CHECK (goods_amount >= 0),
    freight      BIGINT        NOT NULL CHECK (freight >= 0),
    total_amount BIGINT        NOT NULL CHECK (total_amount BETWEEN 0 AND 9007199254740991),
    currency     CHAR(3)       NOT NULL CHECK (CHAR_LENGTH(currency) = 3),
    address      TEXT          NOT NULL,
    created_at   BIGINT        NOT NULL,
    canceled_at  BIGINT,
    PRIMARY KEY (shop_id, id),
    CONSTRAINT orders_shop FOREIGN KEY (shop_id) REFERENCES shop (shop_id),
    CONSTRAINT orders_total CHECK (total_amount = goods_amount + freight)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS order_line (
    shop_id    BIGINT          NOT NULL,
    order_id   BINARY(16)      NOT NULL,
    sku_id     BIGINT          NOT NULL,
    code       VARBINARY(1020) NOT NULL,
    name       VARCHAR(255)    NOT NULL,
    count      BIGINT          NOT NULL CHECK (count BETWEEN 1 AND 10000),
    unit_price BIGINT          NOT NULL CHECK (unit_price >= 0),
    amount     BIGINT          NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (shop_id, order_id, sku_id),
    CONSTRAINT order_line_order FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id),
    CONSTRAINT order_line_amount CHECK (amount = count * unit_price)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row a decided attempt: an order, or a refusal that is final for its key. Rows with an order stay for ever, and
-- list a buyer's orders: an index of orders by buyer would touch a second random page an order. The index finds the
-- refusals, which come first in it, and orders append to it.
CREATE TABLE IF NOT EXISTS idempotency_key (
    shop_id     BIGINT         NOT NULL,
    user_id     VARBINARY(64)  NOT NULL,
    operation   VARBINARY(32)  NOT NULL,
    "key"       VARBINARY(255) NOT NULL,
    fingerprint BINARY(32)     NOT NULL,
    order_id    BINARY(16),
    refusal     TEXT,
    created_at  BIGINT         NOT NULL,
    PRIMARY KEY (shop_id, user_id, operation, "key"),
    KEY idempotency_key_refused (order_id, created_at),
    CONSTRAINT idempotency_key_outcome CHECK ((order_id IS NULL) <> (refusal IS NULL))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What others are to be told of, written with what happened.
CREATE TABLE IF NOT EXISTS outbox_event (
    shop_id      BIGINT      NOT NULL,
    subject_id   BINARY(16)  NOT NULL,
    kind         VARCHAR(32) NOT NULL CHECK (kind IN ('order.placed', 'order.canceled')),
    created_at   BIGINT      NOT NULL,
    delivered_at BIGINT,
    PRIMARY KEY (shop_id, subject_id, kind)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Only the SHA-256 of a key is kept.
CREATE TABLE IF NOT EXISTS service_key (
    hash       BINARY(32)     NOT NULL PRIMARY KEY,
    role       VARCHAR(16)    NOT NULL CHECK (role IN ('shop', 'admin')),
    label      VARBINARY(400) NOT NULL,
    created_at BIGINT         NOT NULL,
    revoked_at BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The orders that were placed from a cart, in their order: a cart that is kept elsewhere catches up by them.
CREATE TABLE IF NOT EXISTS cart_order (
    shop_id  BIGINT        NOT NULL,
    user_id  VARBINARY(64) NOT NULL,
    seq      BIGINT        NOT NULL CHECK (seq >= 1),
    order_id BINARY(16)    NOT NULL,
    PRIMARY KEY (shop_id, user_id, seq),
    CONSTRAINT cart_order_order FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
