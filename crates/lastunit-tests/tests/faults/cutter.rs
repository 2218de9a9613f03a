//! Stands before a server, and cuts connections off when the server answers certain calls.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Passes everything on, until a call with certain bytes is answered: that answer is thrown away, with the connection.
pub struct Cutter {
    /// Where it listens.
    pub address: SocketAddr,
    left: Arc<AtomicUsize>,
}

impl Cutter {
    /// Before this server. A call is known by how a piece of it `begins`; none is cut off before [`Cutter::cut`].
    pub async fn before(server: SocketAddr, begins: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let left = Arc::new(AtomicUsize::new(0));
        let cuts = left.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                tokio::spawn(pass_on(client, server, begins, cuts.clone()));
            }
        });
        Self { address, left }
    }

    /// Cuts off the next so many.
    pub fn cut(&self, calls: usize) {
        self.left.store(calls, Ordering::SeqCst);
    }

    /// How many of them haven't come yet.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, begins: &[u8], left: Arc<AtomicUsize>) {
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut cut = false;
    client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).expect("sockets");
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let less = |left: usize| left.checked_sub(1);
                let known = asked[..length].starts_with(begins);
                cut |= known && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if cut || client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
