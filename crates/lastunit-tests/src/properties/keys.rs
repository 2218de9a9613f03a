//! The idempotency key: the same attempt, sent again, has the same answer and no other effect.

use lastunit::*;

use crate::{Bench, amount, placed};

/// Sends it again; it has to be a replay.
async fn again(bench: &Bench, ask: &crate::Ask) -> Outcome {
    let reply = bench.place(ask).await;
    assert!(reply.replayed, "decided again: {reply:?}");
    reply.outcome
}

pub async fn a_replay_is_the_first_answer(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    for (nth, pay_method) in [PayMethod::Online, PayMethod::CashOnDelivery].into_iter().enumerate() {
        let ask = bench.ask("ada").line(sku, 2).pay(pay_method);
        let first = bench.place(&ask).await;
        assert!(!first.replayed, "the first call was a replay");
        assert_eq!(placed(&first).status, pay_method.first_status());
        for _ in 0..3 {
            assert_eq!(again(bench, &ask).await, first.outcome);
        }
        assert_eq!(bench.orders("ada").await.len(), nth + 1);
    }
    bench.assert_counters(sku, 6, 4).await;
    bench.assert_holds().await;
}

pub async fn a_replay_of_a_canceled_order_is_the_first_answer(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    for pay_method in [PayMethod::Online, PayMethod::CashOnDelivery] {
        let ask = bench.ask("ada").line(sku, 2).pay(pay_method);
        let first = bench.place(&ask).await;
        bench.cancel("ada", placed(&first).id).await;
        assert_eq!(again(bench, &ask).await, first.outcome, "as it was when it was placed");
    }
    bench.assert_counters(sku, 10, 0).await;
    bench.assert_holds().await;
}

pub async fn a_replay_outlives_price_address_and_sku_changes(bench: &Bench) {
    let sku = bench.sku(500, 1).await;
    let ask = bench.ask("ada").line(sku, 1).total(1500);
    let first = bench.place(&ask).await;
    placed(&first);
    bench.open_shop(ShopId::FIRST, 2000, None).await;
    let patch = SkuPatch { price: Some(amount(700)), name: Some("New".into()), on_sale: Some(false) };
    bench.patch(sku, patch).await;
    assert_eq!(again(bench, &ask).await, first.outcome);
    bench.assert_counters(sku, 0, 1).await;
    bench.assert_holds().await;
}

pub async fn a_kept_refusal_is_replayed_even_after_restock(bench: &Bench) {
    let sku = bench.sku(500, 1).await;
    let ask = bench.ask("ada").line(sku, 2);
    let refusal = bench.refusal(&ask).await;
    bench.change_stock(sku, StockChangeKind::Received, 10).await.expect("more stock");
    assert_eq!(again(bench, &ask).await, Outcome::Refused(refusal));
    bench.assert_counters(sku, 11, 0).await;
    bench.buy(&bench.ask("ada").line(sku, 2)).await;
    bench.assert_counters(sku, 9, 2).await;
    bench.assert_holds().await;
}

pub async fn a_key_with_another_body_is_rejected(bench: &Bench) {
    let skus = bench.skus(500, &[10, 10]).await;
    let saved = bench.save_address("ada", Address::example()).await;
    let ask = bench.ask("ada").key("k").lines(&[(skus[0], 1), (skus[1], 2)]);
    let first = bench.place(&ask).await;
    let others = [
        ask.clone().line(skus[0], 1),
        ask.clone().lines(&[(skus[0], 2), (skus[1], 1)]),
        bench.ask("ada").key("k"),
        ask.clone().to(saved),
        ask.clone().pay(PayMethod::CashOnDelivery),
        ask.clone().total(2500),
    ];
    for other in others {
        assert_eq!(bench.rejection(&other).await, Rejection::KeyReused, "{other:?}");
    }
    let reordered = ask.lines(&[(skus[1], 1), (skus[0], 1), (skus[1], 1)]);
    assert_eq!(again(bench, &reordered).await, first.outcome, "the same body, its lines split and moved");
    bench.assert_counters(skus[0], 9, 1).await;
    bench.assert_counters(skus[1], 8, 2).await;
    bench.assert_holds().await;
}

