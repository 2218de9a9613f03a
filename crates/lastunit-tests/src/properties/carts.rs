//! A cart is ordered once, by quantity, and what wasn't ordered stays.

use lastunit::*;

use crate::{Bench, all_at_once, buyer, only_line, placed, surely};

pub async fn ordered_lines_leave_the_cart_and_the_others_stay(bench: &Bench) {
    let skus = bench.skus(500, &[10, 10, 10]).await;
    bench.put("ada", skus[0], 2, true).await;
    bench.put("ada", skus[1], 3, false).await;
    bench.put("ada", skus[2], 4, true).await;
    bench.put("bob", skus[0], 5, true).await;
    let order = bench.buy(&bench.ask("ada")).await;
    let lines: Vec<_> = order.lines.iter().map(|line| (line.sku_id, line.count)).collect();
    assert_eq!(lines, [(skus[0], 2), (skus[2], 4)]);
    assert_eq!(bench.cart("ada").await, [(skus[1], 3, false)]);
    assert_eq!(bench.cart("bob").await, [(skus[0], 5, true)], "another's cart");
    assert_eq!((bench.cart_seq("ada").await, bench.cart_seq("bob").await), (1, 0));
    bench.assert_counters(skus[1], 10, 0).await;
    bench.assert_holds().await;
}

pub async fn parallel_orders_of_one_cart_place_one(bench: &Bench) {
    let sku = bench.sku(500, 1000).await;
    bench.put("ada", sku, 2, true).await;
    let cart = bench.cart_snapshot("ada").await;
    let orders = (0..50).map(|_| bench.prepared(&bench.ask("ada"), cart.clone())).collect();
    let replies = bench.place_prepared_at_once(orders).await;
    let changed = Outcome::Refused(Refusal::CartChanged);
    let refused = replies.iter().filter(|reply| reply.outcome == changed).count();
    let orders = bench.orders("ada").await;
    assert_eq!((orders.len(), refused), (1, 49), "placed, and refused as changed: {replies:?}");
    assert_eq!(bench.cart("ada").await, []);
    assert_eq!(bench.cart_seq("ada").await, 1);
    bench.assert_counters(sku, 998, 2).await;
    bench.assert_holds().await;
}

pub async fn a_cart_order_sent_again_finds_its_key_before_the_cart(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    bench.put("ada", sku, 2, true).await;
    let ask = bench.ask("ada");
    let first = bench.place(&ask).await;
    bench.put("ada", sku, 3, true).await;
    let again = bench.place(&ask).await;
    assert!(again.replayed, "a retry ordered the new cart: {again:?}");
    assert_eq!(placed(&again), placed(&first));
    assert_eq!(bench.cart("ada").await, [(sku, 3, true)]);
    bench.assert_counters(sku, 8, 2).await;
    bench.assert_holds().await;
}

pub async fn an_empty_cart_is_refused_and_that_is_kept(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    let empty = bench.ask("ada");
    assert_eq!(bench.refusal(&empty).await, Refusal::EmptyCart);
    bench.put("ada", sku, 1, false).await;
    let unselected = bench.ask("ada");
    assert_eq!(bench.refusal(&unselected).await, Refusal::EmptyCart);
    bench.put("ada", sku, 1, true).await;
    for ask in [&empty, &unselected] {
        let again = bench.place(ask).await;
        assert_eq!(again, Reply { outcome: Outcome::Refused(Refusal::EmptyCart), replayed: true });
    }
    assert_eq!(bench.orders("ada").await, [], "no order of freight alone");
    bench.buy(&bench.ask("ada")).await;
    bench.assert_holds().await;
}

pub async fn given_lines_leave_the_cart_alone(bench: &Bench) {
    let sku = bench.sku(500, 10).await;
    bench.put("ada", sku, 2, true).await;
    let order = bench.buy(&bench.ask("ada").line(sku, 3)).await;
    assert_eq!(only_line(&order).count, 3);
    assert_eq!(bench.cart("ada").await, [(sku, 2, true)]);
    assert_eq!(bench.cart_seq("ada").await, 0, "nothing was ordered from the cart");
    bench.assert_counters(sku, 7, 3).await;
    bench.assert_holds().await;
}

