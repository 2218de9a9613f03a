//! Limits of the server.

use std::{num::NonZeroU32, time::Duration};

/// Limits of a [`crate::Server`]. The defaults suit a server behind a reverse proxy as well as one without.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// How long a client may take to send the head of a request; also how long a connection may stay idle.
    pub header_timeout: Duration,
    /// How long a client may take to send a whole body, however steadily it trickles.
    pub body_timeout: Duration,
    /// How long a client may leave its answer unread before the connection is closed.
    pub write_timeout: Duration,
    /// The largest body of a buyer's call.
    pub max_body_bytes: usize,
    /// The largest body of an admin's call: a product may have many SKUs.
    pub max_admin_body_bytes: usize,
    /// The most connections served at once.
    pub max_connections: usize,
    /// How long a connection past that limit waits for its turn before it is answered 503.
    pub connection_wait: Duration,
    /// The most changes under way at once, those of clients that hung up included; past it a call is answered
    /// 503.
    pub max_changes: usize,
    /// How many calls that change something a buyer may make a second; twice as many at once after a pause. Past
    /// it a call is answered 429. `None`: as many as come.
    pub buyer_rate: Option<NonZeroU32>,
    /// How many calls of any kind may be made a second with one service key; twice as many at once after a pause.
    /// Past it a call is answered 429. `None`: as many as come.
    pub key_rate: Option<NonZeroU32>,
    /// Once a shutdown was asked for: how long to go on serving, with /health/ready at 503, so that a load
    /// balancer can notice.
    pub ready_grace: Duration,
    /// How long requests under way may take once the server stops accepting.
    pub drain_timeout: Duration,
    /// How long /health/ready waits for the store.
    pub ping_timeout: Duration,
    /// How often service keys are read from the store: a revoked key is refused after this time and a bit.
    pub service_key_refresh: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_body_bytes: 64 * 1024,
            max_admin_body_bytes: 1024 * 1024,
            max_connections: 4096,
            connection_wait: Duration::from_millis(500),
            max_changes: 16_384,
            buyer_rate: None,
            key_rate: None,
            ready_grace: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(1),
            service_key_refresh: Duration::from_secs(2),
        }
    }
}
