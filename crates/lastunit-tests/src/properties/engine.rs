//! The engine's own promises: a bounded queue, whole batches, tries that end, and no order lost on the way.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use lastunit::*;

use crate::{Bench, Fault, Tap, accept, buyer, only_line, placed};

fn engine(bench: &Bench, store: &Arc<Tap>, change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = bench.config();
    change(&mut config);
    Engine::start(store.clone(), config).expect("an allowed strategy")
}

fn limit(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).expect("not zero")
}

fn has_queue(strategy: Strategy) -> bool {
    matches!(strategy, Strategy::Queue | Strategy::Batched)
}

pub async fn a_full_queue_is_overloaded_and_a_drain_answers_all_accepted(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let tap = Tap::closed(bench.store.clone());
    let engine = engine(bench, &tap, |config| {
        (config.max_waiting, config.max_batch) = (limit(3), limit(1));
    });
    let mut accepted = Vec::new();
    if has_queue(bench.strategy) {
        // The worker takes this one out of the queue, and waits with it.
        accepted.push(accept(engine.place(bench.ask("first").line(sku, 1).0)).await);
        tap.entered().await;
    }
    for at in 0..3 {
        accepted.push(accept(engine.place(bench.ask(&format!("buyer-{at}")).line(sku, 1).0)).await);
    }
    assert_eq!(engine.waiting(), 3);
    let late = bench.ask("late").line(sku, 1);
    assert_eq!(engine.place(late.0.clone()).await, Err(PlaceError::Overloaded));
    tap.open();
    let calls = accepted.len() as i64;
    let drained = tokio::spawn({
        let engine = engine.clone();
        async move { engine.drain().await }
    });
    for call in accepted {
        placed(&call.await.expect("an accepted order is answered"));
    }
    drained.await.expect("no panic");
    assert_eq!(engine.waiting(), 0);
    assert_eq!(bench.orders("late").await, [], "an order that was turned away");
    assert!(!bench.place(&late).await.replayed, "its key is free");
    bench.assert_counters(sku, 100 - calls - 1, calls + 1).await;
    bench.assert_holds().await;
}

pub async fn a_drained_engine_takes_no_orders(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let tap = Tap::new(bench.store.clone());
    let engine = engine(bench, &tap, |_| {});
    placed(&engine.place(bench.ask("ada").line(sku, 1).0).await.expect("an answer"));
    engine.drain().await;
    let late = engine.place(bench.ask("ada").line(sku, 1).0).await;
    assert_eq!(late, Err(PlaceError::Overloaded));
    engine.drain().await;
    bench.assert_counters(sku, 99, 1).await;
    bench.assert_holds().await;
}

pub async fn a_drain_waits_for_every_accepted_order(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let tap = Tap::closed(bench.store.clone());
    let engine = engine(bench, &tap, |_| {});
    let call = tokio::spawn({
        let (engine, request) = (engine.clone(), bench.ask("ada").line(sku, 1).0);
        async move { engine.place(request).await }
    });
    tap.entered().await;
    // Answered at once, this says that no order is under way: one waits at the gate.
    let drain = accept(engine.drain()).await;
    tap.open();
    drain.await;
    assert_eq!(bench.orders("ada").await.len(), 1, "drained, and the order isn't there yet");
    placed(&call.await.expect("no panic").expect("an answer"));
    bench.assert_holds().await;
}

pub async fn a_dropped_call_is_placed_all_the_same(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    // Behind a gate, so that it isn't placed before it is dropped.
    let tap = Tap::closed(bench.store.clone());
    let engine = engine(bench, &tap, |_| {});
    let call = accept(engine.place(bench.ask("ada").line(sku, 1).0)).await;
    drop(call);
    tap.open();
    engine.drain().await;
    bench.store.ping().await.expect("writes that came before are done");
    assert_eq!(bench.orders("ada").await.len(), 1, "a buyer hung up, and the accepted order is lost");
    bench.assert_counters(sku, 99, 1).await;
    bench.assert_holds().await;
}

pub async fn a_conflict_is_tried_again(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let tap = Tap::new(bench.store.clone());
    let engine = engine(bench, &tap, |_| {});
    tap.fail([Fault::Conflict, Fault::LostUnknown, Fault::Conflict]);
    let reply = engine.place(bench.ask("ada").line(sku, 1).0).await.expect("an answer");
    assert!(!reply.replayed && placed(&reply).total_count == 1, "{reply:?}");
    assert_eq!((tap.calls(), engine.retries()), (4, 3));
    bench.assert_counters(sku, 99, 1).await;
    bench.assert_holds().await;
}

pub async fn conflicts_without_end_are_unavailable_and_the_key_stays_free(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let tap = Tap::new(bench.store.clone());
    let engine = engine(bench, &tap, |config| config.max_tries = 3);
    tap.fail([Fault::Conflict; 3]);
    let ask = bench.ask("ada").line(sku, 1);
    assert_eq!(engine.place(ask.0.clone()).await, Err(PlaceError::Unavailable));
    assert_eq!((tap.calls(), engine.retries()), (3, 2));
    let reply = engine.place(ask.0).await.expect("the conflicts are over");
    assert!(!reply.replayed, "nothing was placed before");
    bench.assert_counters(sku, 99, 1).await;
    bench.assert_holds().await;
}

