//! An S3 that serves objects from memory and breaks off where it is told to.
//!
//! It answers GetObject (ranges, If-Match), HeadObject, ListObjectsV2, and PutObject
//! and DeleteObject with their conditions, by path (`/bucket/key`) over HTTP on the loopback interface, with S3's own
//! headers and XML errors, and keeps a record of every GET, so that a test can
//! see from which byte a broken read went on.
//!
//! ```ignore
//! let plan = S3Plan::default().get(1, S3Fault::EndAfter(1_000));
//! let s3 = FakeS3::start(S3Config::default().object("lists", "a.txt", text).plan(plan));
//! // … point a client at s3.endpoint(), run it …
//! assert_eq!(s3.stats().gets[1].range.as_deref(), Some("bytes=1000-"));
//! ```
//!
//! An object is bytes, or a length and a function that fills in any part of
//! it: a list of a hundred gigabytes costs no memory. What goes wrong is a
//! value, the [`S3Plan`]: a fault for the k-th GET, HEAD or listing, from 1 in
//! order of arrival, over all objects. Reads are refused or cut by it alone: this
//! server never fails by chance.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use super::wire::{Answer, Connection, Request, Server, percent_decode};

mod saves;

pub use saves::{Save, SaveFault};

/// Bytes written at once where the plan doesn't say.
const CHUNK: usize = 64 * 1024;
/// GETs recorded in full; later ones are only counted.
const MAX_RECORDS: usize = 10_000;
/// Most keys in one page of a list. Source: API reference, ListObjectsV2.
const MAX_KEYS: usize = 1000;

/// Fills a buffer with an object's bytes from an offset on.
pub type Fill = Arc<dyn Fn(u64, &mut [u8]) + Send + Sync>;

/// What an object holds.
#[derive(Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// As many bytes, made when they are asked for.
    Generated(u64, Fill),
}

impl Content {
    /// Its length.
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
    /// What it holds.
    pub content: Content,
    /// Its ETag, in quotes.
    pub etag: String,
    /// Its Last-Modified.
    pub modified: String,
    /// Further headers: Content-Encoding, Content-Type, …
    pub headers: Vec<(&'static str, String)>,
}

impl Object {
    /// An object with an ETag that follows from its bytes, or from its length
    /// where these are made on demand.
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

/// What befalls one GET, HEAD or listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Fault {
    /// The headers promise the whole body; it ends after so many bytes, and
    /// the connection closes. (A HEAD is answered as usual.)
    EndAfter(u64),
    /// The connection is reset instead of an answer.
    Reset,
    /// So many bytes of the body come, then nothing, until the server stops.
    StallAfter(u64),
    /// 500 InternalError.
    InternalError,
    /// 503 SlowDown.
    SlowDown,
    /// 403 AccessDenied.
    AccessDenied,
    /// So many bytes more than there are, made up, and a Content-Length that
    /// counts them.
    Longer(u64),
    /// A ranged answer that begins so many bytes before what was asked for, and
    /// says so.
    Earlier(u64),
    /// 301 PermanentRedirect to the region where the bucket is.
    Redirect(&'static str),
    /// A page of a listing whose last key is left out, though it counts it. (Of a
    /// listing only.)
    KeyLost,
    /// A page of a listing that says there are further ones, and not where. (Of a
    /// listing only.)
    TokenLost,
}

/// What goes wrong, and when. The default is: nothing.
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
    /// Keys in one page of a listing at most, whatever was asked for.
    pub page: Option<usize>,
    /// From the k-th GET on, every object has this ETag, as if it had been
    /// replaced: given with its quotes.
    pub etag_from: Option<(u64, String)>,
    /// From the k-th GET on, whatever comes with this access key is refused with
    /// ExpiredToken.
    pub expired: Option<(u64, String)>,
    /// Bytes of a body written at once. Small ones cut lines at odd places.
    pub chunk: Option<usize>,
    /// Whether ranges are ignored, as simple servers do: status 200 and the
    /// whole object.
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

