//! The servers that other tests start.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lastunit_tests::servers::{Database, MariaDb, Postgres, Redis, RedisCluster, Server};

const SLEEPERS_OF_POSTGRES: &str = "
    SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";

/// The data written before a kill is there after it.
fn kill_and_start_again(server: &Server) {
    let port = server.port();
    server.kill();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "a killed server listens");
    server.start_again();
    assert_eq!(server.port(), port);
}

/// Whether a call is answered while the server is frozen: it has to wait.
fn answers_only_when_thawed(server: &Server, call: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        server.freeze();
        let call = scope.spawn(call);
        std::thread::sleep(Duration::from_millis(200));
        assert!(!call.is_finished(), "a frozen server answered");
        server.thaw();
        call.join().expect("an answer");
    });
}

#[test]
fn postgres_keeps_its_data_through_a_kill() {
    let server = Postgres::start(&[("max_connections", "33")]);
    assert_eq!(server.client("SHOW max_connections"), "33");
    assert_eq!(server.client("SHOW fsync"), "on");
    let database = server.create_database();
    assert!(server.url_of(&database).ends_with(&format!("@127.0.0.1:{}/{database}", server.port())));
    server.client_of(&database, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('here')");
    // A backend of its own session and process group is killed as well.
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| server.client("SELECT pg_sleep(3600)"));
        until_one(|sql| server.client(sql), SLEEPERS_OF_POSTGRES);
        kill_and_start_again(&server);
        assert!(sleeping.join().is_err(), "it wasn't killed");
    });
    assert_eq!(server.client_of(&database, "SELECT word FROM kept"), "here");
    assert!(server.log().contains("was not properly shut down"), "{}", server.log());
    assert_ne!(server.create_database(), database);
    answers_only_when_thawed(&server, || assert_eq!(server.client("SELECT 1"), "1"));
}

#[test]
fn mariadb_keeps_its_data_through_a_kill() {
    let server = MariaDb::start(&[("max-connections", "33")]);
    assert_eq!(server.client("SELECT @@max_connections, @@log_bin"), "33\t0");
    let database = server.create_database();
    assert!(server.url_of(&database).ends_with(&format!("@127.0.0.1:{}/{database}", server.port())));
    server.client_of(&database, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('här')");
    kill_and_start_again(&server);
    assert_eq!(server.client_of(&database, "SELECT word FROM kept"), "här");
    assert_ne!(server.create_database(), database);
    answers_only_when_thawed(&server, || assert_eq!(server.client("SELECT 1"), "1"));
}

#[test]
fn redis_keeps_its_data_through_a_kill() {
    let server = Redis::start(&[("appendonly", "yes"), ("appendfsync", "always")]);
    assert_eq!(server.client(&["CONFIG", "GET", "save"]), "save");
    assert_eq!(server.client(&["SET", "kept", "here"]), "OK");
    kill_and_start_again(&server);
    assert_eq!(server.client(&["GET", "kept"]), "here");
    answers_only_when_thawed(&server, || assert_eq!(server.client(&["PING"]), "PONG"));
}

#[test]
fn a_cluster_of_redis_serves_every_key() {
    let cluster = RedisCluster::start();
    for key in 0..20 {
        assert_eq!(cluster.client(&["SET", &format!("key-{key}"), "here"]), "OK");
    }
    let kept = cluster.nodes.each_ref().map(|node| node.client(&["DBSIZE"]).parse().expect("a number"));
    assert_eq!(kept.iter().sum::<u32>(), 20);
    assert!(kept.iter().all(|&keys| keys > 0), "one node has nothing: {kept:?}");
    assert_eq!(cluster.url().matches(',').count(), 2);
}

#[test]
fn shared_servers_are_started_once() {
    let (one, other) = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(Postgres::shared), scope.spawn(Postgres::shared));
        (one.join().expect("a server"), other.join().expect("a server"))
    });
    assert!(std::ptr::eq(one, other));
    assert_eq!(one.client("SHOW fsync"), "off");
    assert_eq!(MariaDb::shared().client("SELECT @@innodb_flush_log_at_trx_commit"), "0");
    assert_eq!(Redis::shared().client(&["CONFIG", "GET", "appendonly"]), "appendonly\nno");
}

