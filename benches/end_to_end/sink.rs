//! The server: S3 and DynamoDB in one, as cheap as possible.
//!
//! It answers every BatchWriteItem at once, or after a latency. It keeps only the
//! number of items or keys, a checksum over their hashes, and the time of the
//! first response, so the bench measures the client. It is not for tests: it
//! checks nothing, and knows just enough HTTP for well-behaved clients.
//!
//! A second port speaks TLS, as AWS's endpoints do: TLS 1.3 with AES-128-GCM,
//! and session resumption.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use memchr::memmem::{self, Finder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::{list, tls};

/// Bytes of the list written at once.
const CHUNK: usize = 256 * 1024;
/// Maximum length of a request: BatchWriteItem's 16 MB and a head.
const MAX_REQUEST: usize = 17 * 1024 * 1024;

/// The running server; stops when dropped.
pub(crate) struct Sink {
    address: SocketAddr,
    tls_address: SocketAddr,
    /// Certificate of the authority, as PEM.
    authority: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    lines: AtomicU64,
    items: AtomicU64,
    checksum: AtomicU64,
    requests: AtomicU64,
    latency_us: AtomicU64,
    /// Microseconds from the start of the server to the first response.
    first_us: AtomicU64,
    /// Accepted connections.
    connections: AtomicU64,
}

/// Start time of the server.
static STARTED: OnceLock<Instant> = OnceLock::new();

/// Totals of the requests since the last reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) items: u64,
    pub(crate) checksum: u64,
    pub(crate) requests: u64,
}

impl Sink {
    pub(crate) fn start() -> io::Result<Self> {
        STARTED.get_or_init(Instant::now);
        let bind = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            io::Result::Ok((listener.local_addr()?, listener))
        };
        let ((address, listener), (tls_address, tls_listener)) = (bind()?, bind()?);
        let tls::Server {
            acceptor,
            authority,
        } = tls::server().map_err(io::Error::other)?;
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    _ = accept(listener, None, serving.clone()) => {}
                    _ = accept(tls_listener, Some(acceptor), serving) => {}
                }
            });
        });
        Ok(Self {
            address,
            tls_address,
            authority,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Endpoint URL of both services.
    pub(crate) fn endpoint(&self, with_tls: bool) -> String {
        match with_tls {
            true => format!("https://localhost:{}", self.tls_address.port()),
            false => format!("http://{}", self.address),
        }
    }

    /// Certificate of the authority of the TLS port, as PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Connections accepted since the last reset.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Relaxed)
    }

    /// Sets the number of lines of the list and the latency of responses, and
    /// resets the counts.
    pub(crate) fn reset(&self, lines: u64, latency: Duration) {
        let latency = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.shared.latency_us.store(latency, Relaxed);
        self.shared.first_us.store(0, Relaxed);
        self.shared.lines.store(lines, Relaxed);
        self.shared.items.store(0, Relaxed);
        self.shared.checksum.store(0, Relaxed);
        self.shared.requests.store(0, Relaxed);
        self.shared.connections.store(0, Relaxed);
    }

    /// Time at which the first items were acknowledged; `None` if none were.
    pub(crate) fn first(&self) -> Option<Instant> {
        let after = self.shared.first_us.load(Relaxed);
        let started = *STARTED.get()?;
        (after > 0).then(|| started + Duration::from_micros(after))
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            items: self.shared.items.load(Relaxed),
            checksum: self.shared.checksum.load(Relaxed),
            requests: self.shared.requests.load(Relaxed),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        shared.connections.fetch_add(1, Relaxed);
        let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
        tokio::spawn(async move {
            match acceptor {
                Some(acceptor) => serve(acceptor.accept(stream).await?, &shared).await,
                None => serve(stream, &shared).await,
            }
        });
    }
}

