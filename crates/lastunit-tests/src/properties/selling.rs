//! Stock is sold to the last unit and no further, whoever else buys.

use lastunit::*;

use crate::{Ask, Bench, Fresh, Tap, all_at_once, amount, buyer, placed, surely};

const BUYERS: usize = 64;
const ORDERS_EACH: usize = 10;

/// The buyers order at once, each one order after the other.
async fn rush(engine: impl Fn() -> Engine, bench: &Bench, sku: SkuId, count: u32) -> Vec<Reply> {
    let of_buyer = |at: usize| {
        let asks: Vec<Ask> =
            (0..ORDERS_EACH).map(|_| bench.ask(&format!("buyer-{at}")).line(sku, count)).collect();
        let engine = engine();
        async move {
            let mut replies = Vec::new();
            for Ask(request) in asks {
                replies.push(surely(|| engine.place(request.clone())).await);
            }
            replies
        }
    };
    all_at_once((0..BUYERS).map(of_buyer)).await.into_iter().flatten().collect()
}

fn count_placed(replies: &[Reply]) -> usize {
    replies.iter().filter(|reply| matches!(reply.outcome, Outcome::Placed(_))).count()
}

fn short(sku_id: SkuId, requested: u32, available: i64) -> Refusal {
    Refusal::InsufficientStock { lines: vec![ShortLine { sku_id, requested, available }] }
}

/// Every reply is an order, or says that so many units are left.
fn assert_others_are_short(replies: &[Reply], sku: SkuId, requested: u32, available: i64) {
    for reply in replies {
        match &reply.outcome {
            Outcome::Placed(_) => {}
            Outcome::Refused(refusal) => assert_eq!(*refusal, short(sku, requested, available)),
            Outcome::Rejected(rejection) => panic!("rejected: {rejection:?}"),
        }
        assert!(!reply.replayed, "a new key was replayed");
    }
}

pub async fn sell_out_is_exact(bench: &Bench) {
    let sku = bench.sku(500, 200).await;
    let replies = rush(|| bench.next_engine(), bench, sku, 1).await;
    assert_eq!(replies.len(), 640);
    assert_eq!(count_placed(&replies), 200, "orders placed of a stock of 200");
    assert_others_are_short(&replies, sku, 1, 0);
    bench.assert_counters(sku, 0, 200).await;
    bench.assert_holds().await;
}

pub async fn sell_out_leaves_what_is_too_little(bench: &Bench) {
    let sku = bench.sku(500, 200).await;
    let replies = rush(|| bench.next_engine(), bench, sku, 3).await;
    assert_eq!(count_placed(&replies), 66, "orders of 3 placed of a stock of 200");
    assert_others_are_short(&replies, sku, 3, 2);
    bench.assert_counters(sku, 2, 198).await;
    bench.assert_holds().await;
}

pub async fn opposite_orders_of_many_skus_are_exact(bench: &Bench) {
    let mut skus = bench.skus(500, &[40, 60]).await;
    skus.extend(bench.skus(700, &[50]).await);
    let there: Vec<(SkuId, u32)> = skus.iter().map(|&sku| (sku, 1)).collect();
    let back: Vec<(SkuId, u32)> = there.iter().rev().copied().collect();
    let asks = (0..100).map(|at| {
        let lines = if at % 2 == 0 { &there } else { &back };
        bench.ask(&format!("buyer-{at}")).lines(lines)
    });
    let replies = bench.place_at_once(asks.collect()).await;
    assert_eq!(count_placed(&replies), 40, "the scarcest SKU decides");
    assert_others_are_short(&replies, skus[0], 1, 0);
    for (sku, left) in [(skus[0], 0), (skus[1], 20), (skus[2], 10)] {
        bench.assert_counters(sku, left, 40).await;
    }
    bench.assert_holds().await;
}

