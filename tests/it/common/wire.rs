//! As much HTTP/1.1 as a test server needs, and no more.
//!
//! A handler gets the connection itself, not a request-to-response function,
//! because the point of these servers is to break the rules: to answer half a
//! body, to close without a word, to never answer. [`Connection`] reads whole
//! requests (a declared length or chunked, keep-alive, pipelining) and writes
//! whatever bytes it is told to.
//!
//! Everything has a bound: the head, the body, and the number of connections.

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

/// The longest request line and headers taken.
const MAX_HEAD: usize = 64 * 1024;
/// The longest body taken. Above BatchWriteItem's 16 MB, so that the limit
/// itself can be tested.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// Connections open at once; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 1024;
/// Files that the process asks to have open at most; every system allows as many.
#[cfg(unix)]
const MAX_FILES: u64 = 8192;

/// One request, read to its end.
#[derive(Debug)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as it was sent, still percent-encoded.
    pub path: String,
    /// What followed the `?`, as it was sent.
    pub query: String,
    /// Names in lower case, values trimmed, in the order they came.
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
    /// Whether this access key signed the request, or says so.
    pub fn is_of_key(&self, access_key_id: &str) -> bool {
        let credential = format!("Credential={access_key_id}/");
        self.header("authorization")
            .is_some_and(|a| a.contains(&credential))
    }

    /// The access key that signed the request, or says so, and the region it signed for.
    pub fn signer(&self) -> Option<(String, String)> {
        let (_, scope) = self.header("authorization")?.split_once("Credential=")?;
        let mut parts = scope.split('/');
        let (key, _day, region) = (parts.next()?, parts.next()?, parts.next()?);
        Some((key.to_owned(), region.to_owned()))
    }

    /// Whether the request is signed for this service with this secret: the
    /// signature fits what arrived, all headers that matter are under it, and
    /// the body is the one that was signed.
    pub fn is_signed(&self, secret: &str, service: &str) -> bool {
        self.signature_fits(secret, service) == Some(true)
    }

    fn signature_fits(&self, secret: &str, service: &str) -> Option<bool> {
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
        // What isn't signed could be changed on the way.
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

/// Undoes percent-encoding; what is not valid stays as it is.
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
    /// Read but not yet used.
    unread: Vec<u8>,
}

impl Connection {
    /// The next request, or `None` when the client has closed between two.
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

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes a whole answer.
    pub async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        self.write(&answer.encode()).await
    }

    /// Closes in the hardest way: the client sees "connection reset".
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

/// An answer to be written.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All headers but Content-Length, Date and Server.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What Content-Length says, where that is not the body's own length.
    pub length: Option<u64>,
}

impl Answer {
    /// An answer with a body and no headers yet.
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

    /// The answer as it goes over the wire.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.length.unwrap_or(self.body.len() as u64);
        let mut out = format!(
            "HTTP/1.1 {} {}\r\nServer: fake\r\nDate: {}\r\nContent-Length: {length}\r\n",
            self.status,
            phrase(self.status),
            jiff::fmt::rfc2822::DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&jiff::Timestamp::now())
                .expect("the date of today can be written"),
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

fn phrase(status: u16) -> &'static str {
    let known = http::StatusCode::from_u16(status).ok();
    known.and_then(|s| s.canonical_reason()).unwrap_or("Odd")
}

/// A listening server on a thread of its own. Dropping it stops it and closes
/// every connection, also those that are waiting for something.
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
        make_room_for_sockets();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket of ours");
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

    /// Where it listens, as `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed; it must not become a second
            // one while the test unwinds.
            let _ = thread.join();
        }
    }
}

/// Lets the process have more files open than the usual 1024: it holds the sockets of
/// every test that runs.
fn make_room_for_sockets() {
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
            // Out of file descriptors, most likely: let the others finish.
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
