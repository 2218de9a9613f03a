//! The ways to run a shop that the suite is run on.

use std::sync::Arc;

use lastunit::Strategy;
use tokio::runtime;

use crate::{Bench, BoxFuture, Fresh, Property, Under, properties::properties};

/// Every strategy that doesn't oversell.
const SAFE: [Strategy; 4] = [Strategy::Optimistic, Strategy::Pessimistic, Strategy::Queue, Strategy::Batched];

/// A way to run a shop: which database, with what settings, and how many servers.
pub struct Combination {
    name: String,
    open: Arc<dyn Fn() -> BoxFuture<'static, Fresh> + Send + Sync>,
}

/// One property on one combination.
pub struct Run {
    /// `combination/strategy/group::property`, or `combination/database/…` for what is run once.
    pub name: String,
    /// Panics if the property doesn't hold. Blocks.
    pub run: Box<dyn FnOnce() + Send>,
}

impl Combination {
    /// Of a name, and what opens an empty database.
    pub fn new<F>(name: &str, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Fresh> + Send + 'static,
    {
        Self { name: name.into(), open: Arc::new(move || Box::pin(open())) }
    }

    /// Every property, each on a database of its own.
    pub fn runs(&self) -> Vec<Run> {
        let run = |part: &str, strategy, property: Property| {
            let name = format!("{}/{part}/{}::{}", self.name, property.group, property.name);
            let open = self.open.clone();
            Run { name, run: Box::new(move || run(&*open, strategy, property)) }
        };
        let of_property = |property: Property| match property.under {
            Under::Once => vec![run("database", Strategy::Batched, property)],
            Under::EverySafeStrategy => {
                SAFE.map(|strategy| run(strategy.as_str(), strategy, property)).into()
            }
        };
        properties().into_iter().flat_map(of_property).collect()
    }
}

fn run(open: &dyn Fn() -> BoxFuture<'static, Fresh>, strategy: Strategy, property: Property) {
    // Given back after the runtime has ended: until then something may still write to the database.
    let mut _keep = None;
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let fresh = open().await;
        _keep = Some(fresh.keep);
        let bench = Bench::new(Fresh { stores: fresh.stores, keep: Box::new(()) }, strategy).await;
        (property.run)(&bench).await;
    });
}
