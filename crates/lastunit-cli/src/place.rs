//! Where the databases of benchmarks and races are made: each run gets a fresh one, which is gone after it.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use lastunit::{Store, Watched};
use lastunit_store::RemoteConfig;
use mysql_async::prelude::Queryable;

use crate::store_url::{Open, StoreUrl};

/// A folder for SQLite's files, or a server that databases may be made on.
#[derive(Debug, Clone)]
pub enum Place {
    Folder(PathBuf),
    Server(StoreUrl),
}

/// A fresh database of one run.
pub struct Fresh {
    pub url: StoreUrl,
    /// The server that it has to be dropped on, and its name there.
    on_server: Option<(StoreUrl, String)>,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    /// What it is and how durable, for the head of a table.
    pub async fn describe(&self) -> Result<String> {
        Ok(match self {
            Self::Folder(folder) => {
                format!(
                    "SQLite {}, WAL, flushed before every answer, in {}",
                    rusqlite::version(),
                    folder.display()
                )
            }
            Self::Server(StoreUrl::Postgres(url, _)) => {
                let client = postgres(url).await?;
                let show = async |setting: &str| -> Result<String> {
                    Ok(client.query_one(&format!("SHOW {setting}"), &[]).await?.get(0))
                };
                format!(
                    "PostgreSQL {}, fsync={}, synchronous_commit={}, full_page_writes={}",
                    show("server_version").await?,
                    show("fsync").await?,
                    show("synchronous_commit").await?,
                    show("full_page_writes").await?,
                )
            }
            Self::Server(url) => {
                let StoreUrl::MySql(url, _) = url else { bail!("a file is no server") };
                let mut connection = mysql(url).await?;
                let row: Option<(String, u64, u64)> = connection
                    .query_first(
                        "SELECT @@version, @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite + 0",
                    )
                    .await?;
                connection.disconnect().await?;
                let (version, flush, doublewrite) = row.context("no version")?;
                format!("{version}, innodb_flush_log_at_trx_commit={flush}, doublewrite={doublewrite}")
            }
        })
    }

    /// Makes a database; `adapt` may change how it is connected to.
    pub async fn fresh(&self, adapt: impl Fn(&mut RemoteConfig)) -> Result<Fresh> {
        let server = match self {
            Self::Folder(folder) => {
                let folder = tempfile::tempdir_in(folder)?;
                let url = StoreUrl::Sqlite(folder.path().join("run.db"));
                return Ok(Fresh { url, on_server: None, _folder: Some(folder) });
            }
            Self::Server(server) => server,
        };
        let name = format!("lastunit_run_{:016x}", rand::random::<u64>());
        let created = on_server(server, &format!("CREATE DATABASE {name}")).await;
        created.with_context(|| format!("{server} can't make a database: name a user who may"))?;
        let mut url = server.clone();
        match &mut url {
            StoreUrl::Postgres(url, config) | StoreUrl::MySql(url, config) => {
                *url = with_database(url, &name);
                adapt(config);
            }
            StoreUrl::Sqlite(_) => bail!("--folder says where SQLite's files are made"),
        }
        Ok(Fresh { url, on_server: Some((server.clone(), name)), _folder: None })
    }
}

impl Fresh {
    /// Opens it.
    pub async fn open(&self) -> Result<Arc<dyn Store>> {
        self.url.open(Open::Create).await
    }

    /// The same with somebody who watches.
    pub async fn open_watched(&self, watched: Watched) -> Result<Arc<dyn Store>> {
        self.url.open_watched(Open::Create, watched).await
    }

    /// Runs a statement of the benchmark's own on it.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        on_server(&self.url, sql).await
    }

    /// Checks every invariant, and that there are at least as many orders as were acknowledged; then drops it.
    pub async fn check_and_drop(self, acknowledged: u64) -> Result<()> {
        let store = self.url.open(Open::AsItIs).await?;
        let report = store.check().await?;
        store.close().await;
        ensure!(report.violations.is_empty(), "the benchmark broke an invariant: {:?}", report.violations);
        ensure!(report.orders >= acknowledged, "{} orders for {acknowledged} answers", report.orders);
        self.drop_it().await
    }

    /// Drops it; nobody may be connected any more.
    pub async fn drop_it(self) -> Result<()> {
        if let Some((server, name)) = &self.on_server {
            on_server(server, &format!("DROP DATABASE {name}")).await?;
        }
        Ok(())
    }
}

/// Runs one statement on a server.
async fn on_server(server: &StoreUrl, sql: &str) -> Result<()> {
    match server {
        StoreUrl::Postgres(url, _) => {
            let client = postgres(url).await?;
            Ok(client.batch_execute(sql).await?)
        }
        StoreUrl::MySql(url, _) => {
            let mut connection = mysql(url).await?;
            connection.query_drop(sql).await?;
            Ok(connection.disconnect().await?)
        }
        StoreUrl::Sqlite(_) => bail!("a file is no server"),
    }
}

/// A connection of its own to PostgreSQL.
pub async fn postgres(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.context("PostgreSQL can't be reached")?;
    tokio::spawn(connection);
    Ok(client)
}

/// A connection of its own to MariaDB or MySQL.
pub async fn mysql(url: &str) -> Result<mysql_async::Conn> {
    let url = url.replacen("mariadb://", "mysql://", 1);
    mysql_async::Conn::from_url(url).await.context("the server can't be reached")
}

/// The address of another database on the same server.
fn with_database(url: &str, name: &str) -> String {
    let (url, parameters) = url.split_once('?').map_or((url, None), |(url, rest)| (url, Some(rest)));
    let host = url.find("://").map_or(0, |at| at + 3);
    let authority = url[host..].find('/').map_or(url, |end| &url[..host + end]);
    let parameters = parameters.map(|rest| format!("?{rest}")).unwrap_or_default();
    format!("{authority}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn another_database_of_the_same_server() {
        for (url, other) in [
            ("postgres://a@h:1/x?sslmode=disable", "postgres://a@h:1/b?sslmode=disable"),
            ("mysql://a:p@h/x", "mysql://a:p@h/b"),
            ("postgres://h", "postgres://h/b"),
        ] {
            assert_eq!(with_database(url, "b"), other);
        }
    }
}
