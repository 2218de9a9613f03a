//! What belongs to a buyer: the cart and the saved addresses.

use std::collections::HashMap;

use lastunit::{
    Address, AddressId, Cart, CartLine, CartLineSetting, CartLog, MAX_ADDRESSES, MAX_LINES, ShopId, SkuId,
    StoreError, UserId,
};

use super::{
    Row, Session,
    catalogue::{read_settings, read_skus},
    json, values,
};

/// Locks a cart's head, or finds that there is none. It is written, not only read FOR UPDATE: a transaction with
/// an older snapshot then conflicts, instead of going on with what it saw before it waited.
pub(super) async fn lock_head(
    session: &mut impl Session,
    shop: ShopId,
    user: &str,
) -> Result<bool, StoreError> {
    let lock = "UPDATE cart_head SET seq = seq WHERE shop_id = $1 AND user_id = $2";
    Ok(session.execute(lock, values![shop.get(), user]).await? > 0)
}

/// Makes a cart's head, from which no order was placed. Nothing is locked before, so that many who make their
/// heads at once don't wait for each other's gaps.
pub(super) async fn make_head(
    session: &mut impl Session,
    shop: ShopId,
    user: &str,
) -> Result<(), StoreError> {
    read_settings(session, shop).await?.ok_or(StoreError::NoSuchShop)?;
    let insert = "INSERT INTO cart_head (shop_id, user_id, seq) VALUES ($1, $2, 0)";
    session.execute(insert, values![shop.get(), user]).await.map(drop)
}

pub(super) async fn read_cart_seqs(
    session: &mut impl Session,
    shop: ShopId,
    users: &[UserId],
) -> Result<Vec<u64>, StoreError> {
    let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
    let rows = session.cart_heads(shop, &names).await?;
    let heads = rows.iter().map(|row| Ok((row.text(0)?, row.number(1)?)));
    let heads = heads.collect::<Result<HashMap<&str, u64>, StoreError>>()?;
    Ok(names.iter().map(|name| heads.get(name).copied().unwrap_or(0)).collect())
}

/// One statement, and so one snapshot by itself.
pub(super) async fn read_cart(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
) -> Result<Cart, StoreError> {
    let select = "SELECT shop.currency, c.sku_id, c.count, c.selected, s.price,
                         CASE WHEN s.on_sale THEN s.stock ELSE 0 END
                  FROM shop
                  LEFT JOIN (cart_line c JOIN sku s ON s.shop_id = c.shop_id AND s.id = c.sku_id)
                    ON c.shop_id = shop.shop_id AND c.user_id = $2
                  WHERE shop.shop_id = $1 ORDER BY c.sku_id";
    let rows = session.rows(select, values![shop.get(), user.as_str()]).await?;
    let currency = rows.first().ok_or(StoreError::NoSuchShop)?.currency(0)?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        // An empty cart is a shop without a line beside it.
        if !row.is_null(1)? {
            let (count, selected) = (row.number(2)?, row.bool(3)?);
            lines.push(CartLine::new(row.sku_id(1)?, count, selected, row.amount(4)?, row.int(5)?));
        }
    }
    Ok(Cart::new(lines, currency))
}

/// The lines of a cart that is kept elsewhere.
pub(super) async fn price_cart(
    session: &mut impl Session,
    shop: ShopId,
    lines: &[(SkuId, u32, bool)],
) -> Result<Cart, StoreError> {
    let settings = read_settings(session, shop).await?.ok_or(StoreError::NoSuchShop)?;
    let skus = read_skus(session, shop, lines.iter().map(|line| line.0)).await?;
    let priced = lines
        .iter()
        .filter_map(|&(id, count, selected)| skus.get(&id).map(|sku| CartLine::of_sku(sku, count, selected)));
    Ok(Cart::new(priced.collect(), settings.currency))
}

/// One statement, and so one snapshot by itself.
pub(super) async fn read_cart_log(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    after: u64,
    limit: usize,
) -> Result<CartLog, StoreError> {
    let select = "SELECT h.seq, c.seq, l.sku_id, l.count
                  FROM cart_head h
                  LEFT JOIN (SELECT shop_id, seq, order_id FROM cart_order
                             WHERE shop_id = $1 AND user_id = $2 AND seq > $3 ORDER BY seq LIMIT $4) c
                    ON c.shop_id = h.shop_id
                  LEFT JOIN order_line l ON l.shop_id = c.shop_id AND l.order_id = c.order_id
                  WHERE h.shop_id = $1 AND h.user_id = $2 ORDER BY c.seq, l.sku_id";
    // No cart has counted so far as to be out of range.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = session.rows(select, values![shop.get(), user.as_str(), after, limit as i64]).await?;
    let seq = rows.first().map_or(Ok(0), |row| row.number(0))?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        if !row.is_null(1)? {
            lines.push((row.number(1)?, (row.sku_id(2)?, row.number(3)?)));
        }
    }
    Ok(CartLog::new(seq, lines))
}

