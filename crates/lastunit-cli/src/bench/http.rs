//! Orders placed over HTTP/1.1 with keep-alive: a server of its own process, the buyers in this one.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use http::StatusCode;
use lastunit::{Address, Strategy};
use lastunit_bench::{
    Answer, Attempts, Measured, Picks,
    http::{Connection, Request, Response},
};

use super::{
    load::{Load, Workload},
    place::Fresh,
};

const SERVICE_KEY: &str = "lastunit-bench-service-key-0123456789";

/// What a buyer calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// GET /health/live with the headers and body of an order: a constant answer, the yardstick.
    Constant,
    /// POST /v1/orders.
    Order,
}

/// A shop behind HTTP, and what is ordered there.
#[derive(Debug, Clone)]
pub struct Shop {
    /// Host and port.
    pub address: String,
    /// Of any role.
    pub service_key: String,
    /// The SKUs that are ordered, the most popular first.
    pub skus: Arc<[i64]>,
    /// Draws from them.
    pub picks: Picks,
}

impl Shop {
    /// Runs one load against it.
    pub async fn run(&self, call: Call, buyers: usize, load: Load, seconds: f64) -> Result<Measured> {
        let mut callers = Vec::with_capacity(buyers);
        for n in 0..buyers {
            callers.push(Caller::connect(self.clone(), call, n).await?);
        }
        load.run(callers, seconds).await
    }
}

struct Caller {
    shop: Shop,
    connection: Connection,
    call: Call,
    user: String,
    authorization: String,
    /// What follows the lines in the body of an order.
    rest_of_body: String,
}

impl Caller {
    async fn connect(shop: Shop, call: Call, number: usize) -> Result<Self> {
        let connection = Connection::open(&shop.address).await?;
        let address = serde_json::to_string(&Address::example())?;
        Ok(Self {
            connection,
            call,
            user: format!("buyer-{number}"),
            authorization: format!("Bearer {}", shop.service_key),
            rest_of_body: format!(r#"],"address":{address},"pay_method":"cash_on_delivery"}}"#),
            shop,
        })
    }

    async fn call(&mut self) -> Result<Response> {
        // The same headers and body for both: the load is the same, only the answer differs.
        let (method, path) = match self.call {
            Call::Constant => ("GET", "/health/live"),
            Call::Order => ("POST", "/v1/orders"),
        };
        let (key, body) = (format!("{:016x}", rand::random::<u64>()), self.body());
        let headers = [
            ("Authorization", self.authorization.as_str()),
            ("Lastunit-User", &self.user),
            ("Idempotency-Key", &key),
            ("Content-Type", "application/json"),
        ];
        self.connection.call(Request { method, path, headers: &headers, body: body.as_bytes() }).await
    }

    fn body(&self) -> String {
        let picked = self.shop.picks.draw(&mut rand::rng());
        let mut body = String::with_capacity(self.rest_of_body.len() + 32 * (picked.len() + 1));
        body.push_str(r#"{"lines":["#);
        for (at, &sku) in picked.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            body += &format!(r#"{comma}{{"sku_id":{},"count":1}}"#, self.shop.skus[sku]);
        }
        body + &self.rest_of_body
    }
}

impl Attempts for Caller {
    async fn attempt(&mut self) -> Result<Answer> {
        let response = self.call().await?;
        match (self.call, response.status) {
            (Call::Constant, StatusCode::OK) | (Call::Order, StatusCode::CREATED) => Ok(Answer::Placed),
            (Call::Order, StatusCode::CONFLICT) => Ok(Answer::Refused),
            (_, StatusCode::SERVICE_UNAVAILABLE) => Ok(Answer::TurnedAway),
            (_, status) => {
                let body = String::from_utf8_lossy(&response.body);
                bail!("a call of the benchmark was answered {status}: {body}")
            }
        }
    }
}

/// A server of its own process, on a shop that was filled before.
pub struct Served {
    child: Child,
    /// Kept open, for the server says more than is read.
    _greeting: Lines<BufReader<ChildStdout>>,
    shop: Shop,
    /// Taken when the server is stopped.
    fresh: Option<Fresh>,
    /// Orders there are, at least.
    placed: u64,
}

impl Served {
    /// Starts `lastunit serve` on a shop with the workload's SKUs, in which so many orders were placed before.
    pub async fn start(fresh: Fresh, strategy: Strategy, workload: Workload, placed: u64) -> Result<Self> {
        let picks = workload.picks()?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--carts", "store"])
            .args(["--strategy", strategy.as_str()])
            // Not as an argument: an address may hold a password, and arguments can be seen by others.
            .env("LASTUNIT_STORE", fresh.url.whole())
            .env("LASTUNIT_SERVICE_KEY", SERVICE_KEY)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut greeting = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let address = loop {
            let line = greeting.next().context("the server ended before it listened")??;
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.to_owned();
            }
        };
        let skus = (1..=workload.skus).collect();
        let shop = Shop { address, service_key: SERVICE_KEY.into(), skus, picks };
        Ok(Self { child, _greeting: greeting, shop, fresh: Some(fresh), placed })
    }

    /// Runs one load against it.
    pub async fn run(&mut self, call: Call, buyers: usize, load: Load, seconds: f64) -> Result<Measured> {
        let measured = self.shop.run(call, buyers, load, seconds).await?;
        if call == Call::Order {
            self.placed += measured.placed_in_all;
        }
        Ok(measured)
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

    /// Stops it with SIGTERM, and checks every invariant of what it leaves: all orders that were placed are there.
    pub async fn stop(mut self) -> Result<()> {
        let stopped = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(stopped.success(), "the server can't be stopped");
        ensure!(self.child.wait()?.success(), "the server ended with an error");
        let fresh = self.fresh.take().context("it was stopped before")?;
        fresh.check_and_drop(self.placed).await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After an error; a server that was stopped is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
