//! Lastunit's servers, as processes of their own, each behind proxies: one towards the buyers, one towards its database, one
//! towards its carts.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use lastunit::Strategy;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep, timeout},
};

use super::proxy::{Detour, Proxy};
use crate::store_url::{CartsUrl, StoreUrl};

/// A server that is told to stop ends within this time.
const ENDS: Duration = Duration::from_secs(30);
/// A server that is started listens within this time, once all is healed.
const LISTENS: Duration = Duration::from_secs(60);

/// How servers are started.
pub struct Launch {
    pub store: StoreUrl,
    pub carts: CartsUrl,
    pub strategy: Strategy,
    pub service_key: String,
    /// Where they log to.
    pub folder: PathBuf,
    /// libfaketime, to be loaded into them.
    pub faketime: Option<PathBuf>,
}

/// One place for a server: it may be killed and started again, and its clients find it at the same address.
pub struct Place {
    number: usize,
    pub clients: Proxy,
    /// None for a database that isn't reached over TCP, or over several addresses.
    pub store: Option<Proxy>,
    pub carts: Option<Proxy>,
    /// A COMMIT as it goes to the database, and nothing else (such as READ COMMITTED).
    pub commit: &'static [u8],
    command: Launched,
    child: AsyncMutex<Option<Child>>,
    /// Processes that were started here.
    started: AtomicU64,
    /// What went wrong with the process by itself.
    odd: Mutex<Vec<String>>,
}

struct Launched {
    store: String,
    carts: String,
    strategy: Strategy,
    service_key: String,
    log: PathBuf,
    faketime: Option<PathBuf>,
    /// libfaketime reads the offset of the clock from it.
    clock: PathBuf,
}

impl Place {
    async fn new(number: usize, launch: &Launch) -> Result<Self> {
        let whole = launch.store.whole();
        let store = match &launch.store {
            StoreUrl::Sqlite(_) => None,
            StoreUrl::Postgres(..) => Detour::of(&whole, 5432),
            StoreUrl::MySql(..) => Detour::of(&whole, 3306),
        };
        let (store, store_url) = detour(store, whole).await?;
        // PostgreSQL ends a query with a zero; MariaDB and MySQL begin it with the number of its kind.
        let commit: &[u8] = match &launch.store {
            StoreUrl::MySql(..) => b"\x03COMMIT",
            _ => b"COMMIT\0",
        };
        let whole = launch.carts.whole();
        let single = matches!(&launch.carts, CartsUrl::Redis(url, _) if url.starts_with("redis://"));
        let carts = if single { Detour::of(&whole, 6379) } else { None };
        let (carts, carts_url) = detour(carts, whole).await?;
        let command = Launched {
            store: store_url,
            carts: carts_url,
            strategy: launch.strategy,
            service_key: launch.service_key.clone(),
            log: launch.folder.join(format!("server-{number}.log")),
            faketime: launch.faketime.clone(),
            clock: launch.folder.join(format!("clock-{number}")),
        };
        let clients = Proxy::start(None).await?;
        let place = Self {
            number,
            clients,
            store,
            carts,
            commit,
            command,
            child: AsyncMutex::default(),
            started: AtomicU64::new(0),
            odd: Mutex::default(),
        };
        if place.command.faketime.is_some() {
            place.turn_clock(0)?;
        }
        Ok(place)
    }

    /// What it is called.
    pub fn name(&self) -> String {
        format!("server {}", self.number)
    }

