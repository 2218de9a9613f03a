//! HTTP/1.1 with keep-alive, the same for every shop.

use std::time::Duration;

use anyhow::{Context, Result};
use lastunit_bench::http::{Connection, Request, Response};
use tokio::time::timeout;

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Said of every body that is posted.
pub const JSON: (&str, &str) = ("Content-Type", "application/json");

/// One buyer's connection: kept while the server keeps it, made anew otherwise.
pub struct Client {
    host: String,
    connection: Option<Connection>,
}

impl Client {
    /// For a server at `http://HOST:PORT`, which is connected to with the first call.
    pub fn new(url: &str) -> Self {
        Self { host: url.trim_start_matches("http://").trim_end_matches('/').to_owned(), connection: None }
    }

    /// Posts a body.
    pub async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        timeout(PATIENCE, self.send(Request { method: "POST", path, headers, body }))
            .await
            .context("no answer in a minute")?
    }

    async fn send(&mut self, request: Request<'_>) -> Result<Response> {
        // Taken: a connection on which anything went wrong isn't used again.
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => Connection::open(&self.host).await?,
        };
        let response = connection.call(request).await?;
        self.connection = Some(connection);
        Ok(response)
    }
}
