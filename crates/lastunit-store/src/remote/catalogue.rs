//! Products, SKUs, stock changed by hand, and the shop's settings.

use std::{collections::HashMap, sync::Arc};

use lastunit::{
    Amount, ImportSummary, MAX_STOCK, NewProduct, NewSku, Product, ProductId, ShopId, ShopSettings, Sku,
    SkuId, SkuPatch, StockChange, StoreError, Timestamp,
};
use uuid::Uuid;

use super::{
    Row, Session, Value,
    batches::{Batched, insert, numbered},
    buyers::{lock_head, make_head},
    expect_one, values,
};

/// Whoever creates products or SKUs, or asks whether there are any, locks the head of this cart, which is nobody's:
/// a buyer's id is never empty. The shop's own row won't do: every order's foreign key needs that.
pub(super) const CATALOGUE: &str = "";

/// Products of the shop `$1`, and which of them.
macro_rules! products_where {
    ($rest:literal) => {
        concat!("SELECT id, handle, name, description, sales FROM product WHERE shop_id = $1 ", $rest)
    };
}

static PRODUCTS_BY_HANDLE: Batched =
    Batched::new(|handles| format!(products_where!("AND handle IN ({})"), numbered(2, handles)));
static NEW_PRODUCTS: Batched =
    Batched::new(|rows| insert("product (shop_id, id, handle, name, description, created_at)", rows));
static NEW_SKUS: Batched = Batched::new(|rows| {
    insert("sku (shop_id, id, product_id, code, name, price, stock, on_sale, created_at)", rows)
});
/// Rows of the ledger.
pub(super) static MOVEMENTS: Batched = Batched::new(|rows| {
    insert("stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at)", rows)
});

/// SKUs of the shop `$1`, and which of them.
macro_rules! skus_where {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.code, s.product_id, p.name, s.name, s.price, shop.currency, s.stock, s.sales, s.on_sale
             FROM sku s JOIN product p ON p.shop_id = s.shop_id AND p.id = s.product_id
             JOIN shop ON shop.shop_id = s.shop_id WHERE s.shop_id = $1 ",
            $rest
        )
    };
}

static SKUS_BY_ID: Batched = Batched::new(|ids| format!(skus_where!("AND s.id IN ({})"), numbered(2, ids)));
static SKUS_BY_CODE: Batched =
    Batched::new(|codes| format!(skus_where!("AND s.code IN ({})"), numbered(2, codes)));

fn sku(row: &Row) -> Result<Sku, StoreError> {
    Ok(Sku {
        id: row.sku_id(0)?,
        code: row.text(1)?.into(),
        product_id: row.product_id(2)?,
        product: row.text(3)?.into(),
        name: row.text(4)?.into(),
        price: row.amount(5)?,
        currency: row.currency(6)?,
        stock: row.int(7)?,
        sales: row.int(8)?,
        on_sale: row.bool(9)?,
    })
}