    /// Listings in pages of so many keys.
    pub fn page(mut self, keys: usize) -> Self {
        self.page = Some(keys);
        self
    }

    /// This ETag from the k-th GET on.
    pub fn etag_from(mut self, k: u64, etag: &str) -> Self {
        self.etag_from = Some((k, etag.to_owned()));
        self
    }

    /// Refuses this access key as expired from the k-th GET on.
    pub fn expire(mut self, k: u64, access_key_id: &str) -> Self {
        self.expired = Some((k, access_key_id.to_owned()));
        self
    }

    /// Bodies in pieces of this size.
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

/// The buckets and what goes wrong.
#[derive(Clone, Debug, Default)]
pub struct S3Config {
    /// Objects by key, by bucket.
    pub buckets: BTreeMap<String, BTreeMap<String, Object>>,
    /// What goes wrong.
    pub plan: S3Plan,
    /// The secret access key requests must be signed with. Without one,
    /// signatures are not looked at.
    pub secret: Option<String>,
}

impl S3Config {
    /// Refuses whatever isn't signed with this secret access key.
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
        self.with(bucket, key, Object::new(Content::Bytes(bytes.into())))
    }

    /// Adds an object of this length, whose bytes `fill` makes.
    pub fn generated(
        self,
        bucket: &str,
        key: &str,
        length: u64,
        fill: impl Fn(u64, &mut [u8]) + Send + Sync + 'static,
    ) -> Self {
        let content = Content::Generated(length, Arc::new(fill));
        self.with(bucket, key, Object::new(content))
    }

    /// Adds an object.
    pub fn with(mut self, bucket: &str, key: &str, object: Object) -> Self {
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

/// One GetObject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The Range header, as it was sent.
    pub range: Option<String>,
    /// The If-Match header, as it was sent.
    pub if_match: Option<String>,
    /// The status it was answered with; 0 when it wasn't.
    pub status: u16,
    /// Bytes of the body that were sent so far.
    pub sent: u64,
}

/// One ListObjectsV2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The bucket.
    pub bucket: String,
    /// The prefix, as it was sent.
    pub prefix: String,
    /// The continuation token, as it was sent.
    pub token: Option<String>,
}

/// What the server has seen and done.
#[derive(Clone, Debug, Default)]
pub struct S3Stats {
    /// The first 10,000 GETs of objects, in order of arrival.
    pub gets: Vec<Get>,
    /// All of them.
    pub get_count: u64,
    /// HEADs of objects or buckets.
    pub head_count: u64,
    /// ListObjectsV2 calls.
    pub list_count: u64,
    /// The first 10,000 of them, in order of arrival.
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
    /// Starts it. Works inside and outside of any runtime.
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

    /// Where it listens, for AWS_ENDPOINT_URL_S3.
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

    /// The bytes of an object, if it is there and has any of its own.
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

    /// Takes an object away.
    pub fn delete(&self, bucket: &str, key: &str) {
        if let Some(bucket) = self.shared.state().config.buckets.get_mut(bucket) {
            bucket.remove(key);
        }
    }

    /// Replaces the plan. Its k counts from 1 again; objects and counts stay.
    pub fn set_plan(&self, plan: S3Plan) {
        let mut state = self.shared.state();
        state.config.plan = plan;
        state.saves = 0;
        state.gets = 0;
        state.heads = 0;
        state.lists = 0;
    }

    /// Blocks until the counts satisfy `wanted`, and returns them; or `None`
    /// when that takes longer than `limit`.
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

    /// Stops it, as dropping does, and returns the final counts.
    pub fn stop(self) -> S3Stats {
        let Self { server, shared } = self;
        drop(server);
        shared.state().stats.clone()
    }
}

/// What to send, decided under the lock and sent without it.
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
    /// Made-up bytes that follow.
    more: u64,
    /// Ends after so many bytes, by closing or by falling silent.
    cut: Option<(u64, bool)>,
    /// Where this GET is recorded.
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

