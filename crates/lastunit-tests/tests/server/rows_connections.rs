//! Clients that take their time, and too many of them: rows 30 and 31 of the table of bad input.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use lastunit_tests::server::{Call, GUARD, Raw, Shop, order_of};
use tokio::time::timeout;

/// A server that waits for a head or a body no longer than this.
async fn impatient() -> Shop {
    Shop::open_with(|options| {
        options.server.header_timeout = Duration::from_secs(1);
        options.server.body_timeout = Duration::from_secs(1);
    })
    .await
}

/// Says `begin`, and then a little more again and again, until the server has enough; what it said.
async fn trickle(shop: &Shop, begin: String, more: &'static str) -> String {
    let mut raw = Raw::connect(shop.address).await;
    let trickled = async {
        raw.write(begin).await;
        while !raw.is_over() && raw.write(more).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        raw.rest().await
    };
    timeout(GUARD, trickled).await.expect("the server has enough of it")
}

/// Runs slow clients, and orders meanwhile; what the slow ones were told.
async fn while_others_are_served(shop: &Shop, slow: Vec<impl Future<Output = String>>) -> Vec<String> {
    let sku = shop.sku(100, 1_000_000).await;
    let count = slow.len();
    let mut slow: Vec<_> = slow.into_iter().map(Box::pin).collect();
    let mut told = Vec::new();
    let mut served = 0;
    while told.len() < count {
        // Connected anew each time, as the server is short with those who idle.
        let (buyer, order, key) = (shop.buyer("ada"), order_of(&[(sku, 1)]), format!("k{served}"));
        let mut order = pin!(buyer.place(&order, &key));
        let answer = poll_fn(|context| {
            slow.retain_mut(|slow| match slow.as_mut().poll(context) {
                Poll::Ready(text) => {
                    told.push(text);
                    false
                }
                Poll::Pending => true,
            });
            order.as_mut().poll(context)
        });
        answer.await.is(201);
        served += 1;
    }
    assert!(served > 1, "others were served meanwhile");
    told
}

#[tokio::test]
async fn row_30_a_head_that_trickles_in_or_never_comes() {
    let shop = impatient().await;
    let begun = "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let slow = [(begun, "x"), (begun, ""), ("G", ""), ("", "")];
    let slow = slow.map(|(begin, more)| trickle(&shop, begin.to_owned(), more));
    for told in while_others_are_served(&shop, slow.into()).await {
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 408 "), "{told}");
    }
}

#[tokio::test]
async fn row_30_a_body_that_trickles_in_or_never_comes() {
    let shop = impatient().await;
    let head = shop.head("POST /v1/orders", "eve") + "Idempotency-Key: slow\r\n";
    let long = format!("{head}Content-Length: 60000\r\n\r\n{{");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n");
    let slow = [(long.clone(), " "), (chunked.clone(), "1\r\n \r\n"), (long, ""), (chunked, "")];
    let slow = slow.map(|(begin, more)| trickle(&shop, begin, more));
    for told in while_others_are_served(&shop, slow.into()).await {
        assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("request_timeout"), "{told}");
    }
}

#[tokio::test]
async fn row_30_a_body_that_ends_early() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 5).await;
    let body = order_of(&[(sku, 1)]).to_string();
    let head = shop.head("POST /v1/orders", "ada");
    let mut raw = Raw::connect(shop.address).await;
    let head = format!("{head}Idempotency-Key: k\r\nContent-Length: {}\r\n\r\n", body.len() + 1);
    raw.write(head + &body).await;
    raw.finish().await;
    let told = raw.rest().await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 400 "), "{told}");
    assert_eq!(shop.stock(sku).await, 5);
}

#[tokio::test]
async fn row_30_answers_that_are_left_unread() {
    let shop = Shop::open_with(|options| options.server.write_timeout = Duration::from_millis(300)).await;
    let mut raw = Raw::connect(shop.address).await;
    // Far more than the buffers of two sockets hold.
    let one = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    raw.write(one.repeat(1_000)).await;
    let closed = async {
        let open = "lastunit_http_connections_open 1\n";
        while !shop.stranger().get("/metrics").await.text().contains(open) {}
    };
    timeout(GUARD, closed).await.expect("the connection is given up");
    assert!(raw.rest().await.matches("HTTP/1.1 200 OK").count() < 1_000);
}

#[tokio::test]
async fn row_31_more_connections_than_seats_are_told_so() {
    let shop = Shop::open_with(|options| {
        options.server.max_connections = 2;
        options.server.connection_wait = Duration::from_millis(50);
    })
    .await;
    let live = Call::new("GET", "/health/live");
    let (first, second) = (shop.stranger(), shop.stranger());
    for client in [&first, &second] {
        client.send(live.clone()).await.is(200);
    }
    for _ in 0..3 {
        let told = Raw::say(shop.address, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
        assert!(
            told.contains("\r\nretry-after: 1\r\n") && told.contains("\"code\":\"overloaded\""),
            "{told}"
        );
    }
    // Those who have a seat keep it.
    first.send(live.clone()).await.is(200);
    drop(second);
    let seated = async {
        loop {
            match shop.stranger().try_send(&live).await {
                Ok(answer) if answer.status == 200 => break,
                Ok(answer) => assert_eq!(answer.status, 503),
                Err(_) => {}
            }
        }
    };
    timeout(GUARD, seated).await.expect("a seat that was left is taken again");
    let figures = first.get("/metrics").await.text();
    let refused =
        figures.lines().find_map(|line| line.strip_prefix("lastunit_http_connections_refused_total "));
    assert!(refused.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count >= 3), "{figures}");
}

#[tokio::test]
async fn row_31_a_connection_waits_a_while_for_its_seat() {
    let shop = Shop::open_with(|options| {
        options.server.max_connections = 1;
        options.server.connection_wait = GUARD;
    })
    .await;
    let first = shop.stranger();
    first.get("/health/live").await.is(200);
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            // Each leaves its seat with its answer.
            let client = shop.stranger();
            tokio::spawn(async move { client.get("/health/live").await.status })
        })
        .collect();
    for _ in 0..20 {
        first.get("/health/live").await.is(200);
    }
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    drop(first);
    for waiting in waiting {
        assert_eq!(waiting.await.expect("no panic"), 200);
    }
}
