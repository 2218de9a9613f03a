//! What the tests of stores on database servers have in common, whichever server it is.

pub mod outage;
pub mod schema;

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use lastunit::*;

use crate::{Bench, Fresh};

/// A shop on an empty database, which these stores share.
pub async fn shop(stores: Vec<Arc<dyn Store>>, strategy: Strategy) -> Bench {
    Bench::new(Fresh { stores, keep: Box::new(()) }, strategy).await
}

/// Waits until it is so, at most a minute.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: it never came to that");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An answer that comes within a minute, whatever it is.
pub async fn bounded<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), call).await.expect("an answer")
}

/// Somebody else's transaction, which holds a lock on every SKU. Dropped, it is ended.
pub struct Holder {
    end: Box<dyn Fn()>,
    session: Option<JoinHandle<()>>,
}

impl Holder {
    /// `hold` takes the lock and keeps it, until `end` ends its connection; `holds` says whether it has it.
    pub async fn start(
        hold: impl FnOnce() + Send + 'static,
        holds: impl Fn() -> bool,
        end: impl Fn() + 'static,
    ) -> Self {
        let session = std::thread::spawn(|| {
            // It ends with an error, when its connection is ended.
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(hold)).ok();
        });
        let holder = Self { end: Box::new(end), session: Some(session) };
        until("the lock is held", holds).await;
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        (self.end)();
        if let Some(session) = self.session.take() {
            session.join().ok();
        }
    }
}

/// Four orders: of a cart, of lines for a saved address, one that is refused, and the first again. `begin` is called
/// when everything they need is there.
pub async fn four_orders(bench: &Bench, begin: impl FnOnce()) {
    let skus = bench.skus(500, &[10, 10]).await;
    let other = bench.sku(500, 10).await;
    let address = bench.save_address("ada", Address::example()).await;
    bench.put("ada", skus[0], 2, true).await;
    begin();
    let from_cart = bench.ask("ada");
    bench.buy(&from_cart).await;
    bench.buy(&bench.ask("ada").lines(&[(skus[0], 1), (skus[1], 1), (other, 1)]).to(address)).await;
    bench.refusal(&bench.ask("ada").line(other, 1000)).await;
    assert!(bench.place(&from_cart).await.replayed);
}
