//! What the engine's source is compiled on here: tokio's own channels and semaphores, each call to them one step that shuttle's
//! scheduler may put off; shuttle's tasks, threads and locks; and a clock that moves when the scheduler lets a timer fire.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll},
};

pub use shuttle::{future::spawn, sync::Mutex, thread};

/// What can be wrong on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// What still waits when a queue closes is forgotten.
    LastBatchLost,
    /// An answer is neither sent nor given up.
    AnswerForgotten,
    /// Who drains doesn't wait for the worker.
    DrainDoesNotWait,
    /// An order under way keeps its permit.
    PermitKept,
    /// The store doesn't lock what it reads.
    NothingLocked,
    /// The store doesn't keep the key.
    KeyNotKept,
    /// The store gives its replies in another order.
    RepliesSwapped,
    /// The disk says that it has flushed, and hasn't.
    FlushForgotten,
}

thread_local! {
    static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Puts a bug into all that runs on this thread.
pub fn plant(bug: Bug) {
    BUG.set(Some(bug));
}

pub fn has(bug: Bug) -> bool {
    BUG.get() == Some(bug)
}

/// Lets the scheduler run whom it likes.
pub fn step() {
    // In the middle of a panic others would take it for theirs.
    if !std::thread::panicking() {
        shuttle::sync::atomic::AtomicBool::new(false).load(SeqCst);
    }
}

/// A future each of whose polls is a step.
async fn stepped<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let poll = |context: &mut Context<'_>| {
        step();
        future.as_mut().poll(context)
    };
    poll_fn(poll).await
}

/// The runtime is shuttle.
pub struct Handle;

impl Handle {
    pub fn current() -> Self {
        Self
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> shuttle::future::JoinHandle<()> {
        spawn(task)
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        shuttle::future::block_on(future)
    }
}

pub struct Semaphore(std::sync::Arc<tokio::sync::Semaphore>);

/// Whatever kind of permit it is, giving it back is a step.
pub struct Permit<P>(Option<P>);

impl<P> Drop for Permit<P> {
    fn drop(&mut self) {
        step();
        let permit = self.0.take();
        if has(Bug::PermitKept) {
            std::mem::forget(permit);
        } else {
            drop(permit);
            step();
        }
    }
}

impl Semaphore {
    pub fn new(permits: usize) -> Self {
        Self(std::sync::Arc::new(tokio::sync::Semaphore::new(permits)))
    }

    pub fn try_acquire_owned(
        self: std::sync::Arc<Self>,
    ) -> Result<Permit<tokio::sync::OwnedSemaphorePermit>, tokio::sync::TryAcquireError> {
        step();
        self.0.clone().try_acquire_owned().map(|permit| Permit(Some(permit)))
    }

    pub async fn acquire_many(
        &self,
        permits: u32,
    ) -> Result<Permit<tokio::sync::SemaphorePermit<'_>>, tokio::sync::AcquireError> {
        stepped(self.0.acquire_many(permits)).await.map(|permits| Permit(Some(permits)))
    }

    pub fn available_permits(&self) -> usize {
        step();
        self.0.available_permits()
    }

    pub fn close(&self) {
        step();
        self.0.close();
    }
}

pub mod mpsc {
    use super::{Bug, has, step, stepped};

    pub struct Sender<T>(Option<tokio::sync::mpsc::Sender<T>>);
    pub struct Receiver<T>(tokio::sync::mpsc::Receiver<T>);

    pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::mpsc::channel(capacity);
        (Sender(Some(sender)), Receiver(receiver))
    }

    impl<T> Sender<T> {
        fn inner(&self) -> &tokio::sync::mpsc::Sender<T> {
            step();
            self.0.as_ref().expect("taken when it is dropped")
        }

        pub fn try_send(&self, value: T) -> Result<(), tokio::sync::mpsc::error::TrySendError<T>> {
            self.inner().try_send(value)
        }

        pub async fn send(&self, value: T) -> Result<(), tokio::sync::mpsc::error::SendError<T>> {
            stepped(self.inner().send(value)).await
        }

        pub fn blocking_send(&self, value: T) -> Result<(), tokio::sync::mpsc::error::SendError<T>> {
            shuttle::future::block_on(self.send(value))
        }

        pub fn capacity(&self) -> usize {
            self.inner().capacity()
        }

        pub fn max_capacity(&self) -> usize {
            self.inner().max_capacity()
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            step();
            self.0 = None;
        }
    }

    impl<T> Receiver<T> {
        pub async fn recv_many(&mut self, into: &mut Vec<T>, limit: usize) -> usize {
            let before = into.len();
            let received = stepped(self.0.recv_many(into, limit)).await;
            if has(Bug::LastBatchLost) && self.0.is_closed() {
                into.truncate(before);
                return 0;
            }
            received
        }

        pub fn blocking_recv(&mut self) -> Option<T> {
            let received = shuttle::future::block_on(stepped(self.0.recv()));
            received.filter(|_| !(has(Bug::LastBatchLost) && self.0.is_closed()))
        }

        pub fn try_recv(&mut self) -> Result<T, tokio::sync::mpsc::error::TryRecvError> {
            step();
            self.0.try_recv()
        }

        pub fn close(&mut self) {
            step();
            self.0.close();
        }

        pub fn len(&self) -> usize {
            step();
            self.0.len()
        }
    }
}

