//! A socket on which a test says exactly what it likes.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::GUARD;

/// A plain connection.
pub struct Raw {
    stream: TcpStream,
    said: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, said: Vec::new() }
    }

    /// Writes these bytes; false once the server has closed.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        timeout(GUARD, self.stream.write_all(bytes.as_ref())).await.expect("the server reads").is_ok()
    }

    /// Says that no more comes, and listens on.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Waits until the server has said this.
    pub async fn hears(&mut self, text: &str) {
        let read = async {
            let mut piece = [0; 4096];
            while !String::from_utf8_lossy(&self.said).contains(text) {
                let count = self.stream.read(&mut piece).await.expect("an open connection");
                assert!(count > 0, "closed before {text:?}");
                self.said.extend_from_slice(&piece[..count]);
            }
        };
        timeout(GUARD, read).await.expect("the server says it");
    }

    /// Everything that comes until the server closes the connection, in whatever way.
    pub async fn rest(&mut self) -> String {
        let read = async {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = self.stream.read(&mut piece).await {
                self.said.extend_from_slice(&piece[..count]);
            }
        };
        timeout(GUARD, read).await.expect("the server closes");
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Whether the server has said something or closed the connection, without waiting for either.
    pub fn is_over(&mut self) -> bool {
        let mut piece = [0; 1];
        match self.stream.try_read(&mut piece) {
            Ok(count) => self.said.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(_) => {}
        }
        true
    }

    /// One request on a connection of its own, and everything that comes back.
    pub async fn say(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
        let mut raw = Self::connect(address).await;
        raw.write(request).await;
        raw.rest().await
    }
}
