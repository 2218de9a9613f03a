//! Products, SKUs, and stock changed by hand.

use lastunit::*;

use crate::{Bench, all_at_once, amount, surely};

const SHOP: ShopId = ShopId::FIRST;

fn new_sku(code: &str, price: i64, stock: i64) -> NewSku {
    NewSku { code: code.into(), name: format!("SKU {code}"), price: amount(price), stock, on_sale: true }
}

fn new_product(handle: &str, skus: Vec<NewSku>) -> NewProduct {
    NewProduct {
        handle: Some(handle.into()),
        name: format!("Product {handle}"),
        description: "Grüße <b>東京</b> 🎉'\"\nsecond line".into(),
        skus,
    }
}

async fn create(bench: &Bench, product: NewProduct) -> Result<Product, StoreError> {
    bench.store.create_product(SHOP, product, bench.uuid(), bench.now()).await
}

async fn import(bench: &Bench, products: Vec<NewProduct>) -> Result<ImportSummary, StoreError> {
    bench.store.import(SHOP, products, bench.uuid(), bench.now()).await
}

async fn all_products(bench: &Bench) -> Vec<Product> {
    bench.store.products(SHOP, None, 1000).await.expect("the products")
}

async fn by_code(bench: &Bench, code: &str) -> Option<Sku> {
    bench.store.sku_by_code(SHOP, code).await.expect("a read")
}

fn assert_clash<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Clash(_))), "expected a clash, not {result:?}");
}

pub async fn a_product_is_kept_as_it_was_created(bench: &Bench) {
    let mut off = new_sku("OFF", 0, 0);
    off.on_sale = false;
    let new = new_product("hot", vec![new_sku("HOT-1", 1000, MAX_STOCK), off]);
    let created = create(bench, new.clone()).await.expect("a product");
    assert_eq!((&created.handle, &created.name), (&"hot".to_owned(), &new.name));
    assert_eq!((&created.description, created.sales), (&new.description, 0));
    for (sku, new) in created.skus.iter().zip(&new.skus) {
        assert_eq!((sku.code.as_ref(), sku.name.as_ref()), (new.code.as_str(), new.name.as_str()));
        assert_eq!((sku.price, sku.stock, sku.on_sale), (new.price, new.stock, new.on_sale));
        assert_eq!((sku.product_id, &sku.product), (created.id, &created.name));
        assert_eq!((sku.sales, sku.currency.code()), (0, "GBP"));
        assert_eq!(bench.read_sku(sku.id).await, *sku);
        assert_eq!(by_code(bench, &sku.code).await.as_ref(), Some(sku));
    }
    assert_eq!(created.skus.len(), 2);
    assert_eq!(by_code(bench, "hot-1").await, None, "codes differ by case");
    assert_eq!(all_products(bench).await, [created]);
    bench.assert_holds().await;
}

pub async fn a_handle_or_code_that_is_taken_is_a_clash_and_changes_nothing(bench: &Bench) {
    create(bench, new_product("hot", vec![new_sku("HOT-1", 1000, 5)])).await.expect("a product");
    let before = all_products(bench).await;
    assert_clash(create(bench, new_product("hot", vec![new_sku("HOT-2", 1000, 5)])).await);
    let second_is_taken = vec![new_sku("NEW-1", 1000, 5), new_sku("HOT-1", 1000, 5)];
    assert_clash(create(bench, new_product("cold", second_is_taken)).await);
    let twice_the_same = vec![new_sku("NEW-1", 1000, 5), new_sku("NEW-1", 1000, 5)];
    assert_clash(create(bench, new_product("cold", twice_the_same)).await);
    assert_eq!(all_products(bench).await, before);
    assert_eq!(by_code(bench, "NEW-1").await, None, "left behind by a clash");
    create(bench, new_product("cold", vec![new_sku("NEW-1", 1000, 5)])).await.expect("nothing is taken");
    bench.assert_holds().await;
}