/// Orders for other SKUs of the same products meet nowhere but at the products, whose sales each of them raises.
pub async fn orders_that_share_only_products_add_up(bench: &Bench) {
    const EACH: usize = 30;
    let (first, second) = (bench.skus(500, &[40; 4]).await, bench.skus(700, &[40; 4]).await);
    let asks = (0..4 * EACH).map(|at| {
        let lines = [(first[at % 4], 1), (second[3 - at % 4], 1)];
        bench.ask(&format!("buyer-{at}")).lines(&lines)
    });
    let replies = bench.place_at_once(asks.collect()).await;
    assert_eq!(count_placed(&replies), 4 * EACH, "there is enough for everybody");
    for sku in first.into_iter().chain(second) {
        bench.assert_counters(sku, 40 - EACH as i64, EACH as i64).await;
    }
    bench.assert_holds().await;
}

pub async fn all_or_nothing(bench: &Bench) {
    let skus = bench.skus(500, &[5, 1, 0]).await;
    let before = bench.store.products(ShopId::FIRST, None, 10).await;
    let refusal = bench.refusal(&bench.ask("ada").lines(&[(skus[0], 2), (skus[1], 2), (skus[2], 1)])).await;
    let lines = vec![
        ShortLine { sku_id: skus[1], requested: 2, available: 1 },
        ShortLine { sku_id: skus[2], requested: 1, available: 0 },
    ];
    assert_eq!(refusal, Refusal::InsufficientStock { lines }, "every line that is short is named");
    assert_eq!(bench.store.products(ShopId::FIRST, None, 10).await, before, "nothing has changed");
    assert_eq!(bench.orders("ada").await, []);
    bench.assert_holds().await;
}

pub async fn lines_of_one_sku_are_summed(bench: &Bench) {
    let sku = bench.sku(500, 3).await;
    let refusal = bench.refusal(&bench.ask("ada").lines(&[(sku, 2), (sku, 2)])).await;
    assert_eq!(refusal, short(sku, 4, 3));
    let order = bench.buy(&bench.ask("ada").lines(&[(sku, 2), (sku, 1)])).await;
    assert_eq!(crate::only_line(&order).count, 3);
    assert_eq!((order.total_count, order.goods_amount), (3, amount(1500)));
    bench.assert_counters(sku, 0, 3).await;
    bench.assert_holds().await;
}

/// One buyer's day: buys, cancels every second order, while the shop receives goods.
pub async fn selling_canceling_and_restocking_at_once_adds_up(bench: &Bench) {
    let sku = bench.sku(500, 50).await;
    let buyers = (0..32).map(|at| {
        let user = format!("buyer-{at}");
        let asks: Vec<Ask> = (0..4).map(|_| bench.ask(&user).line(sku, 1)).collect();
        let ((store, engine), user) = (bench.next_server(), buyer(&user));
        let (source, at) = (bench.uuid(), bench.now());
        async move {
            let (mut kept, mut canceled) = (0, 0);
            for (nth, Ask(request)) in asks.into_iter().enumerate() {
                let reply = surely(|| engine.place(request.clone())).await;
                let Outcome::Placed(order) = reply.outcome else { continue };
                if nth % 2 == 0 {
                    kept += 1;
                    continue;
                }
                let outcome = surely(|| engine.cancel(ShopId::FIRST, &user, order.id)).await;
                assert!(matches!(outcome, CancelOutcome::Canceled(_)), "{outcome:?}");
                canceled += 1;
            }
            let change = StockChange { delta: 1, kind: StockChangeKind::Received, reason: "more".into() };
            surely(|| store.change_stock(ShopId::FIRST, sku, change.clone(), source, at)).await;
            (kept, canceled)
        }
    });
    let (kept, canceled): (Vec<i64>, Vec<i64>) = all_at_once(buyers).await.into_iter().unzip();
    let kept: i64 = kept.iter().sum();
    assert!(kept > 0 && canceled.iter().sum::<i64>() > 0, "nothing was sold or canceled");
    bench.assert_counters(sku, 50 + 32 - kept, kept).await;
    bench.assert_holds().await;
}

