//! A fake S3 that serves objects from memory and fails on demand.
//!
//! It supports GetObject (ranges, If-Match), HeadObject, ListObjectsV2, and conditional
//! PutObject and DeleteObject. Requests use paths (`/bucket/key`) over HTTP on the
//! loopback interface; responses have S3's headers and XML errors. It records every
//! GET, so that a test can check the byte of each resume.
//!
//! ```ignore
//! let plan = S3Plan::default().get(1, S3Fault::EndAfter(1_000));
//! let s3 = FakeS3::start(S3Config::default().object("lists", "a.txt", text).plan(plan));
//! // … point a client at s3.endpoint(), run it …
//! assert_eq!(s3.stats().gets[1].range.as_deref(), Some("bytes=1000-"));
//! ```
//!
//! An object is bytes, or a length and a function that generates any part of it, so a
//! list of 100 GB needs no memory. A failure is a value, the [`S3Plan`]: a fault for
//! the k-th GET, HEAD or listing. Calls count from 1 in order of arrival, over all
//! objects. Nothing fails by chance.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use super::wire::{Answer, Connection, Request, Server, percent_decode};

mod saves;

pub use saves::{Save, SaveFault};

/// Default size of one write, in bytes.
const CHUNK: usize = 64 * 1024;
/// Maximum number of recorded GETs; later ones are only counted.
const MAX_RECORDS: usize = 10_000;
/// Maximum number of keys in one page of a listing. Source: API reference,
/// ListObjectsV2.
const MAX_KEYS: usize = 1000;

/// Fills a buffer with an object's bytes from an offset on.
pub type Fill = Arc<dyn Fn(u64, &mut [u8]) + Send + Sync>;

/// Content of an object.
#[derive(Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// A number of bytes, generated on demand.
    Generated(u64, Fill),
}

impl Content {
    /// The length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Generated(length, _) => *length,
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).expect("an offset into memory");
                buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
            }
            Self::Generated(_, fill) => fill(offset, buffer),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.length())
    }
}

/// An object and its headers.
#[derive(Clone, Debug)]
pub struct Object {
    /// Content of the object.
    pub content: Content,
    /// Its ETag, in quotes.
    pub etag: String,
    /// Its Last-Modified.
    pub modified: String,
    /// Further headers: Content-Encoding, Content-Type, …
    pub headers: Vec<(&'static str, String)>,
}

impl Object {
    /// Creates an object. Its ETag depends on its bytes, or on the length of generated
    /// content.
    pub fn new(content: Content) -> Self {
        let tag = match &content {
            Content::Bytes(bytes) => fnv(bytes),
            Content::Generated(length, _) => fnv(&length.to_le_bytes()),
        };
        Self {
            content,
            etag: format!("\"{tag:032x}\""),
            modified: "Tue, 03 Nov 2026 10:20:30 GMT".to_owned(),
            headers: Vec::new(),
        }
    }
}

/// FNV-1a over 128 bits: enough for a tag that changes with the bytes.
fn fnv(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let step = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    bytes.iter().fold(BASIS, step)
}

/// A fault of one GET, HEAD or listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Fault {
    /// The body ends after so many bytes, below its Content-Length, and the connection
    /// closes. A HEAD is not affected.
    EndAfter(u64),
    /// The connection is reset without a response.
    Reset,
    /// The body stalls after so many bytes, until the server stops.
    StallAfter(u64),
    /// 500 InternalError.
    InternalError,
    /// 503 SlowDown.
    SlowDown,
    /// 403 AccessDenied.
    AccessDenied,
    /// The body has so many extra bytes, counted in its Content-Length.
    Longer(u64),
    /// A ranged response that starts so many bytes too early, with a matching
    /// Content-Range.
    Earlier(u64),
    /// 301 PermanentRedirect to the bucket's region.
    Redirect(&'static str),
    /// A page without its last key, which its count includes. For listings only.
    KeyLost,
    /// A truncated page without a continuation token. For listings only.
    TokenLost,
}

/// A plan of faults. The default has none.
#[derive(Clone, Debug, Default)]
pub struct S3Plan {
    /// The k-th GET's fault, from 1.
    pub gets: BTreeMap<u64, S3Fault>,
    /// From the k-th GET on, this fault.
    pub gets_from: Option<(u64, S3Fault)>,
    /// The k-th HEAD's fault, from 1.
    pub heads: BTreeMap<u64, S3Fault>,
    /// The k-th listing's fault, from 1.
    pub lists: BTreeMap<u64, S3Fault>,
    /// The fault of the k-th PUT or DELETE of an object, from 1.
    pub saves: BTreeMap<u64, SaveFault>,
    /// Maximum number of keys in one page.
    pub page: Option<usize>,
    /// From the k-th GET on, every object has this ETag (with its quotes), as if it had
    /// been replaced.
    pub etag_from: Option<(u64, String)>,
    /// From the k-th GET on, this access key fails with ExpiredToken.
    pub expired: Option<(u64, String)>,
    /// Size of one write of a body. Small ones split lines.
    pub chunk: Option<usize>,
    /// True to ignore ranges, as simple servers do: status 200 and the whole object.
    pub ignore_ranges: bool,
}

impl S3Plan {
    /// This fault for the k-th GET.
    pub fn get(mut self, k: u64, fault: S3Fault) -> Self {
        self.gets.insert(k, fault);
        self
    }