/// Answers requests until the end of the connection.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    shared: &Shared,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(CHUNK);
    loop {
        let head = loop {
            if let Some(end) = memmem::find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 || buffer.len() > MAX_REQUEST {
                return Ok(());
            }
        };
        let length = header(&buffer[..head], "content-length");
        let length: usize = length.and_then(|n| n.parse().ok()).unwrap_or(0);
        if length > MAX_REQUEST {
            return Ok(());
        }
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let (request, body) = buffer[..head + length].split_at(head);
        if request.starts_with(b"POST") {
            let target = header(request, "x-amz-target").unwrap_or_default();
            let answer = dynamo(target, body, shared);
            let latency = shared.latency_us.load(Relaxed);
            if latency > 0 {
                tokio::time::sleep(Duration::from_micros(latency)).await;
            }
            stream.write_all(&answer).await?;
            stream.flush().await?;
            if shared.first_us.load(Relaxed) == 0 && target.ends_with(".BatchWriteItem") {
                let after = STARTED.get().map_or(0, |at| at.elapsed().as_micros());
                let after = u64::try_from(after).unwrap_or(u64::MAX);
                shared.first_us.store(after, Relaxed);
            }
        } else {
            s3(request, &mut stream, shared).await?;
        }
        buffer.drain(..head + length);
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    lines.find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        let same = found.eq_ignore_ascii_case(name.as_bytes());
        same.then(|| std::str::from_utf8(value).ok().map(str::trim))?
    })
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn dynamo(target: &str, body: &[u8], shared: &Shared) -> Vec<u8> {
    match target.strip_prefix("DynamoDB_20120810.") {
        Some("BatchWriteItem") => {
            let (items, checksum) = tally(body);
            shared.items.fetch_add(items, Relaxed);
            shared.checksum.fetch_add(checksum, Relaxed);
            shared.requests.fetch_add(1, Relaxed);
            match memmem::find(body, b"ReturnConsumedCapacity") {
                None => answer("200 OK", r#"{"UnprocessedItems":{}}"#),
                // Every item here is below 1 KB, so it consumes one WCU.
                Some(_) => answer(
                    "200 OK",
                    &format!(
                        r#"{{"ConsumedCapacity":[{{"CapacityUnits":{items}.0,"TableName":"sha256"}}],"UnprocessedItems":{{}}}}"#
                    ),
                ),
            }
        }
        Some("BatchGetItem") => {
            let mut items = String::with_capacity(16 * 1024);
            let (mut count, mut checksum) = (0u32, 0_u64);
            for hash in hashes(body) {
                checksum = checksum.wrapping_add(list::weight(hash));
                items.push_str(if count > 0 { "," } else { "" });
                items.push_str(r#"{"desc":{"S":"bench"},"sha256":{"S":""#);
                items.extend(hash.iter().copied().map(char::from));
                items.push_str(r#""},"source":{"S":"bench"},"type":{"S":"bench"}}"#);
                count += 1;
            }
            shared.items.fetch_add(count.into(), Relaxed);
            shared.checksum.fetch_add(checksum, Relaxed);
            shared.requests.fetch_add(1, Relaxed);
            // Items below 4 KB, read eventually consistently: half an RCU each.
            let units = f64::from(count) / 2.0;
            answer(
                "200 OK",
                &format!(
                    r#"{{"ConsumedCapacity":[{{"CapacityUnits":{units:?},"TableName":"sha256"}}],"Responses":{{"sha256":[{items}]}},"UnprocessedKeys":{{}}}}"#
                ),
            )
        }
        Some("DescribeTable") => answer("200 OK", TABLE),
        // `ingest` scans the table's first items: this one has none.
        Some("Scan") => answer("200 OK", r#"{"Count":0,"Items":[],"ScannedCount":0}"#),
        _ => answer(
            "400 Bad Request",
            r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#,
        ),
    }
}

const TABLE: &str = r#"{"Table":{"TableName":"sha256","TableStatus":"ACTIVE","AttributeDefinitions":[{"AttributeName":"sha256","AttributeType":"S"}],"KeySchema":[{"AttributeName":"sha256","KeyType":"HASH"}],"CreationDateTime":1790000000.5,"ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":5,"WriteCapacityUnits":40000},"TableSizeBytes":0,"ItemCount":0,"TableArn":"arn:aws:dynamodb:us-east-1:123456789012:table/sha256"}}"#;

/// Number of items with a SHA-256, and the checksum of these hashes.
fn tally(body: &[u8]) -> (u64, u64) {
    let count = |(items, sum): (u64, u64), hash| (items + 1, sum.wrapping_add(list::weight(hash)));
    hashes(body).fold((0, 0), count)
}

/// SHA-256 of each item or key.
fn hashes(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    static KEY: std::sync::LazyLock<Finder<'static>> =
        std::sync::LazyLock::new(|| Finder::new(b"\"sha256\""));
    KEY.find_iter(body).filter_map(|at| {
        // `"sha256": {"S": "…"`, with or without blanks. The table has the same
        // name, but a list follows it.
        let rest = skip(&body[at + 8..], b":{");
        let rest = rest.strip_prefix(b"\"S\"").map(|rest| skip(rest, b":"));
        rest.and_then(|rest| rest.strip_prefix(b"\"")?.get(..64))
    })
}

fn skip<'a>(text: &'a [u8], bytes: &[u8]) -> &'a [u8] {
    let blank = |byte: &u8| *byte == b' ' || bytes.contains(byte);
    &text[text.iter().take_while(|byte| blank(byte)).count()..]
}

/// GET and HEAD of the one object, whole or a byte range.
async fn s3<S: AsyncWrite + Unpin>(
    request: &[u8],
    stream: &mut S,
    shared: &Shared,
) -> io::Result<()> {
    let total = shared.lines.load(Relaxed) * list::LINE;
    let is_head = request.starts_with(b"HEAD ");
    let target = request
        .split(|byte| *byte == b' ')
        .nth(1)
        .unwrap_or_default();
    if !target.starts_with(b"/bench/list") {
        stream.write_all(&answer("404 Not Found", "")).await?;
        return stream.flush().await;
    }
    let range = header(request, "range").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let last = last
            .parse()
            .unwrap_or(u64::MAX)
            .min(total.saturating_sub(1));
        Some((first.parse::<u64>().ok()?.min(total), last + 1))
    });
    let (from, to) = range.unwrap_or((0, total));
    let status = match range {
        None => "200 OK\r\n".to_owned(),
        Some(_) => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\n",
            to.saturating_sub(1)
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}Content-Length: {}\r\nETag: \"list-of-{total}\"\r\nAccept-Ranges: bytes\r\n\
         Content-Type: text/plain\r\nLast-Modified: Tue, 03 Nov 2026 10:20:30 GMT\r\n\r\n",
        to.saturating_sub(from)
    );
    stream.write_all(head.as_bytes()).await?;
    if is_head {
        return stream.flush().await;
    }
    let mut chunk = vec![0; CHUNK];
    let mut at = from;
    while at < to {
        let length = (to - at).min(CHUNK as u64) as usize;
        list::fill(at, &mut chunk[..length]);
        stream.write_all(&chunk[..length]).await?;
        at += length as u64;
    }
    stream.flush().await
}
