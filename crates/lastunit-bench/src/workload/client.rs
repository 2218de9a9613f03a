//! One call over HTTP/1.1, written down before it leaves and when its answer is there.

use std::{collections::HashMap, net::SocketAddr, sync::Mutex, time::Duration};

use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{Counts, Plan};
use crate::{
    history::{Answer, Call, Outcome, canary},
    http::{Connection, Request},
};

/// Connections to the servers, kept alive while nobody uses them.
pub(super) struct Wire {
    pub servers: Vec<SocketAddr>,
    pub service_key: String,
    pub give_up_after: Duration,
    idle: Mutex<HashMap<SocketAddr, Vec<Connection>>>,
}

/// A client: for calls one after the other, or several at once, each then over a connection of its own.
pub(super) struct Client {
    pub plan: Plan,
    number: u32,
    wire: Wire,
}

/// A request as it goes over the wire; sent again, it is the same.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub call: Call,
    method: Method,
    path: String,
    key: Option<String>,
    body: Option<String>,
}

impl Prepared {
    fn get(call: Call, path: impl Into<String>) -> Self {
        Self { call, method: Method::GET, path: path.into(), key: None, body: None }
    }

    fn with(call: Call, method: Method, path: impl Into<String>, body: &Value) -> Self {
        Self { call, method, path: path.into(), key: None, body: Some(body.to_string()) }
    }

    /// An order of these lines, or of the cart.
    pub fn place(
        buyer: &str,
        key: &str,
        lines: Option<Vec<(i64, i64)>>,
        online: bool,
        total: Option<i64>,
    ) -> Self {
        let mut body = json!({
            "address": {
                "receiver": canary(buyer), "line1": "1 High Street", "line2": key, "city": "Leeds",
                "postal_code": "LS1 1AA", "country": "GB", "phone": "+44 113 496 0000",
            },
            "pay_method": if online { "online" } else { "cash_on_delivery" },
        });
        if let Some(lines) = &lines {
            body["lines"] = lines.iter().map(|(sku, count)| json!({"sku_id": sku, "count": count})).collect();
        }
        if let Some(total) = total {
            body["expected_total"] = total.into();
        }
        let body = body.to_string();
        let hash = Sha256::digest(body.as_bytes());
        let fingerprint = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let call = Call::Place { key: key.into(), fingerprint, lines };
        let (method, path) = (Method::POST, "/v1/orders".into());
        Self { call, method, path, key: Some(key.into()), body: Some(body) }
    }

    pub fn cancel(order: &str) -> Self {
        let call = Call::Cancel { order: order.into() };
        let path = format!("/v1/orders/{order}/cancel");
        Self { call, method: Method::POST, path, key: None, body: None }
    }

    pub fn read_order(order: &str) -> Self {
        Self::get(Call::ReadOrder { order: order.into() }, format!("/v1/orders/{order}"))
    }

    pub fn list_orders() -> Self {
        Self::get(Call::ListOrders, "/v1/orders")
    }

    pub fn read_sku(sku: i64) -> Self {
        Self::get(Call::ReadSku { sku }, format!("/v1/skus/{sku}"))
    }

    pub fn read_cart() -> Self {
        Self::get(Call::ReadCart, "/v1/cart")
    }

    pub fn set_line(sku: i64, count: i64) -> Self {
        let path = format!("/v1/cart/lines/{sku}");
        Self::with(Call::SetLine { sku, count }, Method::PUT, path, &json!({"count": count}))
    }

    pub fn remove_line(sku: i64) -> Self {
        let path = format!("/v1/cart/lines/{sku}");
        Self { call: Call::RemoveLine { sku }, method: Method::DELETE, path, key: None, body: None }
    }

    pub fn receive(sku: i64, delta: i64) -> Self {
        let body = json!({"delta": delta, "kind": "received", "reason": "goods came in"});
        let path = format!("/v1/admin/skus/{sku}/stock");
        Self::with(Call::Receive { sku, delta }, Method::POST, path, &body)
    }
}