const TABLES: &str = "
    CREATE TABLE lastunit_migration (id int PRIMARY KEY);
    INSERT INTO lastunit_migration VALUES (1);
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int PRIMARY KEY, parent int, FOREIGN KEY (parent) REFERENCES parent (id));
    INSERT INTO parent VALUES (1);
    INSERT INTO child VALUES (1, 1)";

const ROWS: &str = "
    SELECT (SELECT count(*) FROM lastunit_migration), (SELECT count(*) FROM parent), (SELECT count(*) FROM child)";

/// Waits until a statement gives 1.
fn until_one(run: impl Fn(&str) -> String, sql: &str) {
    let begun = Instant::now();
    while run(sql) != "1" {
        assert!(begun.elapsed() < Duration::from_secs(60), "not in a minute: {sql}");
    }
}

/// A database is left to the next one while somebody still writes to it: 600 seconds long, unless it is ended.
fn is_emptied(take: fn() -> Database, run: fn(&str, &str) -> String, slow_write: &str, sleepers: &str) {
    let used = take();
    let name = used.name().to_owned();
    run(&name, TABLES);
    assert_ne!(take().name(), name, "a database was given to two");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| run(&name, slow_write));
        until_one(|sql| run(&name, sql), sleepers);
        drop(used);
        let again = take();
        assert_eq!((again.name(), again.url().rsplit('/').next()), (&*name, Some(&*name)));
        assert!(slow.join().is_err(), "the other's write went on");
        assert_eq!(run(&name, ROWS).replace('\t', "|"), "1|0|0");
    });
}

#[test]
fn a_database_of_postgres_is_emptied_before_it_is_used_again() {
    let run = |name: &str, sql: &str| Postgres::shared().client_of(name, sql);
    let slow = "BEGIN; INSERT INTO parent VALUES (2); SELECT pg_sleep(600); COMMIT";
    is_emptied(Postgres::shared_database, run, slow, SLEEPERS_OF_POSTGRES);
}

#[test]
fn a_database_of_mariadb_is_emptied_before_it_is_used_again() {
    let run = |name: &str, sql: &str| MariaDb::shared().client_of(name, sql);
    let slow = "BEGIN; INSERT INTO parent VALUES (2); SELECT SLEEP(600); COMMIT";
    let sleepers = "
        SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep' AND db = DATABASE()";
    is_emptied(MariaDb::shared_database, run, slow, sleepers);
}

#[test]
fn a_database_of_redis_is_emptied_before_it_is_used_again() {
    let used = Redis::shared_database();
    let (name, other) = (used.name().to_owned(), Redis::shared_database());
    for name in [&*name, other.name()] {
        Redis::shared().client(&["-n", name, "SET", "key", "value"]);
    }
    drop(used);
    assert_eq!(Redis::shared_database().name(), name);
    assert_eq!(Redis::shared().client(&["-n", &name, "DBSIZE"]), "0");
    assert_eq!(Redis::shared().client(&["-n", other.name(), "DBSIZE"]), "1");
}

#[test]
fn a_dropped_server_leaves_nothing() {
    let server = Redis::start(&[]);
    let (folder, port) = (server.folder().to_owned(), server.port());
    assert!(folder.exists());
    drop(server);
    assert_nothing_is_left(&folder, port);
}

#[test]
fn a_server_ends_with_a_process_that_is_killed() {
    let mut process = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "holds_a_server_until_it_is_killed", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test again");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    let (folder, port) = loop {
        let line = lines.next().expect("a server").expect("text");
        if let Some((_, started)) = line.split_once("started ") {
            let (port, folder) = started.split_once(' ').expect("two words");
            break (folder.to_owned(), port.parse().expect("a port"));
        }
    };
    assert!(Path::new(&folder).exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "it was started");
    process.kill().expect("a running process");
    process.wait().expect("its end");
    let begun = Instant::now();
    while Path::new(&folder).exists() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_nothing_is_left(Path::new(&folder), port);
}

#[test]
#[ignore = "the process that another test kills"]
fn holds_a_server_until_it_is_killed() {
    let server = Postgres::shared();
    println!("started {} {}", server.port(), server.folder().display());
    std::io::stdin().read_line(&mut String::new()).expect("nothing");
}

fn assert_nothing_is_left(folder: &Path, port: u16) {
    assert!(!folder.exists(), "{} is left", folder.display());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it still runs");
}