pub async fn a_catalogue_is_paged_by_id(bench: &Bench) {
    for at in 0..5 {
        let skus = vec![new_sku(&format!("A{at}"), 100, 1), new_sku(&format!("B{at}"), 100, 1)];
        create(bench, new_product(&format!("p{at}"), skus)).await.expect("a product");
    }
    let (mut skus, mut after) = (Vec::new(), None);
    for size in [4, 4, 2, 0] {
        let page = bench.store.skus(SHOP, after, 4).await.expect("a page");
        assert_eq!(page.len(), size, "SKUs behind {after:?}");
        after = page.last().map(|sku| sku.id).or(after);
        skus.extend(page);
    }
    let (mut products, mut after) = (Vec::new(), None);
    for size in [2, 2, 1, 0] {
        let page = bench.store.products(SHOP, after, 2).await.expect("a page");
        assert_eq!(page.len(), size, "products behind {after:?}");
        after = page.last().map(|product| product.id).or(after);
        products.extend(page);
    }
    assert!(skus.is_sorted_by(|a, b| a.id < b.id) && skus.len() == 10, "each SKU once, by id");
    let handles: Vec<&str> = products.iter().map(|product| product.handle.as_str()).collect();
    assert_eq!(handles, ["p0", "p1", "p2", "p3", "p4"]);
    let of_products: Vec<Sku> = products.iter().flat_map(|product| product.skus.clone()).collect();
    assert_eq!(of_products, skus, "the same SKUs, whichever way they are listed");
}

pub async fn a_sku_is_patched_field_by_field(bench: &Bench) {
    let sku = bench.sku(500, 7).await;
    let before = bench.read_sku(sku).await;
    assert_eq!(bench.patch(sku, SkuPatch::default()).await, before, "an empty patch");
    let priced = bench.patch(sku, SkuPatch { price: Some(amount(0)), ..SkuPatch::default() }).await;
    assert_eq!(priced, Sku { price: amount(0), ..before });
    let named = bench.patch(sku, SkuPatch { name: Some("New".into()), ..SkuPatch::default() }).await;
    assert_eq!(named, Sku { name: "New".into(), ..priced });
    let off = bench.patch(sku, SkuPatch { on_sale: Some(false), ..SkuPatch::default() }).await;
    assert_eq!(off, Sku { on_sale: false, ..named });
    assert_eq!(bench.read_sku(sku).await, off);
    let unknown = SkuId::new(sku.get() + 1).expect("positive");
    assert_eq!(bench.store.patch_sku(SHOP, unknown, SkuPatch::default()).await, Ok(None));
    bench.assert_holds().await;
}

pub async fn stock_changed_by_hand_stands_in_the_ledger(bench: &Bench) {
    use StockChangeKind::{Adjusted, Received};
    let sku = bench.sku(500, 0).await;
    for (kind, delta, stock) in [(Received, 5, 5), (Adjusted, 2, 7), (Adjusted, -7, 0), (Received, 1, 1)] {
        let changed = bench.change_stock(sku, kind, delta).await.expect("a change").expect("the SKU");
        assert_eq!(changed.stock, stock, "after {kind:?} {delta}");
        bench.assert_holds().await;
    }
    bench.assert_counters(sku, 1, 0).await;
    let unknown = SkuId::new(sku.get() + 1).expect("positive");
    assert_eq!(bench.change_stock(unknown, Received, 1).await, Ok(None));
    bench.assert_holds().await;
}

pub async fn stock_cant_leave_its_range(bench: &Bench) {
    use StockChangeKind::{Adjusted, Received};
    let sku = bench.sku(500, 5).await;
    assert_clash(bench.change_stock(sku, Adjusted, -6).await);
    assert_clash(bench.change_stock(sku, Adjusted, -MAX_STOCK).await);
    assert_clash(bench.change_stock(sku, Received, MAX_STOCK - 4).await);
    bench.assert_counters(sku, 5, 0).await;
    bench.assert_holds().await;
    bench.change_stock(sku, Received, MAX_STOCK - 5).await.expect("up to the limit");
    assert_clash(bench.change_stock(sku, Adjusted, 1).await);
    bench.change_stock(sku, Adjusted, -MAX_STOCK).await.expect("down to nothing");
    bench.assert_counters(sku, 0, 0).await;
    bench.assert_holds().await;
}