pub async fn a_cart_edited_before_it_is_ordered_is_ordered_as_it_is(bench: &Bench) {
    let skus = bench.skus(500, &[10, 10]).await;
    bench.put("ada", skus[0], 1, true).await;
    let call = bench.prepared(&bench.ask("ada"), bench.cart_snapshot("ada").await);
    let in_store = matches!(call.cart, CartSnapshot::InStore { .. });
    bench.put("ada", skus[0], 5, true).await;
    bench.put("ada", skus[1], 1, true).await;
    let reply = bench.place_prepared_at_once(vec![call]).await.remove(0);
    let lines: Vec<_> = placed(&reply).lines.iter().map(|line| (line.sku_id, line.count)).collect();
    // A cart that is kept elsewhere was read when the request came in: what was added since stays in it.
    let (ordered, left) = if in_store {
        (vec![(skus[0], 5), (skus[1], 1)], vec![])
    } else {
        (vec![(skus[0], 1)], vec![(skus[0], 4, true), (skus[1], 1, true)])
    };
    assert_eq!(lines, ordered, "the answer lists what was ordered");
    assert_eq!(bench.cart("ada").await, left);
    bench.assert_holds().await;
}

/// Wherever the change falls, no unit of it is lost or ordered twice.
pub async fn a_cart_raised_while_it_is_ordered_loses_only_what_was_ordered(bench: &Bench) {
    let sku = bench.sku(500, 1000).await;
    for round in 0..10 {
        let user = format!("buyer-{round}");
        bench.put(&user, sku, 1, true).await;
        let ((store, _), at_user) = (bench.next_server(), buyer(&user));
        let raising = tokio::spawn(async move {
            let raised = CartLineSetting { count: 5, selected: true };
            surely(|| store.set_cart_line(ShopId::FIRST, &at_user, sku, raised)).await;
        });
        let order = bench.buy(&bench.ask(&user)).await;
        raising.await.expect("no panic");
        let left: u32 = bench.cart(&user).await.iter().map(|&(_, count, _)| count).sum();
        let ordered = only_line(&order).count;
        let possible = [(5, 0), (1, 5), (1, 4)];
        assert!(possible.contains(&(ordered, left)), "{ordered} ordered, {left} left");
    }
    bench.assert_holds().await;
}

pub async fn a_line_removed_while_it_is_ordered_is_ordered_or_gone(bench: &Bench) {
    let sku = bench.sku(500, 1000).await;
    let mut sold = 0;
    for round in 0..10 {
        let user = format!("buyer-{round}");
        bench.put(&user, sku, 3, true).await;
        let ((store, _), at_user) = (bench.next_server(), buyer(&user));
        let removing = tokio::spawn(async move {
            surely(|| store.remove_cart_lines(ShopId::FIRST, &at_user, Some(sku))).await;
        });
        match bench.place(&bench.ask(&user)).await.outcome {
            Outcome::Placed(order) => sold += i64::from(only_line(&order).count),
            other => assert_eq!(other, Outcome::Refused(Refusal::EmptyCart)),
        }
        removing.await.expect("no panic");
        assert_eq!(bench.cart(&user).await, []);
    }
    bench.assert_counters(sku, 1000 - sold, sold).await;
    bench.assert_holds().await;
}

pub async fn a_refused_order_leaves_the_cart_alone(bench: &Bench) {
    let skus = bench.skus(500, &[10, 1]).await;
    bench.put("ada", skus[0], 2, true).await;
    bench.put("ada", skus[1], 2, true).await;
    let refusal = bench.refusal(&bench.ask("ada")).await;
    let lines = vec![ShortLine { sku_id: skus[1], requested: 2, available: 1 }];
    assert_eq!(refusal, Refusal::InsufficientStock { lines });
    bench.refusal(&bench.ask("ada").total(1)).await;
    assert_eq!(bench.cart("ada").await, [(skus[0], 2, true), (skus[1], 2, true)]);
    assert_eq!(bench.cart_seq("ada").await, 0);
    bench.put("ada", skus[1], 1, true).await;
    bench.buy(&bench.ask("ada")).await;
    bench.assert_holds().await;
}

/// Many buyers, each with many carts one after the other.
pub async fn a_cart_is_ordered_again_and_again(bench: &Bench) {
    let sku = bench.sku(500, 1000).await;
    let buyers = (0..8).map(|at| {
        let user = format!("buyer-{at}");
        let asks: Vec<_> = (0..5).map(|_| bench.ask(&user)).collect();
        let ((store, engine), user) = (bench.next_server(), buyer(&user));
        async move {
            for ask in asks {
                let line = CartLineSetting { count: 2, selected: true };
                surely(|| store.set_cart_line(ShopId::FIRST, &user, sku, line)).await;
                placed(&surely(|| engine.place(ask.0.clone())).await);
            }
        }
    });
    all_at_once(buyers).await;
    for at in 0..8 {
        assert_eq!(bench.cart_seq(&format!("buyer-{at}")).await, 5);
    }
    bench.assert_counters(sku, 920, 80).await;
    bench.assert_holds().await;
}
