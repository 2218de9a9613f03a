//! How Redis is reached, and how long anything may take.

use std::{num::NonZeroUsize, time::Duration};

/// Limits and choices of carts in Redis. Whatever Redis does, a call waits for it no longer than `call_timeout` +
/// `connect_timeout` + `response_timeout`; an order that was placed doesn't wait for it at all.
///
/// Redis has to be told not to evict keys (`maxmemory-policy noeviction`): a cart whose `applied_seq` is evicted
/// is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Whether the buyer stands in braces in the names of the keys, `carts_{7}` instead of `carts_7`, with `{`, `}`
    /// and `%` in it percent-encoded. In a cluster they always do, so that a buyer's keys are on one node.
    /// The same for all servers of a shop.
    pub hash_tags: bool,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long Redis may take for one command; past it the connection is given up.
    pub response_timeout: Duration,
    /// How long after its begin a call may still send a command: a cart that is far behind takes several.
    pub call_timeout: Duration,
    /// The most commands under way at once; further ones wait.
    pub max_commands: NonZeroUsize,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            hash_tags: false,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_secs(2),
            max_commands: NonZeroUsize::new(256).expect("not zero"),
        }
    }
}
