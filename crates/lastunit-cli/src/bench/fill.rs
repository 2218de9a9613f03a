//! Fresh shops to be loaded: shop 1 with its SKUs.

use std::{num::NonZeroUsize, sync::Arc};

use anyhow::Result;
use lastunit::{Amount, Currency, NewProduct, NewSku, ShopId, ShopSettings, Source, Store, SystemSource};

use super::place::{Fresh, Place};
use crate::store_url::StoreUrl;

/// Units of a SKU that isn't to be sold out.
pub const PLENTY: i64 = 1_000_000_000;
/// Up to so many SKUs are imported, as a shop would. More are written by the server's own means where there is one: a
/// million imports would take longer than all the rest.
const MOST_IMPORTED: i64 = 10_000;

/// A fresh database with shop 1 and so many SKUs, numbered from 1, ten a product, of so many units each; it is
/// connected to over at most so many connections.
pub async fn shop(
    place: &Place,
    connections: Option<NonZeroUsize>,
    skus: i64,
    stock: i64,
) -> Result<(Fresh, Arc<dyn Store>)> {
    let adapt = |config: &mut lastunit_store::RemoteConfig| {
        config.max_connections = connections.unwrap_or(config.max_connections);
    };
    let fresh = place.fresh(adapt).await?;
    let store = fresh.open().await?;
    let now = SystemSource.now();
    let settings =
        ShopSettings { currency: Currency::new("GBP")?, freight: Amount::new(450)?, free_from: None };
    store.set_settings(ShopId::FIRST, settings, now).await?;
    match &fresh.url {
        StoreUrl::Postgres(..) if skus > MOST_IMPORTED => {
            import(store.as_ref(), 10, stock).await?;
            let numbers = |most: i64| format!("generate_series(1, {most}) AS n(seq)");
            // The import analyzed a table of one product, and the plan of the foreign key would go by that: it would
            // read all products for each SKU.
            add(&fresh, skus, stock, numbers, "ANALYZE product", "ANALYZE").await?;
        }
        StoreUrl::MySql(..) if skus > MOST_IMPORTED => {
            import(store.as_ref(), 10, stock).await?;
            let numbers = |most: i64| format!("seq_1_to_{most} AS n");
            let of_all = "ANALYZE TABLE sku, product, stock_movement";
            add(&fresh, skus, stock, numbers, "ANALYZE TABLE product", of_all).await?;
        }
        _ => import(store.as_ref(), skus, stock).await?,
    }
    Ok((fresh, store))
}

async fn import(store: &dyn Store, skus: i64, stock: i64) -> Result<()> {
    let now = SystemSource.now();
    let sku = |id: i64| -> Result<NewSku> {
        let (code, name) = (format!("BENCH-{id}"), format!("Benchmark SKU {id}"));
        Ok(NewSku { code, name, price: Amount::new(1000)?, stock, on_sale: true })
    };
    let ids: Vec<i64> = (1..=skus).collect();
    let products = ids.chunks(10).map(|ids| {
        let name = format!("Benchmark product {}", ids[0]);
        let skus = ids.iter().map(|&id| sku(id)).collect::<Result<_>>()?;
        Ok(NewProduct { handle: None, name, description: String::new(), skus })
    });
    let products = products.collect::<Result<Vec<_>>>()?;
    store.import(ShopId::FIRST, products, SystemSource.uuid(now), now).await?;
    Ok(())
}

/// Adds products and SKUs to the first ten, with a ledger row for each.
async fn add(
    fresh: &Fresh,
    skus: i64,
    stock: i64,
    numbers: fn(i64) -> String,
    analyze_products: &str,
    analyze: &str,
) -> Result<()> {
    let steps = [
        (
            "products",
            format!(
                "INSERT INTO product (shop_id, id, handle, name, description, created_at)
                 SELECT 1, seq, CONCAT('bench-', seq), 'A product', '', 0 FROM {} WHERE seq > 1",
                numbers((skus + 9) / 10)
            ),
        ),
        ("statistics of products", analyze_products.to_owned()),
        (
            "SKUs",
            format!(
                "INSERT INTO sku (shop_id, id, product_id, code, name, price, stock, on_sale, created_at)
                 SELECT 1, seq, 1 + FLOOR((seq - 1) / 10), CONCAT('B-', seq), 'A SKU', 1000, {stock}, TRUE, 0
                 FROM {} WHERE seq > 10",
                numbers(skus)
            ),
        ),
        (
            "ledger rows",
            // One source of all: the change that received them.
            "INSERT INTO stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at)
             SELECT 1, m.source_id, s.id, 'received', s.stock, 'initial stock', 0
             FROM sku s, (SELECT source_id FROM stock_movement WHERE sku_id = 1) m WHERE s.id > 10"
                .to_owned(),
        ),
        ("statistics", analyze.to_owned()),
    ];
    for (what, statement) in steps {
        eprintln!("{skus} SKUs: {what}");
        fresh.execute(&statement).await?;
    }
    Ok(())
}