    /// This fault for every GET from the k-th on.
    pub fn gets_from(mut self, k: u64, fault: S3Fault) -> Self {
        self.gets_from = Some((k, fault));
        self
    }

    /// This fault for the k-th HEAD.
    pub fn head(mut self, k: u64, fault: S3Fault) -> Self {
        self.heads.insert(k, fault);
        self
    }

    /// This fault for the k-th listing.
    pub fn list(mut self, k: u64, fault: S3Fault) -> Self {
        self.lists.insert(k, fault);
        self
    }

    /// This fault for the k-th PUT or DELETE.
    pub fn save(mut self, k: u64, fault: SaveFault) -> Self {
        self.saves.insert(k, fault);
        self
    }

    /// Sets the page size of listings.
    pub fn page(mut self, keys: usize) -> Self {
        self.page = Some(keys);
        self
    }

    /// This ETag from the k-th GET on.
    pub fn etag_from(mut self, k: u64, etag: &str) -> Self {
        self.etag_from = Some((k, etag.to_owned()));
        self
    }

    /// Lets this access key expire at the k-th GET.
    pub fn expire(mut self, k: u64, access_key_id: &str) -> Self {
        self.expired = Some((k, access_key_id.to_owned()));
        self
    }

    /// Sets the size of one write of a body.
    pub fn chunk(mut self, bytes: usize) -> Self {
        self.chunk = Some(bytes);
        self
    }

    /// Ignores ranges.
    pub fn ignore_ranges(mut self) -> Self {
        self.ignore_ranges = true;
        self
    }
}

/// Configuration: the buckets and the plan.
#[derive(Clone, Debug, Default)]
pub struct S3Config {
    /// Objects by key, by bucket.
    pub buckets: BTreeMap<String, BTreeMap<String, Object>>,
    /// Faults.
    pub plan: S3Plan,
    /// Secret access key that signatures must match; `None` to accept any request.
    pub secret: Option<String>,
}

impl S3Config {
    /// Requires signatures with this secret access key.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// Adds an empty bucket.
    pub fn bucket(mut self, bucket: &str) -> Self {
        self.buckets.entry(bucket.to_owned()).or_default();
        self
    }

