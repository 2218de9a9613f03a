//! Orders placed over HTTP/1.1 with keep-alive: a server of its own process, the buyers in this one.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use lastunit_bench::{Buyer, Measured, closed_loop};
use tokio::net::TcpStream;

use super::{
    in_process::fill,
    place::{Fresh, Place},
};

const SERVICE_KEY: &str = "lastunit-bench-service-key-0123456789";

/// A server on a fresh database, with one SKU in plenty.
pub struct Served {
    child: Child,
    address: String,
    /// Taken when the server is stopped.
    fresh: Option<Fresh>,
}

/// What a buyer calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// GET /health/live with the headers and body of an order: a constant answer, the yardstick.
    Constant,
    /// POST /v1/orders, one unit of the SKU.
    Order,
}

impl Served {
    /// Fills a fresh database and starts `lastunit serve` on it.
    pub async fn start(place: &Place) -> Result<Self> {
        let fresh = place.fresh(|_| {}).await?;
        let store = fresh.open().await?;
        fill(store.as_ref(), 1).await?;
        store.close().await;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            // Not as an argument: an address may hold a password, and arguments can be seen by others.
            .env("LASTUNIT_STORE", fresh.url.whole())
            .env("LASTUNIT_SERVICE_KEY", SERVICE_KEY)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let address = loop {
            let line = said.next().context("the server ended before it listened")??;
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.to_owned();
            }
        };
        Ok(Self { child, address, fresh: Some(fresh) })
    }

    /// Runs one load against it.
    pub async fn run(&self, call: Call, buyers: usize, seconds: f64) -> Result<Measured> {
        let mut callers = Vec::with_capacity(buyers);
        for n in 0..buyers {
            callers.push(Caller::connect(&self.address, call, n).await?);
        }
        closed_loop(callers, Duration::from_secs_f64(seconds / 5.0), Duration::from_secs_f64(seconds)).await
    }

    /// The most memory it had resident so far, in MiB (VmHWM).
    pub fn peak_memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: f64 = peak.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// CPU time it has used so far, of user and system together.
    pub fn cpu(&self) -> Result<Duration> {
        super::machine::cpu_of(self.child.id())
    }

    /// Stops it with SIGTERM, and checks every invariant of what it leaves: at least so many orders.
    pub async fn stop(mut self, acknowledged: u64) -> Result<()> {
        let stopped = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(stopped.success(), "the server can't be stopped");
        ensure!(self.child.wait()?.success(), "the server ended with an error");
        let fresh = self.fresh.take().context("it was stopped before")?;
        fresh.check_and_drop(acknowledged).await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After an error; a server that was stopped is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Caller {
    sender: SendRequest<Full<Bytes>>,
    call: Call,
    user: String,
    host: String,
}

impl Caller {
    async fn connect(address: &str, call: Call, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, call, user: format!("buyer-{number}"), host: address.to_owned() })
    }

    fn request(&self) -> Result<Request<Full<Bytes>>> {
        const BODY: &[u8] = br#"{"lines":[{"sku_id":1,"count":1}],"address":{"receiver":"Ada Lovelace","line1":"1 High Street","city":"Leeds","postal_code":"LS1 1AA","country":"GB","phone":"+44 113 496 0000"},"pay_method":"cash_on_delivery"}"#;
        // The same headers and body for both: the load is the same, only the answer differs.
        let (method, path) = match self.call {
            Call::Constant => (Method::GET, "/health/live"),
            Call::Order => (Method::POST, "/v1/orders"),
        };
        Ok(Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, format!("Bearer {SERVICE_KEY}"))
            .header("Lastunit-User", &self.user)
            .header("Idempotency-Key", format!("{:016x}", rand::random::<u64>()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(BODY))?)
    }
}

impl Buyer for Caller {
    async fn call(&mut self) -> Result<()> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(self.request()?).await?;
        let expected = match self.call {
            Call::Constant => StatusCode::OK,
            Call::Order => StatusCode::CREATED,
        };
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != expected {
            bail!("a call of the benchmark was answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    }
}
