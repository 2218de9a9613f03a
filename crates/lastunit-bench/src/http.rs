//! HTTP/1.1 as buyers speak it: a connection that is kept, one call after the other.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection that is driven by whoever calls: a task of its own would be one more to wake for every answer, on the
/// processors that the server needs. A call that is dropped before it is answered leaves it unusable; so drop it, too, which
/// closes it.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>,
    /// Nothing more comes from the driver.
    ended: bool,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("there is no server at {address} that can be reached"))?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: Box::new(driver), ended: false })
    }

    /// Whether the server hasn't closed it, as one does that wasn't used for a while.
    pub async fn is_open(&mut self) -> bool {
        if !self.ended {
            self.ended =
                poll_fn(|context| Poll::Ready(Pin::new(&mut self.driver).poll(context).is_ready())).await;
        }
        !self.ended && !self.sender.is_closed()
    }

    /// Sends a request, and waits for its answer with all of its body.
    ///
    /// # Errors
    /// There was no connection, or none until the end of the answer.
    pub async fn call(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        let Self { sender, driver, ended } = self;
        let mut answer = pin!(async {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        });
        poll_fn(|context| {
            // First the request goes to the driver; behind that the driver may have the answer.
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            if !*ended {
                *ended = Pin::new(&mut *driver).poll(context).is_ready();
            }
            match answer.as_mut().poll(context) {
                Poll::Pending if *ended => Poll::Ready(Err(anyhow!("the server closed the connection"))),
                answer => answer,
            }
        })
        .await
    }
}