async fn skus(
    session: &mut impl Session,
    select: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<Sku>, StoreError> {
    session.rows(select, values).await?.iter().map(sku).collect()
}

pub(super) async fn read_sku(
    session: &mut impl Session,
    shop: ShopId,
    id: SkuId,
) -> Result<Option<Sku>, StoreError> {
    Ok(skus(session, skus_where!("AND s.id = $2"), values![shop.get(), id.get()]).await?.pop())
}

pub(super) async fn read_sku_by_code(
    session: &mut impl Session,
    shop: ShopId,
    code: &str,
) -> Result<Option<Sku>, StoreError> {
    Ok(skus(session, skus_where!("AND s.code = $2"), values![shop.get(), code]).await?.pop())
}

/// Those of these SKUs that there are.
pub(super) async fn read_skus(
    session: &mut impl Session,
    shop: ShopId,
    ids: impl Iterator<Item = SkuId>,
) -> Result<HashMap<SkuId, Sku>, StoreError> {
    let ids: Vec<Value<'_>> = ids.map(|id| id.get().into()).collect();
    let rows = SKUS_BY_ID.select(session, shop.get(), &ids).await?;
    rows.iter().map(|row| sku(row).map(|sku| (sku.id, sku))).collect()
}

pub(super) async fn list_skus(
    session: &mut impl Session,
    shop: ShopId,
    after: Option<SkuId>,
    limit: usize,
) -> Result<Vec<Sku>, StoreError> {
    let after = after.map_or(0, SkuId::get);
    let page = skus_where!("AND s.id > $2 ORDER BY s.id LIMIT $3");
    skus(session, page, values![shop.get(), after, limit as i64]).await
}

/// Needs a snapshot, or the catalogue's lock.
pub(super) async fn list_products(
    session: &mut impl Session,
    shop: ShopId,
    after: Option<ProductId>,
    limit: usize,
) -> Result<Vec<Product>, StoreError> {
    let select = products_where!("AND id > $2 ORDER BY id LIMIT $3");
    let after = after.map_or(0, ProductId::get);
    let rows = session.rows(select, values![shop.get(), after, limit as i64]).await?;
    let mut products = rows.iter().map(product).collect::<Result<Vec<_>, _>>()?;
    let Some(last) = products.last().map(|last| last.id.get()) else { return Ok(products) };
    let of_page = skus_where!("AND s.product_id > $2 AND s.product_id <= $3 ORDER BY s.id");
    for sku in skus(session, of_page, values![shop.get(), after, last]).await? {
        if let Ok(at) = products.binary_search_by_key(&sku.product_id, |product| product.id) {
            products[at].skus.push(sku);
        }
    }
    Ok(products)
}

/// A product as its own row has it: without SKUs.
fn product(row: &Row) -> Result<Product, StoreError> {
    Ok(Product {
        id: row.product_id(0)?,
        handle: row.text(1)?.into(),
        name: row.text(2)?.into(),
        description: row.text(3)?.into(),
        sales: row.int(4)?,
        skus: Vec::new(),
    })
}

/// The highest id of a shop's rows, or 0; under the catalogue's lock new rows get those behind it.
async fn last_id(session: &mut impl Session, select: &'static str, shop: ShopId) -> Result<i64, StoreError> {
    let rows = session.rows(select, values![shop.get()]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

const LAST_PRODUCT: &str = "SELECT COALESCE(MAX(id), 0) FROM product WHERE shop_id = $1";
const LAST_SKU: &str = "SELECT COALESCE(MAX(id), 0) FROM sku WHERE shop_id = $1";

/// Under the catalogue's lock. `again`: an earlier try may have been committed.
pub(super) async fn create_product(
    session: &mut impl Session,
    shop: ShopId,
    new: &NewProduct,
    source: Uuid,
    at: Timestamp,
    again: bool,
) -> Result<Product, StoreError> {
    if again && let Some(id) = created_by(session, shop, source).await? {
        return created(session, shop, id).await;
    }
    let mut plan = Plan::read(session, shop, std::slice::from_ref(new)).await?;
    let handle = new.handle();
    if plan.products.contains_key(&handle) && again {
        // Without units in stock it left no trace by which to tell that it is the product of that try.
        let text = format!("there is a product with the handle {handle:?}, it is unknown by whom");
        return Err(StoreError::CommitUnknown(text));
    }
    if plan.products.contains_key(&handle) {
        return Err(StoreError::Clash(format!("there is a product with the handle {handle:?} already")));
    }
    let id = plan.add_product(new);
    for sku in &new.skus {
        if let Some(there) = plan.skus.get(&sku.code) {
            let (code, product) = (&sku.code, &there.product);
            let text = format!("there is a SKU with the code {code:?} already, of the product {product:?}");
            return Err(StoreError::Clash(text));
        }
        plan.add_sku(id, new, sku);
    }
    plan.write(session, shop, source, at).await?;
    created(session, shop, id).await
}

/// The product whose first stock was received under this name.
async fn created_by(
    session: &mut impl Session,
    shop: ShopId,
    source: Uuid,
) -> Result<Option<i64>, StoreError> {
    let select = "SELECT s.product_id FROM stock_movement m
                  JOIN sku s ON s.shop_id = m.shop_id AND s.id = m.sku_id
                  WHERE m.shop_id = $1 AND m.source_id = $2 LIMIT 1";
    let found = session.rows(select, values![shop.get(), source]).await?;
    found.first().map(|row| row.int(0)).transpose()
}

async fn created(session: &mut impl Session, shop: ShopId, id: i64) -> Result<Product, StoreError> {
    let created = list_products(session, shop, ProductId::new(id - 1).ok(), 1).await?.pop();
    created.ok_or_else(|| StoreError::Internal("a product that was just created is missing".into()))
}

/// Under the catalogue's lock. A repetition finds what an earlier try may have created, and makes it the same again;
/// it counts that as updated.
pub(super) async fn import(
    session: &mut impl Session,
    shop: ShopId,
    products: &[NewProduct],
    source: Uuid,
    at: Timestamp,
) -> Result<ImportSummary, StoreError> {
    let mut plan = Plan::read(session, shop, products).await?;
    let mut summary = ImportSummary::default();
    for new in products {
        let product_id = match plan.products.get_mut(&new.handle()) {
            Some(there) => {
                summary.products_updated += 1;
                there.update(new);
                there.id
            }
            None => {
                summary.products_created += 1;
                plan.add_product(new)
            }
        };
        for sku in &new.skus {
            match plan.skus.get_mut(&sku.code) {
                None => {
                    summary.skus_created += 1;
                    plan.add_sku(product_id, new, sku);
                }
                Some(there) if there.product_id != product_id => {
                    return Err(StoreError::Clash(format!(
                        "the SKU {:?} belongs to the product {:?}, not to {:?}",
                        sku.code, there.product, new.name
                    )));
                }
                Some(there) => {
                    summary.skus_updated += 1;
                    summary.stocks_left += usize::from(there.stock != sku.stock);
                    there.update(sku);
                }
            }
        }
    }
    plan.write(session, shop, source, at).await?;
    Ok(summary)
}

/// The products and SKUs that a call names, as they are and as it makes them. They are read and planned before
/// any is written, so that rows are locked in the one order: SKUs by ascending id, then products, then inserts.
struct Plan {
    /// By handle.
    products: HashMap<String, PlannedProduct>,
    /// By code.
    skus: HashMap<String, PlannedSku>,
    last_product: i64,
    last_sku: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Update,
    Insert,
}

impl Change {
    /// What is new is inserted as it is at last.
    fn update(&mut self) {
        if *self == Self::None {
            *self = Self::Update;
        }
    }
}

struct PlannedProduct {
    change: Change,
    id: i64,
    name: String,
    description: String,
}

impl PlannedProduct {
    fn update(&mut self, new: &NewProduct) {
        if self.name != new.name || self.description != new.description {
            self.change.update();
            self.name.clone_from(&new.name);
            self.description.clone_from(&new.description);
        }
    }
}

struct PlannedSku {
    change: Change,
    id: i64,
    product_id: i64,
    product: String,
    name: Arc<str>,
    price: Amount,
    stock: i64,
    on_sale: bool,
}

impl PlannedSku {
    fn update(&mut self, new: &NewSku) {
        if self.name.as_ref() != new.name || self.price != new.price || self.on_sale != new.on_sale {
            self.change.update();
            self.name = new.name.as_str().into();
            (self.price, self.on_sale) = (new.price, new.on_sale);
        }
    }
}

impl Plan {
    async fn read(
        session: &mut impl Session,
        shop: ShopId,
        named: &[NewProduct],
    ) -> Result<Self, StoreError> {
        let last_product = last_id(session, LAST_PRODUCT, shop).await?;
        let last_sku = last_id(session, LAST_SKU, shop).await?;
        let (mut products, mut skus) = (HashMap::new(), HashMap::new());
        if last_product > 0 {
            let handles = named.iter().map(|product| Value::Text(product.handle().into()));
            let handles: Vec<Value<'_>> = handles.collect();
            for row in PRODUCTS_BY_HANDLE.select(session, shop.get(), &handles).await? {
                let there = product(&row)?;
                let (id, name, description) = (there.id.get(), there.name, there.description);
                products.insert(there.handle, PlannedProduct { change: Change::None, id, name, description });
            }
        }
        if last_sku > 0 {
            let codes = named.iter().flat_map(|product| &product.skus).map(|sku| sku.code.as_str().into());
            let codes: Vec<Value<'_>> = codes.collect();
            for row in SKUS_BY_CODE.select(session, shop.get(), &codes).await? {
                let there = sku(&row)?;
                let planned = PlannedSku {
                    change: Change::None,
                    id: there.id.get(),
                    product_id: there.product_id.get(),
                    product: there.product,
                    name: there.name,
                    price: there.price,
                    stock: there.stock,
                    on_sale: there.on_sale,
                };
                skus.insert(there.code.as_ref().to_owned(), planned);
            }
        }
        Ok(Self { products, skus, last_product, last_sku })
    }

    fn add_product(&mut self, new: &NewProduct) -> i64 {
        self.last_product += 1;
        let (id, name, description) = (self.last_product, new.name.clone(), new.description.clone());
        let planned = PlannedProduct { change: Change::Insert, id, name, description };
        self.products.insert(new.handle(), planned);
        id
    }

    fn add_sku(&mut self, product_id: i64, of: &NewProduct, new: &NewSku) {
        if let Some(product) = self.products.get_mut(&of.handle()) {
            // Its foreign key locks the product: in its turn then.
            product.change.update();
        }
        self.last_sku += 1;
        let planned = PlannedSku {
            change: Change::Insert,
            id: self.last_sku,
            product_id,
            product: of.name.clone(),
            name: new.name.as_str().into(),
            price: new.price,
            stock: new.stock,
            on_sale: new.on_sale,
        };
        self.skus.insert(new.code.clone(), planned);
    }

    async fn write(
        self,
        session: &mut impl Session,
        shop: ShopId,
        source: Uuid,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut skus: Vec<_> = self.skus.iter().collect();
        skus.sort_unstable_by_key(|(_, sku)| sku.id);
        let mut products: Vec<_> = self.products.iter().collect();
        products.sort_unstable_by_key(|(_, product)| product.id);

        let update = "UPDATE sku SET price = $3, name = $4, on_sale = $5 WHERE shop_id = $1 AND id = $2";
        for (_, sku) in skus.iter().filter(|(_, sku)| sku.change == Change::Update) {
            let row = values![shop.get(), sku.id, sku.price.get(), sku.name.as_ref(), sku.on_sale];
            expect_one(session.execute(update, row).await?)?;
        }
        let update = "UPDATE product SET name = $3, description = $4 WHERE shop_id = $1 AND id = $2";
        for (_, product) in products.iter().filter(|(_, product)| product.change == Change::Update) {
            let row = values![shop.get(), product.id, product.name.as_str(), product.description.as_str()];
            expect_one(session.execute(update, row).await?)?;
        }

        let new_products: Vec<[Value<'_>; 6]> = products
            .iter()
            .filter(|(_, product)| product.change == Change::Insert)
            .map(|(handle, product)| {
                [
                    shop.get().into(),
                    product.id.into(),
                    handle.as_str().into(),
                    product.name.as_str().into(),
                    product.description.as_str().into(),
                    at.unix_ms().into(),
                ]
            })
            .collect();
        NEW_PRODUCTS.insert(session, &new_products).await?;
        let new_skus = || skus.iter().filter(|(_, sku)| sku.change == Change::Insert);
        let rows: Vec<[Value<'_>; 9]> = new_skus()
            .map(|(code, sku)| {
                [
                    shop.get().into(),
                    sku.id.into(),
                    sku.product_id.into(),
                    code.as_str().into(),
                    sku.name.as_ref().into(),
                    sku.price.get().into(),
                    sku.stock.into(),
                    sku.on_sale.into(),
                    at.unix_ms().into(),
                ]
            })
            .collect();
        NEW_SKUS.insert(session, &rows).await?;
        let received: Vec<_> = new_skus()
            .filter(|(_, sku)| sku.stock > 0)
            .map(|(_, sku)| movement(shop, source, sku.id, "received", sku.stock, "initial stock", at))
            .collect();
        MOVEMENTS.insert(session, &received).await
    }
}

/// A row of the ledger.
pub(super) fn movement<'a>(
    shop: ShopId,
    source: Uuid,
    sku_id: i64,
    kind: &'a str,
    delta: i64,
    reason: &'a str,
    at: Timestamp,
) -> [Value<'a>; 7] {
    [
        shop.get().into(),
        source.into(),
        sku_id.into(),
        kind.into(),
        delta.into(),
        reason.into(),
        at.unix_ms().into(),
    ]
}

/// A repetition writes the same again.
pub(super) async fn patch_sku(
    session: &mut impl Session,
    shop: ShopId,
    id: SkuId,
    patch: &SkuPatch,
) -> Result<Option<Sku>, StoreError> {
    let update = "UPDATE sku SET price = COALESCE($3, price), name = COALESCE($4, name),
                                 on_sale = COALESCE($5, on_sale)
                  WHERE shop_id = $1 AND id = $2";
    let (price, name) = (patch.price.map(Amount::get), patch.name.as_deref());
    session.execute(update, values![shop.get(), id.get(), price, name, patch.on_sale]).await?;
    read_sku(session, shop, id).await
}

/// `again`: an earlier try may have been committed; then its ledger row is there, and the stock isn't changed twice.
pub(super) async fn change_stock(
    session: &mut impl Session,
    shop: ShopId,
    id: SkuId,
    change: &StockChange,
    source: Uuid,
    at: Timestamp,
    again: bool,
) -> Result<Option<Sku>, StoreError> {
    if again {
        let select = "SELECT sku_id FROM stock_movement
                      WHERE shop_id = $1 AND source_id = $2 AND sku_id = $3 AND kind = $4";
        let row = values![shop.get(), source, id.get(), change.kind.as_str()];
        if !session.rows(select, row).await?.is_empty() {
            return read_sku(session, shop, id).await;
        }
    }
    // First, so that nothing was read before the row is locked.
    let update = "UPDATE sku SET stock = stock + $3
                  WHERE shop_id = $1 AND id = $2 AND stock + $3 BETWEEN 0 AND $4";
    let changed = session.execute(update, values![shop.get(), id.get(), change.delta, MAX_STOCK]).await?;
    let Some(sku) = read_sku(session, shop, id).await? else { return Ok(None) };
    if changed == 0 {
        return Err(StoreError::Clash(format!(
            "there are {} units in stock: a change by {} would leave the range of 0 to {MAX_STOCK}",
            sku.stock, change.delta
        )));
    }
    let row = movement(shop, source, id.get(), change.kind.as_str(), change.delta, &change.reason, at);
    MOVEMENTS.insert(session, &[row]).await?;
    Ok(Some(sku))
}

pub(super) async fn read_settings(
    session: &mut impl Session,
    shop: ShopId,
) -> Result<Option<ShopSettings>, StoreError> {
    let select = "SELECT currency, freight, free_from FROM shop WHERE shop_id = $1";
    let found = session.rows(select, values![shop.get()]).await?;
    let settings = |row: &Row| {
        let free_from = if row.is_null(2)? { None } else { Some(row.amount(2)?) };
        Ok(ShopSettings { currency: row.currency(0)?, freight: row.amount(1)?, free_from })
    };
    found.first().map(settings).transpose()
}

/// A repetition writes the same again.
pub(super) async fn write_settings(
    session: &mut impl Session,
    shop: ShopId,
    settings: &ShopSettings,
    at: Timestamp,
) -> Result<(), StoreError> {
    let locked = lock_head(session, shop, CATALOGUE).await?;
    let before = read_settings(session, shop).await?;
    let (currency, freight) = (settings.currency.code(), settings.freight.get());
    let free_from = settings.free_from.map(Amount::get);
    if let Some(before) = before {
        if before.currency != settings.currency && last_id(session, LAST_SKU, shop).await? > 0 {
            let text = "the currency can't be changed once there are SKUs: their prices are in the old one";
            return Err(StoreError::Clash(text.into()));
        }
        let update = "UPDATE shop SET currency = $2, freight = $3, free_from = $4 WHERE shop_id = $1";
        session.execute(update, values![shop.get(), currency, freight, free_from]).await?;
    } else {
        let insert = "INSERT INTO shop (shop_id, currency, freight, free_from, created_at)
                      VALUES ($1, $2, $3, $4, $5)";
        session.execute(insert, values![shop.get(), currency, freight, free_from, at.unix_ms()]).await?;
    }
    // Somebody who makes the head at the same time is in the way of this: then all of it is tried again.
    if locked { Ok(()) } else { make_head(session, shop, CATALOGUE).await }
}