pub async fn an_unknown_commit_is_found_by_its_key(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let tap = Tap::new(bench.store.clone());
    let engine = engine(bench, &tap, |_| {});
    tap.fail([Fault::CommittedUnknown]);
    let reply = engine.place(bench.ask("ada").line(sku, 2).0).await.expect("an answer");
    assert_eq!(only_line(placed(&reply)).count, 2);
    assert_eq!(bench.orders("ada").await, [placed(&reply).clone()], "placed once");
    // Without a try left, the client's own retry finds it.
    let engine = self::engine(bench, &tap, |config| config.max_tries = 1);
    tap.fail([Fault::CommittedUnknown]);
    let ask = bench.ask("bob").line(sku, 3);
    assert_eq!(engine.place(ask.0.clone()).await, Err(PlaceError::Unavailable));
    let reply = engine.place(ask.0).await.expect("an answer");
    assert!(reply.replayed && bench.orders("bob").await == [placed(&reply).clone()], "{reply:?}");
    bench.assert_counters(sku, 95, 5).await;
    bench.assert_holds().await;
}

pub async fn an_unavailable_store_is_not_tried_again(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let tap = Tap::new(bench.store.clone());
    let engine = engine(bench, &tap, |_| {});
    tap.fail([Fault::Unavailable]);
    let ask = bench.ask("ada").line(sku, 1);
    assert_eq!(engine.place(ask.0.clone()).await, Err(PlaceError::Unavailable));
    assert_eq!((tap.calls(), engine.retries()), (1, 0));
    placed(&engine.place(ask.0).await.expect("it is back"));
    bench.assert_counters(sku, 99, 1).await;
    bench.assert_holds().await;
}

/// While one transaction runs, the orders that come in gather; then they are decided in the order they came.
pub async fn a_batch_takes_all_that_wait_in_one_transaction(bench: &Bench) {
    let sku = bench.sku(500, 4).await;
    let tap = Tap::closed(bench.store.clone());
    let engine = engine(bench, &tap, |config| config.max_batch = limit(4));
    let mut calls = vec![accept(engine.place(bench.ask("first").line(sku, 1).0)).await];
    tap.entered().await;
    for at in 0..6 {
        calls.push(accept(engine.place(bench.ask(&format!("buyer-{at}")).line(sku, 1).0)).await);
    }
    tap.open();
    for (at, call) in calls.into_iter().enumerate() {
        let outcome = call.await.expect("an answer").outcome;
        assert_eq!(matches!(outcome, Outcome::Placed(_)), at < 4, "order {at}: {outcome:?}");
    }
    assert_eq!(tap.batches(), [1, 4, 2], "orders in each transaction");
    bench.assert_counters(sku, 0, 4).await;
    bench.assert_holds().await;
}

/// While one transaction hangs, the orders behind it don't wait for ever.
pub async fn an_order_that_waited_too_long_is_turned_away(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let tap = Tap::closed(bench.store.clone());
    let engine = engine(bench, &tap, |config| config.max_wait = Duration::from_millis(250));
    let first = accept(engine.place(bench.ask("first").line(sku, 1).0)).await;
    tap.entered().await;
    let ask = bench.ask("ada").line(sku, 1);
    let waiting = accept(engine.place(ask.0.clone())).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    tap.open();
    placed(&first.await.expect("it didn't wait"));
    assert_eq!(waiting.await, Err(PlaceError::Overloaded));
    assert!(!bench.place(&ask).await.replayed, "nothing was placed before");
    bench.assert_counters(sku, 8, 2).await;
    bench.assert_holds().await;
}

pub async fn orders_of_several_shops_wait_in_one_queue(bench: &Bench) {
    let (second, closed) = (ShopId::new(2).expect("positive"), ShopId::new(3).expect("positive"));
    bench.open_shop(second, 0, None).await;
    let sku = bench.sku(500, 10).await;
    bench.product(second, 500, &[10]).await;
    let tap = Tap::closed(bench.store.clone());
    let engine = engine(bench, &tap, |_| {});
    let mut calls = vec![accept(engine.place(bench.ask("ada").line(sku, 1).0)).await];
    tap.entered().await;
    for at in 0..6 {
        let shop = [ShopId::FIRST, second, closed][at % 3];
        calls.push(accept(engine.place(bench.ask("ada").line(sku, 1).shop(shop).0)).await);
    }
    tap.open();
    for (at, call) in calls.into_iter().enumerate() {
        let answer = call.await;
        let no_such_shop = at > 0 && at % 3 == 0;
        assert_eq!(answer == Err(PlaceError::NoSuchShop), no_such_shop, "order {at}: {answer:?}");
        assert_eq!(answer.is_ok(), !no_such_shop, "order {at}: {answer:?}");
    }
    assert_eq!(tap.batches(), [1, 2, 2, 2], "a transaction a shop");
    bench.assert_counters(sku, 7, 3).await;
    let orders = bench.store.orders(second, &buyer("ada"), None, 10).await.expect("the orders");
    assert_eq!(orders.len(), 2);
    bench.assert_holds().await;
}