    /// Starts the server, if it doesn't run; again, if what it needs isn't there yet.
    pub async fn start(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        if child.is_some() {
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            match self.command.start().await {
                Ok((started, address)) => {
                    *child = Some(started);
                    self.started.fetch_add(1, Ordering::Relaxed);
                    self.clients.lead_to(Some(address.to_string()));
                    return Ok(());
                }
                Err(error) if begun.elapsed() > LISTENS => {
                    let log = self.command.log.display();
                    return Err(error.context(format!("{} can't be started; see {log}", self.name())));
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// kill -9.
    pub async fn kill(&self) -> Result<()> {
        let Some(mut child) = self.running().await? else { return Ok(()) };
        child.kill().await.with_context(|| format!("{} can't be killed", self.name()))
    }

    /// SIGTERM, and waits for its end, which has to be a good one.
    pub async fn stop(&self) -> Result<()> {
        let Some(mut child) = self.running().await? else { return Ok(()) };
        let pid = child.id().context("a running process has an id")?;
        let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        ensure!(sent.success(), "{} can't be told to stop", self.name());
        match timeout(ENDS, child.wait()).await {
            Ok(ended) => {
                let ended = ended?;
                if !ended.success() {
                    self.note(format!("{} was told to stop, and ended with {ended}", self.name()));
                }
            }
            Err(_) => {
                self.note(format!("{} was told to stop, and still runs after {ENDS:?}", self.name()));
                child.kill().await?;
            }
        }
        Ok(())
    }

    /// Takes the process out of its place. One that has ended by itself is noted.
    async fn running(&self) -> Result<Option<Child>> {
        let child = self.child.lock().await.take();
        self.clients.lead_to(None);
        let Some(mut child) = child else { return Ok(None) };
        match child.try_wait()? {
            None => Ok(Some(child)),
            Some(ended) => {
                self.note_end(ended);
                Ok(None)
            }
        }
    }

    /// Notes a server that has ended by itself, and starts it again.
    pub async fn revive(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        if let Some(ended) = child.as_mut().map(Child::try_wait).transpose()?.flatten() {
            self.note_end(ended);
            *child = None;
        }
        drop(child);
        self.start().await
    }

    fn note_end(&self, ended: ExitStatus) {
        let log = self.command.log.display();
        self.note(format!("{} ended by itself with {ended}; see {log}", self.name()));
    }

    fn note(&self, what: String) {
        self.odd.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// How many processes were started here.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// What went wrong with its processes by themselves.
    pub fn odd(&self) -> Vec<String> {
        self.odd.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request that takes a connection to the database.
    pub fn reading(&self) -> String {
        let key = &self.command.service_key;
        format!(
            "GET /v1/skus HTTP/1.1\r\nHost: prove\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        )
    }

    /// Turns its wall clock this much forwards or back. Only libfaketime notices.
    pub fn turn_clock(&self, seconds: i64) -> Result<()> {
        std::fs::write(&self.command.clock, format!("{seconds:+}\n"))
            .with_context(|| format!("{} can't be written", self.command.clock.display()))
    }
}

async fn detour(detour: Option<Detour>, whole: String) -> Result<(Option<Proxy>, String)> {
    let Some(detour) = detour else { return Ok((None, whole)) };
    let proxy = Proxy::start(Some(detour.to.clone())).await?;
    let url = detour.through(proxy.address());
    Ok((Some(proxy), url))
}

impl Launched {
    async fn start(&self) -> Result<(Child, SocketAddr)> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        // What is set for this command isn't meant for the servers.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LASTUNIT_"))
        {
            command.env_remove(name);
        }
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--drain-timeout-ms", "5000"])
            .args(["--strategy", self.strategy.as_str()])
            // Not as arguments: an address may hold a password, and arguments can be seen by others.
            .env("LASTUNIT_STORE", &self.store)
            .env("LASTUNIT_CARTS", &self.carts)
            .env("LASTUNIT_SERVICE_KEY", &self.service_key)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for the one who asks for the verdict.
            .process_group(0)
            .kill_on_drop(true);
        if self.strategy == Strategy::Naive {
            command.arg("--allow-overselling");
        }
        if let Some(library) = &self.faketime {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", &self.clock)
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                // As older versions call it.
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command.spawn().context("the server can't be started")?;
        let mut said = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let address = loop {
            let Some(line) = timeout(LISTENS, said.next_line()).await?? else {
                bail!("the server ended before it listened")
            };
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse()?;
            }
        };
        // Read on: a pipe that nobody reads would fail what it still prints.
        tokio::spawn(async move { said.into_inner().read_to_end(&mut Vec::new()).await });
        Ok((child, address))
    }
}

/// Starts so many servers.
pub async fn start(launch: &Launch, count: usize) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for number in 1..=count {
        let place = Place::new(number, launch).await?;
        place.start().await?;
        places.push(place);
    }
    Ok(places)
}

/// Where libfaketime is, if it is installed.
pub fn faketime() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"];
    let library = |folder| Path::new(folder).join("faketime/libfaketimeMT.so.1");
    folders.into_iter().map(library).find(|library| library.is_file())
}
