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

    let settings =
        ShopSettings { currency: Currency::new("GBP")?, freight: Amount::new(450)?, free_from: None };
    store.set_settings(shop, settings, now).await?;
    let mug =
        NewSku { code: "MUG".into(), name: "Mug".into(), price: Amount::new(1250)?, stock: 1, on_sale: true };
    let mugs = NewProduct { handle: None, name: "Mug".into(), description: String::new(), skus: vec![mug] };
    let mug = store.create_product(shop, mugs, engine.source().uuid(now), now).await?.skus[0].id;

    for buyer in ["ada", "grace"] {
        let request = PlaceRequest {
            shop,
            user: UserId::new(buyer)?,
            operation: Operation::PlaceOrder,
            key: IdempotencyKey::new("the-last-mug")?,
            basket: Basket::Lines(Demand::new([(mug, 1)])?),
            ship_to: ShipTo::Given(Address::example()),
            pay_method: PayMethod::Online,
            expected_total: None,
        };
        match engine.place(request).await?.outcome {
            Outcome::Placed(order) => {
                println!("{buyer}: order {} for {}", order.id, settings.currency.format(order.total_amount))
            }
            other => println!("{buyer}: {other:?}"),
        }
    }
    Ok(())
}
