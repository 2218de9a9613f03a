//! PostgreSQL.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Database, Databases, Server, finish, free_port, program, quiet, words};

const PACKAGE: &str = "postgresql";

/// Ends whoever is connected, so that nothing is written any more; then empties all tables. Triggers stay out of it.
const EMPTY: &str = "
SET session_replication_role = replica;
DO $$ BEGIN
    PERFORM pg_terminate_backend(pid, 60000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    EXECUTE (
        SELECT coalesce('TRUNCATE ' || string_agg(format('%I.%I', schemaname, tablename), ', '), 'SELECT')
        FROM pg_tables
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'lastunit_migration'
    );
END $$";

/// A PostgreSQL server. Its superuser is `lastunit`, without a password.
pub struct Postgres {
    server: Server,
    databases: AtomicUsize,
}

impl Postgres {
    /// Starts one with these settings, as `postgresql.conf` names them. Without any it commits durably.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_in(&std::env::temp_dir(), settings)
    }

    /// The same with its data in this folder, which everybody can enter.
    pub fn start_in(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let data_behind = |port| run(port, "postgres", "SHOW data_directory");
        let server = Server::new_in(folder, PACKAGE, "postgres", data_behind);
        let data = server.data().into_os_string().into_string().expect("a path in UTF-8");
        let mut initdb =
            words(["-D", &data, "-U", "lastunit", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"]);
        initdb.insert(0, installed("initdb"));
        server.prepare(initdb);
        let server = server.launch(free_port, |server| {
            let port = format!("port={}", server.port);
            let mut line = words(["-D", &data, "-c", &port, "-c", "listen_addresses=127.0.0.1"]);
            line.insert(0, installed("postgres"));
            // Killed, it would leave a socket's lock and shared memory outside of its folder.
            line.extend(words(["-c", "unix_socket_directories=", "-c", "dynamic_shared_memory_type=mmap"]));
            for (name, value) in settings {
                line.extend(["-c".to_owned(), format!("{name}={value}")]);
            }
            line
        });
        Self { server, databases: AtomicUsize::new(0) }
    }

    /// The one of this process, for tests that need no more than a database of their own. It is fast, and not durable.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            Self::start(&[
                ("fsync", "off"),
                ("full_page_writes", "off"),
                ("synchronous_commit", "off"),
                ("max_connections", "800"),
            ])
        })
    }

    /// A database of [`Postgres::shared`], for the caller alone.
    pub fn shared_database() -> Database {
        static DATABASES: Databases = Databases::new(
            || Postgres::shared().create_database(),
            |used| drop(Postgres::shared().client_of(used, EMPTY)),
            |name| Postgres::shared().url_of(name),
        );
        DATABASES.take()
    }

    /// The database that it has from the start.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// A database of its.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://lastunit@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database; its name.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.client(&format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs a statement in the database that it has from the start: the rows, with `|` between their columns.
    pub fn client(&self, sql: &str) -> String {
        self.client_of("postgres", sql)
    }

    /// The same in another database.
    pub fn client_of(&self, database: &str, sql: &str) -> String {
        run(self.port, database, sql).unwrap_or_else(|said| panic!("{sql}: {said}"))
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

pub(super) fn run(port: u16, database: &str, sql: &str) -> Result<String, String> {
    let mut psql = quiet(installed("psql"));
    psql.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "lastunit", "-d", database]);
    finish(psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]))
}

/// A program of the newest version there is.
fn installed(name: &str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("postgres").is_file())
        .collect();
    versions.sort();
    let newest: Vec<PathBuf> = versions.pop().map(|(_, folder)| folder).into_iter().collect();
    program(name, PACKAGE, &newest)
}