/// Under the cart's lock.
pub(super) async fn set_cart_line(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    sku: SkuId,
    line: CartLineSetting,
) -> Result<Option<Cart>, StoreError> {
    let select = "SELECT c.sku_id FROM sku s
                  LEFT JOIN cart_line c ON c.shop_id = s.shop_id AND c.user_id = $2 AND c.sku_id = s.id
                  WHERE s.shop_id = $1 AND s.id = $3";
    let there = session.rows(select, values![shop.get(), user.as_str(), sku.get()]).await?;
    let Some(there) = there.first() else { return Ok(None) };
    let write = if there.is_null(0)? {
        "INSERT INTO cart_line (shop_id, user_id, sku_id, count, selected) VALUES ($1, $2, $3, $4, $5)"
    } else {
        "UPDATE cart_line SET count = $4, selected = $5 WHERE shop_id = $1 AND user_id = $2 AND sku_id = $3"
    };
    let row = values![shop.get(), user.as_str(), sku.get(), i64::from(line.count), line.selected];
    session.execute(write, row).await?;
    let cart = read_cart(session, shop, user).await?;
    if cart.lines.len() > MAX_LINES {
        return Err(StoreError::Clash(format!("a cart takes at most {MAX_LINES} different SKUs")));
    }
    Ok(Some(cart))
}

/// Under the cart's lock.
pub(super) async fn remove_cart_lines(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    sku: Option<SkuId>,
) -> Result<Cart, StoreError> {
    let (shop_id, user_id) = (shop.get(), user.as_str());
    match sku {
        Some(sku) => {
            let delete = "DELETE FROM cart_line WHERE shop_id = $1 AND user_id = $2 AND sku_id = $3";
            session.execute(delete, values![shop_id, user_id, sku.get()]).await?;
        }
        None => {
            let delete = "DELETE FROM cart_line WHERE shop_id = $1 AND user_id = $2";
            session.execute(delete, values![shop_id, user_id]).await?;
        }
    }
    read_cart(session, shop, user).await
}

/// Under the lock of the buyer's cart, so that nobody else adds one after they were counted.
pub(super) async fn add_address(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    id: AddressId,
    address: &Address,
) -> Result<(), StoreError> {
    let saved = list_addresses(session, shop, user).await?;
    if saved.iter().any(|(saved, _)| *saved == id) {
        // By an earlier try, whose commit gave no answer.
        return Ok(());
    }
    if saved.len() >= MAX_ADDRESSES {
        let text = format!("a buyer can save {MAX_ADDRESSES} addresses: delete one first");
        return Err(StoreError::Clash(text));
    }
    let address = json(address)?;
    let insert = "INSERT INTO address (shop_id, user_id, id, address) VALUES ($1, $2, $3, $4)";
    session.execute(insert, values![shop.get(), user.as_str(), id.0, address.as_str()]).await.map(drop)
}

pub(super) async fn read_address(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    id: AddressId,
) -> Result<Option<Address>, StoreError> {
    let select = "SELECT address FROM address WHERE shop_id = $1 AND user_id = $2 AND id = $3";
    let found = session.rows(select, values![shop.get(), user.as_str(), id.0]).await?;
    found.first().map(|row| row.address(0)).transpose()
}

pub(super) async fn list_addresses(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
) -> Result<Vec<(AddressId, Address)>, StoreError> {
    let select = "SELECT id, address FROM address WHERE shop_id = $1 AND user_id = $2 ORDER BY id";
    let rows = session.rows(select, values![shop.get(), user.as_str()]).await?;
    rows.iter().map(|row: &Row| Ok((AddressId(row.uuid(0)?), row.address(1)?))).collect()
}

pub(super) async fn delete_address(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    id: AddressId,
) -> Result<bool, StoreError> {
    let delete = "DELETE FROM address WHERE shop_id = $1 AND user_id = $2 AND id = $3";
    Ok(session.execute(delete, values![shop.get(), user.as_str(), id.0]).await? > 0)
}
