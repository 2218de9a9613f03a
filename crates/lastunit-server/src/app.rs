//! What the handlers share.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use lastunit::{Engine, ShopId, Store, StoreError};
use tokio::{runtime::Handle, sync::Notify};

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
    /// through here.
    pub(crate) async fn detached<T, F>(&self, change: F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
        T: Send + 'static,
    {
        let counted = self.changes.begin(self.config.max_changes).ok_or_else(Problem::overloaded)?;
        ToItsEnd(Some((Box::pin(change), counted))).await
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

/// A change under way.
type Begun<T> = (Pin<Box<dyn Future<Output = T> + Send>>, Change);

/// One that goes on as a task of its own if whoever waits for it goes away. As long as they wait it has none, which would be one
/// more to wake.
struct ToItsEnd<T: Send + 'static>(Option<Begun<T>>);

impl<T: Send + 'static> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // If it panics, nothing of it goes on.
        let (mut future, counted) = self.0.take().expect("it isn't polled after its end");
        let output = future.as_mut().poll(context);
        if output.is_pending() {
            self.0 = Some((future, counted));
        }
        output
    }
}

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        if let (Some((future, counted)), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                let _counted = counted;
                future.await
            });
        }
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

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_goes_on() {
        let (ask, asked) = tokio::sync::oneshot::channel::<u8>();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let changes = Changes::default();
        let counted = changes.begin(1).unwrap();
        let mut change = ToItsEnd(Some((Box::pin(async move { answer.send(asked.await).ok() }), counted)));
        assert!(
            std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut change).poll(context)))
                .await
                .is_pending()
        );
        drop(change);
        assert!(changes.begin(1).is_none(), "it is under way");
        ask.send(7).unwrap();
        assert_eq!(answered.await, Ok(Ok(7)));
        changes.ended().await;
    }

    #[tokio::test]
    async fn what_is_waited_for_needs_no_task() {
        let change = Box::pin(async {
            tokio::task::yield_now().await;
            tokio::task::id()
        });
        let waited_for = ToItsEnd(Some((change, Changes::default().begin(1).unwrap())));
        let (of_change, here) = tokio::spawn(async { (waited_for.await, tokio::task::id()) }).await.unwrap();
        assert_eq!(of_change, here);
    }
}
