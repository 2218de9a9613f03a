//! A TCP proxy that breaks connections on purpose: between buyers and a server, or a server and its database.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// When a connection is cut that sends what a [`Trap`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before it is passed on: it never happens.
    Before,
    /// When its answer comes back: it has happened, and nobody hears of it.
    After,
}

/// Cuts connections at what they send.
#[derive(Debug, Clone, Copy)]
pub struct Trap {
    /// These bytes, wherever they stand in what is sent at once.
    pub waits_for: &'static [u8],
    pub when: When,
    /// How many connections it cuts before it is used up.
    pub left: u64,
}

/// Listens on a loopback port, and passes on what comes to where it is told.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    /// `host:port`; none while nobody is there.
    to: Mutex<Option<String>>,
    stalled: watch::Sender<bool>,
    /// Counts how often all connections were cut.
    cuts: watch::Sender<u64>,
    trap: Mutex<Option<Trap>>,
    /// Connections that were cut.
    cut: AtomicU64,
    /// Connections that are open.
    open: AtomicU64,
}

/// An answer to what was let through by [`When::After`] comes within this time, or isn't waited for.
const ANSWERED: Duration = Duration::from_secs(2);

impl Proxy {
    /// Passes on to `host:port`, or, until it is told where, to nobody.
    pub async fn start(to: Option<String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port for a proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            to: Mutex::new(to),
            stalled: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            trap: Mutex::default(),
            cut: AtomicU64::new(0),
            open: AtomicU64::new(0),
        });
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                loop {
                    // Out of file descriptors, say: whoever connects waits until there are some again.
                    let Ok((client, _)) = listener.accept().await else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    tokio::spawn(shared.clone().serve(client));
                }
            }
        });
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on new connections lead there.
    pub fn lead_to(&self, to: Option<String>) {
        *lock(&self.shared.to) = to;
    }

    /// Cuts all connections; how many there were.
    pub fn cut_all(&self) -> u64 {
        let open = self.shared.open.load(Ordering::Relaxed);
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
        open
    }

    /// Passes nothing on, in either direction, until it is told to again. Connections stay open, and new ones are taken.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
    }

    /// Sets a trap, or takes it away.
    pub fn set_trap(&self, trap: Option<Trap>) {
        *lock(&self.shared.trap) = trap;
    }

    /// How many connections traps have cut so far.
    pub fn trapped(&self) -> u64 {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    async fn serve(self: Arc<Self>, client: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        let to = lock(&self.to).clone();
        let Some(to) = to else { return };
        let Ok(server) = TcpStream::connect(to).await else { return };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        self.open.fetch_add(1, Ordering::Relaxed);
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.into_split();
        // Set by one direction, the other one cuts when an answer comes.
        let swallow = AtomicBool::new(false);
        tokio::select! {
            _ = cuts.changed() => {}
            () = self.there(client_reads, server_writes, &swallow) => {}
            () = self.back(server_reads, client_writes, &swallow) => {}
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// From the client to the server. It ends when the connection is to be cut.
    async fn there(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallow: &AtomicBool) {
        let mut stalled = self.stalled.subscribe();
        let mut piece = vec![0; 64 * 1024];
        loop {
            let count = from.read(&mut piece).await.unwrap_or(0);
            stalled.wait_for(|stalled| !stalled).await.ok();
            if count == 0 {
                to.shutdown().await.ok();
                // What still comes back is passed on.
                return std::future::pending().await;
            }
            match self.spring(&piece[..count]) {
                Some(When::Before) => return,
                Some(When::After) => {
                    swallow.store(true, Ordering::Relaxed);
                    to.write_all(&piece[..count]).await.ok();
                    // `back` ends both when the answer comes.
                    tokio::time::sleep(ANSWERED).await;
                    return;
                }
                None if to.write_all(&piece[..count]).await.is_err() => return,
                None => {}
            }
        }
    }

    /// From the server to the client, until one of them closes.
    async fn back(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallow: &AtomicBool) {
        let mut stalled = self.stalled.subscribe();
        let mut piece = vec![0; 64 * 1024];
        loop {
            let count = from.read(&mut piece).await.unwrap_or(0);
            stalled.wait_for(|stalled| !stalled).await.ok();
            if count == 0 || swallow.load(Ordering::Relaxed) || to.write_all(&piece[..count]).await.is_err() {
                return;
            }
        }
    }

    /// Whether what is sent springs the trap.
    fn spring(&self, sent: &[u8]) -> Option<When> {
        let mut trap = lock(&self.trap);
        let set = trap.as_mut().filter(|trap| trap.left > 0)?;
        if !sent.windows(set.waits_for.len()).any(|window| window == set.waits_for) {
            return None;
        }
        set.left -= 1;
        self.cut.fetch_add(1, Ordering::Relaxed);
        Some(set.when)
    }
}

/// Where a server's address leads, and the same address by way of somewhere else. None if it names no single host.
pub struct Detour {
    /// `host:port`.
    pub to: String,
    before: String,
    after: String,
}

impl Detour {
    /// Of `scheme://[USER[:PASSWORD]@]HOST[:PORT][/…][?…]`.
    pub fn of(url: &str, default_port: u16) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        // A password may hold anything; a host doesn't hold an @.
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (format!("{user}@"), rest),
            None => (String::new(), rest),
        };
        let (host, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if host.is_empty() || host.contains([',', '%']) {
            return None;
        }
        let to = if has_port { host.to_owned() } else { format!("{host}:{default_port}") };
        Some(Self { to, before: format!("{scheme}://{user}"), after: after.to_owned() })
    }

    /// The address that leads through `proxy`.
    pub fn through(&self, proxy: SocketAddr) -> String {
        format!("{}{proxy}{}", self.before, self.after)
    }
}

/// Waits for an answer on a connection of its own, at most this long; whether there was one.
pub async fn answers(address: SocketAddr, request: String, at_most: Duration) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.read(&mut [0; 1]).await
    };
    matches!(timeout(at_most, asked).await, Ok(Ok(1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every piece in capitals, and notes it.
    async fn shouting() -> (Proxy, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Proxy::start(Some(listener.local_addr().expect("its address").to_string())).await;
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let notes = notes.clone();
                tokio::spawn(async move {
                    let mut piece = [0; 1024];
                    while let Ok(count @ 1..) = stream.read(&mut piece).await {
                        let text = String::from_utf8_lossy(&piece[..count]).into_owned();
                        lock(&notes).push(text.clone());
                        stream.write_all(text.to_uppercase().as_bytes()).await.ok();
                    }
                });
            }
        });
        (proxy.expect("a proxy"), heard)
    }

    async fn say(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).await.ok();
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.unwrap_or(0);
        String::from_utf8_lossy(&piece[..count]).into_owned()
    }

    #[tokio::test]
    async fn a_trap_cuts_before_or_after_and_is_used_up() {
        let (proxy, heard) = shouting().await;
        for (when, text) in [(When::Before, "commit a"), (When::After, "commit b")] {
            proxy.set_trap(Some(Trap { waits_for: b"commit", when, left: 1 }));
            let mut stream = TcpStream::connect(proxy.address()).await.expect("a connection");
            assert_eq!(say(&mut stream, "hello").await, "HELLO");
            assert_eq!(say(&mut stream, text).await, "");
        }
        assert_eq!((proxy.trapped(), lock(&heard).join(" ")), (2, "hello hello commit b".into()));
        let mut stream = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert_eq!(say(&mut stream, "commit c").await, "COMMIT C");
        assert_eq!(proxy.cut_all(), 1);
        assert_eq!(say(&mut stream, "gone").await, "");
    }

    #[tokio::test]
    async fn a_stalled_connection_goes_on_where_it_was() {
        let (proxy, _) = shouting().await;
        let mut stream = TcpStream::connect(proxy.address()).await.expect("a connection");
        proxy.stall(true);
        let waiting = timeout(Duration::from_millis(100), say(&mut stream, "hello")).await;
        assert!(waiting.is_err(), "{waiting:?}");
        proxy.stall(false);
        let mut piece = [0; 5];
        stream.read_exact(&mut piece).await.expect("an answer");
        assert_eq!(&piece, b"HELLO");
    }

    #[test]
    fn an_address_leads_through_a_proxy() {
        let proxy = "127.0.0.1:7".parse().expect("an address");
        for (url, to, through) in [
            ("postgres://u:p@db/x", "db:1", "postgres://u:p@127.0.0.1:7/x"),
            ("mysql://u:p/@x@db:33/x?a=b", "db:33", "mysql://u:p/@x@127.0.0.1:7/x?a=b"),
            ("redis://[::1]:6379", "[::1]:6379", "redis://127.0.0.1:7"),
            ("redis://[::1]", "[::1]:1", "redis://127.0.0.1:7"),
        ] {
            let detour = Detour::of(url, 1).expect(url);
            assert_eq!((detour.to.as_str(), detour.through(proxy).as_str()), (to, through));
        }
        for none in ["postgres://u@a,b/x", "postgres://u@%2Frun/x", "x"] {
            assert!(Detour::of(none, 1).is_none(), "{none}");
        }
    }
}
