//! What belongs to a buyer: the cart and the saved addresses.

use lastunit::{
    Address, AddressId, Cart, CartLine, CartLineSetting, CartLog, MAX_ADDRESSES, MAX_LINES, ShopId, SkuId,
    StoreError, UserId,
};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{
    catalogue::{read_settings, read_sku},
    columns::Column,
    place::read_cart_seq,
    store_error as error,
};
use crate::rows::json;

pub(super) fn read_cart(connection: &Connection, shop: ShopId, user: &UserId) -> Result<Cart, StoreError> {
    let settings = read_settings(connection, shop)?.ok_or(StoreError::NoSuchShop)?;
    let mut select = connection
        .prepare_cached(
            "SELECT c.sku_id, c.count, c.selected, s.price, CASE s.on_sale WHEN 1 THEN s.stock ELSE 0 END
             FROM cart_line c JOIN sku s ON s.shop_id = c.shop_id AND s.id = c.sku_id
             WHERE c.shop_id = ?1 AND c.user_id = ?2 ORDER BY c.sku_id",
        )
        .map_err(error)?;
    let lines = select.query_map(params![shop.get(), user.as_str()], |row| {
        Ok(CartLine::new(row.sku_id(0)?, row.get(1)?, row.get(2)?, row.amount(3)?, row.get(4)?))
    });
    let lines = lines.and_then(Iterator::collect).map_err(error)?;
    Ok(Cart::new(lines, settings.currency))
}

/// The lines of a cart that is kept elsewhere.
pub(super) fn price_cart(
    connection: &Connection,
    shop: ShopId,
    lines: &[(SkuId, u32, bool)],
) -> Result<Cart, StoreError> {
    let settings = read_settings(connection, shop)?.ok_or(StoreError::NoSuchShop)?;
    let mut priced = Vec::with_capacity(lines.len());
    for &(sku_id, count, selected) in lines {
        if let Some(sku) = read_sku(connection, shop, sku_id)? {
            priced.push(CartLine::of_sku(&sku, count, selected));
        }
    }
    Ok(Cart::new(priced, settings.currency))
}

pub(super) fn read_cart_log(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    after: u64,
    limit: usize,
) -> Result<CartLog, StoreError> {
    // The count first: an order that is placed in between is only found too late.
    let seq = read_cart_seq(connection, shop, user)?;
    let mut select = connection
        .prepare_cached(
            "SELECT c.seq, l.sku_id, l.count
             FROM (SELECT seq, order_id FROM cart_order
                   WHERE shop_id = ?1 AND user_id = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4) c
             JOIN order_line l ON l.shop_id = ?1 AND l.order_id = c.order_id
             ORDER BY c.seq, l.sku_id",
        )
        .map_err(error)?;
    let lines = select
        .query_map(params![shop.get(), user.as_str(), after, limit as i64], |row| {
            Ok((row.get(0)?, (row.sku_id(1)?, row.get(2)?)))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(error)?;
    Ok(CartLog::new(seq, lines))
}

pub(super) fn set_cart_line(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    sku: SkuId,
    line: CartLineSetting,
) -> Result<Option<Cart>, StoreError> {
    if read_sku(connection, shop, sku)?.is_none() {
        return Ok(None);
    }
    connection
        .prepare_cached(
            "INSERT INTO cart_line (shop_id, user_id, sku_id, count, selected) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (shop_id, user_id, sku_id)
             DO UPDATE SET count = excluded.count, selected = excluded.selected",
        )
        .and_then(|mut upsert| {
            upsert.execute(params![shop.get(), user.as_str(), sku.get(), line.count, line.selected])
        })
        .map_err(error)?;
    let cart = read_cart(connection, shop, user)?;
    if cart.lines.len() > MAX_LINES {
        return Err(StoreError::Clash(format!("a cart takes at most {MAX_LINES} different SKUs")));
    }
    Ok(Some(cart))
}

pub(super) fn remove_cart_lines(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    sku: Option<SkuId>,
) -> Result<Cart, StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM cart_line WHERE shop_id = ?1 AND user_id = ?2 AND (?3 IS NULL OR sku_id = ?3)",
        )
        .and_then(|mut delete| delete.execute(params![shop.get(), user.as_str(), sku.map(SkuId::get)]))
        .map_err(error)?;
    read_cart(connection, shop, user)
}

pub(super) fn add_address(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    id: AddressId,
    address: &Address,
) -> Result<(), StoreError> {
    read_settings(connection, shop)?.ok_or(StoreError::NoSuchShop)?;
    if list_addresses(connection, shop, user)?.len() >= MAX_ADDRESSES {
        let text = format!("a buyer can save {MAX_ADDRESSES} addresses: delete one first");
        return Err(StoreError::Clash(text));
    }
    let address = json(address)?;
    connection
        .prepare_cached("INSERT INTO address (shop_id, user_id, id, address) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut insert| insert.execute(params![shop.get(), user.as_str(), id.0.as_bytes(), address]))
        .map(drop)
        .map_err(error)
}

pub(super) fn list_addresses(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
) -> Result<Vec<(AddressId, Address)>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT id, address FROM address WHERE shop_id = ?1 AND user_id = ?2 ORDER BY id")
        .map_err(error)?;
    let addresses = select.query_map(params![shop.get(), user.as_str()], |row| {
        let id = AddressId(Uuid::from_bytes(row.get(0)?));
        Ok((id, row.address(1)?))
    });
    addresses.and_then(Iterator::collect).map_err(error)
}

pub(super) fn delete_address(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    id: AddressId,
) -> Result<bool, StoreError> {
    connection
        .prepare_cached("DELETE FROM address WHERE shop_id = ?1 AND user_id = ?2 AND id = ?3")
        .and_then(|mut delete| delete.execute(params![shop.get(), user.as_str(), id.0.as_bytes()]))
        .map(|deleted| deleted > 0)
        .map_err(error)
}
