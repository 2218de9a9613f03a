//! HTTP/1.1 as buyers speak it: a connection that is kept, one call after the other.
//!
//! Lean, for buyers are on the processors that the server needs: a request is one write, an answer's headers are looked at
//! only by whoever asks for one.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use httparse::{Header, Status, parse_chunk_size, parse_headers};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The most headers of an answer, and bytes of one.
const MOST_HEADERS: usize = 64;
const MOST_BYTES: usize = 64 << 20;

/// What is sent, beside `Host` and `Content-Length`.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// As it is written.
    pub method: &'a str,
    /// From the slash on.
    pub path: &'a str,
    /// Names and values, of which none is empty.
    pub headers: &'a [(&'a str, &'a str)],
    /// May be empty.
    pub body: &'a [u8],
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// From the first line.
    pub status: StatusCode,
    /// All of it.
    pub body: Bytes,
    /// The lines of the headers, with the empty one.
    headers: Bytes,
}

impl Response {
    /// A header's value, if it is there and a text.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        // They were read before.
        let Ok(Status::Complete((_, headers))) = parse_headers(&self.headers, &mut headers) else {
            return None;
        };
        header(headers, name).map(str::to_owned)
    }
}

fn header<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(found.value).ok()
}

/// Whether an answer may have so many bytes.
fn limit(bytes: usize) -> Result<()> {
    ensure!(bytes <= MOST_BYTES, "an answer has more than {MOST_BYTES} bytes");
    Ok(())
}

/// A connection that is driven by whoever calls: a task of its own would be one more to wake for every answer. A call that is
/// dropped before it is answered leaves it unusable; so drop it, too, which closes it.
pub struct Connection {
    host: String,
    stream: TcpStream,
    sent: Vec<u8>,
    unread: BytesMut,
    /// The last answer was the last one.
    closing: bool,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub async fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host)
            .await
            .with_context(|| format!("there is no server at {host} that can be reached"))?;
        stream.set_nodelay(true)?;
        Ok(Self { host: host.into(), stream, sent: Vec::new(), unread: BytesMut::new(), closing: false })
    }

    /// Whether the server hasn't closed it, as one does that wasn't used for a while.
    pub fn is_open(&self) -> bool {
        // Nobody asked for anything that could come.
        let nothing = self.stream.try_read(&mut [0]);
        !self.closing
            && self.unread.is_empty()
            && nothing.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Sends a request, and waits for its answer with all of its body.
    ///
    /// # Errors
    /// There was no connection, or none until the end of the answer; or what came is no answer.
    pub async fn call(&mut self, request: Request<'_>) -> Result<Response> {
        self.write(request)?;
        self.stream.write_all(&self.sent).await?;
        let head = loop {
            if let Some(head) = Head::read(&mut self.unread)? {
                break head;
            }
            self.more().await?;
        };
        let body = match head.body {
            BodyLength::Known(length) => {
                while self.unread.len() < length {
                    self.more().await?;
                }
                self.unread.split_to(length).freeze()
            }
            BodyLength::Chunked => self.chunks().await?,
        };
        self.closing = head.closes;
        Ok(Response { status: head.status, body, headers: head.headers })
    }

    fn write(&mut self, request: Request<'_>) -> Result<()> {
        let Request { method, path, headers, body } = request;
        let length = body.len().to_string();
        let own = [("Host", self.host.as_str()), ("Content-Length", &length)];
        self.sent.clear();
        for part in [method, " ", path, " HTTP/1.1\r\n"] {
            self.sent.extend_from_slice(part.as_bytes());
        }
        for (name, value) in own.iter().chain(headers) {
            ensure!(!value.contains(|c: char| c.is_control()), "a header's value can't be {value:?}");
            for part in [*name, ": ", *value, "\r\n"] {
                self.sent.extend_from_slice(part.as_bytes());
            }
        }
        self.sent.extend_from_slice(b"\r\n");
        self.sent.extend_from_slice(body);
        Ok(())
    }

    async fn more(&mut self) -> Result<()> {
        limit(self.unread.len())?;
        // Room for all of most answers.
        self.unread.reserve(4096);
        ensure!(self.stream.read_buf(&mut self.unread).await? > 0, "the server closed the connection");
        Ok(())
    }

    /// A body in chunks, to the last one, which is empty, and the headers behind it.
    async fn chunks(&mut self) -> Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let parsed =
                parse_chunk_size(&self.unread).map_err(|_| anyhow::anyhow!("a chunk has no size"))?;
            let Status::Complete((begins, length)) = parsed else {
                self.more().await?;
                continue;
            };
            let length = usize::try_from(length)?;
            limit(body.len().saturating_add(length))?;
            if length == 0 {
                self.unread.advance(begins);
                break;
            }
            // With the end of its line.
            while self.unread.len() < begins + length + 2 {
                self.more().await?;
            }
            self.unread.advance(begins);
            body.extend_from_slice(&self.unread.split_to(length));
            self.unread.advance(2);
        }
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
            if let Status::Complete((ends, _)) = parse_headers(&self.unread, &mut headers)? {
                self.unread.advance(ends);
                return Ok(body.freeze());
            }
            self.more().await?;
        }
    }
}

