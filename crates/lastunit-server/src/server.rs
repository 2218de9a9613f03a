//! The server: accepts, and stops without leaving anybody unanswered.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lastunit::{Engine, StoreError};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, timeout, timeout_at},
};

use crate::{
    app::{App, Changes},
    config::ServerConfig,
    connection::{self, Phase},
    entry::Entry,
    metrics::Metrics,
    rate_limits::RateLimits,
    service_keys::ServiceKeys,
};

/// Why a server couldn't start.
#[derive(Debug)]
pub enum StartError {
    /// The listener has no address.
    Listener(io::Error),
    /// The service keys can't be read.
    Store(StoreError),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listener(error) => write!(f, "the listener can't be used: {error}"),
            Self::Store(error) => write!(f, "the service keys can't be read: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running server. Dropped, it stops as after [`Server::shutdown`], but nobody can wait for it.
pub struct Server {
    address: SocketAddr,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl Server {
    /// Starts serving an engine on a listener. The metrics should be the engine's observer too.
    pub async fn start(
        listener: TcpListener,
        engine: Engine,
        config: ServerConfig,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let keys = ServiceKeys::default();
        let count = keys.refresh(&**engine.store()).await.map_err(StartError::Store)?;
        if count == 0 {
            tracing::warn!("there is no service key yet: every call but health and metrics will be refused");
        }
        let (stopping, changes) = (AtomicBool::new(false), Changes::default());
        let rates = RateLimits::of(&config);
        let app = Arc::new(App { engine, config, metrics, keys, rates, stopping, changes });
        let (stop, stopped) = watch::channel(false);
        let work = tokio::spawn(run(listener, app.clone(), stopped));
        tracing::info!(%address, keys = count, "serving");
        Ok(Self { address, app, stop, work })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops: /health/ready answers 503 at once, no more connections are accepted (after
    /// [`ServerConfig::ready_grace`]), and requests under way are answered. [`Server::join`] waits for the end.
    pub fn shutdown(&self) {
        self.app.stopping.store(true, Ordering::Release);
        self.stop.send_replace(true);
    }

    /// Waits until the server has stopped, its engine is drained and its store closed.
    pub async fn join(self) {
        let Self { work, stop, .. } = self;
        if let Err(error) = work.await {
            tracing::error!(%error, "the server ended early");
        }
        drop(stop);
    }

    /// Serves until `stop` is ready, then shuts down and waits for the end.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        stop.await;
        self.shutdown();
        self.join().await;
    }
}

/// The most connections that the kernel makes before they are accepted; it may allow fewer (net.core.somaxconn). One that
/// comes past it is tried again by its client a second later.
const BACKLOG: u32 = 4096;

/// A listener for [`Server::start`], behind which a crowd may wait. Call it inside a tokio runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started again doesn't wait until the old one's connections are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn run(listener: TcpListener, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let refresher = tokio::spawn(refresh_keys(app.clone()));
    let doors = Doors::new(app.clone());

    tokio::select! {
        () = accept(&listener, &doors) => {}
        // An error means that the handle was dropped, which stops the server too.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    app.stopping.store(true, Ordering::Release);
    if !app.config.ready_grace.is_zero() {
        timeout(app.config.ready_grace, accept(&listener, &doors)).await.ok();
    }
    drop(listener);
    tracing::info!("stopping: no more connections are accepted");

    drain(&app, &doors).await;
    refresher.abort();
    tracing::info!("stopped");
}

/// Answers what is under way, then closes the engine and the store; each within the time there is.
async fn drain(app: &App, doors: &Doors) {
    let limit = app.config.drain_timeout;
    let deadline = Instant::now() + limit;
    doors.phase.send_replace(Phase::Draining);
    if timeout_at(deadline, doors.emptied()).await.is_err() {
        tracing::warn!("some connections were still busy at the end of the drain timeout, and are closed");
    }
    doors.phase.send_replace(Phase::Closing);
    if timeout_at(deadline, app.changes.ended()).await.is_err() {
        tracing::warn!("some changes were still under way at the end of the drain timeout");
    }
    // Orders that the engine accepted are decided even now: their clients will ask again under the same key.
    if timeout(limit, app.engine.drain()).await.is_err() {
        tracing::warn!("the engine didn't finish its orders in time; their keys will tell what came of them");
    }
    if timeout(limit, app.store().close()).await.is_err() {
        tracing::warn!("the store didn't close in time");
    }
}

async fn refresh_keys(app: Arc<App>) {
    let mut ticks = tokio::time::interval(app.config.service_key_refresh.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        // The old table serves on meanwhile: while the store is away, nothing can be done with a key anyway.
        match timeout(Duration::from_secs(2), app.keys.refresh(&**app.store())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the service keys can't be read again"),
            Err(_) => tracing::warn!("the service keys can't be read again in time"),
        }
    }
}

async fn accept(listener: &TcpListener, doors: &Doors) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => doors.enter(stream),
            // The connection is gone, the listener isn't.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors, say: trying again at once would only burn time.
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The limit on connections, and those there are.
struct Doors {
    app: Arc<App>,
    entry: Entry,
    http: hyper::server::conn::http1::Builder,
    phase: watch::Sender<Phase>,
    seats: Arc<Semaphore>,
    /// Connections that wait for a seat.
    queue: Arc<Semaphore>,
}

/// The most connections that wait for a seat; past it they are closed at once.
const MAX_QUEUE: usize = 1024;

impl Doors {
    fn new(app: Arc<App>) -> Self {
        Self {
            entry: Entry::new(app.clone()),
            http: connection::http(&app.config),
            phase: watch::Sender::new(Phase::Serving),
            seats: Arc::new(Semaphore::new(app.config.max_connections)),
            queue: Arc::new(Semaphore::new(MAX_QUEUE)),
            app,
        }
    }

    fn enter(&self, stream: TcpStream) {
        if let Ok(seat) = self.seats.clone().try_acquire_owned() {
            tokio::spawn(self.serve(stream, seat));
        } else if let Ok(place) = self.queue.clone().try_acquire_owned() {
            tokio::spawn(self.wait(stream, place));
        } else {
            self.app.metrics.connection_refused();
        }
    }

    fn serve(&self, stream: TcpStream, seat: OwnedSemaphorePermit) -> impl Future<Output = ()> + use<> {
        let (app, entry, http) = (self.app.clone(), self.entry.clone(), self.http.clone());
        let phase = self.phase.subscribe();
        async move {
            let _counted = app.metrics.connection_begins();
            connection::serve(stream, http, entry, app.config.write_timeout, phase).await;
            drop(seat);
        }
    }

    /// Waits a little for a seat, and else says that there is none.
    fn wait(&self, stream: TcpStream, place: OwnedSemaphorePermit) -> impl Future<Output = ()> + use<> {
        let (app, entry, http) = (self.app.clone(), self.entry.clone(), self.http.clone());
        let (phase, seats) = (self.phase.subscribe(), self.seats.clone());
        async move {
            match timeout(app.config.connection_wait, seats.acquire_owned()).await {
                Ok(Ok(seat)) => {
                    drop(place);
                    let _counted = app.metrics.connection_begins();
                    connection::serve(stream, http, entry, app.config.write_timeout, phase).await;
                    drop(seat);
                }
                Ok(Err(_)) | Err(_) => {
                    app.metrics.connection_refused();
                    connection::turn_away(stream).await;
                }
            }
        }
    }

    /// Returns when nobody is served or waits any more.
    async fn emptied(&self) {
        let queue = self.queue.acquire_many(MAX_QUEUE as u32).await;
        let most = u32::try_from(self.app.config.max_connections).unwrap_or(u32::MAX);
        let seats = self.seats.acquire_many(most).await;
        drop((queue, seats));
    }
}