    /// Adds an object of these bytes.
    pub fn object(self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> Self {
        self.with_object(bucket, key, Object::new(Content::Bytes(bytes.into())))
    }

    /// Adds an object of this length, generated by `fill`.
    pub fn generated(
        self,
        bucket: &str,
        key: &str,
        length: u64,
        fill: impl Fn(u64, &mut [u8]) + Send + Sync + 'static,
    ) -> Self {
        let content = Content::Generated(length, Arc::new(fill));
        self.with_object(bucket, key, Object::new(content))
    }

    /// Adds an object.
    pub fn with_object(mut self, bucket: &str, key: &str, object: Object) -> Self {
        let bucket = self.buckets.entry(bucket.to_owned()).or_default();
        bucket.insert(key.to_owned(), object);
        self
    }

    /// Sets the plan.
    pub fn plan(mut self, plan: S3Plan) -> Self {
        self.plan = plan;
        self
    }
}

/// A recorded GetObject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The Range header as sent.
    pub range: Option<String>,
    /// The If-Match header as sent.
    pub if_match: Option<String>,
    /// Status of the response; 0 without one.
    pub status: u16,
    /// Bytes of the body sent so far.
    pub sent: u64,
}

/// A recorded ListObjectsV2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The bucket.
    pub bucket: String,
    /// The prefix as sent.
    pub prefix: String,
    /// The continuation token as sent.
    pub token: Option<String>,
}

/// Counts and records of the server.
#[derive(Clone, Debug, Default)]
pub struct S3Stats {
    /// The first 10,000 GETs of objects, in order of arrival.
    pub gets: Vec<Get>,
    /// Number of all GETs.
    pub get_count: u64,
    /// HEADs of objects or buckets.
    pub head_count: u64,
    /// ListObjectsV2 calls.
    pub list_count: u64,
    /// The first 10,000 ListObjectsV2 calls, in order of arrival.
    pub lists: Vec<List>,
    /// PUTs and DELETEs of objects, in order of arrival.
    pub saves: Vec<Save>,
    /// Connections accepted.
    pub connections: u64,
}

/// The running server.
#[derive(Debug)]
pub struct FakeS3 {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    config: S3Config,
    /// GETs, HEADs, listings, PUTs and DELETEs since the plan was set.
    saves: u64,
    gets: u64,
    heads: u64,
    lists: u64,
    requests: u64,
    stats: S3Stats,
}

impl FakeS3 {
    /// Starts the server, inside or outside of a runtime.
    pub fn start(config: S3Config) -> Self {
        let shared = Arc::new(Shared {
            changed: Condvar::new(),
            state: Mutex::new(State {
                config,
                saves: 0,
                gets: 0,
                heads: 0,
                lists: 0,
                requests: 0,
                stats: S3Stats::default(),
            }),
        });
        let serving = Arc::clone(&shared);
        let server = Server::start(move |connection| Arc::clone(&serving).serve(connection));
        Self { server, shared }
    }

    /// The endpoint, for AWS_ENDPOINT_URL_S3.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The counts so far.
    pub fn stats(&self) -> S3Stats {
        self.shared.state().stats.clone()
    }

    /// Adds or replaces an object, and returns its ETag.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> String {
        let object = Object::new(Content::Bytes(bytes.into()));
        let etag = object.etag.clone();
        let mut state = self.shared.state();
        let bucket = state.config.buckets.entry(bucket.to_owned()).or_default();
        bucket.insert(key.to_owned(), object);
        etag
    }

    /// The bytes of an object; `None` if it does not exist or is generated.
    pub fn bytes(&self, bucket: &str, key: &str) -> Option<Bytes> {
        match &self
            .shared
            .state()
            .config
            .buckets
            .get(bucket)?
            .get(key)?
            .content
        {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::Generated(..) => None,
        }
    }

    /// Deletes an object.
    pub fn delete(&self, bucket: &str, key: &str) {
        if let Some(bucket) = self.shared.state().config.buckets.get_mut(bucket) {
            bucket.remove(key);
        }
    }

    /// Replaces the plan and restarts its count at 1. Objects and statistics stay.
    pub fn set_plan(&self, plan: S3Plan) {
        let mut state = self.shared.state();
        state.config.plan = plan;
        state.saves = 0;
        state.gets = 0;
        state.heads = 0;
        state.lists = 0;
    }

    /// Blocks until the counts satisfy `wanted`, and returns them; `None` after the
    /// timeout `limit`.
    pub fn wait_until(
        &self,
        limit: Duration,
        wanted: impl Fn(&S3Stats) -> bool,
    ) -> Option<S3Stats> {
        let state = self.shared.state();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| !wanted(&state.stats))
            .expect("the server has not panicked");
        (!waited.timed_out()).then(|| state.stats.clone())
    }

    /// Stops the server and returns the final counts.
    pub fn stop(self) -> S3Stats {
        let Self { server, shared } = self;
        drop(server);
        shared.state().stats.clone()
    }
}

