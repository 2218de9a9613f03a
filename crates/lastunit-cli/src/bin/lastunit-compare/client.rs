//! HTTP/1.1 with keep-alive, the same for every shop.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, header};
use lastunit_bench::http::Connection;
use tokio::time::timeout;

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

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

    /// Posts JSON.
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response<Bytes>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        timeout(PATIENCE, self.send(request)).await.context("no answer in a minute")?
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        // Taken: a connection on which anything went wrong isn't used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.host).await?,
        };
        if !connection.is_open().await {
            connection = Connection::open(&self.host).await?;
        }
        let answer = connection.call(request).await?;
        self.connection = Some(connection);
        Ok(answer)
    }
}
