//! A client over one kept-alive connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request,
    client::conn::http1::{SendRequest, handshake},
    header::{HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, sync::Mutex};

use super::{GUARD, contract};

/// One call, yet to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// Such as GET.
    pub method: Method,
    /// With its query.
    pub path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// Of any method.
    pub fn new(method: &str, path: impl Into<String>) -> Self {
        let method = method.to_uppercase().parse().expect("a method");
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A POST.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new("POST", path)
    }

    /// A header; given twice, it is sent twice.
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a value that HTTP can carry");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// A body of JSON.
    pub fn json(self, body: &Value) -> Self {
        self.bytes(body.to_string())
    }

    /// A body that says it is JSON.
    pub fn bytes(self, body: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// A body of which nothing is said.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }
}

/// A call that got no answer, and why.
#[derive(Debug)]
pub struct Lost(pub String);

fn lost(error: impl std::fmt::Display) -> Lost {
    Lost(error.to_string())
}

/// Sends one call after the other over one connection, and connects again where that was closed. A clone has a
/// connection of its own.
pub struct Client {
    address: SocketAddr,
    headers: HeaderMap,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self { address: self.address, headers: self.headers.clone(), connection: Mutex::new(None) }
    }
}

impl Client {
    /// Without a key.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, headers: HeaderMap::new(), connection: Mutex::new(None) }
    }

    /// A header on every call; a call's own header of that name replaces it.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), value.parse().expect("a header's value"));
        self
    }

    /// With this service key.
    pub fn keyed(self, key: &str) -> Self {
        self.with("authorization", &format!("Bearer {key}"))
    }

    /// For this buyer.
    pub fn buyer(self, name: &str) -> Self {
        self.with("lastunit-user", name)
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Call::new("GET", path)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Call::new("DELETE", path)).await
    }

    /// POST with a body of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Call::post(path).json(body)).await
    }

    /// PUT with a body of JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Call::new("PUT", path).json(body)).await
    }

    /// PATCH with a body of JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Call::new("PATCH", path).json(body)).await
    }

    /// Places an order under a key.
    pub async fn place(&self, order: &Value, key: &str) -> Answer {
        self.send(super::placing(order, key)).await
    }

    /// Sends a call that has to be answered, and as the OpenAPI document says.
    pub async fn send(&self, call: Call) -> Answer {
        let answer = self.try_send(&call).await;
        let answer = answer.unwrap_or_else(|lost| panic!("{} {}: {lost:?}", call.method, call.path));
        contract::assert_documented(&call, &answer);
        answer
    }

    /// Sends a call that may be lost.
    pub async fn try_send(&self, call: &Call) -> Result<Answer, Lost> {
        let exchange = tokio::time::timeout(GUARD, self.exchange(call)).await;
        exchange.unwrap_or_else(|_| panic!("{} {} hangs", call.method, call.path))
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, Lost> {
        let mut connection = self.connection.lock().await;
        let open = match connection.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match open {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let answer = sender.send_request(self.request(call)).await.map_err(lost)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        *connection = Some(sender);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Lost> {
        let stream = TcpStream::connect(self.address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.path.parse().expect("a path");
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        for name in call.headers.keys() {
            headers.remove(name);
            for value in call.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers.insert("host", self.address.to_string().parse().expect("a host"));
        request
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// A header, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it repeats an earlier answer.
    pub fn replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, which has to be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.text()))
    }

    /// The body of an answer that has to have this status.
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The body of an answer that has to be this problem.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.is(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{body}");
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["type"], format!("https://lastunit.dev/problems/{code}"));
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        body
    }

    /// The body of a problem, but for the id of the request: what a client could compare.
    pub fn without_id(&self) -> Value {
        let mut body = self.json();
        body.as_object_mut().expect("an object").remove("request_id");
        body
    }
}

/// The id that an object of the API has.
pub trait HasId {
    /// As text, to be put into a path.
    fn id(&self) -> String;
}

impl HasId for Value {
    fn id(&self) -> String {
        match &self["id"] {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => panic!("no id in {self}"),
        }
    }
}