pub mod oneshot {
    use super::*;

    pub struct Sender<T>(Option<tokio::sync::oneshot::Sender<T>>);
    pub struct Receiver<T>(Option<tokio::sync::oneshot::Receiver<T>>);

    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Sender(Some(sender)), Receiver(Some(receiver)))
    }

    impl<T> Sender<T> {
        pub fn send(mut self, value: T) -> Result<(), T> {
            step();
            let sender = self.0.take().expect("sends once");
            if has(Bug::AnswerForgotten) {
                std::mem::forget(sender);
                return Ok(());
            }
            sender.send(value)
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            if self.0.is_some() {
                step();
                self.0 = None;
            }
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, tokio::sync::oneshot::error::RecvError>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            step();
            Pin::new(self.0.as_mut().expect("taken when it is dropped")).poll(context)
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            step();
            self.0 = None;
        }
    }
}

pub mod watch {
    use super::{Bug, has, step, stepped};

    pub struct Sender<T>(Option<tokio::sync::watch::Sender<T>>);
    #[derive(Clone)]
    pub struct Receiver<T>(tokio::sync::watch::Receiver<T>);

    pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::watch::channel(value);
        (Sender(Some(sender)), Receiver(receiver))
    }

    impl<T> Sender<T> {
        fn inner(&self) -> &tokio::sync::watch::Sender<T> {
            step();
            self.0.as_ref().expect("taken when it is dropped")
        }

        pub fn borrow(&self) -> tokio::sync::watch::Ref<'_, T> {
            self.inner().borrow()
        }

        pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
            self.inner().send_modify(modify);
            step();
        }

        pub fn subscribe(&self) -> Receiver<T> {
            Receiver(self.inner().subscribe())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            step();
            self.0 = None;
        }
    }

    impl<T> Receiver<T> {
        pub async fn wait_for(
            &mut self,
            condition: impl FnMut(&T) -> bool,
        ) -> Result<tokio::sync::watch::Ref<'_, T>, tokio::sync::watch::error::RecvError> {
            stepped(self.0.wait_for(condition)).await
        }

        pub async fn changed(&mut self) -> Result<(), tokio::sync::watch::error::RecvError> {
            if has(Bug::DrainDoesNotWait) {
                return Ok(());
            }
            stepped(self.0.changed()).await
        }
    }
}

pub mod time {
    use std::{cell::Cell, future::poll_fn, ops::Add, pin::pin, task::Poll, time::Duration};

    use super::{spawn, step};
    use crate::sight;

    thread_local! {
        static CLOCK: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// A time since the schedule began.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Instant(Duration);

    impl Instant {
        pub fn now() -> Self {
            Self(CLOCK.get())
        }

        pub fn duration_since(self, earlier: Self) -> Duration {
            self.0.saturating_sub(earlier.0)
        }

        pub fn elapsed(self) -> Duration {
            Self::now().duration_since(self)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;

        fn add(self, duration: Duration) -> Self {
            Self(self.0 + duration)
        }
    }

    /// Sets the clock back, for another schedule.
    pub fn reset() {
        CLOCK.set(Duration::ZERO);
    }

    /// Ends when the scheduler likes. No less time has passed then.
    pub async fn sleep_until(until: Instant) {
        step();
        CLOCK.set(CLOCK.get().max(until.0));
    }

    pub async fn sleep(duration: Duration) {
        sleep_until(Instant::now() + duration).await;
    }

    /// The timer is a task: the scheduler lets it fire before all else, or after all that can run.
    pub async fn timeout_at<T>(until: Instant, future: impl Future<Output = T>) -> Result<T, ()> {
        let mut future = pin!(future);
        let mut timer = pin!(spawn(sleep_until(until)));
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => timer.as_mut().poll(context).map(|_| Err(())),
        })
        .await
        .inspect(|_| sight("a wait for more wasn't in vain"))
        .inspect_err(|()| sight("a wait for more was in vain"))
    }
}
