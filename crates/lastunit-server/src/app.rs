//! What the handlers share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use lastunit::{Engine, ShopId, Store, StoreError};
use tokio::sync::Notify;

use crate::{
    config::ServerConfig, metrics::Metrics, problem::Problem, rate_limits::RateLimits,
    service_keys::ServiceKeys,
};

/// One server's state.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) config: ServerConfig,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) keys: ServiceKeys,
    pub(crate) rates: RateLimits,
    /// Set for good when a shutdown is asked for.
    pub(crate) stopping: AtomicBool,
    /// Changes that run detached from their connections.
    pub(crate) changes: Changes,
}

impl App {
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.engine.store()
    }

    /// Refuses an empty list of a shop that doesn't exist; any other list needs no such look.
    pub(crate) async fn known_shop(&self, shop: ShopId, empty: bool) -> Result<(), Problem> {
        if empty && self.store().settings(shop).await?.is_none() {
            return Err(StoreError::NoSuchShop.into());
        }
        Ok(())
    }

    /// Runs what changes something to its end, whether or not the client stays: every handler that writes goes
    /// through here. A panic in it is a 500.
    pub(crate) async fn detached<T, F>(&self, change: F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
        T: Send + 'static,
    {
        let counted = self.changes.begin(self.config.max_changes).ok_or_else(Problem::overloaded)?;
        let task = tokio::spawn(async move {
            let _counted = counted;
            change.await
        });
        task.await.unwrap_or_else(|error| Err(Problem::internal(format!("a change ended early: {error}"))))
    }

    /// As [`App::detached`], for one transaction of the store. It is tried again, a few times, where it stepped
    /// aside for another one and so wrote nothing.
    pub(crate) async fn changed<T, F>(
        &self,
        mut change: impl FnMut(Arc<dyn Store>) -> F + Send + 'static,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
        T: Send + 'static,
    {
        let (store, source) = (self.store().clone(), self.engine.source().clone());
        self.detached(async move {
            for tries in 1..5 {
                match change(store.clone()).await {
                    Err(StoreError::Conflict) => {
                        tokio::time::sleep(source.jitter(std::time::Duration::from_millis(1 << tries))).await;
                    }
                    done => return Ok(done?),
                }
            }
            Ok(change(store).await?)
        })
        .await
    }
}

/// Counts the changes under way, so that a shutdown can wait for the last.
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<(AtomicUsize, Notify)>);

/// One change under way; dropped at its end, even by a panic.
pub(crate) struct Change(Changes);

impl Changes {
    fn begin(&self, limit: usize) -> Option<Change> {
        // Made first: dropping it counts down again where there are too many.
        let before = self.0.0.fetch_add(1, Ordering::AcqRel);
        let change = Change(self.clone());
        (before < limit).then_some(change)
    }

    /// Returns when none is under way.
    pub(crate) async fn ended(&self) {
        loop {
            let notified = self.0.1.notified();
            if self.0.0.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if self.0.0.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.1.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_limited_and_waited_for() {
        let changes = Changes::default();
        let first = changes.begin(1).unwrap();
        assert!(changes.begin(1).is_none());
        let waiter = tokio::spawn({
            let changes = changes.clone();
            async move { changes.ended().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(first);
        waiter.await.unwrap();
        assert!(changes.begin(1).is_some());
    }
}
