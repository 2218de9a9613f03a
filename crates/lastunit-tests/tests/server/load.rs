//! Many buyers at once, each with a connection of its own, and a record of what they were told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use lastunit_tests::server::{Client, HasId, load::CLIENTS, order_of, placing};
use tokio::{sync::Notify, task::JoinSet};

/// What buyers were told of their keys.
#[derive(Default)]
pub struct Told {
    /// The order of every key that was answered 201.
    pub placed: BTreeMap<String, String>,
    /// Keys that got no answer.
    pub unanswered: Vec<String>,
    /// Statuses that are neither.
    pub others: BTreeMap<u16, usize>,
}

/// Orders one unit again and again, each under a key of its own, from [`CLIENTS`] connections, until the server is
/// gone. `enough` is called once so many orders were acknowledged.
pub async fn order_until_gone(
    server: &Client,
    sku: i64,
    round: usize,
    acknowledged: u64,
    enough: impl FnOnce(),
) -> Told {
    let told = Arc::new(Mutex::new(Told::default()));
    let (count, reached) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let mut buyers = JoinSet::new();
    for n in 0..CLIENTS {
        let (told, count, reached) = (told.clone(), count.clone(), reached.clone());
        let client = server.clone().buyer(&format!("b{n}"));
        buyers.spawn(async move {
            for attempt in 0.. {
                let key = format!("b{n}/{round}-{attempt}");
                let answer = client.try_send(&placing(&order_of(&[(sku, 1)]), &key)).await;
                let mut told = told.lock().expect("no panic");
                match answer {
                    Ok(answer) if answer.status == 201 => {
                        told.placed.insert(key, answer.json().id());
                        if count.fetch_add(1, Ordering::Relaxed) + 1 == acknowledged {
                            reached.notify_one();
                        }
                    }
                    Ok(answer) => *told.others.entry(answer.status).or_default() += 1,
                    Err(_) => {
                        told.unanswered.push(key);
                        break;
                    }
                }
            }
        });
    }
    reached.notified().await;
    enough();
    buyers.join_all().await;
    std::mem::take(&mut *told.lock().expect("no panic"))
}