/// An answer up to its body.
struct Head {
    status: StatusCode,
    headers: Bytes,
    body: BodyLength,
    closes: bool,
}

enum BodyLength {
    Known(usize),
    Chunked,
}

impl Head {
    /// Takes it out of what came, if all of it has come.
    fn read(unread: &mut BytesMut) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let Status::Complete(ends) = parsed.parse(unread)? else { return Ok(None) };
        let status = StatusCode::from_u16(parsed.code.context("an answer without a status")?)?;
        let body = if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            BodyLength::Known(0)
        } else if let Some(length) = header(parsed.headers, "content-length") {
            let length = length.parse().context("an answer's length is no number")?;
            limit(length)?;
            BodyLength::Known(length)
        } else if header(parsed.headers, "transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            BodyLength::Chunked
        } else {
            bail!("an answer doesn't say how long it is");
        };
        let closes = header(parsed.headers, "connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        let first_line = unread.iter().position(|&byte| byte == b'\n').map_or(ends, |at| at + 1);
        unread.advance(first_line);
        let headers = unread.split_to(ends - first_line).freeze();
        Ok(Some(Self { status, headers, body, closes }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const GET: Request<'_> =
        Request { method: "GET", path: "/", headers: &[("Key", "a key")], body: b"why?" };

    /// A connection to a server that answers each call with one of these texts, a byte at a time, and then hangs up. It must
    /// have been asked what [`GET`] asks.
    async fn answered_by(texts: &'static [&'static str]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let asked = format!("GET / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nKey: a key\r\n\r\nwhy?");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            for text in texts {
                let mut read = vec![0; asked.len()];
                stream.read_exact(&mut read).await.expect("a request");
                assert_eq!(String::from_utf8_lossy(&read), asked);
                for byte in text.bytes() {
                    stream.write_all(&[byte]).await.expect("somebody who reads");
                    tokio::task::yield_now().await;
                }
            }
        });
        Connection::open(&host).await.expect("a connection")
    }

    #[tokio::test]
    async fn answers_come_one_after_the_other_however_they_are_cut() {
        let mut connection = answered_by(&[
            "HTTP/1.1 201 Created\r\ncontent-length: 2\r\nIdempotent-Replayed: true\r\n\r\nok",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\nsum: x\r\n\r\n",
            "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ])
        .await;
        let mut answers = Vec::new();
        for _ in 0..4 {
            assert!(connection.is_open());
            let answer = connection.call(GET).await.expect("an answer");
            let body = String::from_utf8(answer.body.to_vec()).expect("a text");
            answers.push((answer.status.as_u16(), answer.header("idempotent-replayed"), body));
        }
        assert!(!connection.is_open());
        let expected =
            [(201, Some("true"), "ok"), (204, None, ""), (200, None, "abc0123456789"), (409, None, "")];
        assert_eq!(
            answers,
            expected.map(|(status, replayed, body)| (status, replayed.map(str::to_owned), body.to_owned()))
        );
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        for (text, says) in [
            ("", "closed"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "closed"),
            ("HTTP/1.1 200 OK\r\n\r\nab", "how long"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nab", "no number"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "more than"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "no size"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", "more than"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "HTTP"),
        ] {
            let texts: &'static [&'static str] = Box::leak(Box::new([text]));
            let answer = answered_by(texts).await.call(GET).await;
            let error = answer.expect_err(text).to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[tokio::test]
    async fn no_header_ends_its_line() {
        let mut connection = answered_by(&[]).await;
        let headers = [("Key", "a\r\nLastunit-User: eve")];
        let error =
            connection.call(Request { headers: &headers, ..GET }).await.expect_err("a header too many");
        assert!(error.to_string().contains("header"), "{error}");
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_isnt_open() {
        let connection = answered_by(&[]).await;
        for _ in 0..1000 {
            if !connection.is_open() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it is open after ten seconds");
    }
}