    /// Sends a body in its pieces; false when it was cut off.
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
            // Gives the pieces a chance to arrive one by one.
            tokio::task::yield_now().await;
        }
        if body.cut.is_none() {
            let more = vec![b'0'; usize::try_from(body.more).expect("a few")];
            connection.write(&more).await?;
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
                let what =
                    "A header or query you provided implies functionality that is not implemented";
                Reply::Answer(error(501, "NotImplemented", what, ""))
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
        let expired = expired.is_some_and(|(k, id)| self.gets >= *k && request.is_of_key(id));
        let reply = match fault.map(|fault| (cut(&fault), fault)) {
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
            Some((None, S3Fault::Longer(more))) => longer(reply, more),
            Some((None, S3Fault::Earlier(by))) => earlier(reply, by),
            Some((None, fault)) => instead(&fault, bucket, key),
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
        let reply = match fault.filter(|fault| cut(fault).is_none()) {
            Some(fault) => instead(fault, bucket, key),
            None if key.is_empty() && self.config.buckets.contains_key(bucket) => {
                Reply::Answer(Answer::new(200, ""))
            }
            None => self.body(request, bucket, key, usize::MAX),
        };
        // The same headers as a GET's, and no body.
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

    /// The answer to a GET with which nothing is wrong.
    fn body(&self, request: &Request, bucket: &str, key: &str, record: usize) -> Reply {
        let refuse = |status, code, why| Reply::Answer(error(status, code, why, key));
        let Some(objects) = self.config.buckets.get(bucket) else {
            return refuse(404, "NoSuchBucket", "The specified bucket does not exist");
        };
        let Some(object) = objects.get(key) else {
            return refuse(404, "NoSuchKey", "The specified key does not exist.");
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
                return refuse(412, "PreconditionFailed", why);
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
                return refuse(416, "InvalidRange", why);
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
            Some(fault) => instead(fault, bucket, ""),
        }
    }

    /// A page of a listing, with the fault that befalls it.
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
        let most = self.config.plan.page.unwrap_or(MAX_KEYS);
        let limit = limit.unwrap_or(MAX_KEYS).min(most).clamp(1, MAX_KEYS);
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

/// Where a fault cuts the body, and whether it falls silent there.
fn cut(fault: &S3Fault) -> Option<(u64, bool)> {
    match fault {
        S3Fault::EndAfter(bytes) => Some((*bytes, false)),
        S3Fault::StallAfter(bytes) => Some((*bytes, true)),
        _ => None,
    }
}

/// The same with `more` bytes than there are.
fn longer(reply: Reply, more: u64) -> Reply {
    let Reply::Body(mut body) = reply else {
        return reply;
    };
    body.more = more;
    body.head.length = Some(body.length + more);
    Reply::Body(body)
}

/// The same from `by` bytes before what was asked for.
fn earlier(reply: Reply, by: u64) -> Reply {
    let Reply::Body(mut body) = reply else {
        return reply;
    };
    let by = by.min(body.from);
    let (from, total) = (body.from - by, body.content.length());
    for (name, value) in &mut body.head.headers {
        if *name == "Content-Range" {
            *value = format!("bytes {from}-{}/{total}", body.from + body.length - 1);
        }
    }
    body.from = from;
    body.length += by;
    body.head.length = Some(body.length);
    Reply::Body(body)
}

/// What comes instead of an object.
fn instead(fault: &S3Fault, bucket: &str, key: &str) -> Reply {
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

fn xml_error(status: u16, code: &str, message: &str, more: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{message}</Message>{more}<RequestId>0000</RequestId>\
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

/// A Range header: `None` when it isn't one this server understands (which is
/// then ignored, as S3 does), `Some(None)` when nothing lies in it, else the
/// first and last byte.
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
