//! MariaDB.

use std::{
    fs,
    ops::Deref,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Database, Databases, Server, finish, free_port, program, quiet, words};

const PACKAGE: &str = "mariadb-server";

/// Run at every start, before anybody can connect.
const INIT: &str = "CREATE DATABASE IF NOT EXISTS lastunit;
CREATE USER IF NOT EXISTS lastunit@'127.0.0.1';
GRANT ALL ON *.* TO lastunit@'127.0.0.1' WITH GRANT OPTION;
";

/// Ends whoever is connected, so that nothing is written any more; then empties all tables. TRUNCATE would take 15 ms
/// a table.
const EMPTY: &str = "
BEGIN NOT ATOMIC
    -- No such thread: it has ended by itself.
    DECLARE CONTINUE HANDLER FOR 1094 BEGIN END;
    SET foreign_key_checks = 0;
    FOR other IN (SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()) DO
        KILL other.id;
    END FOR;
    WHILE EXISTS (SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()) DO
        DO SLEEP(0.01);
    END WHILE;
    FOR used IN (
        SELECT table_name AS name FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND table_name <> 'lastunit_migration'
    ) DO
        EXECUTE IMMEDIATE CONCAT('DELETE FROM `', used.name, '`');
    END FOR;
END";

/// A MariaDB server. Its user `lastunit` has every right, and no password.
pub struct MariaDb {
    server: Server,
    databases: AtomicUsize,
}

impl MariaDb {
    /// Starts one with these settings, as its command line names them. Without any it commits durably. Character set
    /// and collation are those of Debian's configuration.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let server = Server::new(PACKAGE, "mysql", |port| run(port, "lastunit", "SELECT @@datadir"));
        let path =
            |name: &str| server.folder.join(name).into_os_string().into_string().expect("a path in UTF-8");
        let data = format!("--datadir={}", path("data"));
        // A server that starts removes the temporary tables that it finds, whosever they are.
        let temporary = format!("--tmpdir={}", path("data"));
        let (init_file, socket) = (path("init.sql"), path("data/socket"));
        fs::write(&init_file, INIT).expect("a file");
        let install = program("mariadb-install-db", PACKAGE, &[]);
        let normal = "--auth-root-authentication-method=normal";
        server.prepare(words([
            &install,
            "--no-defaults",
            &data,
            &temporary,
            normal,
            "--skip-test-db",
            "--skip-name-resolve",
        ]));
        let daemon = program("mariadbd", PACKAGE, &[]);
        let server = server.launch(free_port, |server| {
            let mut line = words([&daemon, "--no-defaults", &data, &temporary, "--bind-address=127.0.0.1"]);
            line.extend(words(["--skip-name-resolve", "--skip-log-bin"]));
            line.extend(words(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]));
            line.push(format!("--port={}", server.port));
            line.extend([format!("--socket={socket}"), format!("--init-file={init_file}")]);
            line.extend(settings.iter().map(|(name, value)| format!("--{name}={value}")));
            line
        });
        Self { server, databases: AtomicUsize::new(0) }
    }

    /// The one of this process, for tests that need no more than a database of their own. It is fast, and not durable.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| Self::fast(false))
    }

    /// Another one, where a locked row that changed since the snapshot is an error (innodb_snapshot_isolation).
    pub fn shared_with_snapshots() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| Self::fast(true))
    }

    fn fast(snapshot_isolation: bool) -> Self {
        Self::start(&[
            ("innodb-flush-log-at-trx-commit", "0"),
            ("innodb-doublewrite", "0"),
            ("max-connections", "800"),
            ("innodb-snapshot-isolation", if snapshot_isolation { "ON" } else { "OFF" }),
        ])
    }

    /// A database of [`MariaDb::shared`], for the caller alone.
    pub fn shared_database() -> Database {
        static DATABASES: Databases = Databases::new(
            || MariaDb::shared().create_database(),
            |used| drop(MariaDb::shared().client_of(used, EMPTY)),
            |name| MariaDb::shared().url_of(name),
        );
        DATABASES.take()
    }

    /// A database of [`MariaDb::shared_with_snapshots`], for the caller alone.
    pub fn shared_database_with_snapshots() -> Database {
        static DATABASES: Databases = Databases::new(
            || MariaDb::shared_with_snapshots().create_database(),
            |used| drop(MariaDb::shared_with_snapshots().client_of(used, EMPTY)),
            |name| MariaDb::shared_with_snapshots().url_of(name),
        );
        DATABASES.take()
    }

    /// The database that it has from the start.
    pub fn url(&self) -> String {
        self.url_of("lastunit")
    }

    /// A database of its.
    pub fn url_of(&self, database: &str) -> String {
        format!("mysql://lastunit@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database; its name.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.client(&format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs a statement in the database that it has from the start: the rows, with tabs between their columns.
    pub fn client(&self, sql: &str) -> String {
        self.client_of("lastunit", sql)
    }

    /// The same in another database.
    pub fn client_of(&self, database: &str, sql: &str) -> String {
        run(self.port, database, sql).unwrap_or_else(|said| panic!("{sql}: {said}"))
    }
}

impl Deref for MariaDb {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn run(port: u16, database: &str, sql: &str) -> Result<String, String> {
    let mut client = quiet(program("mariadb", "mariadb-client", &[]));
    client.args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", &port.to_string()]);
    // All of it goes to the server at once: a compound statement has semicolons inside.
    client.args(["-u", "lastunit", "--batch", "--skip-column-names", "--delimiter=//"]);
    finish(client.args(["-e", sql, database]))
}