impl Client {
    pub fn new(plan: &Plan, number: u32) -> Self {
        let wire = Wire::new(plan.servers.clone(), &plan.service_key, plan.give_up_after);
        Self { plan: plan.clone(), number, wire }
    }

    /// Sends a call for a buyer to the server of this place, and waits for its answer, but not for ever.
    pub async fn call(&self, server: usize, buyer: &str, what: &Prepared) -> Result<Answer> {
        self.call_until(server, buyer, what, self.plan.give_up_after).await
    }

    /// The same; given up after this time.
    pub async fn call_until(
        &self,
        server: usize,
        buyer: &str,
        what: &Prepared,
        give_up_after: Duration,
    ) -> Result<Answer> {
        let counts = &self.plan.counts;
        let op = self.plan.recorder.invoke(self.number, buyer, what.call.clone())?;
        Counts::count(&counts.calls);
        let answer = match timeout(give_up_after, self.wire.exchange(server, Some(buyer), what)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer { body: format!("{error:#}"), ..Answer::default() },
            Err(_) => Answer { body: format!("given up after {give_up_after:?}"), ..Answer::default() },
        };
        match (answer.outcome(), &what.call) {
            (Outcome::Info, _) => Counts::count(&counts.unanswered),
            (Outcome::Ok, Call::Place { .. }) if !answer.replayed => Counts::count(&counts.placed),
            (Outcome::Fail, Call::Place { .. }) if !answer.replayed => Counts::count(&counts.refused),
            _ => {}
        }
        self.plan.recorder.complete(op, answer.clone())?;
        Ok(answer)
    }

    /// [`Wire::ask`], GET.
    pub async fn read(&self, server: usize, buyer: Option<&str>, path: &str) -> Result<Value> {
        self.wire.ask(server, buyer, Method::GET, path, None).await
    }
}

impl Wire {
    pub fn new(servers: Vec<SocketAddr>, service_key: &str, give_up_after: Duration) -> Self {
        Self { servers, service_key: service_key.to_owned(), give_up_after, idle: Mutex::default() }
    }

    /// A call that isn't part of the history; anything but a success is an error.
    pub async fn ask(
        &self,
        server: usize,
        buyer: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        // Nobody looks at which call it is.
        let call = Call::ListOrders;
        let what = Prepared { call, method, path: path.into(), key: None, body: body.map(Value::to_string) };
        let answer = timeout(self.give_up_after, self.exchange(server, buyer, &what)).await??;
        if answer.outcome() != Outcome::Ok {
            bail!("{} {path} was answered {:?} {}", what.method, answer.status, answer.body);
        }
        Ok(serde_json::from_str(&answer.body)?)
    }

    async fn exchange(&self, server: usize, buyer: Option<&str>, what: &Prepared) -> Result<Answer> {
        let server = self.servers[server % self.servers.len()];
        let mut connection = self.connection(server).await?;
        let authorization = format!("Bearer {}", self.service_key);
        let mut headers = vec![("Authorization", authorization.as_str())];
        headers.extend(buyer.map(|buyer| ("Lastunit-User", buyer)));
        headers.extend(what.key.as_deref().map(|key| ("Idempotency-Key", key)));
        headers.extend(what.body.as_ref().map(|_| ("Content-Type", "application/json")));
        let body = what.body.as_deref().unwrap_or_default().as_bytes();
        let request = Request { method: what.method.as_str(), path: &what.path, headers: &headers, body };
        let response = connection.call(request).await?;
        if let Ok(mut idle) = self.idle.lock() {
            idle.entry(server).or_default().push(connection);
        }
        Ok(Answer {
            status: Some(response.status.as_u16()),
            replayed: response.header("idempotent-replayed").is_some_and(|value| value == "true"),
            body: String::from_utf8_lossy(&response.body).into_owned(),
        })
    }

    /// One that is open, or a new one.
    async fn connection(&self, server: SocketAddr) -> Result<Connection> {
        let idle = || self.idle.lock().ok()?.get_mut(&server)?.pop();
        while let Some(connection) = idle() {
            if connection.is_open() {
                return Ok(connection);
            }
        }
        Connection::open(&server.to_string()).await
    }
}
