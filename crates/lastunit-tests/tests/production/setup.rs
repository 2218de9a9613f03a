//! The servers that a shop in production has.

use std::ops::Deref;

use lastunit_tests::{
    server::{Database, Process},
    servers::{MariaDb, Postgres, Server},
};

/// What the orders are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    MariaDb,
}

impl Kind {
    /// The address of an empty database, on a server that tests share.
    pub fn database(self) -> String {
        match self {
            Self::Postgres => {
                let server = Postgres::shared();
                server.url_of(&server.create_database())
            }
            Self::MariaDb => {
                let server = MariaDb::shared();
                server.url_of(&server.create_database())
            }
        }
    }

    /// A server for the test alone, which commits durably.
    pub fn start(self) -> Own {
        match self {
            Self::Postgres => Own::Postgres(Postgres::start(&[])),
            Self::MariaDb => Own::MariaDb(MariaDb::start(&[])),
        }
    }
}

/// A database server of a test's own.
pub enum Own {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Own {
    /// The database that it has from the start.
    pub fn url(&self) -> String {
        match self {
            Self::Postgres(server) => server.url(),
            Self::MariaDb(server) => server.url(),
        }
    }
}

impl Deref for Own {
    type Target = Server;

    fn deref(&self) -> &Server {
        match self {
            Self::Postgres(server) => server,
            Self::MariaDb(server) => server,
        }
    }
}

/// So many servers on one database.
pub async fn serve(database: &Database, count: usize) -> Vec<Process> {
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(database.serve(&[]).await);
    }
    servers
}

/// Stops servers that have to be running still, and to end well.
pub async fn stop(servers: Vec<Process>) {
    for server in servers {
        server.terminate();
        let (status, log) = server.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
    }
}
