//! Redis.

use std::{
    net::TcpListener,
    ops::Deref,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Database, Databases, PATIENCE, Server, finish, free_port, program, quiet, words};

const PACKAGE: &str = "redis-server";

/// A cluster's nodes talk on a port that is this much higher.
const TO_CLUSTER_PORT: u16 = 10_000;

/// A Redis server.
pub struct Redis {
    server: Server,
    databases: AtomicUsize,
}

impl Redis {
    /// Starts one with these settings, as `redis.conf` names them. Without any it writes nothing to its folder.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_on(free_port, settings)
    }

    fn start_on(free_port: fn() -> u16, settings: &[(&str, &str)]) -> Self {
        // While it loads its data it tells its settings, and nothing else.
        let data_behind = |port| run(port, &["PING"]).and_then(|_| run(port, &["CONFIG", "GET", "dir"]));
        let server = Server::new(PACKAGE, "redis", data_behind);
        let data = server.data().into_os_string().into_string().expect("a path in UTF-8");
        let daemon = program("redis-server", PACKAGE, &[]);
        let server = server.launch(free_port, |server| {
            let port = server.port.to_string();
            let mut line =
                words([&daemon, "--bind", "127.0.0.1", "--port", &port, "--dir", &data, "--save", ""]);
            for (name, value) in settings {
                line.extend([format!("--{name}"), (*value).to_owned()]);
            }
            line
        });
        Self { server, databases: AtomicUsize::new(1) }
    }

    /// The one of this process, for tests that need no more than a database of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[("databases", "10000")]))
    }

    /// A database of [`Redis::shared`], for the caller alone.
    pub fn shared_database() -> Database {
        static DATABASES: Databases = Databases::new(
            || Redis::shared().databases.fetch_add(1, Ordering::Relaxed).to_string(),
            |used| drop(Redis::shared().client(&["-n", used, "FLUSHDB"])),
            |name| format!("{}/{name}", Redis::shared().url()),
        );
        DATABASES.take()
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command; its answer as redis-cli prints it, a line each value.
    pub fn client(&self, command: &[&str]) -> String {
        run(self.port, command).unwrap_or_else(|said| panic!("{command:?}: {said}"))
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// Three Redis servers that share the keys out among them.
pub struct RedisCluster {
    /// Its servers.
    pub nodes: [Redis; 3],
}

impl RedisCluster {
    /// Starts one, and waits until it serves every key.
    pub fn start() -> Self {
        let node = || Redis::start_on(free_cluster_port, &[("cluster-enabled", "yes")]);
        let nodes = thread::scope(|scope| {
            let starting = [(); 3].map(|()| scope.spawn(node));
            starting.map(|node| node.join().expect("a node"))
        });
        let addresses = nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port));
        let mut create = client();
        create.args(["--cluster", "create"]).args(addresses).args([
            "--cluster-replicas",
            "0",
            "--cluster-yes",
        ]);
        finish(&mut create).unwrap_or_else(|said| panic!("a cluster can't be made: {said}"));
        let begun = Instant::now();
        let joined = |node: &Redis| node.client(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        while !nodes.iter().all(joined) {
            assert!(begun.elapsed() < PATIENCE, "the cluster isn't ready: {}", nodes[0].log());
            thread::sleep(Duration::from_millis(50));
        }
        Self { nodes }
    }

    /// The addresses of all nodes.
    pub fn url(&self) -> String {
        let addresses = self.nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port));
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// Runs a command on the node that has its key.
    pub fn client(&self, command: &[&str]) -> String {
        let mut client = client();
        client.args(["-c", "-e", "-p", &self.nodes[0].port.to_string()]).args(command);
        finish(&mut client).unwrap_or_else(|said| panic!("{command:?}: {said}"))
    }
}

fn run(port: u16, command: &[&str]) -> Result<String, String> {
    finish(client().args(["-e", "-p", &port.to_string()]).args(command))
}

fn client() -> std::process::Command {
    quiet(program("redis-cli", "redis-tools", &[]))
}

/// A free port whose cluster port is free too.
fn free_cluster_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let fits = |port: &u16| port.checked_add(TO_CLUSTER_PORT).is_some_and(is_free);
    std::iter::repeat_with(free_port).take(1000).find(fits).expect("two free ports")
}
