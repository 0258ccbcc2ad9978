//! Minimal HTTP/1.1 for the fake servers.
//!
//! A handler gets the connection, not a request-to-response function. These servers
//! must break the rules: send half a body, close without a response, never respond.
//! [`Connection`] reads complete requests (Content-Length or chunked, keep-alive,
//! pipelining) and writes any bytes.
//!
//! Head, body, and the number of connections have maximum sizes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use super::sigv4;

/// Maximum size of request line and headers.
const MAX_HEAD: usize = 64 * 1024;
/// Maximum body size. Above BatchWriteItem's 16 MB, so that tests can exceed that
/// limit.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// Maximum number of open connections; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 1024;
/// Open file limit that the process requests; every system allows as many.
#[cfg(unix)]
const MAX_FILES: u64 = 8192;

/// A complete request.
#[derive(Debug)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as sent, still percent-encoded.
    pub path: String,
    /// The query string as sent.
    pub query: String,
    /// Names in lower case, trimmed values, in order.
    pub headers: Vec<(String, String)>,
    /// The body, without its chunking.
    pub body: Bytes,
}

impl Request {
    /// The first header of this name (given in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first query parameter of this name, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(n, _)| percent_decode(n) == name)
            .map(|(_, value)| percent_decode(value))
    }
}

impl Request {
    /// True if the request's signature names this access key.
    pub fn is_signed_by(&self, access_key_id: &str) -> bool {
        let credential = format!("Credential={access_key_id}/");
        self.header("authorization")
            .is_some_and(|a| a.contains(&credential))
    }

    /// The access key and region that the signature names.
    pub fn signer(&self) -> Option<(String, String)> {
        let (_, scope) = self.header("authorization")?.split_once("Credential=")?;
        let mut parts = scope.split('/');
        let (key, _day, region) = (parts.next()?, parts.next()?, parts.next()?);
        Some((key.to_owned(), region.to_owned()))
    }

    /// True if the request is signed for this service with this secret. The signature
    /// must match, cover all relevant headers, and cover the body.
    pub fn is_signed(&self, secret: &str, service: &str) -> bool {
        self.check_signature(secret, service) == Some(true)
    }

    fn check_signature(&self, secret: &str, service: &str) -> Option<bool> {
        let fields = self
            .header("authorization")?
            .strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| {
            let mut fields = fields.split(',').filter_map(|f| f.trim().split_once('='));
            fields.find(|(n, _)| *n == name).map(|(_, value)| value)
        };
        let (_, scope) = field("Credential")?.split_once('/')?;
        let [day, region, signed_service, "aws4_request"] =
            scope.split('/').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let names: Vec<&str> = field("SignedHeaders")?.split(';').collect();
        // An unsigned header could be changed in transit.
        let must = |name: &str| name == "host" || name.starts_with("x-amz-");
        let left_out = self
            .headers
            .iter()
            .any(|(n, _)| must(n) && !names.contains(&n.as_str()));
        let mut headers = String::new();
        for name in &names {
            headers.push_str(&format!("{name}:{}\n", self.header(name)?));
        }
        let mut query: Vec<String> = self.query.split('&').map(str::to_owned).collect();
        query.retain(|pair| !pair.is_empty());
        query
            .iter_mut()
            .filter(|pair| !pair.contains('='))
            .for_each(|pair| pair.push('='));
        query.sort();
        let hash = sigv4::sha256_hex(&self.body);
        let payload = self.header("x-amz-content-sha256").unwrap_or(&hash);
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{}\n{payload}",
            self.method,
            self.path,
            query.join("&"),
            names.join(";")
        );
        let time = self.header("x-amz-date")?;
        let key = sigv4::signing_key(secret, day, region, service);
        let fits = sigv4::signature(&key, time, scope, &canonical) == field("Signature")?;
        let same_body = payload == hash || payload == "UNSIGNED-PAYLOAD";
        Some(fits && same_body && !left_out && signed_service == service && time.starts_with(day))
    }
}

/// Decodes percent-encoding; invalid sequences stay.
pub fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                out.push(decoded);
                rest = &tail[2..];
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Bytes read but not yet used.
    unread: Vec<u8>,
}

