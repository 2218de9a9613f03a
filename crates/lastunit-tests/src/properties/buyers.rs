//! What belongs to a buyer: the cart and the saved addresses.

use lastunit::*;

use crate::{Bench, amount, buyer};

const SHOP: ShopId = ShopId::FIRST;

pub async fn a_cart_is_priced_as_of_now(bench: &Bench) {
    let skus = bench.skus(500, &[10, 3]).await;
    bench.put("ada", skus[1], 2, false).await;
    let cart = bench.put("ada", skus[0], 4, true).await;
    let line = |sku_id, count, selected, available| CartLine {
        sku_id,
        count,
        selected,
        unit_price: amount(500),
        amount: amount(500 * i64::from(count)),
        available,
    };
    assert_eq!(cart.lines, [line(skus[0], 4, true, 10), line(skus[1], 2, false, 3)]);
    assert_eq!((cart.selected_count, cart.selected_amount), (4, amount(2000)));
    assert_eq!(cart.currency.code(), "GBP");
    bench.patch(skus[0], SkuPatch { price: Some(Amount::MAX), ..SkuPatch::default() }).await;
    bench.patch(skus[1], SkuPatch { on_sale: Some(false), ..SkuPatch::default() }).await;
    let cart = bench.store.cart(SHOP, &buyer("ada")).await.expect("a cart");
    assert_eq!((cart.lines[0].amount, cart.selected_amount), (Amount::MAX, Amount::MAX));
    assert_eq!(cart.lines[1].available, 0, "off sale");
    let empty = bench.store.cart(SHOP, &buyer("bob")).await.expect("a cart");
    assert_eq!(empty, Cart::new(Vec::new(), cart.currency));
    bench.assert_holds().await;
}

pub async fn a_cart_takes_no_more_than_its_lines(bench: &Bench) {
    let skus = bench.skus(500, &[1; MAX_LINES + 1]).await;
    for &sku in &skus[..MAX_LINES] {
        bench.put("ada", sku, 1, true).await;
    }
    let line = CartLineSetting { count: 1, selected: true };
    let one_more = bench.store.set_cart_line(SHOP, &buyer("ada"), skus[MAX_LINES], line).await;
    assert!(matches!(one_more, Err(StoreError::Clash(_))), "{one_more:?}");
    assert_eq!(bench.cart("ada").await.len(), MAX_LINES);
    let changed = bench.put("ada", skus[0], 7, true).await;
    assert_eq!(changed.lines[0].count, 7, "a full cart can still be changed");
    bench.put("bob", skus[MAX_LINES], 1, true).await;
    bench.put("ada", skus[0], 1, true).await;
    assert_eq!(bench.buy(&bench.ask("ada")).await.lines.len(), MAX_LINES, "and ordered");
    bench.assert_holds().await;
}

pub async fn a_cart_line_of_an_unknown_sku_is_none(bench: &Bench) {
    let unknown = SkuId::new(4711).expect("positive");
    let line = CartLineSetting { count: 1, selected: true };
    assert_eq!(bench.store.set_cart_line(SHOP, &buyer("ada"), unknown, line).await, Ok(None));
    assert_eq!(bench.cart("ada").await, []);
    bench.assert_holds().await;
}

pub async fn cart_lines_are_taken_out_one_or_all(bench: &Bench) {
    let skus = bench.skus(500, &[5, 5, 5]).await;
    for &sku in &skus {
        bench.put("ada", sku, 1, true).await;
        bench.put("bob", sku, 1, true).await;
    }
    let remove = |sku| {
        let store = bench.store.clone();
        async move { store.remove_cart_lines(SHOP, &buyer("ada"), sku).await.expect("a cart").lines.len() }
    };
    assert_eq!(remove(Some(skus[1])).await, 2);
    assert_eq!(remove(Some(skus[1])).await, 2, "it was out already");
    assert_eq!(remove(None).await, 0);
    assert_eq!(bench.cart("bob").await.len(), 3, "another's cart");
    bench.assert_holds().await;
}

pub async fn addresses_are_kept_oldest_first_and_belong_to_their_buyer(bench: &Bench) {
    let with_receiver = |receiver: &str| Address { receiver: receiver.into(), ..Address::example() };
    let full = Address { line2: Some("Über 2".into()), region: Some("Yorks".into()), ..Address::example() };
    let ids = [
        bench.save_address("ada", with_receiver("one")).await,
        bench.save_address("ada", full.clone()).await,
        bench.save_address("ada", with_receiver("three")).await,
    ];
    let bobs = bench.save_address("bob", with_receiver("bob")).await;
    let listed = bench.store.addresses(SHOP, &buyer("ada")).await.expect("the addresses");
    assert_eq!(listed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    assert_eq!(listed[1].1, full);

    let (ada, bob) = (buyer("ada"), buyer("bob"));
    assert_eq!(bench.store.address(SHOP, &ada, ids[1]).await, Ok(Some(full)));
    assert_eq!(bench.store.address(SHOP, &ada, bobs).await, Ok(None));
    assert_eq!(bench.store.delete_address(SHOP, &bob, ids[0]).await, Ok(false), "another's address");
    assert_eq!(bench.store.delete_address(SHOP, &ada, ids[0]).await, Ok(true));
    assert_eq!(bench.store.delete_address(SHOP, &ada, ids[0]).await, Ok(false), "it was gone already");
    assert_eq!(bench.store.addresses(SHOP, &ada).await.expect("the addresses").len(), 2);
    bench.assert_holds().await;
}

pub async fn a_buyer_saves_no_more_than_the_most_addresses(bench: &Bench) {
    let mut last = None;
    for _ in 0..MAX_ADDRESSES {
        last = Some(bench.save_address("ada", Address::example()).await);
    }
    let add = || {
        let id = AddressId(bench.uuid());
        async move { bench.store.add_address(SHOP, &buyer("ada"), id, Address::example()).await }
    };
    let one_more = add().await;
    assert!(matches!(one_more, Err(StoreError::Clash(_))), "{one_more:?}");
    bench.save_address("bob", Address::example()).await;
    let last = last.expect("an address");
    assert_eq!(bench.store.delete_address(SHOP, &buyer("ada"), last).await, Ok(true));
    assert_eq!(add().await, Ok(()));
    bench.assert_holds().await;
}
