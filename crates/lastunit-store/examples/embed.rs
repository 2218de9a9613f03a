//! Places an order without the server: `cargo run --example embed -p lastunit-store`.

use std::sync::Arc;

use lastunit::*;
use lastunit_store::SqliteStore;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(folder.path().join("shop.db"))?);
    let engine = Engine::start(store.clone(), Config::default())?;
    let (shop, now) = (ShopId::FIRST, engine.source().now());

    let (currency, freight) = (Currency::new("GBP")?, Amount::new(450)?);
    store.set_settings(shop, ShopSettings { currency, freight, free_from: None }, now).await?;
    let mug = NewProduct::single("MUG", "The last mug", Amount::new(1250)?, 1);
    let mug = store.create_product(shop, mug, engine.source().uuid(now), now).await?.skus[0].id;

    for buyer in ["ada", "grace"] {
        let (user, key) = (UserId::new(buyer)?, IdempotencyKey::new("one-mug")?);
        let lines = Demand::new([(mug, 1)])?;
        let request = PlaceRequest::of_lines(user, key, lines, Address::example(), PayMethod::Online);
        match engine.place(request).await?.outcome {
            Outcome::Placed(order) => println!("{buyer}: order {} of {}", order.id, order.total_amount),
            other => println!("{buyer}: {other:?}"),
        }
    }
    Ok(())
}