pub async fn a_rejection_leaves_its_key_free(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").key("k").line(sku, 1);
    let nowhere = ask.clone().to(AddressId(bench.uuid()));
    assert_eq!(bench.rejection(&nowhere).await, Rejection::AddressNotFound);
    assert_eq!(bench.rejection(&nowhere).await, Rejection::AddressNotFound);
    let first = bench.place(&ask).await;
    assert!(!first.replayed && placed(&first).total_count == 1, "{first:?}");
    assert_eq!(bench.rejection(&nowhere).await, Rejection::KeyReused);
    bench.assert_counters(sku, 9, 1).await;
    bench.assert_holds().await;
}

pub async fn a_key_is_its_buyers_own(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let adas = bench.buy(&bench.ask("ada").key("k").line(sku, 1)).await;
    let bobs = bench.buy(&bench.ask("bob").key("k").line(sku, 2)).await;
    assert_ne!(adas.id, bobs.id);
    let cased = bench.buy(&bench.ask("ada").key("K").line(sku, 3)).await;
    assert_ne!(adas.id, cased.id, "keys differ by case");
    bench.buy(&bench.ask("Ada").key("k").line(sku, 4)).await;
    bench.assert_counters(sku, 0, 10).await;
    bench.assert_holds().await;
}

pub async fn a_key_is_its_operations_own(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").key("k").line(sku, 1);
    let native = bench.buy(&ask).await;
    let ask = ask.operation(Operation::OriginCommit);
    let origin = bench.buy(&ask).await;
    assert_ne!(native.id, origin.id);
    assert_eq!(again(bench, &ask).await, Outcome::Placed(origin.into()));
    bench.assert_counters(sku, 8, 2).await;
    bench.assert_holds().await;
}

pub async fn parallel_calls_with_one_key_place_one_order(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let ask = bench.ask("ada").line(sku, 1);
    let replies = bench.place_at_once(vec![ask; 50]).await;
    let first = placed(&replies[0]).clone();
    assert!(replies.iter().all(|reply| *placed(reply) == first), "50 calls, and not one order");
    let decided = replies.iter().filter(|reply| !reply.replayed).count();
    assert_eq!(decided, 1, "replies that weren't replays");
    assert_eq!(bench.orders("ada").await, [first]);
    bench.assert_counters(sku, 99, 1).await;
    bench.assert_holds().await;
}

pub async fn parallel_calls_with_one_key_and_other_bodies_place_one_order(bench: &Bench) {
    let sku = bench.sku(500, 1000).await;
    let asks = (1..=30).map(|count| bench.ask("ada").key("k").line(sku, count)).collect();
    let replies = bench.place_at_once(asks).await;
    let orders = bench.orders("ada").await;
    assert_eq!(orders.len(), 1, "one key, {} orders", orders.len());
    for reply in &replies {
        match &reply.outcome {
            Outcome::Placed(order) => assert_eq!(**order, orders[0]),
            other => assert_eq!(*other, Outcome::Rejected(Rejection::KeyReused)),
        }
    }
    let units = orders[0].total_count as i64;
    bench.assert_counters(sku, 1000 - units, units).await;
    bench.assert_holds().await;
}

pub async fn refusals_are_forgotten_and_orders_never(bench: &Bench) {
    let sku = bench.sku(500, 1).await;
    let kept = bench.ask("ada").line(sku, 1);
    let order = bench.buy(&kept).await;
    let refused =
        [bench.ask("ada").line(sku, 1), bench.ask("bob").line(sku, 1), bench.ask("ada").line(sku, 2)];
    for ask in &refused[..2] {
        bench.refusal(ask).await;
    }
    let before = bench.now();
    bench.refusal(&refused[2]).await;
    bench.change_stock(sku, StockChangeKind::Received, 10).await.expect("more stock");

    let nothing_is_older = bench.store.forget_refusals(Timestamp::from_unix_ms(0), 100).await;
    assert_eq!(nothing_is_older, Ok(0));
    assert_eq!(bench.store.forget_refusals(before, 1).await, Ok(1), "no more than the limit");
    assert_eq!(bench.store.forget_refusals(before, 100).await, Ok(1));
    assert_eq!(bench.store.forget_refusals(before, 100).await, Ok(0));

    for ask in &refused[..2] {
        bench.buy(ask).await;
    }
    assert!(matches!(again(bench, &refused[2]).await, Outcome::Refused(_)), "the younger refusal stays");
    assert_eq!(again(bench, &kept).await, Outcome::Placed(order.into()), "orders stay for ever");
    bench.assert_counters(sku, 8, 3).await;
    bench.assert_holds().await;
}
