//! The server's figures, in a registry of its own: several servers can run in one process.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use lastunit::{Observer, Outcome, Refusal, Rejection, Reply, StoreError};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Counters, gauges and histograms of one server and its engine. Hand it to
/// [`lastunit::Engine::start_observed`] and to [`crate::Server::start`].
pub struct Metrics {
    registry: Registry,
    placed: Counter,
    replayed: Counter,
    retried: Counter,
    gave_up: Counter,
    refused: Family<Reason, Counter>,
    batch_size: Histogram,
    commit_seconds: Histogram,
    queue_depth: Gauge,
    request_seconds: Family<Request, Histogram, fn() -> Histogram>,
    requests_in_flight: Gauge,
    connections_open: Gauge,
    connections_refused: Counter,
    rate_limited: Family<Limit, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

/// 0.1 ms to 6.5 s, each bucket twice as long as the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 17))
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Arc<Self> {
        let mut metrics = Self {
            registry: Registry::with_prefix("lastunit"),
            placed: Counter::default(),
            replayed: Counter::default(),
            retried: Counter::default(),
            gave_up: Counter::default(),
            refused: Family::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: seconds(),
            queue_depth: Gauge::default(),
            request_seconds: Family::new_with_constructor(seconds),
            requests_in_flight: Gauge::default(),
            connections_open: Gauge::default(),
            connections_refused: Counter::default(),
            rate_limited: Family::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("orders_placed", "Orders placed, replays not counted", self.placed.clone());
        all.register("orders_refused", "Attempts decided against, by reason", self.refused.clone());
        all.register("orders_replayed", "Answers given again for their key", self.replayed.clone());
        all.register("transactions_retried", "Transactions tried again", self.retried.clone());
        all.register(
            "transactions_given_up",
            "Transactions that came to nothing, with all of their orders",
            self.gave_up.clone(),
        );
        all.register("batch_size", "Orders decided in one transaction", self.batch_size.clone());
        all.register_with_unit(
            "commit",
            "Time of one transaction of orders: reading, deciding, writing, committing",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        all.register("queue_depth", "Orders that wait", self.queue_depth.clone());
        all.register_with_unit(
            "http_request",
            "Time from a request's head to its answer, by route, method and class of status",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        all.register("http_requests_in_flight", "Requests under way", self.requests_in_flight.clone());
        all.register("http_connections_open", "Connections served", self.connections_open.clone());
        all.register(
            "http_connections_refused",
            "Connections answered 503 or closed, as there were too many",
            self.connections_refused.clone(),
        );
        all.register(
            "http_requests_rate_limited",
            "Requests answered 429, by the limit that they exceeded",
            self.rate_limited.clone(),
        );
    }

    /// All figures as OpenMetrics text; the queue's depth is measured by whoever asks.
    pub(crate) fn encode(&self, queue_depth: usize) -> Result<String, fmt::Error> {
        self.queue_depth.set(i64::try_from(queue_depth).unwrap_or(i64::MAX));
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(crate) fn answered(
        &self,
        method: &'static str,
        route: &'static str,
        status: &'static str,
        took: Duration,
    ) {
        self.request_seconds.get_or_create(&Request { method, route, status }).observe(took.as_secs_f64());
    }

    pub(crate) fn request_begins(&self) -> UnderWay<'_> {
        UnderWay::count(&self.requests_in_flight)
    }

    pub(crate) fn connection_begins(&self) -> UnderWay<'_> {
        UnderWay::count(&self.connections_open)
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    pub(crate) fn rate_limited(&self, limit: &'static str) {
        self.rate_limited.get_or_create(&Limit { limit }).inc();
    }
}

impl Observer for Metrics {
    fn committed(&self, replies: &[Reply], took: Duration) {
        self.batch_size.observe(replies.len() as f64);
        self.commit_seconds.observe(took.as_secs_f64());
        // Summed first: one label is looked up once a batch, not once an order.
        let (mut placed, mut replayed) = (0, 0);
        let mut refused = [0_u64; REASONS.len()];
        for reply in replies {
            if reply.replayed {
                replayed += 1;
            } else if reply.outcome != Outcome::Rejected(Rejection::CartBehind) {
                // One whose cart was behind is tried again, and counts then.
                match reason(&reply.outcome) {
                    None => placed += 1,
                    Some(reason) => refused[reason] += 1,
                }
            }
        }
        self.placed.inc_by(placed);
        self.replayed.inc_by(replayed);
        for (reason, count) in REASONS.into_iter().zip(refused) {
            if count > 0 {
                self.refused.get_or_create(&Reason { reason }).inc_by(count);
            }
        }
    }

    fn retried(&self) {
        self.retried.inc();
    }

    fn gave_up(&self, error: &StoreError) {
        if *error != StoreError::NoSuchShop {
            self.gave_up.inc();
            tracing::warn!(%error, "a transaction came to nothing");
        }
    }
}

const REASONS: [&str; 9] = [
    "insufficient_stock",
    "sku_unavailable",
    "empty_cart",
    "cart_changed",
    "total_changed",
    "idempotency_key_reused",
    "address_not_found",
    "total_too_large",
    "cart_unreachable",
];

/// Where in [`REASONS`] an outcome counts; `None` for a placed order.
fn reason(outcome: &Outcome) -> Option<usize> {
    match outcome {
        Outcome::Placed(_) => None,
        Outcome::Refused(Refusal::InsufficientStock { .. }) => Some(0),
        Outcome::Refused(Refusal::SkuUnavailable { .. }) => Some(1),
        Outcome::Refused(Refusal::EmptyCart) => Some(2),
        Outcome::Refused(Refusal::CartChanged) => Some(3),
        Outcome::Refused(Refusal::TotalChanged { .. }) => Some(4),
        Outcome::Rejected(Rejection::KeyReused) => Some(5),
        Outcome::Rejected(Rejection::AddressNotFound) => Some(6),
        Outcome::Rejected(Rejection::TotalTooLarge) => Some(7),
        Outcome::Rejected(Rejection::CartUnreachable | Rejection::CartBehind) => Some(8),
    }
}

/// Counted in a gauge as long as it lives.
pub(crate) struct UnderWay<'a>(&'a Gauge<i64, AtomicI64>);

impl<'a> UnderWay<'a> {
    fn count(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_counted_and_named() {
        let metrics = Metrics::new();
        let refused = |refusal| Reply { outcome: Outcome::Refused(refusal), replayed: false };
        let again = Reply { outcome: Outcome::Refused(Refusal::EmptyCart), replayed: true };
        metrics.committed(&[refused(Refusal::CartChanged), again], Duration::from_millis(3));
        metrics.retried();
        metrics.gave_up(&StoreError::Conflict);
        metrics.gave_up(&StoreError::NoSuchShop);
        metrics.answered("POST", "/v1/orders", "2xx", Duration::from_millis(1));
        let _request = metrics.request_begins();
        drop(metrics.connection_begins());
        let text = metrics.encode(5).unwrap();
        for line in [
            "lastunit_orders_placed_total 0",
            "lastunit_orders_refused_total{reason=\"cart_changed\"} 1",
            "lastunit_orders_replayed_total 1",
            "lastunit_transactions_retried_total 1",
            "lastunit_transactions_given_up_total 1",
            "lastunit_batch_size_sum 2.0",
            "lastunit_commit_seconds_count 1",
            "lastunit_queue_depth 5",
            "lastunit_http_request_seconds_count{method=\"POST\",route=\"/v1/orders\",status=\"2xx\"} 1",
            "lastunit_http_requests_in_flight 1",
            "lastunit_http_connections_open 0",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
