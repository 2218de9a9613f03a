//! What an order costs, where it goes, and that both stay as they were.

use lastunit::*;

use crate::{Bench, amount, buyer, only_line, placed, surely};

fn price(minor_units: i64) -> SkuPatch {
    SkuPatch { price: Some(amount(minor_units)), ..SkuPatch::default() }
}

pub async fn a_total_past_the_limit_is_rejected_and_not_kept(bench: &Bench) {
    let most = Amount::MAX.get();
    let skus = bench.skus(most - 1000, &[10, 10]).await;
    let too_large = [
        bench.ask("ada").key("product").line(skus[0], 2),
        bench.ask("ada").key("product").line(skus[0], 10_000),
        bench.ask("ada").key("sum").lines(&[(skus[0], 1), (skus[1], 1)]),
    ];
    for ask in &too_large {
        assert_eq!(bench.rejection(ask).await, Rejection::TotalTooLarge, "{ask:?}");
    }
    // With freight it is exactly the limit.
    let order = bench.buy(&bench.ask("ada").key("sum").line(skus[0], 1)).await;
    assert_eq!(order.total_amount, Amount::MAX);
    bench.open_shop(ShopId::FIRST, 1001, None).await;
    let ask = bench.ask("ada").key("freight").line(skus[0], 1);
    assert_eq!(bench.rejection(&ask).await, Rejection::TotalTooLarge);
    // Nothing was kept under the keys of the rejected.
    bench.open_shop(ShopId::FIRST, 0, None).await;
    assert_eq!(bench.buy(&ask).await.total_amount, amount(most - 1000));
    bench.assert_counters(skus[0], 8, 2).await;
    bench.assert_counters(skus[1], 10, 0).await;
    bench.assert_holds().await;
}

pub async fn freight_is_flat_until_it_is_free(bench: &Bench) {
    let sku = bench.sku(1, 100_000).await;
    bench.open_shop(ShopId::FIRST, 450, Some(5000)).await;
    for (count, freight) in [(1, 450), (4999, 450), (5000, 0), (5001, 0)] {
        let order = bench.buy(&bench.ask("ada").line(sku, count)).await;
        assert_eq!(order.freight, amount(freight), "of {count} units at 1");
        assert_eq!(order.total_amount, amount(i64::from(count) + freight));
    }
    bench.open_shop(ShopId::FIRST, 450, None).await;
    assert_eq!(bench.buy(&bench.ask("ada").line(sku, 9000)).await.freight, amount(450), "never free");
    bench.assert_holds().await;
}

pub async fn another_total_than_was_seen_is_refused(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let ask = || bench.ask("ada").line(sku, 2);
    for wrong in [0, 1000, 1999, 2001] {
        let refusal = bench.refusal(&ask().total(wrong)).await;
        assert_eq!(refusal, Refusal::TotalChanged { total_amount: amount(2000) }, "expected {wrong}");
    }
    bench.assert_counters(sku, 10, 0).await;
    assert_eq!(bench.buy(&ask().total(2000)).await.total_amount, amount(2000));
    bench.patch(sku, price(501)).await;
    let refusal = bench.refusal(&ask().total(2000)).await;
    assert_eq!(refusal, Refusal::TotalChanged { total_amount: amount(2002) }, "the price went up");
    bench.assert_counters(sku, 8, 2).await;
    bench.assert_holds().await;
}

pub async fn a_price_change_leaves_orders_alone(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let before = bench.buy(&bench.ask("ada").line(sku, 2)).await;
    let renamed = SkuPatch { name: Some("Another name".into()), ..price(900) };
    bench.patch(sku, renamed).await;
    assert_eq!(bench.orders("ada").await, std::slice::from_ref(&before), "the order keeps price and name");
    let after = bench.buy(&bench.ask("ada").line(sku, 2)).await;
    assert_eq!(only_line(&before).unit_price, amount(500));
    assert_eq!(only_line(&after).unit_price, amount(900));
    assert_eq!(only_line(&after).name.as_ref(), "Another name");
    bench.assert_holds().await;
}

