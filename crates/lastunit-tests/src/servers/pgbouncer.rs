//! PgBouncer, a pooler in front of PostgreSQL.

use std::{fs, ops::Deref};

use super::{Postgres, Server, free_port, postgres, program, words};

const PACKAGE: &str = "pgbouncer";

/// A pooler that gives every transaction whatever connection is free: a client meets the session of another at each.
pub struct PgBouncer(Server);

impl PgBouncer {
    /// Starts one in front of this server, with so many connections to it for each database.
    pub fn start(server: &Postgres, connections: usize) -> Self {
        // Its settings name its file, and that its folder.
        let pooler = Server::new(PACKAGE, "postgres", |port| postgres::run(port, "pgbouncer", "SHOW CONFIG"));
        let (users, config) = (pooler.data().join("users"), pooler.data().join("pgbouncer.ini"));
        fs::write(&users, "\"lastunit\" \"\"\n").expect("a list of users");
        let behind = server.port();
        let pooler = pooler.launch(free_port, |pooler| {
            let settings = format!(
                "[databases]
                 * = host=127.0.0.1 port={behind}
                 [pgbouncer]
                 listen_addr = 127.0.0.1
                 listen_port = {}
                 unix_socket_dir =
                 auth_type = trust
                 auth_file = {}
                 admin_users = lastunit
                 pool_mode = transaction
                 max_client_conn = 200
                 default_pool_size = {connections}",
                pooler.port,
                users.display()
            );
            let lines: Vec<&str> = settings.lines().map(str::trim).collect();
            fs::write(&config, lines.join("\n")).expect("a configuration");
            let mut line = words([config.to_str().expect("a path in UTF-8")]);
            line.insert(0, program("pgbouncer", PACKAGE, &[]));
            line
        });
        Self(pooler)
    }

    /// A database of the server behind it.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://lastunit@127.0.0.1:{}/{database}", self.port)
    }
}

impl Deref for PgBouncer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}