/// A response, decided under the lock and sent without it.
enum Reply {
    Answer(Answer),
    Body(Body),
    Reset,
}

struct Body {
    head: Answer,
    content: Content,
    from: u64,
    length: u64,
    chunk: usize,
    /// Extra bytes after the body.
    more: u64,
    /// End of the body after so many bytes: by stalling if true, else by closing.
    cut: Option<(u64, bool)>,
    /// Index of the record of this GET.
    record: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the server has not panicked")
    }

    async fn serve(self: Arc<Self>, mut connection: Connection) -> io::Result<()> {
        self.state().stats.connections += 1;
        while let Some(request) = connection.read_request().await? {
            let (reply, id) = self.state().reply(&request);
            self.changed.notify_all();
            match reply {
                Reply::Answer(answer) => {
                    let answer = answer.header("x-amz-request-id", id);
                    connection.answer(&answer).await?;
                }
                Reply::Body(mut body) => {
                    body.head = body.head.header("x-amz-request-id", id);
                    if !self.send(&mut connection, &body).await? {
                        return Ok(());
                    }
                }
                Reply::Reset => return connection.reset(),
            }
        }
        Ok(())
    }

    /// Sends a body in pieces. Returns false if it was cut.
    async fn send(&self, connection: &mut Connection, body: &Body) -> io::Result<bool> {
        connection.answer(&body.head).await?;
        let end = body.cut.map_or(body.length, |(at, _)| at.min(body.length));
        let mut buffer = vec![0; body.chunk];
        let mut sent = 0;
        while sent < end {
            let rest = usize::try_from(end - sent).unwrap_or(usize::MAX);
            let piece = &mut buffer[..rest.min(body.chunk)];
            body.content.read(body.from + sent, piece);
            connection.write(piece).await?;
            sent += piece.len() as u64;
            if let Some(record) = self.state().stats.gets.get_mut(body.record) {
                record.sent = sent;
            }
            self.changed.notify_all();
            // Lets the pieces arrive one by one.
            tokio::task::yield_now().await;
        }
        if body.cut.is_none() {
            let extra = vec![b'0'; usize::try_from(body.more).expect("a few")];
            connection.write(&extra).await?;
        }
        match body.cut {
            None => Ok(true),
            Some((_, false)) => Ok(false),
            Some((_, true)) => std::future::pending().await,
        }
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> (Reply, String) {
        self.requests += 1;
        let id = format!("{:016X}", self.requests);
        let path = request.path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let (bucket, key) = (percent_decode(bucket), percent_decode(key));
        let secret = self.config.secret.as_ref();
        if secret.is_some_and(|secret| !request.is_signed(secret, "s3")) {
            let why = "The request signature we calculated does not match the signature you \
                       provided. Check your key and signing method.";
            return (
                Reply::Answer(error(403, "SignatureDoesNotMatch", why, "")),
                id,
            );
        }
        let reply = match (request.method.as_str(), key.as_str()) {
            ("GET", "") if request.parameter("list-type").as_deref() == Some("2") => {
                self.list(request, &bucket)
            }
            ("GET", key) if !key.is_empty() => self.get(request, &bucket, key),
            ("HEAD", key) => self.head(request, &bucket, key),
            ("PUT" | "DELETE", key) if !key.is_empty() => self.save(request, &bucket, key),
            _ => {
                let message =
                    "A header or query you provided implies functionality that is not implemented";
                Reply::Answer(error(501, "NotImplemented", message, ""))
            }
        };
        (reply, id)
    }

    fn get(&mut self, request: &Request, bucket: &str, key: &str) -> Reply {
        self.gets += 1;
        self.stats.get_count += 1;
        let record = self.stats.gets.len();
        let header = |name: &str| request.header(name).map(str::to_owned);
        let (fault, reply) = {
            let plan = &self.config.plan;
            let lasting = plan.gets_from.as_ref();
            let lasting = lasting.filter(|(from, _)| self.gets >= *from);
            let fault = plan
                .gets
                .get(&self.gets)
                .or(lasting.map(|(_, fault)| fault));
            (fault.cloned(), self.body(request, bucket, key, record))
        };
        let expired = self.config.plan.expired.as_ref();
        let expired = expired.is_some_and(|(k, id)| self.gets >= *k && request.is_signed_by(id));
        let reply = match fault.map(|fault| (cut_of_fault(&fault), fault)) {
            _ if expired => {
                let why = "The provided token has expired.";
                Reply::Answer(error(400, "ExpiredToken", why, key))
            }
            None => reply,
            Some((Some(cut), _)) => match reply {
                Reply::Body(body) => Reply::Body(Body {
                    cut: Some(cut),
                    ..body
                }),
                other => other,
            },
            Some((None, S3Fault::Longer(extra))) => longer(reply, extra),
            Some((None, S3Fault::Earlier(offset))) => earlier(reply, offset),
            Some((None, fault)) => fault_reply(&fault, bucket, key),
        };
        if record < MAX_RECORDS {
            self.stats.gets.push(Get {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                range: header("range"),
                if_match: header("if-match"),
                status: match &reply {
                    Reply::Answer(answer) => answer.status,
                    Reply::Body(body) => body.head.status,
                    Reply::Reset => 0,
                },
                sent: 0,
            });
        }
        reply
    }

    fn head(&mut self, request: &Request, bucket: &str, key: &str) -> Reply {
        self.heads += 1;
        self.stats.head_count += 1;
        let fault = self.config.plan.heads.get(&self.heads);
        let reply = match fault.filter(|fault| cut_of_fault(fault).is_none()) {
            Some(fault) => fault_reply(fault, bucket, key),
            None if key.is_empty() && self.config.buckets.contains_key(bucket) => {
                Reply::Answer(Answer::new(200, ""))
            }
            None => self.body(request, bucket, key, usize::MAX),
        };
        // The headers of a GET, without a body.
        match reply {
            Reply::Body(body) => Reply::Answer(body.head),
            Reply::Answer(mut answer) => {
                answer.length = Some(0);
                answer.body.clear();
                Reply::Answer(answer)
            }
            other => other,
        }
    }

    /// The response to a GET without a fault.
    fn body(&self, request: &Request, bucket: &str, key: &str, record: usize) -> Reply {
        let error_reply = |status, code, why| Reply::Answer(error(status, code, why, key));
        let Some(objects) = self.config.buckets.get(bucket) else {
            return error_reply(404, "NoSuchBucket", "The specified bucket does not exist");
        };
        let Some(object) = objects.get(key) else {
            return error_reply(404, "NoSuchKey", "The specified key does not exist.");
        };
        let plan = &self.config.plan;
        let etag = match &plan.etag_from {
            Some((k, etag)) if self.gets >= *k => etag,
            _ => &object.etag,
        };
        let bare = |tag: &str| tag.trim_matches('"').to_owned();
        match request.header("if-match") {
            Some(wanted) if wanted != "*" && bare(wanted) != bare(etag) => {
                let why = "At least one of the pre-conditions you specified did not hold";
                return error_reply(412, "PreconditionFailed", why);
            }
            _ => {}
        }
        let total = object.content.length();
        let range = request.header("range").filter(|_| !plan.ignore_ranges);
        let (status, from, length) = match range.and_then(|range| parse_range(range, total)) {
            None => (200, 0, total),
            Some(Some((first, last))) => (206, first, last - first + 1),
            Some(None) => {
                let why = "The requested range is not satisfiable";
                return error_reply(416, "InvalidRange", why);
            }
        };
        let mut head = Answer::new(status, "")
            .header("ETag", etag)
            .header("Last-Modified", &object.modified)
            .header("Accept-Ranges", "bytes");
        if status == 206 {
            let range = format!("bytes {from}-{}/{total}", from + length - 1);
            head = head.header("Content-Range", range);
        }
        if !object
            .headers
            .iter()
            .any(|(name, _)| *name == "Content-Type")
        {
            head = head.header("Content-Type", "binary/octet-stream");
        }
        head.headers.extend(object.headers.iter().cloned());
        head.length = Some(length);
        Reply::Body(Body {
            head,
            content: object.content.clone(),
            from,
            length,
            chunk: plan.chunk.unwrap_or(CHUNK).max(1),
            more: 0,
            cut: None,
            record,
        })
    }

    fn list(&mut self, request: &Request, bucket: &str) -> Reply {
        self.lists += 1;
        self.stats.list_count += 1;
        if self.stats.lists.len() < MAX_RECORDS {
            self.stats.lists.push(List {
                bucket: bucket.to_owned(),
                prefix: request.parameter("prefix").unwrap_or_default(),
                token: request.parameter("continuation-token"),
            });
        }
        match self.config.plan.lists.get(&self.lists) {
            fault @ (None | Some(S3Fault::KeyLost | S3Fault::TokenLost)) => {
                Reply::Answer(self.page(request, bucket, fault))
            }
            Some(fault) => fault_reply(fault, bucket, ""),
        }
    }

    /// A page of a listing, with its fault.
    fn page(&self, request: &Request, bucket: &str, fault: Option<&S3Fault>) -> Answer {
        let Some(objects) = self.config.buckets.get(bucket) else {
            return error(
                404,
                "NoSuchBucket",
                "The specified bucket does not exist",
                "",
            );
        };
        let prefix = request.parameter("prefix").unwrap_or_default();
        let after = request
            .parameter("continuation-token")
            .or_else(|| request.parameter("start-after"))
            .unwrap_or_default();
        let limit = request.parameter("max-keys").and_then(|n| n.parse().ok());
        let page_size = self.config.plan.page.unwrap_or(MAX_KEYS);
        let limit = limit.unwrap_or(MAX_KEYS).min(page_size).clamp(1, MAX_KEYS);
        let mut found = objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix) && **key > after)
            .peekable();
        let mut contents = String::new();
        let mut last = "";
        let mut before_last = 0;
        let mut count = 0;
        while let Some((key, object)) = found.next_if(|_| count < limit) {
            count += 1;
            last = key;
            before_last = contents.len();
            contents.push_str(&format!(
                "<Contents><Key>{}</Key><LastModified>2026-11-03T10:20:30.000Z</LastModified>\
                 <ETag>{}</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                escape(key),
                escape(&object.etag),
                object.content.length()
            ));
        }
        if fault == Some(&S3Fault::KeyLost) {
            contents.truncate(before_last);
        }
        let truncated = found.peek().is_some();
        let next = match truncated && fault != Some(&S3Fault::TokenLost) {
            true => format!(
                "<NextContinuationToken>{}</NextContinuationToken>",
                escape(last)
            ),
            false => String::new(),
        };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>{}</Name><Prefix>{}</Prefix><KeyCount>{count}</KeyCount>\
             <MaxKeys>{limit}</MaxKeys><IsTruncated>{truncated}</IsTruncated>{next}{contents}\
             </ListBucketResult>",
            escape(bucket),
            escape(&prefix)
        );
        Answer::new(200, body).header("Content-Type", "application/xml")
    }
}

