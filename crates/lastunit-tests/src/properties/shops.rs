//! Shops apart from each other, their settings, the service keys, and the store as a whole.

use std::sync::Arc;

use lastunit::*;

use crate::{Bench, accept, amount, buyer, placed};

fn shop(id: i64) -> ShopId {
    ShopId::new(id).expect("positive")
}

fn settings(currency: &str, freight: i64) -> ShopSettings {
    let currency = Currency::new(currency).expect("a currency");
    ShopSettings { currency, freight: amount(freight), free_from: None }
}

pub async fn a_shop_that_isnt_open_is_named_as_such(bench: &Bench) {
    let (nowhere, ada) = (shop(77), buyer("ada"));
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").line(sku, 1).shop(nowhere);
    assert_eq!(bench.engine.place(ask.0).await, Err(PlaceError::NoSuchShop));
    assert_eq!(bench.engine.place(bench.ask("ada").shop(nowhere).0).await, Err(PlaceError::NoSuchShop));
    assert_eq!(bench.store.settings(nowhere).await, Ok(None));
    assert_eq!(bench.store.cart(nowhere, &ada).await, Err(StoreError::NoSuchShop));
    let id = AddressId(bench.uuid());
    let added = bench.store.add_address(nowhere, &ada, id, Address::example()).await;
    assert_eq!(added, Err(StoreError::NoSuchShop));
    let product = NewProduct { handle: None, name: "P".into(), description: String::new(), skus: Vec::new() };
    let created = bench.store.create_product(nowhere, product, bench.uuid(), bench.now()).await;
    assert_eq!(created, Err(StoreError::NoSuchShop));
    assert_eq!(bench.store.sku(nowhere, sku).await, Ok(None));
    bench.assert_counters(sku, 10, 0).await;
    bench.assert_holds().await;
}

pub async fn settings_change_but_not_the_currency_once_there_are_skus(bench: &Bench) {
    let set = |settings| bench.store.set_settings(shop(1), settings, bench.now());
    set(settings("JPY", 500)).await.expect("no SKUs yet");
    bench.sku(120, 1).await;
    let refused = set(settings("GBP", 500)).await;
    assert!(matches!(refused, Err(StoreError::Clash(_))), "{refused:?}");
    assert_eq!(bench.store.settings(shop(1)).await, Ok(Some(settings("JPY", 500))), "left as they were");
    let free = ShopSettings { free_from: Some(amount(9000)), ..settings("JPY", 600) };
    set(free).await.expect("the same currency");
    assert_eq!(bench.store.settings(shop(1)).await, Ok(Some(free)));
    bench.store.set_settings(shop(2), settings("EUR", 0), bench.now()).await.expect("another shop");
    assert_eq!(bench.store.settings(shop(2)).await, Ok(Some(settings("EUR", 0))));
    bench.assert_holds().await;
}

/// The same SKU ids, the same buyer, the same key.
pub async fn two_shops_dont_see_each_other(bench: &Bench) {
    let other = shop(2);
    bench.open_shop(other, 0, None).await;
    let here = bench.product(shop(1), 500, &[5]).await.skus[0].id;
    let there = bench.product(other, 900, &[8]).await.skus[0].id;
    assert_eq!(here, there, "ids are counted per shop");
    bench.put("ada", here, 2, true).await;
    let saved = bench.save_address("ada", Address::example()).await;

    let ask = bench.ask("ada").key("k").line(here, 3);
    let first = bench.buy(&ask).await;
    let second = bench.buy(&ask.clone().shop(other)).await;
    assert_ne!(first.id, second.id, "a key is its shop's own");
    assert_eq!((first.total_amount, second.total_amount), (amount(2500), amount(2700)));
    let stock =
        |shop| async move { bench.store.sku(shop, here).await.expect("a read").expect("a SKU").stock };
    assert_eq!((stock(shop(1)).await, stock(other).await), (2, 5));

    let ada = buyer("ada");
    assert_eq!(bench.store.order(other, &ada, first.id).await, Ok(None));
    assert_eq!(bench.store.orders(other, &ada, None, 10).await, Ok(vec![second]));
    assert_eq!(bench.store.cart(other, &ada).await.expect("a cart").lines, []);
    assert_eq!(bench.store.address(other, &ada, saved).await, Ok(None));
    assert_eq!(bench.store.delete_address(other, &ada, saved).await, Ok(false));
    let to_saved = bench.ask("ada").line(there, 1).to(saved).shop(other);
    assert_eq!(bench.rejection(&to_saved).await, Rejection::AddressNotFound);
    bench.store.remove_cart_lines(other, &ada, None).await.expect("a cart");
    assert_eq!(bench.cart("ada").await, [(here, 2, true)]);
    bench.buy(&bench.ask("ada")).await;
    assert_eq!(
        (bench.cart_seq("ada").await, bench.store.cart_log(other, &ada, 0, 10).await),
        (1, Ok(CartLog { seq: 0, orders: vec![] }))
    );
    bench.assert_holds().await;
}

