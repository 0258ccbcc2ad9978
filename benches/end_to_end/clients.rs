//! Two clients to compare with, each run in a separate process.
//!
//! **generated**: a good program on the plain SDK. One GetObject, its lines in
//! batches of 25 typed requests, 32 calls in flight on one thread, unprocessed
//! items retried after a pause.
//!
//! **floor**: only the necessary work: sockets, a body assembled from byte
//! strings, and signature version 4 with a cached key of the day. It fails at
//! the first irregularity, so it is a lower limit of the cost and no program to
//! recommend.

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[path = "../../tests/it/common/sigv4.rs"]
#[allow(unreachable_pub)]
mod sigv4;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const BATCH: usize = 25;
const IN_FLIGHT: usize = 32;
const TABLE: &str = "sha256";

/// Splits chunks into lines without their endings, in batches of 25.
#[derive(Default)]
struct Batches {
    rest: Vec<u8>,
    lines: usize,
    batch: Vec<u8>,
}

impl Batches {
    /// Adds a chunk and calls `full` with each full batch of 64-byte hashes.
    fn push(&mut self, mut chunk: &[u8], mut full: impl FnMut(Vec<u8>)) {
        while let Some(end) = memchr(b'\n', chunk) {
            let (line, tail) = chunk.split_at(end + 1);
            chunk = tail;
            if self.rest.is_empty() {
                self.batch.extend_from_slice(&line[..64]);
            } else {
                self.rest.extend_from_slice(line);
                self.batch.extend_from_slice(&self.rest[..64]);
                self.rest.clear();
            }
            self.lines += 1;
            if self.lines == BATCH {
                self.lines = 0;
                full(std::mem::replace(
                    &mut self.batch,
                    Vec::with_capacity(BATCH * 64),
                ));
            }
        }
        self.rest.extend_from_slice(chunk);
    }
}

/// The client on the generated SDK.
pub(crate) async fn generated() -> Outcome {
    let config = aws_config::load_from_env().await;
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
    let s3 = aws_sdk_s3::Client::from_conf(s3.build());
    let dynamo = aws_sdk_dynamodb::Client::new(&config);

    let mut body = s3
        .get_object()
        .bucket("bench")
        .key("list")
        .send()
        .await?
        .body;
    let mut batches = Batches::default();
    let mut ready = Vec::new();
    let mut writes: JoinSet<Outcome> = JoinSet::new();
    while let Some(chunk) = body.try_next().await? {
        batches.push(&chunk, |batch| ready.push(batch));
        for batch in ready.drain(..) {
            if writes.len() == IN_FLIGHT
                && let Some(done) = writes.join_next().await
            {
                done??;
            }
            writes.spawn(write(dynamo.clone(), batch));
        }
    }
    writes.spawn(write(dynamo, batches.batch));
    while let Some(done) = writes.join_next().await {
        done??;
    }
    Ok(())
}

async fn write(dynamo: aws_sdk_dynamodb::Client, hashes: Vec<u8>) -> Outcome {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let mut requests = Vec::with_capacity(BATCH);
    for hash in hashes.chunks_exact(64) {
        let item = HashMap::from([
            ("sha256".to_owned(), text(std::str::from_utf8(hash)?)),
            ("type".to_owned(), text("bench")),
            ("source".to_owned(), text("bench")),
            ("desc".to_owned(), text("bench")),
        ]);
        let put = PutRequest::builder().set_item(Some(item)).build()?;
        requests.push(WriteRequest::builder().put_request(put).build());
    }
    let mut pause = Duration::from_millis(50);
    while !requests.is_empty() {
        let call = dynamo.batch_write_item().request_items(TABLE, requests);
        let left = call.send().await?.unprocessed_items;
        requests = left.unwrap_or_default().remove(TABLE).unwrap_or_default();
        if !requests.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
    Ok(())
}

/// The client written by hand.
pub(crate) async fn floor() -> Outcome {
    let (s3, dynamo) = (
        address("AWS_ENDPOINT_URL_S3")?,
        address("AWS_ENDPOINT_URL_DYNAMODB")?,
    );
    let mut list = TcpStream::connect(&s3).await?;
    list.write_all(format!("GET /bench/list HTTP/1.1\r\nHost: {s3}\r\n\r\n").as_bytes())
        .await?;
    let mut buffer = Vec::with_capacity(256 * 1024);
    let (head, mut left) = read_head(&mut list, &mut buffer).await?;
    buffer.drain(..head);

    let mut batches = Batches::default();
    let mut ready = Vec::new();
    let mut signer = Signer::new(dynamo.clone())?;
    let mut idle = Vec::new();
    for _ in 0..IN_FLIGHT {
        let stream = TcpStream::connect(&dynamo).await?;
        stream.set_nodelay(true)?;
        idle.push(Connection {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        });
    }
    let mut writes = JoinSet::new();
    loop {
        left -= buffer.len();
        batches.push(&buffer, |batch| ready.push(batch));
        buffer.clear();
        if left == 0 {
            ready.push(std::mem::take(&mut batches.batch));
        }
        for hashes in ready.drain(..).filter(|hashes| !hashes.is_empty()) {
            let mut line = match idle.pop() {
                Some(line) => line,
                None => finished(&mut writes).await?,
            };
            signer.request(&hashes, &mut line.buffer);
            writes.spawn(line.exchange());
        }
        if left == 0 {
            break;
        }
        if list.read_buf(&mut buffer).await? == 0 {
            return Err("the body of the list ended early".into());
        }
    }
    while !writes.is_empty() {
        finished(&mut writes).await?;
    }
    Ok(())
}

fn address(variable: &str) -> Outcome<String> {
    let url = std::env::var(variable)?;
    let address = url
        .strip_prefix("http://")
        .ok_or("the endpoint does not begin with http://")?;
    Ok(address.trim_end_matches('/').to_owned())
}

async fn finished(writes: &mut JoinSet<Outcome<Connection>>) -> Outcome<Connection> {
    writes.join_next().await.ok_or("nothing in flight")??
}

/// A connection and the buffer of its next request.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn exchange(mut self) -> Outcome<Self> {
        self.stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        let (head, length) = read_head(&mut self.stream, &mut self.buffer).await?;
        while self.buffer.len() < head + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("a response ended early".into());
            }
        }
        if memmem::find(&self.buffer[head..], b"\"UnprocessedItems\":{}").is_none() {
            return Err(String::from_utf8_lossy(&self.buffer).into());
        }
        Ok(self)
    }
}