pub async fn stock_changed_by_many_at_once_loses_nothing(bench: &Bench) {
    let sku = bench.sku(500, 30).await;
    let changes = (0..60).map(|at| {
        let (store, source, now) = (bench.next_store(), bench.uuid(), bench.now());
        let delta = if at % 2 == 0 { 1 } else { -2 };
        let change = StockChange { delta, kind: StockChangeKind::Adjusted, reason: "a count".into() };
        async move {
            let clashes = async || match store.change_stock(SHOP, sku, change.clone(), source, now).await {
                Err(StoreError::Clash(_)) => Ok(true),
                other => other.map(|_| false),
            };
            if surely(clashes).await { 0 } else { delta }
        }
    });
    let changed: i64 = all_at_once(changes).await.into_iter().sum();
    bench.assert_counters(sku, 30 + changed, 0).await;
    bench.assert_holds().await;
}

pub async fn an_import_creates_then_updates_and_leaves_stock(bench: &Bench) {
    let first = vec![
        new_product("hot", vec![new_sku("HOT-1", 1000, 5), new_sku("HOT-2", 1100, 6)]),
        new_product("cold", vec![new_sku("COLD-1", 1200, 0)]),
    ];
    let summary = import(bench, first.clone()).await.expect("an import");
    let created = ImportSummary { products_created: 2, skus_created: 3, ..ImportSummary::default() };
    assert_eq!(summary, created);
    let sold = by_code(bench, "HOT-1").await.expect("the SKU").id;
    bench.buy(&bench.ask("ada").line(sold, 2)).await;

    let summary = import(bench, first).await.expect("the same again");
    let updated =
        ImportSummary { products_updated: 2, skus_updated: 3, stocks_left: 1, ..ImportSummary::default() };
    assert_eq!(summary, updated, "only HOT-1 has another stock than the file");

    let mut off = new_sku("HOT-2", 1, 600);
    (off.on_sale, off.name) = (false, "Renamed".into());
    let mut hot = new_product("hot", vec![off, new_sku("HOT-3", 1300, 7)]);
    (hot.name, hot.description) = ("Hotter".into(), String::new());
    let summary = import(bench, vec![hot, new_product("new", vec![new_sku("NEW-1", 1, 1)])]).await;
    let mixed = ImportSummary {
        products_created: 1,
        products_updated: 1,
        skus_created: 2,
        skus_updated: 1,
        stocks_left: 1,
    };
    assert_eq!(summary, Ok(mixed));
    let patched = by_code(bench, "HOT-2").await.expect("the SKU");
    assert_eq!((patched.name.as_ref(), patched.price, patched.on_sale), ("Renamed", amount(1), false));
    assert_eq!((patched.stock, patched.product.as_str()), (6, "Hotter"), "the stock stays as it was");
    assert_eq!(by_code(bench, "HOT-1").await.expect("still there").stock, 3);
    assert_eq!(all_products(bench).await.len(), 3);
    bench.assert_holds().await;
}

pub async fn an_import_that_clashes_changes_nothing(bench: &Bench) {
    create(bench, new_product("hot", vec![new_sku("HOT-1", 1000, 5)])).await.expect("a product");
    let before = all_products(bench).await;
    let clashing = vec![
        new_product("hot", vec![new_sku("HOT-1", 1, 5)]),
        new_product("new", vec![new_sku("NEW-1", 1000, 5), new_sku("HOT-1", 1000, 5)]),
    ];
    assert_clash(import(bench, clashing).await);
    assert_eq!(all_products(bench).await, before, "an import is all or nothing");
    bench.assert_holds().await;
}
