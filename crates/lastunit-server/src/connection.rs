//! One connection: HTTP/1.1 with a limit on everything a client can draw out.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, Sleep},
};

use crate::{config::ServerConfig, entry::Entry, request_id::RequestId};

/// What the server is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Serving,
    /// Requests under way are answered; idle connections close.
    Draining,
    /// Time is up: everything closes.
    Closing,
}

/// The settings of every connection.
pub(crate) fn http(config: &ServerConfig) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(config.header_timeout).max_buf_size(64 * 1024);
    // A client that sends its request and ends its side has made its call: without this, the call would be dropped
    // where that end is seen before the handler has the whole body.
    http.half_close(true);
    http
}

/// Serves a connection to its end, or until the server stops.
pub(crate) async fn serve(
    stream: TcpStream,
    http: http1::Builder,
    entry: Entry,
    write_timeout: Duration,
    mut phase: watch::Receiver<Phase>,
) {
    // Answers are small and complete: waiting to fill a packet only costs time.
    stream.set_nodelay(true).ok();
    let io = TokioIo::new(Impatient { stream, write_timeout, stalled: None });
    let service = service_fn(move |request| entry.clone().answer(request));
    let mut connection = pin!(http.serve_connection(io, service));
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended.unwrap_or_else(note),
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        ended = connection => ended.unwrap_or_else(note),
        _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
    }
}

/// Clients vanish, time out and speak nonsense every day.
fn note(error: hyper::Error) {
    tracing::debug!(%error, "a connection ended early");
}

/// Answers 503 without having read a request: there are too many connections.
pub(crate) async fn turn_away(mut stream: TcpStream) {
    const PROBLEM: &str = "{\"type\":\"https://lastunit.dev/problems/overloaded\",\
        \"title\":\"Too much is waiting already\",\"status\":503,\"code\":\"overloaded\",\
        \"detail\":\"There are too many connections: wait as long as Retry-After says, then try again.\"";
    let id = RequestId::made();
    let id = id.as_str();
    tracing::debug!(request_id = id, "a connection was turned away");
    let body = format!("{PROBLEM},\"request_id\":\"{id}\"}}");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         x-request-id: {id}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let said = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would reset the connection, and the client might never see the answer.
        let mut unread = [0; 1024];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    tokio::time::timeout(Duration::from_millis(200), said).await.ok();
}

/// A stream that gives up on a peer which leaves its answer unread.
struct Impatient {
    stream: TcpStream,
    write_timeout: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn watched<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = Instant::now() + self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
