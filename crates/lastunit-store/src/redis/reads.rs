//! Reading carts. What costs most is the way to Redis and to the database, so carts are read together.

use std::{
    mem::replace,
    sync::{Arc, Mutex},
    time::Instant,
};

use lastunit::{ShopId, Store, StoreError, UserId};
use tokio::sync::oneshot;

use super::{
    Failed,
    cart::{CartService, Kept},
    connection::Away,
    keys::Keys,
};

/// The most carts in one read, and the most reads under way at once: while one waits for the database, the next is with
/// Redis.
const TOGETHER: (usize, usize) = (256, 2);
/// The same where carts are in several places.
const ONE_BY_ONE: (usize, usize) = (1, 256);
/// A read begins after a turn of the runtime in which nobody else asked, or after so many: whoever is about to ask comes along.
const MAX_TURNS: usize = 16;
/// The most calls that may wait.
const MAX_WAITING: usize = 16 * 1024;

/// A cart, and how many orders were placed from it, read after it: an order that was taken out of the cart is counted.
type CartRead = Result<(Kept, Option<u64>), Failed>;

/// Reads carts for many callers. Whoever asks is answered by a read that begins afterwards, with all others who came
/// meanwhile.
pub(super) struct Reads {
    store: Arc<dyn Store>,
    carts: Arc<dyn CartService>,
    carts_a_read: usize,
    max_reads: usize,
    asked: Arc<Mutex<Asked>>,
}

#[derive(Default)]
struct Asked {
    waiting: Vec<Waiting>,
    /// Tasks that answer them.
    tasks: usize,
}

struct Waiting {
    shop: ShopId,
    keys: Keys,
    /// Whose orders the database is asked for, too.
    orders_of: Option<UserId>,
    deadline: Instant,
    reply: oneshot::Sender<CartRead>,
}

impl Reads {
    pub fn new(store: Arc<dyn Store>, carts: Arc<dyn CartService>) -> Self {
        let (carts_a_read, max_reads) = if carts.is_one_place() { TOGETHER } else { ONE_BY_ONE };
        Self { store, carts, carts_a_read, max_reads, asked: Arc::default() }
    }

    /// What is in Redis.
    pub async fn as_it_stands(&self, shop: ShopId, keys: Keys, deadline: Instant) -> Result<Kept, Failed> {
        self.read(shop, keys, None, deadline).await.map(|(kept, _)| kept)
    }

    /// What is in Redis, and behind it how many orders the database has of the cart.
    pub async fn with_orders(
        &self,
        shop: ShopId,
        user: &UserId,
        keys: &Keys,
        deadline: Instant,
    ) -> Result<(Kept, u64), Failed> {
        let (kept, seq) = self.read(shop, keys.clone(), Some(user.clone()), deadline).await?;
        seq.map(|seq| (kept, seq)).ok_or_else(|| StoreError::Internal("a cart too few".into()).into())
    }

    async fn read(&self, shop: ShopId, keys: Keys, orders_of: Option<UserId>, deadline: Instant) -> CartRead {
        let (reply, answer) = oneshot::channel();
        let begin = {
            let mut asked = self.asked.lock().expect("never poisoned: nothing panics while it is held");
            if asked.waiting.len() == MAX_WAITING {
                return Err(Away("too many calls wait for their carts".into()).into());
            }
            asked.waiting.push(Waiting { shop, keys, orders_of, deadline, reply });
            let begin = asked.tasks < self.max_reads;
            asked.tasks += usize::from(begin);
            begin
        };
        if begin {
            let (store, carts, asked) = (self.store.clone(), self.carts.clone(), self.asked.clone());
            tokio::spawn(answer_all(store, carts, asked, self.carts_a_read));
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Internal("a read has ended".into()).into()))
    }
}

/// Answers until nobody waits.
async fn answer_all(
    store: Arc<dyn Store>,
    carts: Arc<dyn CartService>,
    asked: Arc<Mutex<Asked>>,
    carts_a_read: usize,
) {
    loop {
        let mut waiting = 0;
        for _ in 0..MAX_TURNS {
            tokio::task::yield_now().await;
            let now = asked.lock().expect("never poisoned: nothing panics while it is held").waiting.len();
            if replace(&mut waiting, now) == now {
                break;
            }
        }
        let batch = {
            let mut asked = asked.lock().expect("never poisoned: nothing panics while it is held");
            // Whoever has given up isn't read for.
            asked.waiting.retain(|waiting| !waiting.reply.is_closed());
            let Some(shop) = asked.waiting.first().map(|first| first.shop) else {
                asked.tasks -= 1;
                return;
            };
            let mut left = carts_a_read;
            let of_shop = asked.waiting.extract_if(.., |waiting| {
                let taken = left > 0 && waiting.shop == shop;
                left -= usize::from(taken);
                taken
            });
            of_shop.collect()
        };
        // A task of its own: a bug that panics in there must not leave all others waiting.
        tokio::spawn(answer(store.clone(), carts.clone(), batch)).await.ok();
    }
}

/// Answers calls of one shop.
async fn answer(store: Arc<dyn Store>, carts: Arc<dyn CartService>, batch: Vec<Waiting>) {
    let Some(shop) = batch.first().map(|first| first.shop) else { return };
    let deadline = batch.iter().map(|waiting| waiting.deadline).max().unwrap_or_else(Instant::now);
    let keys: Vec<&Keys> = batch.iter().map(|waiting| &waiting.keys).collect();
    let kept = carts.read(&keys, deadline).await;
    let users: Vec<UserId> = batch
        .iter()
        .zip(&kept)
        .filter(|(_, kept)| kept.is_ok())
        .filter_map(|(waiting, _)| waiting.orders_of.clone())
        .collect();
    let seqs = if users.is_empty() { Ok(Vec::new()) } else { store.cart_seqs(shop, &users).await };
    let mut seqs = seqs.map(Vec::into_iter);
    for (waiting, kept) in batch.into_iter().zip(kept) {
        let read = kept.map_err(Failed::from).and_then(|kept| match &mut seqs {
            _ if waiting.orders_of.is_none() => Ok((kept, None)),
            Ok(seqs) => Ok((kept, seqs.next())),
            Err(error) => Err(error.clone().into()),
        });
        // Whoever hung up has dropped the receiver.
        drop(waiting.reply.send(read));
    }
}