/// Every order has one of the prices that there were, and its amounts are of that price.
pub async fn a_price_change_amid_orders_never_mixes_prices(bench: &Bench) {
    let sku = bench.sku(500, 1000).await;
    let store = bench.store.clone();
    let changing = async move {
        for minor_units in [501, 502, 503, 504, 505] {
            surely(|| store.patch_sku(ShopId::FIRST, sku, price(minor_units))).await;
        }
    };
    let changing = tokio::spawn(changing);
    let asks = (0..40).map(|at| bench.ask(&format!("buyer-{at}")).line(sku, 3));
    let replies = bench.place_at_once(asks.collect()).await;
    changing.await.expect("no panic");
    for order in replies.iter().map(placed) {
        let line = only_line(order);
        assert!((500..=505).contains(&line.unit_price.get()), "{line:?}");
        assert_eq!(line.amount.get(), line.unit_price.get() * 3);
        assert_eq!(order.total_amount.get(), line.amount.get() + 1000);
    }
    assert_eq!(bench.buy(&bench.ask("ada").line(sku, 1)).await.goods_amount, amount(505));
    bench.assert_counters(sku, 1000 - 121, 121).await;
    bench.assert_holds().await;
}

pub async fn an_address_of_another_buyer_isnt_found(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let adas = bench.save_address("ada", Address::example()).await;
    let unknown = AddressId(bench.uuid());
    for address in [adas, unknown] {
        let ask = bench.ask("bob").line(sku, 1).to(address);
        assert_eq!(bench.rejection(&ask).await, Rejection::AddressNotFound);
    }
    bench.assert_counters(sku, 10, 0).await;
    let order = bench.buy(&bench.ask("ada").line(sku, 1).to(adas)).await;
    assert_eq!(order.address, Address::example());
    bench.assert_holds().await;
}

pub async fn an_order_keeps_its_address(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let there =
        Address { line2: Some("Flat 2".into()), region: Some("Yorkshire".into()), ..Address::example() };
    let saved = bench.save_address("ada", there.clone()).await;
    let ask = bench.ask("ada").line(sku, 1).to(saved);
    let order = bench.buy(&ask).await;
    let deleted = bench.store.delete_address(ShopId::FIRST, &buyer("ada"), saved).await;
    assert_eq!(deleted, Ok(true));
    assert_eq!(order.address, there);
    assert_eq!(bench.orders("ada").await, std::slice::from_ref(&order), "the order keeps its snapshot");
    let again = bench.place(&ask).await;
    assert!(again.replayed && placed(&again) == &order, "the key still answers: {again:?}");
    let other = bench.ask("ada").line(sku, 1).to(saved);
    assert_eq!(bench.rejection(&other).await, Rejection::AddressNotFound, "and the address is gone");
    bench.assert_holds().await;
}

/// A buyer pays the total that was shown, or nothing.
pub async fn expected_totals_hold_amid_price_changes(bench: &Bench) {
    let sku = bench.sku(500, 1000).await;
    let store = bench.store.clone();
    let changing = tokio::spawn(async move {
        for minor_units in (0..20).map(|at| 500 + at % 2) {
            surely(|| store.patch_sku(ShopId::FIRST, sku, price(minor_units))).await;
        }
    });
    let asks = (0..40).map(|at| bench.ask(&format!("buyer-{at}")).line(sku, 1).total(1500));
    let replies = bench.place_at_once(asks.collect()).await;
    changing.await.expect("no panic");
    for reply in &replies {
        match &reply.outcome {
            Outcome::Placed(order) => assert_eq!(order.total_amount, amount(1500), "as the buyer saw it"),
            Outcome::Refused(refusal) => {
                assert_eq!(*refusal, Refusal::TotalChanged { total_amount: amount(1501) });
            }
            Outcome::Rejected(rejection) => panic!("rejected: {rejection:?}"),
        }
    }
    bench.assert_holds().await;
}
