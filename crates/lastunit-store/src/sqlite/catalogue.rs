//! Products, SKUs, stock changed by hand, and the shop's settings.

use lastunit::{
    ImportSummary, MAX_STOCK, NewProduct, NewSku, Product, ProductId, ShopId, ShopSettings, Sku, SkuId,
    SkuPatch, StockChange, StoreError, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use uuid::Uuid;

use super::{
    columns::Column,
    rows::{self, blob, int, text},
    store_error as error,
};

const SKU: &str =
    "SELECT s.id, s.code, s.product_id, p.name, s.name, s.price, shop.currency, s.stock, s.sales, s.on_sale
                   FROM sku s JOIN product p ON p.shop_id = s.shop_id AND p.id = s.product_id
                   JOIN shop ON shop.shop_id = s.shop_id WHERE s.shop_id = ?1";

fn sku(row: &Row<'_>) -> rusqlite::Result<Sku> {
    Ok(Sku {
        id: row.sku_id(0)?,
        code: row.get(1)?,
        product_id: row.product_id(2)?,
        product: row.get(3)?,
        name: row.get(4)?,
        price: row.amount(5)?,
        currency: row.currency(6)?,
        stock: row.get(7)?,
        sales: row.get(8)?,
        on_sale: row.get(9)?,
    })
}

fn skus_where(connection: &Connection, rest: &str, values: &[&dyn ToSql]) -> Result<Vec<Sku>, StoreError> {
    let mut select = connection.prepare_cached(&format!("{SKU} {rest}")).map_err(error)?;
    select.query_map(values, sku).and_then(Iterator::collect).map_err(error)
}

pub(super) fn read_sku(connection: &Connection, shop: ShopId, id: SkuId) -> Result<Option<Sku>, StoreError> {
    Ok(skus_where(connection, "AND s.id = ?2", &[&shop.get(), &id.get()])?.pop())
}

pub(super) fn read_sku_by_code(
    connection: &Connection,
    shop: ShopId,
    code: &str,
) -> Result<Option<Sku>, StoreError> {
    Ok(skus_where(connection, "AND s.code = ?2", &[&shop.get(), &code])?.pop())
}

pub(super) fn list_skus(
    connection: &Connection,
    shop: ShopId,
    after: Option<SkuId>,
    limit: usize,
) -> Result<Vec<Sku>, StoreError> {
    let after = after.map_or(0, SkuId::get);
    let page = "AND s.id > ?2 ORDER BY s.id LIMIT ?3";
    skus_where(connection, page, &[&shop.get(), &after, &(limit as i64)])
}

pub(super) fn list_products(
    connection: &Connection,
    shop: ShopId,
    after: Option<ProductId>,
    limit: usize,
) -> Result<Vec<Product>, StoreError> {
    let mut select = connection
        .prepare_cached(
            "SELECT id, handle, name, description, sales FROM product
             WHERE shop_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )
        .map_err(error)?;
    let after = after.map_or(0, ProductId::get);
    let products = select
        .query_map(params![shop.get(), after, limit as i64], |row| {
            Ok(Product {
                id: row.product_id(0)?,
                handle: row.get(1)?,
                name: row.get(2)?,
                description: row.get(3)?,
                sales: row.get(4)?,
                skus: Vec::new(),
            })
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(error)?;
    let with_skus = |mut product: Product| {
        let of_product = "AND s.product_id = ?2 ORDER BY s.id";
        product.skus = skus_where(connection, of_product, &[&shop.get(), &product.id.get()])?;
        Ok(product)
    };
    products.into_iter().map(with_skus).collect()
}

/// The id that a new row of this shop gets: one more than the highest.
fn next_id(connection: &Connection, table: &str, shop: ShopId) -> Result<i64, StoreError> {
    connection
        .prepare_cached(&format!("SELECT COALESCE(MAX(id), 0) + 1 FROM {table} WHERE shop_id = ?1"))
        .and_then(|mut select| select.query_row([shop.get()], |row| row.get(0)))
        .map_err(error)
}

pub(super) fn create_product(
    connection: &Connection,
    shop: ShopId,
    new: &NewProduct,
    source: Uuid,
    at: Timestamp,
) -> Result<Product, StoreError> {
    read_settings(connection, shop)?.ok_or(StoreError::NoSuchShop)?;
    let handle = new.handle();
    if product_by_handle(connection, shop, &handle)?.is_some() {
        return Err(StoreError::Clash(format!("there is a product with the handle {handle:?} already")));
    }
    let id = insert_product(connection, shop, new, at)?;
    for sku in &new.skus {
        if let Some(there) = read_sku_by_code(connection, shop, &sku.code)? {
            let (code, product) = (&sku.code, &there.product);
            let text = format!("there is a SKU with the code {code:?} already, of the product {product:?}");
            return Err(StoreError::Clash(text));
        }
        insert_sku(connection, shop, id, sku, source, at)?;
    }
    let created = list_products(connection, shop, ProductId::new(id - 1).ok(), 1)?.pop();
    created.ok_or_else(|| StoreError::Internal("a product that was just created is missing".into()))
}

fn product_by_handle(connection: &Connection, shop: ShopId, handle: &str) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached("SELECT id FROM product WHERE shop_id = ?1 AND handle = ?2")
        .and_then(|mut select| select.query_row(params![shop.get(), handle], |row| row.get(0)).optional())
        .map_err(error)
}

fn insert_product(
    connection: &Connection,
    shop: ShopId,
    new: &NewProduct,
    at: Timestamp,
) -> Result<i64, StoreError> {
    let id = next_id(connection, "product", shop)?;
    connection
        .prepare_cached(
            "INSERT INTO product (shop_id, id, handle, name, description, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut insert| {
            insert.execute(params![shop.get(), id, new.handle(), new.name, new.description, at.unix_ms()])
        })
        .map_err(error)?;
    Ok(id)
}

fn insert_sku(
    connection: &Connection,
    shop: ShopId,
    product_id: i64,
    new: &NewSku,
    source: Uuid,
    at: Timestamp,
) -> Result<(), StoreError> {
    let id = next_id(connection, "sku", shop)?;
    connection
        .prepare_cached(
            "INSERT INTO sku (shop_id, id, product_id, code, name, price, stock, on_sale, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                shop.get(),
                id,
                product_id,
                new.code,
                new.name,
                new.price.get(),
                new.stock,
                new.on_sale,
                at.unix_ms()
            ])
        })
        .map_err(error)?;
    if new.stock > 0 {
        write_movement(connection, shop, id, source, "received", new.stock, "initial stock", at)?;
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
fn write_movement(
    connection: &Connection,
    shop: ShopId,
    sku_id: i64,
    source: Uuid,
    kind: &str,
    delta: i64,
    reason: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let row = [
        int(shop.get()),
        blob(source.as_bytes()),
        int(sku_id),
        text(kind),
        int(delta),
        text(reason),
        int(at.unix_ms()),
    ];
    rows::insert(connection, super::MOVEMENT, &[row]).map_err(error)
}

pub(super) fn import(
    connection: &Connection,
    shop: ShopId,
    products: &[NewProduct],
    source: Uuid,
    at: Timestamp,
) -> Result<ImportSummary, StoreError> {
    read_settings(connection, shop)?.ok_or(StoreError::NoSuchShop)?;
    let mut summary = ImportSummary::default();
    for new in products {
        let product_id = match product_by_handle(connection, shop, &new.handle())? {
            Some(id) => {
                summary.products_updated += 1;
                connection
                    .prepare_cached(
                        "UPDATE product SET name = ?3, description = ?4 WHERE shop_id = ?1 AND id = ?2",
                    )
                    .and_then(|mut update| update.execute(params![shop.get(), id, new.name, new.description]))
                    .map_err(error)?;
                id
            }
            None => {
                summary.products_created += 1;
                insert_product(connection, shop, new, at)?
            }
        };
        for sku in &new.skus {
            match read_sku_by_code(connection, shop, &sku.code)? {
                None => {
                    summary.skus_created += 1;
                    insert_sku(connection, shop, product_id, sku, source, at)?;
                }
                Some(there) if there.product_id.get() != product_id => {
                    return Err(StoreError::Clash(format!(
                        "the SKU {:?} belongs to the product {:?}, not to {:?}",
                        sku.code, there.product, new.name
                    )));
                }
                Some(there) => {
                    summary.skus_updated += 1;
                    summary.stocks_left += usize::from(there.stock != sku.stock);
                    let patch = SkuPatch {
                        price: Some(sku.price),
                        name: Some(sku.name.clone()),
                        on_sale: Some(sku.on_sale),
                    };
                    patch_sku(connection, shop, there.id, &patch)?;
                }
            }
        }
    }
    Ok(summary)
}

pub(super) fn patch_sku(
    connection: &Connection,
    shop: ShopId,
    id: SkuId,
    patch: &SkuPatch,
) -> Result<Option<Sku>, StoreError> {
    connection
        .prepare_cached(
            "UPDATE sku SET price = COALESCE(?3, price), name = COALESCE(?4, name), on_sale = COALESCE(?5, on_sale)
             WHERE shop_id = ?1 AND id = ?2",
        )
        .and_then(|mut update| {
            update.execute(params![
                shop.get(),
                id.get(),
                patch.price.map(lastunit::Amount::get),
                patch.name,
                patch.on_sale
            ])
        })
        .map_err(error)?;
    read_sku(connection, shop, id)
}

pub(super) fn change_stock(
    connection: &Connection,
    shop: ShopId,
    id: SkuId,
    change: &StockChange,
    source: Uuid,
    at: Timestamp,
) -> Result<Option<Sku>, StoreError> {
    let Some(before) = read_sku(connection, shop, id)? else { return Ok(None) };
    let changed = connection
        .prepare_cached(
            "UPDATE sku SET stock = stock + ?3
             WHERE shop_id = ?1 AND id = ?2 AND stock + ?3 BETWEEN 0 AND ?4",
        )
        .and_then(|mut update| update.execute(params![shop.get(), id.get(), change.delta, MAX_STOCK]))
        .map_err(error)?;
    if changed == 0 {
        return Err(StoreError::Clash(format!(
            "there are {} units in stock: a change by {} would leave the range of 0 to {MAX_STOCK}",
            before.stock, change.delta
        )));
    }
    write_movement(
        connection,
        shop,
        id.get(),
        source,
        change.kind.as_str(),
        change.delta,
        &change.reason,
        at,
    )?;
    read_sku(connection, shop, id)
}

pub(super) fn read_settings(
    connection: &Connection,
    shop: ShopId,
) -> Result<Option<ShopSettings>, StoreError> {
    connection
        .prepare_cached("SELECT currency, freight, free_from FROM shop WHERE shop_id = ?1")
        .and_then(|mut select| {
            let settings = select.query_row([shop.get()], |row| {
                let free_from = row.get::<_, Option<i64>>(2)?.map(|_| row.amount(2)).transpose()?;
                Ok(ShopSettings { currency: row.currency(0)?, freight: row.amount(1)?, free_from })
            });
            settings.optional()
        })
        .map_err(error)
}

pub(super) fn write_settings(
    connection: &Connection,
    shop: ShopId,
    settings: &ShopSettings,
    at: Timestamp,
) -> Result<(), StoreError> {
    let before = read_settings(connection, shop)?;
    if before.is_some_and(|before| before.currency != settings.currency)
        && next_id(connection, "sku", shop)? > 1
    {
        let text = "the currency can't be changed once there are SKUs: their prices are in the old one";
        return Err(StoreError::Clash(text.into()));
    }
    connection
        .prepare_cached(
            "INSERT INTO shop (shop_id, currency, freight, free_from, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (shop_id) DO UPDATE
             SET currency = excluded.currency, freight = excluded.freight, free_from = excluded.free_from",
        )
        .and_then(|mut upsert| {
            upsert.execute(params![
                shop.get(),
                settings.currency.code(),
                settings.freight.get(),
                settings.free_from.map(lastunit::Amount::get),
                at.unix_ms()
            ])
        })
        .map(drop)
        .map_err(error)
}