pub async fn service_keys_are_added_listed_and_revoked(bench: &Bench) {
    let key = |byte: u8, role, label: &str| ServiceKey {
        hash: [byte; 32],
        role,
        label: label.into(),
        created_at: Timestamp::from_unix_ms(1_700_000_000_000 + i64::from(byte)),
    };
    let listed = || async {
        let mut keys = bench.store.service_keys().await.expect("the keys");
        keys.sort_by_key(|key| key.hash);
        keys
    };
    assert_eq!(listed().await, []);
    let keys = [key(1, Role::Shop, "web"), key(2, Role::Admin, "back office"), key(3, Role::Shop, "web")];
    for key in &keys {
        bench.store.add_service_key(key.clone()).await.expect("a new key");
    }
    assert_eq!(listed().await, keys);
    bench.store.add_service_key(key(1, Role::Admin, "web 2")).await.expect("a changed key");
    let changed = &listed().await[0];
    assert_eq!((changed.role, changed.label.as_str()), (Role::Admin, "web 2"));
    let revoked = async |label: &str, made_before: Option<&ServiceKey>| {
        let made_before = made_before.map(|key| key.created_at);
        bench.store.revoke_service_keys(label, made_before, bench.now()).await.expect("a revocation")
    };
    assert_eq!(revoked("web", None).await, 1);
    assert_eq!(revoked("web", None).await, 0, "they were revoked");
    assert_eq!(revoked("unheard of", None).await, 0);
    let hashes = async || listed().await.iter().map(|key| key.hash[0]).collect::<Vec<_>>();
    assert_eq!(hashes().await, [1, 2]);

    // What was made before the newest goes, and the newest stays.
    let [older, newest] = [key(4, Role::Shop, "till"), key(5, Role::Shop, "till")];
    for key in [&older, &newest] {
        bench.store.add_service_key(key.clone()).await.expect("a new key");
    }
    assert_eq!(revoked("till", Some(&older)).await, 0);
    assert_eq!(revoked("till", Some(&newest)).await, 1);
    assert_eq!(revoked("till", Some(&newest)).await, 0);
    assert_eq!(hashes().await, [1, 2, 5]);
}

pub async fn a_check_counts_what_there_is(bench: &Bench) {
    let empty = bench.store.check().await.expect("a check");
    assert_eq!((empty.skus, empty.orders, empty.stock, empty.sales), (0, 0, 0, 0));
    let skus = bench.skus(500, &[10, 20]).await;
    bench.buy(&bench.ask("ada").lines(&[(skus[0], 1), (skus[1], 2)])).await;
    let canceled = bench.buy(&bench.ask("ada").line(skus[1], 5)).await;
    bench.cancel("ada", canceled.id).await;
    bench.refusal(&bench.ask("ada")).await;
    let report = bench.store.check().await.expect("a check");
    assert_eq!((report.skus, report.orders, report.stock, report.sales), (2, 2, 27, 3));
    bench.assert_holds().await;
}

pub async fn a_closed_store_finishes_what_it_accepted_and_takes_no_more(bench: &Bench) {
    assert_eq!(bench.store.ping().await, Ok(()));
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").line(sku, 1);
    let (store, order) =
        (bench.store.clone(), Arc::new(vec![bench.prepared(&ask, CartSnapshot::NOT_NEEDED)]));
    let accepted =
        accept(async move { store.place(shop(1), order, Locking::Exclusive, &NextBatch::default()).await })
            .await;
    let accepted = tokio::spawn(accepted);
    bench.store.close().await;
    let replies = accepted.await.expect("no panic").expect("it was accepted before");
    assert_eq!(placed(&replies[0]).total_count, 1);
    let unavailable = |error: StoreError| matches!(error, StoreError::Unavailable(_));
    assert!(bench.store.ping().await.is_err_and(unavailable), "ping");
    assert!(bench.store.sku(shop(1), sku).await.is_err_and(unavailable), "a read");
    let another = Arc::new(vec![bench.prepared(&bench.ask("ada").line(sku, 1), CartSnapshot::NOT_NEEDED)]);
    let refused = bench.store.place(shop(1), another, Locking::Shared, &NextBatch::default()).await;
    assert!(refused.is_err_and(unavailable), "a write");
    bench.store.close().await;
}
