//! The built-in demo catalogue: what an empty store is filled with, so that there is something to order.

use anyhow::Result;
use lastunit::{Amount, Currency, NewProduct, NewSku, ShopId, ShopSettings, Source, Store, SystemSource};

/// Code, name, price in pence, stock.
type DemoSku = (&'static str, &'static str, i64, i64);

/// Products: name, description, SKUs.
const CATALOGUE: &[(&str, &str, &[DemoSku])] = &[
    (
        "Lighthouse enamel mug",
        "Holds 350 ml and survives being dropped.",
        &[
            ("MUG-WHITE", "Lighthouse enamel mug, white", 1250, 500),
            ("MUG-NAVY", "Lighthouse enamel mug, navy", 1250, 500),
        ],
    ),
    (
        "Harbour wool blanket",
        "Woven in one piece, 140 by 180 cm.",
        &[
            ("BLANKET-GREY", "Harbour wool blanket, grey", 8900, 40),
            ("BLANKET-RUST", "Harbour wool blanket, rust", 8900, 3),
        ],
    ),
    (
        "Evening on the pier: one night only",
        "Seats for a concert that everybody wants at the same second.",
        &[
            ("SEAT-STALLS", "Evening on the pier, stalls", 4500, 1000),
            ("SEAT-BALCONY", "Evening on the pier, balcony", 3500, 200),
            ("SEAT-BOX", "Evening on the pier, the last box", 12000, 1),
        ],
    ),
    ("Gift card", "Sent by post.", &[("GIFT-25", "Gift card, 25 pounds", 2500, 100_000)]),
    ("Tide table 1998", "Out of print, and out of stock.", &[("TIDES-1998", "Tide table 1998", 300, 0)]),
];

fn settings() -> Result<ShopSettings> {
    Ok(ShopSettings {
        currency: Currency::new("GBP")?,
        freight: Amount::new(450)?,
        free_from: Some(Amount::new(5000)?),
    })
}

/// Whether a store is empty, or was left half filled: by a server that is filling it now, or that was killed then.
pub async fn is_wanted(store: &dyn Store) -> Result<bool> {
    match store.settings(ShopId::FIRST).await? {
        None => Ok(true),
        Some(set) if set == settings()? => Ok(store.products(ShopId::FIRST, None, 1).await?.is_empty()),
        Some(_) => Ok(false),
    }
}

/// Opens shop 1 with the demo catalogue, and says what it holds.
pub async fn fill(store: &dyn Store) -> Result<String> {
    let now = SystemSource.now();
    store.set_settings(ShopId::FIRST, settings()?, now).await?;
    let sku = |&(code, name, price, stock): &DemoSku| {
        Ok(NewSku { code: code.into(), name: name.into(), price: Amount::new(price)?, stock, on_sale: true })
    };
    let products = CATALOGUE.iter().map(|(name, description, skus)| {
        let skus = skus.iter().map(sku).collect::<Result<_>>()?;
        Ok(NewProduct { handle: None, name: (*name).into(), description: (*description).into(), skus })
    });
    let products = products.collect::<Result<Vec<_>>>()?;
    let filled = store.import(ShopId::FIRST, products, SystemSource.uuid(now), now).await?;
    Ok(format!("{} products, {} SKUs", filled.products_created, filled.skus_created))
}