impl Connection {
    /// The next request; `None` if the client has closed between two requests.
    pub async fn read_request(&mut self) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                break at;
            }
            if self.unread.len() > MAX_HEAD {
                return Err(invalid("the request's head is too long"));
            }
            if self.fill().await? == 0 {
                return match self.unread.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = std::str::from_utf8(&head[..end]).map_err(|_| invalid("not UTF-8"))?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1"), None) =
            (first.next(), first.next(), first.next(), first.next())
        else {
            return Err(invalid("not a request line of HTTP/1.1"));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(invalid("not a header"))?;
            let value = value.trim().to_owned();
            request.headers.push((name.to_ascii_lowercase(), value));
        }
        if request.header("expect") == Some("100-continue") {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        request.body = match request.header("transfer-encoding") {
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => self.read_chunks().await?,
            Some(_) => return Err(invalid("a transfer coding other than chunked")),
            None => match request.header("content-length") {
                None => Bytes::new(),
                Some(n) => {
                    let length = n.parse().map_err(|_| invalid("not a length"))?;
                    self.take(length).await?
                }
            },
        };
        Ok(Some(request))
    }

    /// Writes raw bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes a complete response.
    pub async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        self.write(&answer.encode()).await
    }

    /// Resets the connection: the client sees "connection reset".
    pub fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.unread).await
    }

    async fn take(&mut self, length: usize) -> io::Result<Bytes> {
        if length > MAX_BODY {
            return Err(invalid("the body is too long"));
        }
        while self.unread.len() < length {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.unread.split_off(length);
        Ok(std::mem::replace(&mut self.unread, rest).into())
    }

    async fn read_chunks(&mut self) -> io::Result<Bytes> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(|_| invalid("not a chunk"))?;
            if length == 0 {
                while !self.read_line().await?.is_empty() {}
                return Ok(body.into());
            }
            if body.len() + length > MAX_BODY {
                return Err(invalid("the body is too long"));
            }
            body.extend_from_slice(&self.take(length).await?);
            if !self.read_line().await?.is_empty() {
                return Err(invalid("a chunk longer than it says"));
            }
        }
    }

    async fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.unread, b"\r\n") {
                let line = self.take(at + 2).await?;
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.unread.len() > MAX_HEAD {
                return Err(invalid("a line too long"));
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A response to write.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All headers but Content-Length, Date and Server.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Content-Length, if it differs from the body's length.
    pub length: Option<u64>,
}

impl Answer {
    /// Creates a response with a body and no headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            length: None,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes of the response.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.length.unwrap_or(self.body.len() as u64);
        let mut out = format!(
            "HTTP/1.1 {} {}\r\nServer: fake\r\nDate: {}\r\nContent-Length: {length}\r\n",
            self.status,
            reason_phrase(self.status),
            jiff::fmt::rfc2822::DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&jiff::Timestamp::now())
                .expect("today's date can be formatted"),
        );
        for (name, value) in &self.headers {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.body);
        out
    }
}

fn reason_phrase(status: u16) -> &'static str {
    let known = http::StatusCode::from_u16(status).ok();
    known
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Unknown")
}

/// A listening server on a separate thread. Dropping it stops it and closes every
/// connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on a free port of the loopback interface and runs `serve` for
    /// every connection. An error it returns ends that connection only.
    pub fn start<H, F>(serve: H) -> Self
    where
        H: Fn(Connection) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        raise_file_limit();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a local socket");
        let address = listener.local_addr().expect("a bound socket");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listening socket");
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, serve) => {}
                }
            });
            // Dropping the runtime drops every task, and with it its socket.
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The endpoint, as `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread's panic is already printed. It must not become a second one
            // while the test unwinds.
            let _ = thread.join();
        }
    }
}

/// Raises the open file limit above the usual 1024: the process holds the sockets of
/// every running test.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
            let wanted = hard.min(MAX_FILES);
            if soft < wanted {
                setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).expect("below the hard limit");
            }
        });
    }
}

async fn accept<H, F>(listener: TcpListener, serve: H)
where
    H: Fn(Connection) -> F,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            // Probably out of file descriptors: let other connections finish.
            tokio::task::yield_now().await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let task = serve(Connection {
            stream,
            unread: Vec::new(),
        });
        tokio::spawn(async move {
            let _ = task.await;
            drop(place);
        });
    }
}