pub async fn a_sku_off_sale_or_unknown_is_unavailable(bench: &Bench) {
    let skus = bench.skus(500, &[5, 5]).await;
    let off = SkuPatch { on_sale: Some(false), ..SkuPatch::default() };
    bench.patch(skus[1], off).await;
    let unknown = SkuId::new(skus[1].get() + 1000).expect("positive");
    let refusal = bench.refusal(&bench.ask("ada").lines(&[(unknown, 1), (skus[0], 1), (skus[1], 1)])).await;
    assert_eq!(refusal, Refusal::SkuUnavailable { sku_ids: vec![skus[1], unknown] });
    let on = SkuPatch { on_sale: Some(true), ..SkuPatch::default() };
    bench.patch(skus[1], on).await;
    bench.buy(&bench.ask("ada").line(skus[1], 1)).await;
    bench.assert_counters(skus[0], 5, 0).await;
    bench.assert_counters(skus[1], 4, 1).await;
    bench.assert_holds().await;
}

pub async fn orders_are_listed_newest_first_by_page(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(bench.buy(&bench.ask("ada").line(sku, 1)).await.id);
        bench.buy(&bench.ask("bob").line(sku, 1)).await;
    }
    ids.reverse();
    let (mut listed, mut before) = (Vec::new(), None);
    for size in [3, 3, 1, 0] {
        let page = bench.store.orders(ShopId::FIRST, &buyer("ada"), before, 3).await.expect("a page");
        assert_eq!(page.len(), size, "size of the page behind {before:?}");
        before = page.last().map(|order| order.id).or(before);
        listed.extend(page.iter().map(|order| order.id));
    }
    assert_eq!(listed, ids, "newest first, each once");
    bench.assert_holds().await;
}

pub async fn an_order_is_its_buyers_alone(bench: &Bench) {
    let sku = bench.sku(500, 100).await;
    let reply = bench.place(&bench.ask("ada").line(sku, 2)).await;
    let order = placed(&reply);
    let read = |user| {
        let user = buyer(user);
        async move { bench.store.order(ShopId::FIRST, &user, order.id).await }
    };
    assert_eq!(read("ada").await, Ok(Some(order.clone())), "kept as it was answered");
    assert_eq!(read("bob").await, Ok(None));
    assert_eq!(bench.orders("bob").await, []);
    bench.assert_holds().await;
}

/// The checks can fail: without locking the shop oversells, and [`Store::check`] says so.
pub async fn naive_oversells_and_the_check_names_it(bench: &Bench) {
    let config = Config { strategy: Strategy::Naive, allow_overselling: true, ..bench.config() };
    let engine = Engine::start(bench.store.clone(), config).expect("overselling is allowed");
    let sku = bench.sku(500, 200).await;
    let replies = rush(|| engine.clone(), bench, sku, 1).await;
    let placed = count_placed(&replies);
    assert!(placed > 200, "{placed} orders were placed of a stock of 200: nothing was oversold");
    let report = bench.store.check().await.expect("a check");
    let named: Vec<&str> = report.violations.iter().map(|violation| violation.invariant).collect();
    assert!(
        named.contains(&"stock_matches_ledger"),
        "{placed} of 200 were sold, and the check found {named:?}"
    );
    assert!(named.contains(&"sku_sales_match_orders"), "updates were lost, and the check found {named:?}");
}

pub async fn naive_has_to_be_allowed(bench: &Bench) {
    let config = Config { strategy: Strategy::Naive, ..bench.config() };
    assert!(Engine::start(bench.store.clone(), config).is_err(), "naive was started without leave");
    let store = Tap::new(bench.store.clone());
    let keep = Box::new(());
    let allowed = Bench::new(Fresh { stores: vec![store], keep }, Strategy::Naive).await;
    let sku = allowed.sku(500, 1).await;
    allowed.buy(&allowed.ask("ada").line(sku, 1)).await;
    allowed.assert_holds().await;
}