/// The byte where a fault ends the body, and true if it stalls there.
fn cut_of_fault(fault: &S3Fault) -> Option<(u64, bool)> {
    match fault {
        S3Fault::EndAfter(bytes) => Some((*bytes, false)),
        S3Fault::StallAfter(bytes) => Some((*bytes, true)),
        _ => None,
    }
}

/// Extends a body by `extra` bytes.
fn longer(reply: Reply, extra: u64) -> Reply {
    let Reply::Body(mut body) = reply else {
        return reply;
    };
    body.more = extra;
    body.head.length = Some(body.length + extra);
    Reply::Body(body)
}

/// Starts a body `offset` bytes too early.
fn earlier(reply: Reply, offset: u64) -> Reply {
    let Reply::Body(mut body) = reply else {
        return reply;
    };
    let offset = offset.min(body.from);
    let (from, total) = (body.from - offset, body.content.length());
    for (name, value) in &mut body.head.headers {
        if *name == "Content-Range" {
            *value = format!("bytes {from}-{}/{total}", body.from + body.length - 1);
        }
    }
    body.from = from;
    body.length += offset;
    body.head.length = Some(body.length);
    Reply::Body(body)
}

/// The response to a fault, instead of an object.
fn fault_reply(fault: &S3Fault, bucket: &str, key: &str) -> Reply {
    Reply::Answer(match fault {
        S3Fault::EndAfter(_)
        | S3Fault::StallAfter(_)
        | S3Fault::Longer(_)
        | S3Fault::Earlier(_) => unreachable!("these change a body"),
        S3Fault::KeyLost | S3Fault::TokenLost => unreachable!("these change a page"),
        S3Fault::Reset => return Reply::Reset,
        S3Fault::InternalError => {
            let why = "We encountered an internal error. Please try again.";
            error(500, "InternalError", why, key)
        }
        S3Fault::SlowDown => error(503, "SlowDown", "Please reduce your request rate.", key),
        S3Fault::AccessDenied => error(403, "AccessDenied", "Access Denied", key),
        S3Fault::Redirect(region) => {
            let why = "The bucket you are attempting to access must be addressed using the \
                       specified endpoint. Please send all future requests to this endpoint.";
            let rest = format!(
                "<Endpoint>{bucket}.s3.{region}.amazonaws.com</Endpoint><Bucket>{bucket}</Bucket>"
            );
            xml_error(301, "PermanentRedirect", why, &rest).header("x-amz-bucket-region", *region)
        }
    })
}

fn error(status: u16, code: &str, message: &str, key: &str) -> Answer {
    let key = match key {
        "" => String::new(),
        key => format!("<Key>{}</Key>", escape(key)),
    };
    xml_error(status, code, message, &key)
}

fn xml_error(status: u16, code: &str, message: &str, details: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{message}</Message>{details}<RequestId>0000</RequestId>\
         <HostId>fake</HostId></Error>"
    );
    Answer::new(status, body).header("Content-Type", "application/xml")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\r', "&#13;")
}

/// Parses a Range header. `None` if it is not understood, and so ignored, as in S3;
/// `Some(None)` if it is out of range; else the first and last byte.
fn parse_range(range: &str, total: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first, last) {
        ("", suffix) => (total.saturating_sub(suffix.parse().ok()?), u64::MAX),
        (first, "") => (first.parse().ok()?, u64::MAX),
        (first, last) => (first.parse().ok()?, last.parse().ok()?),
    };
    let last = last.min(total.saturating_sub(1));
    Some((first < total && first <= last).then_some((first, last)))
}
