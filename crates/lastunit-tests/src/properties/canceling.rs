//! A canceled order gives its units back, once.

use lastunit::*;

use crate::{Bench, all_at_once, buyer, surely};

fn canceled(outcome: CancelOutcome) -> Order {
    match outcome {
        CancelOutcome::Canceled(order) => *order,
        other => panic!("not canceled: {other:?}"),
    }
}

pub async fn a_canceled_order_is_restocked_once(bench: &Bench) {
    let skus = bench.skus(500, &[10, 10]).await;
    let order = bench.buy(&bench.ask("ada").lines(&[(skus[0], 3), (skus[1], 1)])).await;
    bench.assert_counters(skus[0], 7, 3).await;
    let calls = (0..50).map(|_| {
        let engine = bench.next_engine();
        async move {
            let ada = buyer("ada");
            surely(|| engine.cancel(ShopId::FIRST, &ada, order.id)).await
        }
    });
    let expected = Order { status: OrderStatus::Canceled, ..order.clone() };
    for outcome in all_at_once(calls).await {
        assert_eq!(canceled(outcome), expected, "every call has the same answer");
    }
    bench.assert_counters(skus[0], 10, 0).await;
    bench.assert_counters(skus[1], 10, 0).await;
    assert_eq!(bench.orders("ada").await, [expected]);
    bench.assert_holds().await;
}

pub async fn canceling_anothers_order_is_not_found(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let order = bench.buy(&bench.ask("ada").line(sku, 3)).await;
    assert_eq!(bench.cancel("bob", order.id).await, CancelOutcome::NotFound);
    assert_eq!(bench.cancel("ada", OrderId(bench.uuid())).await, CancelOutcome::NotFound);
    let elsewhere = ShopId::new(2).expect("positive");
    bench.open_shop(elsewhere, 1000, None).await;
    let outcome = bench.engine.cancel(elsewhere, &buyer("ada"), order.id).await;
    assert_eq!(outcome, Ok(CancelOutcome::NotFound), "in another shop");
    assert_eq!(bench.orders("ada").await, [order]);
    bench.assert_counters(sku, 7, 3).await;
    bench.assert_holds().await;
}

pub async fn units_of_a_canceled_order_are_sold_again(bench: &Bench) {
    let sku = bench.sku(500, 3).await;
    let order = bench.buy(&bench.ask("ada").line(sku, 3)).await;
    bench.refusal(&bench.ask("bob").line(sku, 1)).await;
    canceled(bench.cancel("ada", order.id).await);
    let again = bench.buy(&bench.ask("ada").line(sku, 3)).await;
    assert_ne!(again.id, order.id);
    canceled(bench.cancel("ada", again.id).await);
    canceled(bench.cancel("ada", order.id).await);
    bench.buy(&bench.ask("bob").line(sku, 2)).await;
    bench.assert_counters(sku, 1, 2).await;
    bench.assert_holds().await;
}

pub async fn an_order_of_many_skus_is_canceled_whole(bench: &Bench) {
    let mut skus = bench.skus(500, &[10; 20]).await;
    skus.extend(bench.skus(700, &[10; 20]).await);
    let lines: Vec<(SkuId, u32)> = skus.iter().map(|&sku| (sku, 2)).collect();
    let order = bench.buy(&bench.ask("ada").lines(&lines)).await;
    let kept = bench.buy(&bench.ask("bob").lines(&lines[10..30])).await;
    canceled(bench.cancel("ada", order.id).await);
    for (at, &sku) in skus.iter().enumerate() {
        let sold = if (10..30).contains(&at) { 2 } else { 0 };
        bench.assert_counters(sku, 10 - sold, sold).await;
    }
    assert_eq!(bench.orders("bob").await, [kept]);
    bench.assert_holds().await;
}

/// The shelf may have been filled to its limit since: the units were promised back all the same.
pub async fn an_order_can_be_canceled_though_the_stock_is_full(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let order = bench.buy(&bench.ask("ada").line(sku, 10)).await;
    bench.change_stock(sku, StockChangeKind::Received, MAX_STOCK).await.expect("a full shelf");
    let outcome = bench.engine.cancel(ShopId::FIRST, &buyer("ada"), order.id).await;
    assert!(matches!(outcome, Ok(CancelOutcome::Canceled(_))), "the buyer can't cancel: {outcome:?}");
    bench.assert_holds().await;
}