/// Reads a response's head and returns its length and the length of the body.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<(usize, usize)> {
    let head = loop {
        if let Some(end) = memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err("the connection was closed".into());
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    if !text.starts_with("HTTP/1.1 200") {
        return Err(text.into());
    }
    let mut lines = text.lines();
    let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
    Ok((
        head,
        length
            .ok_or("the response has no Content-Length")?
            .parse()?,
    ))
}

/// Writes signed requests; caches the parts that they share.
struct Signer {
    host: String,
    id: String,
    secret: String,
    second: u64,
    time: String,
    key: [u8; 32],
    body: Vec<u8>,
}

impl Signer {
    fn new(host: String) -> Outcome<Self> {
        Ok(Self {
            host,
            id: std::env::var("AWS_ACCESS_KEY_ID")?,
            secret: std::env::var("AWS_SECRET_ACCESS_KEY")?,
            second: 0,
            time: String::new(),
            key: [0; 32],
            body: Vec::with_capacity(8 * 1024),
        })
    }

    fn request(&mut self, hashes: &[u8], out: &mut Vec<u8>) {
        self.body.clear();
        self.body
            .extend_from_slice(b"{\"RequestItems\":{\"sha256\":[");
        for (index, hash) in hashes.chunks_exact(64).enumerate() {
            let start: &[u8] = b",{\"PutRequest\":{\"Item\":{\"sha256\":{\"S\":\"";
            self.body
                .extend_from_slice(&start[usize::from(index == 0)..]);
            self.body.extend_from_slice(hash);
            self.body.extend_from_slice(
                b"\"},\"type\":{\"S\":\"bench\"},\"source\":{\"S\":\"bench\"},\"desc\":{\"S\":\"bench\"}}}}",
            );
        }
        self.body.extend_from_slice(b"]}}");

        self.update_time();
        let (host, time, id) = (&self.host, &self.time, &self.id);
        let scope = format!("{}/us-east-1/dynamodb/aws4_request", &time[..8]);
        let canonical = format!(
            "POST\n/\n\nhost:{host}\nx-amz-date:{time}\n\
             x-amz-target:DynamoDB_20120810.BatchWriteItem\n\nhost;x-amz-date;x-amz-target\n{}",
            sigv4::sha256_hex(&self.body)
        );
        let signature = sigv4::signature(&self.key, time, &scope, &canonical);
        out.clear();
        out.extend_from_slice(
            format!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nX-Amz-Date: {time}\r\n\
                 X-Amz-Target: DynamoDB_20120810.BatchWriteItem\r\n\
                 Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\
                 Authorization: AWS4-HMAC-SHA256 Credential={id}/{scope}, \
                 SignedHeaders=host;x-amz-date;x-amz-target, Signature={signature}\r\n\r\n",
                self.body.len()
            )
            .as_bytes(),
        );
        out.extend_from_slice(&self.body);
    }

    fn update_time(&mut self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        if now.as_secs() == self.second {
            return;
        }
        self.second = now.as_secs();
        let stamp = jiff::Timestamp::from_second(self.second as i64).unwrap_or_default();
        let time = stamp.strftime("%Y%m%dT%H%M%SZ").to_string();
        if self.time.get(..8) != Some(&time[..8]) {
            self.key = sigv4::signing_key(&self.secret, &time[..8], "us-east-1", "dynamodb");
        }
        self.time = time;
    }
}
