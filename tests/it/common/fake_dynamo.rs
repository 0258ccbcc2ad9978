//! A fake DynamoDB with one table, which follows the rules and fails on demand.
//!
//! It supports DescribeTable, BatchWriteItem, BatchGetItem, GetItem, DeleteItem and
//! Scan over HTTP on the loopback interface. It rejects invalid requests with
//! DynamoDB's error texts. It counts the items that were offered, stored, unprocessed
//! and acknowledged, and the calls and their sizes. A test runs a client, then compares
//! the client's line counts with these.
//!
//! ```ignore
//! let plan = FaultPlan::default().at(3, Fault::DropAfter).reject_key("AB12…");
//! let dynamo = FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::S).plan(plan));
//! // … point a client at dynamo.endpoint(), run it …
//! assert_eq!(dynamo.stats().items_written, 1_000);
//! ```
//!
//! **Faults are a value, not a script.** A [`FaultPlan`] defines the fault of the k-th
//! BatchWriteItem, from 1 in order of arrival. It can also draw faults by rates, which
//! depend on the seed and k alone. It can name items that are always invalid, or set a
//! capacity above which items are unprocessed. [`FakeDynamo::set_plan`] replaces it
//! while the table stays: one run fails, the next resumes.
//!
//! **Written and acknowledged are separate counts.** A lost response leaves an item
//! stored without the client's knowledge. It is in [`Stats::items_stored`], but not in
//! [`Stats::items_written`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::item::{self, Item, KeySchema, RequestError};
use super::wire::{Answer, Connection, Request, Server};

pub use super::item::KeyType;

/// Maximum number of requests in a BatchWriteItem. Source: API reference,
/// BatchWriteItem.
const MAX_BATCH: usize = 25;
/// Maximum size of a BatchWriteItem. Source: API reference, BatchWriteItem.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// Maximum number of keys in a BatchGetItem. Source: API reference, BatchGetItem.
const MAX_GET: usize = 100;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

/// Billing mode of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// Provisioned.
    Provisioned {
        /// Provisioned WCU.
        wcu: u64,
    },
    /// On-demand.
    OnDemand {
        /// `OnDemandThroughput.MaxWriteRequestUnits`; `None` if not set.
        max: Option<u64>,
    },
}

/// Configuration of the table.
#[derive(Clone, Debug)]
pub struct DynamoConfig {
    /// The table's name.
    pub table: String,
    /// The table's key.
    pub key: KeySchema,
    /// Capacity in DescribeTable. Not enforced: see [`FaultPlan::capacity`].
    pub billing: Billing,
    /// Faults.
    pub plan: FaultPlan,
    /// Latency of a call, by the real clock.
    pub latency: Duration,
    /// Fields that replace or add to DescribeTable's `Table`.
    pub describe: Map<String, Value>,
    /// Secret access key that signatures must match; `None` to accept any request.
    pub secret: Option<String>,
}

impl DynamoConfig {
    /// Creates a table with this name and partition key, 40,000 WCU and no faults.
    pub fn new(table: &str, partition: &str, kind: KeyType) -> Self {
        Self {
            table: table.to_owned(),
            key: KeySchema {
                partition: (partition.to_owned(), kind),
                sort: None,
            },
            billing: Billing::Provisioned { wcu: 40_000 },
            plan: FaultPlan::default(),
            latency: Duration::ZERO,
            describe: Map::new(),
            secret: None,
        }
    }

    /// Requires signatures with this secret access key.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// Adds a sort key.
    pub fn sort(mut self, name: &str, kind: KeyType) -> Self {
        self.key.sort = Some((name.to_owned(), kind));
        self
    }

    /// Sets the billing mode.
    pub fn billing(mut self, billing: Billing) -> Self {
        self.billing = billing;
        self
    }

    /// Sets the plan.
    pub fn plan(mut self, plan: FaultPlan) -> Self {
        self.plan = plan;
        self
    }

    /// Sets the latency.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets one field of DescribeTable's `Table`: `GlobalSecondaryIndexes`, `Replicas`,
    /// `TableStatus`, …
    pub fn describe(mut self, field: &str, value: Value) -> Self {
        self.describe.insert(field.to_owned(), value);
        self
    }
}

/// A fault of one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The last n items (or keys of a read) are unprocessed. If that is all of them,
    /// DynamoDB would throttle; this server returns 200.
    Unprocessed(usize),
    /// All items are unprocessed.
    UnprocessedAll,
    /// All items are written, and an item that was not in the batch is unprocessed.
    UnknownUnprocessed,
    /// All items are acknowledged; nothing is written.
    Forget,
    /// ProvisionedThroughputExceededException; nothing is written.
    Throttle,
    /// ThrottlingException with these reasons; nothing is written.
    Throttling(Vec<&'static str>),
    /// This status and error code; nothing is written. Without a code the body is HTML,
    /// as from a proxy.
    Http(u16, &'static str),
    /// AccessDeniedException; nothing is written.
    AccessDenied,
    /// ExpiredTokenException; nothing is written.
    ExpiredToken,
    /// The connection closes without a response; nothing is written.
    DropBefore,
    /// All items are written; the connection closes without a response.
    DropAfter,
    /// All items are written; the response breaks off halfway.
    CutAnswer,
    /// Status 200 and a body that is not JSON. Nothing is written, so a client that
    /// assumes success loses items.
    Garbage,
    /// Status 200 and this body; nothing is read or written.
    Body(String),
    /// No response until the server stops; nothing is written.
    Stall,
    /// All items are written; the response waits for the k-th call, or until the server
    /// stops. Reorders responses without a clock.
    HoldUntil(u64),
}

/// Random faults by rates from 0 to 1; the default is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chance {
    /// Seed: equal seeds give equal faults for the same k.
    pub seed: u64,
    /// Share of unprocessed items.
    pub unprocessed: f64,
    /// Share of calls throttled.
    pub throttled: f64,
    /// Share of calls whose connection breaks before the write.
    pub drop_before: f64,
    /// Share of calls whose connection breaks after the write.
    pub drop_after: f64,
    /// Share of calls answered with HTTP 500.
    pub server_error: f64,
}

impl Chance {
    fn rng(&self, k: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ k.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn fault(&self, rng: &mut fastrand::Rng) -> Option<Fault> {
        let mut drawn = rng.f64();
        for (share, fault) in [
            (self.throttled, Fault::Throttle),
            (self.drop_before, Fault::DropBefore),
            (self.drop_after, Fault::DropAfter),
            (self.server_error, Fault::Http(500, "InternalServerError")),
        ] {
            if drawn < share {
                return Some(fault);
            }
            drawn -= share;
        }
        None
    }
}

/// A table's capacity: a bucket of WCU, filled by the real clock.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// WCU/s.
    pub rate: f64,
    /// Seconds of unused capacity that the bucket holds.
    pub burst: f64,
    /// Seconds of unused capacity at the start.
    pub saved: f64,
}

type ItemPredicate = Arc<dyn Fn(&Item) -> bool + Send + Sync>;

/// A plan of faults. The default has none.
#[derive(Clone, Default)]
pub struct FaultPlan {
    /// The k-th BatchWriteItem's fault, from 1.
    pub writes: BTreeMap<u64, Fault>,
    /// From the k-th BatchWriteItem on, this fault.
    pub writes_from: Option<(u64, Fault)>,
    /// The k-th DeleteItem's fault, from 1.
    pub deletes: BTreeMap<u64, Fault>,
    /// The k-th BatchGetItem's fault, from 1.
    pub reads: BTreeMap<u64, Fault>,
    /// From the k-th BatchGetItem on, this fault.
    pub reads_from: Option<(u64, Fault)>,
    /// Items that eventually consistent reads do not return yet.
    pub stale: Option<ItemPredicate>,
    /// Faults by rates, for BatchWriteItem calls without one of the above.
    pub chance: Chance,
    /// Invalid items: their whole batch fails with ValidationException.
    pub invalid_items: Option<ItemPredicate>,
    /// Capacity of the table. Items above it are unprocessed; a call without any
    /// fitting item is throttled.
    pub capacity: Option<Capacity>,
    /// From the k-th BatchWriteItem on, this access key fails with
    /// ExpiredTokenException.
    pub expired: Option<(u64, String)>,
    /// Operations (`DescribeTable`, …) denied with AccessDeniedException.
    pub denied: BTreeSet<&'static str>,
}

impl FaultPlan {
    /// This fault for the k-th BatchWriteItem.
    pub fn at(mut self, k: u64, fault: Fault) -> Self {
        self.writes.insert(k, fault);
        self
    }

    /// This fault for every BatchWriteItem from the k-th on.
    pub fn from(mut self, k: u64, fault: Fault) -> Self {
        self.writes_from = Some((k, fault));
        self
    }

    /// This fault for the k-th DeleteItem.
    pub fn delete_at(mut self, k: u64, fault: Fault) -> Self {
        self.deletes.insert(k, fault);
        self
    }

    /// This fault for the k-th BatchGetItem.
    pub fn read_at(mut self, k: u64, fault: Fault) -> Self {
        self.reads.insert(k, fault);
        self
    }

    /// This fault for every BatchGetItem from the k-th on.
    pub fn reads_from(mut self, k: u64, fault: Fault) -> Self {
        self.reads_from = Some((k, fault));
        self
    }

    /// Hides these items from eventually consistent reads.
    pub fn stale(mut self, unseen: impl Fn(&Item) -> bool + Send + Sync + 'static) -> Self {
        self.stale = Some(Arc::new(unseen));
        self
    }

    /// Sets the rates.
    pub fn chance(mut self, chance: Chance) -> Self {
        self.chance = chance;
        self
    }

    /// Adds invalid items, which fail their batch.
    pub fn reject_items(mut self, refuse: impl Fn(&Item) -> bool + Send + Sync + 'static) -> Self {
        let before = self.invalid_items.take();
        self.invalid_items = Some(Arc::new(move |item| {
            refuse(item) || before.as_ref().is_some_and(|before| before(item))
        }));
        self
    }

    /// Adds invalid items by the content of any attribute: text, number, or base64.
    pub fn reject_key(self, key: &str) -> Self {
        let key = key.to_owned();
        self.reject_items(move |item| {
            let mut values = item.values().filter_map(Value::as_object);
            values.any(|value| value.values().any(|content| *content == *key))
        })
    }

    /// Sets the capacity.
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Lets this access key expire at the k-th BatchWriteItem.
    pub fn expire(mut self, k: u64, access_key_id: &str) -> Self {
        self.expired = Some((k, access_key_id.to_owned()));
        self
    }

    /// Denies an operation with AccessDeniedException.
    pub fn deny(mut self, operation: &'static str) -> Self {
        self.denied.insert(operation);
        self
    }
}

impl fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultPlan")
            .field("writes", &self.writes)
            .field("writes_from", &self.writes_from)
            .field("deletes", &self.deletes)
            .field("reads", &self.reads)
            .field("reads_from", &self.reads_from)
            .field("unseen", &self.stale.is_some())
            .field("chance", &self.chance)
            .field("refuse", &self.invalid_items.is_some())
            .field("capacity", &self.capacity)
            .field("expired", &self.expired)
            .field("denied", &self.denied)
            .finish()
    }
}

/// Counts of the server.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// BatchWriteItem calls, with any result.
    pub calls: u64,
    /// Items in these calls.
    pub items_offered: u64,
    /// Acknowledged puts and deletes.
    pub items_written: u64,
    /// Executed puts and deletes, acknowledged or not.
    pub items_stored: u64,
    /// Current number of items in the table.
    pub distinct: u64,
    /// Unprocessed items.
    pub unprocessed: u64,
    /// Throttled calls.
    pub throttled: u64,
    /// Calls whose connection closed before or within the response.
    pub dropped: u64,
    /// Calls with another error, an invalid response, or none.
    pub failed: u64,
    /// Calls that failed validation, including those with planned invalid items.
    pub validation_errors: u64,
    /// Items with a duplicate key in their batch. A correct client sends none.
    pub duplicates_in_batch: u64,
    /// Maximum number of concurrent BatchWriteItem calls.
    pub max_concurrent: u64,
    /// Calls by the number of their items.
    pub batch_sizes: BTreeMap<usize, u64>,
    /// Size of the largest BatchWriteItem body.
    pub largest_request: usize,
    /// All calls by their X-Amz-Target.
    pub targets: BTreeMap<String, u64>,
    /// Access keys and regions of the signatures.
    pub signers: BTreeSet<(String, String)>,
    /// Requests with a wrong signature.
    pub unsigned: u64,
    /// Requests with an expired access key.
    pub expired: u64,
    /// Consumed WCU.
    pub consumed_units: u64,
    /// BatchGetItem calls, with any result.
    pub gets: u64,
    /// Keys in executed BatchGetItem calls, by consistency: eventual, strong.
    pub keys_asked: [u64; 2],
    /// Unprocessed keys.
    pub keys_unprocessed: u64,
    /// Throttled BatchGetItem calls.
    pub gets_throttled: u64,
    /// Consumed RCU.
    pub consumed_read_units: f64,
    /// Attribute names in projections of BatchGetItem calls.
    pub projected: BTreeSet<String>,
    /// Accepted connections.
    pub connections: u64,
    /// WCU of the table and its indexes after each UpdateTable.
    pub updates: Vec<BTreeMap<String, u64>>,
}

/// The running server.
#[derive(Debug)]
pub struct FakeDynamo {
    server: Server,
    shared: Arc<Shared>,
}

impl FakeDynamo {
    /// Starts the server, inside or outside of a runtime.
    pub fn start(config: DynamoConfig) -> Self {
        let shared = Arc::new(Shared {
            table: config.table,
            key: config.key,
            latency: config.latency,
            secret: config.secret,
            changed: Condvar::new(),
            arrived: watch::Sender::new((0, 0)),
            state: Mutex::new(State {
                bucket: config.plan.capacity.map(Bucket::new),
                plan: config.plan,
                writes: 0,
                reads: 0,
                deletes: 0,
                in_flight: 0,
                requests: 0,
                billing: config.billing,
                update: None,
                describes_left: 0,
                decreases: 0,
                max_decreases: u64::MAX,
                describe: config.describe,
                items: BTreeMap::new(),
                stats: Stats::default(),
            }),
        });
        let serving = Arc::clone(&shared);
        let server = Server::start(move |connection| Arc::clone(&serving).serve(connection));
        Self { server, shared }
    }

    /// The endpoint, for AWS_ENDPOINT_URL_DYNAMODB.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.shared.state().snapshot()
    }

    /// The items by their key's bytes; see [`KeySchema::key_of`].
    pub fn items(&self) -> BTreeMap<Vec<u8>, Value> {
        let state = self.shared.state();
        let items = state.items.iter();
        items
            .map(|(key, item)| (key.clone(), Value::Object(item.clone())))
            .collect()
    }

    /// Writes an item (`{"sha256": {"S": "…"}}`) directly, without counting it.
    ///
    /// # Panics
    /// If it is not an item of this table.
    pub fn put(&self, item: Value) {
        let Value::Object(item) = item else {
            panic!("an item is an object");
        };
        let key = self
            .shared
            .key
            .key_of(&item)
            .expect("an item of this table");
        self.shared.state().items.insert(key, item);
    }

    /// Denies an operation with AccessDeniedException from now on.
    pub fn deny(&self, operation: &'static str) {
        self.shared.state().plan.denied.insert(operation);
    }

    /// Deletes an item directly, without counting it.
    pub fn delete(&self, key: &[u8]) -> Option<Value> {
        self.shared.state().items.remove(key).map(Value::Object)
    }

    /// Replaces the plan and restarts its count at 1. Table and statistics stay.
    pub fn set_plan(&self, plan: FaultPlan) {
        let mut state = self.shared.state();
        state.bucket = plan.capacity.map(Bucket::new);
        state.plan = plan;
        state.writes = 0;
        state.reads = 0;
        state.deletes = 0;
    }

    /// Changes the capacity in DescribeTable.
    pub fn set_billing(&self, billing: Billing) {
        self.shared.state().billing = billing;
    }

    /// The provisioned WCU of the table; `None` if it is on-demand.
    pub fn write_units(&self) -> Option<u64> {
        match self.shared.state().billing {
            Billing::Provisioned { wcu } => Some(wcu),
            Billing::OnDemand { .. } => None,
        }
    }

    /// Sets the number of further decreases of the capacity.
    pub fn set_decreases_left(&self, left: u64) {
        let mut state = self.shared.state();
        state.max_decreases = state.decreases + left;
    }

    /// Changes another field in DescribeTable.
    pub fn set_describe(&self, field: &str, value: Value) {
        self.shared.state().describe.insert(field.to_owned(), value);
    }

    /// Blocks until the counts satisfy `wanted`, and returns them; `None` after the
    /// timeout `limit`.
    pub fn wait_until(&self, limit: Duration, wanted: impl Fn(&Stats) -> bool) -> Option<Stats> {
        let state = self.shared.state();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| !wanted(&state.snapshot()))
            .expect("the server has not panicked");
        (!waited.timed_out()).then(|| state.snapshot())
    }

    /// Stops the server and returns the final counts.
    pub fn stop(self) -> Stats {
        let Self { server, shared } = self;
        drop(server);
        shared.state().snapshot()
    }
}

#[derive(Debug)]
struct Shared {
    table: String,
    key: KeySchema,
    latency: Duration,
    secret: Option<String>,
    state: Mutex<State>,
    changed: Condvar,
    /// BatchWriteItem and BatchGetItem calls of the current plan that have arrived.
    arrived: watch::Sender<(u64, u64)>,
}

#[derive(Debug)]
struct State {
    plan: FaultPlan,
    /// BatchWriteItem, BatchGetItem and DeleteItem calls since the plan was set.
    writes: u64,
    reads: u64,
    deletes: u64,
    bucket: Option<Bucket>,
    in_flight: u64,
    requests: u64,
    billing: Billing,
    /// The UpdateTable in progress, and the number of further descriptions that show
    /// it.
    update: Option<BTreeMap<Option<String>, u64>>,
    describes_left: u64,
    decreases: u64,
    max_decreases: u64,
    describe: Map<String, Value>,
    items: BTreeMap<Vec<u8>, Item>,
    stats: Stats,
}

impl State {
    fn snapshot(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.distinct = self.items.len() as u64;
        stats
    }
}

#[derive(Debug)]
struct Bucket {
    capacity: Capacity,
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn new(capacity: Capacity) -> Self {
        Self {
            level: capacity.rate * capacity.saved,
            filled: Instant::now(),
            capacity,
        }
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let since = now.duration_since(self.filled).as_secs_f64();
        let full = self.capacity.rate * self.capacity.burst;
        self.level = (self.level + since * self.capacity.rate).min(full);
        self.filled = now;
    }

    /// Takes units if they are available. An item larger than the bucket fits when the
    /// bucket is full, and leaves a debt; otherwise it would never fit.
    fn take(&mut self, units: u64) -> bool {
        let units = units as f64;
        let fits = self.level >= units.min(self.capacity.rate * self.capacity.burst);
        if fits {
            self.level -= units;
        }
        fits
    }
}

/// Delivery of a response.
#[derive(Clone, Copy, PartialEq)]
enum Delivery {
    Whole,
    Half,
    Close,
    Never,
    AfterCall(u64),
}

struct Reply {
    answer: Answer,
    delivery: Delivery,
    /// Puts that this response acknowledges.
    acknowledged: u64,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            delivery: Delivery::Whole,
            acknowledged: 0,
        }
    }
}

impl Reply {
    fn deliver(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }
}

fn ok(body: &Value) -> Answer {
    Answer::new(200, body.to_string())
}

/// An error response in DynamoDB's format and name space.
fn error(status: u16, code: &str, message: &str) -> Answer {
    let space = match code {
        "SerializationException"
        | "UnknownOperationException"
        | "AccessDeniedException"
        | "ExpiredTokenException"
        | "InvalidSignatureException" => "com.amazon.coral.service",
        "ValidationException" => "com.amazon.coral.validate",
        _ => "com.amazonaws.dynamodb.v20120810",
    };
    let body = json!({ "__type": format!("{space}#{code}"), "message": message });
    Answer::new(status, body.to_string())
}

fn not_found(message: &str) -> Answer {
    error(400, "ResourceNotFoundException", message)
}

fn throttled() -> Answer {
    error(
        400,
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. \
         Consider increasing your provisioning level with the UpdateTable API.",
    )
}

impl From<RequestError> for Answer {
    fn from(refusal: RequestError) -> Self {
        match refusal {
            RequestError::Validation(why) => error(400, "ValidationException", &why),
            RequestError::Serialization(why) => error(400, "SerializationException", &why),
        }
    }
}

fn invalid(why: impl Into<String>) -> Answer {
    RequestError::Validation(why.into()).into()
}

fn malformed(why: impl Into<String>) -> Answer {
    RequestError::Serialization(why.into()).into()
}

/// A key, the item to put (`None` for a delete), and the request.
type Write = (Vec<u8>, Option<Item>, Value);

/// A valid BatchWriteItem.
struct Batch {
    requests: Vec<Write>,
    capacity: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the server has not panicked")
    }

    fn arn(&self) -> String {
        format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{}", self.table)
    }

    fn is_table(&self, name: &str) -> bool {
        name == self.table || name == self.arn()
    }

    async fn serve(self: Arc<Self>, mut connection: Connection) -> io::Result<()> {
        self.state().stats.connections += 1;
        while let Some(request) = connection.read_request().await? {
            let target = request
                .header("x-amz-target")
                .unwrap_or_default()
                .to_owned();
            let operation = target.strip_prefix("DynamoDB_20120810.").map(str::to_owned);
            let write = operation.as_deref() == Some("BatchWriteItem");
            let (reply, id) = self.begin(&request, target, operation.as_deref());
            self.changed.notify_all();
            self.arrived.send_modify(|so_far| {
                let state = self.state();
                *so_far = (state.writes, state.reads);
            });
            if !self.latency.is_zero() {
                tokio::time::sleep(self.latency).await;
            }
            match reply.delivery {
                Delivery::AfterCall(k) => {
                    let mut arrived = self.arrived.subscribe();
                    let come = |&(writes, reads): &(u64, u64)| if write { writes } else { reads };
                    let _ = arrived.wait_for(|so_far| come(so_far) >= k).await;
                }
                Delivery::Never => std::future::pending().await,
                _ => {}
            }
            if write {
                self.state().in_flight -= 1;
            }
            let body = reply.answer.body.len();
            let answer = reply
                .answer
                .header("Content-Type", "application/x-amz-json-1.0")
                .header("x-amzn-RequestId", id)
                .encode();
            let written = match reply.delivery {
                Delivery::Close => return Ok(()),
                Delivery::Half => {
                    return connection
                        .write(&answer[..answer.len() - body.div_ceil(2)])
                        .await;
                }
                _ => connection.write(&answer).await,
            };
            if written.is_err() {
                self.state().stats.items_written -= reply.acknowledged;
            }
            written?;
        }
        Ok(())
    }

    /// Executes a request and counts it. Returns the response and its id.
    fn begin(&self, request: &Request, target: String, operation: Option<&str>) -> (Reply, String) {
        let mut state = self.state();
        state.requests += 1;
        let id = format!("{:052}", state.requests);
        if operation == Some("BatchWriteItem") {
            state.in_flight += 1;
            state.stats.max_concurrent = state.stats.max_concurrent.max(state.in_flight);
        }
        *state.stats.targets.entry(target).or_default() += 1;
        state.stats.signers.extend(request.signer());
        if let Some(secret) = &self.secret
            && !request.is_signed(secret, "dynamodb")
        {
            state.stats.unsigned += 1;
            let why = format!(
                "The request signature we calculated does not match the signature you \
                 provided. Check your AWS Secret Access Key and signing method. Consult \
                 the service documentation for details.\n\nThe Canonical String for this \
                 request should have been\n'POST\n/\n\nhost:{}\nx-amz-security-token:{}\n'\n",
                request.header("host").unwrap_or_default(),
                request.header("x-amz-security-token").unwrap_or_default(),
            );
            return (error(400, "InvalidSignatureException", &why).into(), id);
        }
        let operation = match operation {
            Some(known) if request.method == "POST" => known,
            _ => return (malformed("no operation of DynamoDB_20120810").into(), id),
        };
        let writes = state.writes + u64::from(operation == "BatchWriteItem");
        let expired = state.plan.expired.as_ref();
        if expired.is_some_and(|(k, key)| writes >= *k && request.is_signed_by(key)) {
            state.stats.expired += 1;
            return (early_reply(&Fault::ExpiredToken).expect("an answer"), id);
        }
        if state.plan.denied.contains(operation) {
            let message = format!(
                "User: arn:aws:iam::{ACCOUNT}:user/test is not authorized to perform: \
                 dynamodb:{operation} on resource: {} because no identity-based policy \
                 allows the dynamodb:{operation} action",
                self.arn()
            );
            return (error(400, "AccessDeniedException", &message).into(), id);
        }
        let body = serde_json::from_slice::<Value>(&request.body);
        let body = match body.map_err(|e| e.to_string()) {
            Ok(Value::Object(body)) => Ok(body),
            Ok(_) => Err("Start of structure or map found where not expected".to_owned()),
            Err(why) => Err(why),
        };
        let reply = match (operation, body) {
            ("BatchWriteItem", body) => {
                let length = request.body.len();
                self.batch_write(&mut state, body.map_err(malformed), length)
            }
            (_, Err(why)) => malformed(why).into(),
            ("BatchGetItem", Ok(body)) => self.batch_get(&mut state, &body),
            ("DescribeTable", Ok(body)) => into_answer(self.describe(&mut state, &body)).into(),
            ("UpdateTable", Ok(body)) => into_answer(self.update(&mut state, &body)).into(),
            ("GetItem", Ok(body)) => into_answer(self.get(&state, &body)).into(),
            ("DeleteItem", Ok(body)) => self.delete_item(&mut state, &body),
            ("Scan", Ok(body)) => into_answer(self.scan(&mut state, &body)).into(),
            _ => error(400, "UnknownOperationException", "").into(),
        };
        (reply, id)
    }

    fn batch_write(&self, state: &mut State, body: Result<Item, Answer>, length: usize) -> Reply {
        state.writes += 1;
        state.stats.calls += 1;
        state.stats.largest_request = state.stats.largest_request.max(length);
        // Checked before any fault, so that the counts are complete.
        let batch = body.and_then(|body| self.check_batch(&mut state.stats, &body, length));

        let k = state.writes;
        let mut rng = state.plan.chance.rng(k);
        let planned = state.plan.writes.get(&k);
        let lasting = state.plan.writes_from.as_ref();
        let fault = planned
            .or_else(|| {
                lasting
                    .filter(|(from, _)| k >= *from)
                    .map(|(_, fault)| fault)
            })
            .cloned()
            .or_else(|| state.plan.chance.fault(&mut rng));
        if let Some(reply) = fault.as_ref().and_then(early_reply) {
            match reply.delivery {
                Delivery::Close => state.stats.dropped += 1,
                _ => state.stats.failed += 1,
            }
            return reply;
        }
        let batch = batch.and_then(|batch| {
            let refuse = state.plan.invalid_items.as_ref();
            match batch
                .requests
                .iter()
                .filter_map(|(_, item, _)| item.as_ref())
                .any(|item| refuse.is_some_and(|refuse| refuse(item)))
            {
                true => Err(invalid(
                    "One or more parameter values were invalid: an item of this batch is refused",
                )),
                false => Ok(batch),
            }
        });
        let batch = match batch {
            Ok(batch) => batch,
            Err(refusal) => {
                state.stats.validation_errors += 1;
                return refusal.into();
            }
        };
        if let Some(refusal) = fault.as_ref().and_then(|fault| self.throttle(fault)) {
            state.stats.throttled += 1;
            return refusal.into();
        }

        let count = batch.requests.len();
        let kept = match &fault {
            Some(Fault::Unprocessed(n)) => count.saturating_sub(*n),
            Some(Fault::UnprocessedAll) => 0,
            _ => count,
        };
        if let Some(bucket) = &mut state.bucket {
            bucket.fill();
        }
        let by_chance = if fault.is_none() {
            state.plan.chance.unprocessed
        } else {
            0.0
        };
        let (mut stored, mut units, mut unprocessed) = (0, 0, Vec::new());
        for (index, (key, item, request)) in batch.requests.into_iter().enumerate() {
            let old = state.items.get(&key).map_or(0, units_of);
            let cost = old.max(item.as_ref().map_or(1, units_of));
            let succeeds = index < kept
                && !(by_chance > 0.0 && rng.f64() < by_chance)
                && state.bucket.as_mut().is_none_or(|bucket| bucket.take(cost));
            if succeeds {
                match item {
                    _ if fault == Some(Fault::Forget) => {}
                    Some(item) => drop(state.items.insert(key, item)),
                    None => drop(state.items.remove(&key)),
                }
                stored += 1;
                units += cost;
            } else {
                unprocessed.push(request);
            }
        }
        if stored == 0 && fault.is_none() {
            state.stats.throttled += 1;
            return throttled().into();
        }
        state.stats.items_stored += stored;
        state.stats.consumed_units += units;
        state.stats.unprocessed += unprocessed.len() as u64;
        if fault == Some(Fault::UnknownUnprocessed) {
            unprocessed.push(json!({ "PutRequest": { "Item": self.unsent_item() } }));
        }
        let mut answer = json!({ "UnprocessedItems": {} });
        if !unprocessed.is_empty() {
            answer["UnprocessedItems"][&self.table] = Value::Array(unprocessed);
        }
        self.add_consumed(&mut answer, &batch.capacity, units as f64);
        let delivery = match fault {
            Some(Fault::DropAfter) => Delivery::Close,
            Some(Fault::CutAnswer) => Delivery::Half,
            Some(Fault::HoldUntil(k)) => Delivery::AfterCall(k),
            _ => Delivery::Whole,
        };
        let lost = matches!(delivery, Delivery::Close | Delivery::Half);
        let acknowledged = if lost { 0 } else { stored };
        state.stats.dropped += u64::from(lost);
        state.stats.items_written += acknowledged;
        Reply {
            answer: ok(&answer),
            delivery,
            acknowledged,
        }
    }

    /// Validates a BatchWriteItem in DynamoDB's order.
    fn check_batch(&self, stats: &mut Stats, body: &Item, length: usize) -> Result<Batch, Answer> {
        let tables = tables(body, "RequestItems", "requestItems")?;
        let mut offered = Vec::new();
        for (table, requests) in tables {
            for request in list(requests)? {
                offered.push((table, request));
            }
        }
        stats.items_offered += offered.len() as u64;
        *stats.batch_sizes.entry(offered.len()).or_default() += 1;
        if offered.is_empty() || offered.len() > MAX_BATCH {
            return Err(invalid(
                "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: \
                 Map value must satisfy constraint: [Member must have length less than or equal to \
                 25, Member must have length greater than or equal to 1]",
            ));
        }
        if length > MAX_REQUEST {
            return Err(invalid(
                "The batch's request size exceeds the limit of 16 MB",
            ));
        }
        if offered.iter().any(|(table, _)| !self.is_table(table)) {
            return Err(not_found("Requested resource not found"));
        }
        // Every item is checked, even after an invalid one, to count duplicate keys.
        let mut seen = HashSet::new();
        let mut repeated = 0;
        let requests: Vec<Result<Write, Answer>> = offered
            .into_iter()
            .map(|(_, request)| {
                if let Some(key) = request
                    .pointer("/DeleteRequest/Key")
                    .and_then(Value::as_object)
                {
                    let key = self.key.exact_key(key)?;
                    repeated += u64::from(!seen.insert(key.clone()));
                    return Ok((key, None, request.clone()));
                }
                let item = request
                    .pointer("/PutRequest/Item")
                    .and_then(Value::as_object);
                let item = item.ok_or_else(|| invalid("neither a put nor a delete"))?;
                let size = item::size(item)?;
                let key = self.key.key_of(item)?;
                repeated += u64::from(!seen.insert(key.clone()));
                if size > item::MAX_ITEM {
                    return Err(invalid("Item size has exceeded the maximum allowed size"));
                }
                Ok((key, Some(item.clone()), request.clone()))
            })
            .collect();
        stats.duplicates_in_batch += repeated;
        let requests = requests.into_iter().collect::<Result<_, _>>()?;
        if repeated > 0 {
            return Err(invalid("Provided list of item keys contains duplicates"));
        }
        let capacity = body.get("ReturnConsumedCapacity").and_then(Value::as_str);
        let capacity = capacity.unwrap_or("NONE").to_owned();
        if !["NONE", "TOTAL", "INDEXES"].contains(&capacity.as_str()) {
            return Err(invalid(format!(
                "1 validation error detected: Value '{capacity}' at 'returnConsumedCapacity' failed \
                 to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
            )));
        }
        Ok(Batch { requests, capacity })
    }

    /// The response to a throttled call; `None` for other faults.
    fn throttle(&self, fault: &Fault) -> Option<Answer> {
        match fault {
            Fault::Throttle => Some(throttled()),
            Fault::Throttling(reasons) => {
                let reasons: Vec<_> = reasons
                    .iter()
                    .map(|reason| json!({ "reason": reason, "resource": self.arn() }))
                    .collect();
                let body = json!({
                    "__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException",
                    "message": "Throughput exceeds the current capacity of your table or index.",
                    "throttlingReasons": reasons,
                });
                Some(Answer::new(400, body.to_string()))
            }
            _ => None,
        }
    }

    /// An item of this table that no client sent.
    fn unsent_item(&self) -> Item {
        let keys = [Some(&self.key.partition), self.key.sort.as_ref()];
        let keys = keys.into_iter().flatten();
        keys.map(|(name, kind)| {
            let content = match kind {
                KeyType::S => "nobody sent this",
                KeyType::B => "bm9ib2R5IHNlbnQgdGhpcw==",
                KeyType::N => "-1",
            };
            (name.clone(), json!({ kind.name(): content }))
        })
        .collect()
    }

    fn add_consumed(&self, answer: &mut Value, detail: &str, units: f64) {
        let mut consumed = json!({ "TableName": self.table, "CapacityUnits": units });
        match detail {
            "TOTAL" => {}
            "INDEXES" => consumed["Table"] = json!({ "CapacityUnits": units }),
            _ => return,
        }
        answer["ConsumedCapacity"] = json!([consumed]);
    }

    fn describe(&self, state: &mut State, body: &Item) -> Result<Answer, Answer> {
        let name = body
            .get("TableName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !self.is_table(name) {
            let message = format!("Requested resource not found: Table: {name} not found");
            return Err(not_found(&message));
        }
        let keys = [
            (Some(&self.key.partition), "HASH"),
            (self.key.sort.as_ref(), "RANGE"),
        ];
        let keys = keys
            .into_iter()
            .filter_map(|(key, role)| Some((key?, role)));
        let (definitions, schema): (Vec<_>, Vec<_>) = keys
            .map(|((name, kind), role)| {
                (
                    json!({ "AttributeName": name, "AttributeType": kind.name() }),
                    json!({ "AttributeName": name, "KeyType": role }),
                )
            })
            .unzip();
        let bytes: usize = state
            .items
            .values()
            .map(|item| item::size(item).unwrap_or(0))
            .sum();
        let mut table = json!({
            "AttributeDefinitions": definitions,
            "TableName": self.table,
            "KeySchema": schema,
            "TableStatus": "ACTIVE",
            "CreationDateTime": 1_790_000_000.5,
            "TableSizeBytes": bytes,
            "ItemCount": state.items.len(),
            "TableArn": self.arn(),
            "TableId": "2b1ff2c8-5f5e-4f7e-9d5c-0a7f3b3c1d2e",
            "DeletionProtectionEnabled": false,
        });
        let (reads, writes) = match state.billing {
            Billing::Provisioned { wcu } => (5, wcu),
            Billing::OnDemand { max } => {
                table["BillingModeSummary"] = json!({
                    "BillingMode": "PAY_PER_REQUEST",
                    "LastUpdateToPayPerRequestDateTime": 1_790_000_000.5,
                });
                if let Some(max) = max {
                    table["OnDemandThroughput"] =
                        json!({ "MaxReadRequestUnits": -1, "MaxWriteRequestUnits": max });
                }
                (0, 0)
            }
        };
        table["ProvisionedThroughput"] = json!({
            "NumberOfDecreasesToday": state.decreases,
            "ReadCapacityUnits": reads,
            "WriteCapacityUnits": writes,
        });
        for (field, value) in &state.describe {
            table[field] = value.clone();
        }
        match (&state.update, state.describes_left) {
            (Some(_), 1..) => {
                table["TableStatus"] = json!("UPDATING");
                state.describes_left -= 1;
            }
            (Some(_), 0) => {
                self.finish_update(state);
                return self.describe(state, body);
            }
            (None, _) => {}
        }
        Ok(ok(&json!({ "Table": table })))
    }

    /// UpdateTable of provisioned capacity. It takes effect after one or more
    /// descriptions of the table.
    fn update(&self, state: &mut State, body: &Item) -> Result<Answer, Answer> {
        self.check_table(body)?;
        if state.update.is_some() {
            let message = format!(
                "Attempt to change a resource which is still in use: Table is being updated: {}",
                self.table
            );
            return Err(error(400, "ResourceInUseException", &message));
        }
        let Billing::Provisioned { wcu } = state.billing else {
            return Err(invalid(
                "ProvisionedThroughput cannot be specified when BillingMode is PAY_PER_REQUEST",
            ));
        };
        let units =
            |throughput: &Value| throughput["WriteCapacityUnits"].as_u64().filter(|u| *u > 0);
        let mut wanted: BTreeMap<Option<String>, u64> = BTreeMap::new();
        if let Some(throughput) = body.get("ProvisionedThroughput") {
            let units = units(throughput).ok_or_else(|| invalid("WriteCapacityUnits"))?;
            wanted.insert(None, units);
        }
        for update in body
            .get("GlobalSecondaryIndexUpdates")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let update = &update["Update"];
            let name = update["IndexName"]
                .as_str()
                .ok_or_else(|| invalid("IndexName"))?;
            let units = units(&update["ProvisionedThroughput"])
                .ok_or_else(|| invalid("WriteCapacityUnits"))?;
            wanted.insert(Some(name.to_owned()), units);
        }
        let mut lowers = false;
        for (part, units) in &wanted {
            let now = match part {
                None => wcu,
                Some(name) => {
                    let index = Self::index(state, name).ok_or_else(|| invalid("no such index"))?;
                    index["ProvisionedThroughput"]["WriteCapacityUnits"]
                        .as_u64()
                        .unwrap_or(0)
                }
            };
            if now == *units {
                return Err(invalid(
                    "The provisioned throughput for the table will not change.",
                ));
            }
            lowers |= *units < now;
        }
        if lowers && state.decreases >= state.max_decreases {
            let message = "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day";
            return Err(error(400, "LimitExceededException", message));
        }
        state.decreases += u64::from(lowers);
        state.update = Some(wanted);
        state.describes_left = 1;
        Ok(ok(
            &json!({ "TableDescription": { "TableName": self.table, "TableStatus": "UPDATING" } }),
        ))
    }

    fn finish_update(&self, state: &mut State) {
        let mut now = BTreeMap::new();
        for (part, units) in state.update.take().into_iter().flatten() {
            match &part {
                None => state.billing = Billing::Provisioned { wcu: units },
                Some(name) => {
                    if let Some(index) = Self::index(state, name) {
                        index["ProvisionedThroughput"]["WriteCapacityUnits"] = json!(units);
                    }
                }
            }
            now.insert(part.unwrap_or_else(|| self.table.clone()), units);
        }
        state.stats.updates.push(now);
    }

    fn index<'a>(state: &'a mut State, name: &str) -> Option<&'a mut Value> {
        let indexes = state
            .describe
            .get_mut("GlobalSecondaryIndexes")?
            .as_array_mut()?;
        indexes.iter_mut().find(|i| i["IndexName"] == name)
    }

    fn batch_get(&self, state: &mut State, body: &Item) -> Reply {
        state.reads += 1;
        state.stats.gets += 1;
        let lasting = state.plan.reads_from.as_ref();
        let lasting = lasting.filter(|(from, _)| state.reads >= *from);
        let planned = state.plan.reads.get(&state.reads);
        let fault = planned.or(lasting.map(|(_, fault)| fault)).cloned();
        if let Some(fault) = &fault {
            if let Some(reply) = early_reply(fault) {
                return reply;
            }
            if let Some(refusal) = self.throttle(fault) {
                state.stats.gets_throttled += 1;
                return refusal.into();
            }
        }
        let answer = into_answer(self.batch_get_answer(state, body, fault.as_ref()));
        Reply::from(answer).deliver(match fault {
            Some(Fault::DropAfter) => Delivery::Close,
            Some(Fault::CutAnswer) => Delivery::Half,
            Some(Fault::HoldUntil(k)) => Delivery::AfterCall(k),
            _ => Delivery::Whole,
        })
    }

    fn batch_get_answer(
        &self,
        state: &mut State,
        body: &Item,
        fault: Option<&Fault>,
    ) -> Result<Answer, Answer> {
        let tables = tables(body, "RequestItems", "requestItems")?;
        let [(table, wanted)] = &tables.iter().collect::<Vec<_>>()[..] else {
            return Err(invalid("this server has one table"));
        };
        if !self.is_table(table) {
            return Err(not_found("Requested resource not found"));
        }
        let wanted = wanted.as_object().ok_or_else(|| malformed("not a map"))?;
        let keys = list(wanted.get("Keys").unwrap_or(&Value::Null))?;
        if keys.is_empty() || keys.len() > MAX_GET {
            return Err(invalid(
                "Too many items requested for the BatchGetItem call",
            ));
        }
        let mut seen = HashSet::new();
        for key in keys {
            let key = key.as_object().ok_or_else(|| malformed("not a map"))?;
            if !seen.insert(self.key.exact_key(key)?) {
                return Err(invalid("Provided list of item keys contains duplicates"));
            }
        }
        let kept = match fault {
            Some(Fault::Unprocessed(n)) => keys.len().saturating_sub(*n),
            Some(Fault::UnprocessedAll) => 0,
            _ => keys.len(),
        };
        let projection = Projection::from_request(wanted)?;
        if let Some(names) = wanted.get("ExpressionAttributeNames") {
            projection.uses_all(names)?;
        }
        let strong = wanted.get("ConsistentRead").and_then(Value::as_bool) == Some(true);
        let (mut found, mut units) = (Vec::new(), 0.0);
        for key in &keys[..kept] {
            let key = key.as_object().map(|key| self.key.exact_key(key));
            let item = key.transpose()?.and_then(|key| state.items.get(&key));
            let is_stale = state.plan.stale.as_ref().filter(|_| !strong);
            let item = item.filter(|item| !is_stale.is_some_and(|unseen| unseen(item)));
            // A missing item costs as much as the smallest item.
            let size = item.map_or(0, |item| item::size(item).unwrap_or(0));
            let four_kb = size.div_ceil(4096).max(1) as f64;
            units += if strong { four_kb } else { four_kb / 2.0 };
            found.extend(item.map(|item| projection.apply(item)));
        }
        state.stats.keys_asked[usize::from(strong)] += keys.len() as u64;
        state.stats.keys_unprocessed += (keys.len() - kept) as u64;
        state.stats.consumed_read_units += units;
        if let Projection(Some(names)) = &projection {
            state.stats.projected.extend(names.iter().cloned());
        }
        let mut answer = json!({ "Responses": { *table: found }, "UnprocessedKeys": {} });
        if kept < keys.len() {
            let mut unprocessed = wanted.clone();
            unprocessed.insert("Keys".to_owned(), keys[kept..].into());
            answer["UnprocessedKeys"][*table] = Value::Object(unprocessed);
        }
        let capacity = body.get("ReturnConsumedCapacity").and_then(Value::as_str);
        self.add_consumed(&mut answer, capacity.unwrap_or("NONE"), units);
        Ok(ok(&answer))
    }

    fn get(&self, state: &State, body: &Item) -> Result<Answer, Answer> {
        self.check_table(body)?;
        let key = body.get("Key").and_then(Value::as_object);
        let key = self
            .key
            .exact_key(key.ok_or_else(|| malformed("not a key"))?)?;
        let projection = Projection::from_request(body)?;
        Ok(ok(&match state.items.get(&key) {
            Some(item) => json!({ "Item": projection.apply(item) }),
            None => json!({}),
        }))
    }

    /// DeleteItem. A delete of a missing item costs one unit.
    fn delete_item(&self, state: &mut State, body: &Item) -> Reply {
        state.deletes += 1;
        let fault = state.plan.deletes.get(&state.deletes).cloned();
        if let Some(reply) = fault.as_ref().and_then(early_reply) {
            return reply;
        }
        if let Some(refusal) = fault.as_ref().and_then(|fault| self.throttle(fault)) {
            return refusal.into();
        }
        let reply = Reply::from(into_answer(self.delete_one(state, body)));
        match fault {
            Some(Fault::DropAfter) => reply.deliver(Delivery::Close),
            Some(Fault::CutAnswer) => reply.deliver(Delivery::Half),
            _ => reply,
        }
    }

    fn delete_one(&self, state: &mut State, body: &Item) -> Result<Answer, Answer> {
        self.check_table(body)?;
        let key = body.get("Key").and_then(Value::as_object);
        let key = key.ok_or_else(|| malformed("not a key"))?;
        let key = self.key.exact_key(key)?;
        let old = state.items.get(&key);
        let units = old.map_or(1, units_of);
        state.stats.consumed_units += units;
        if let Some(condition) = body.get("ConditionExpression") {
            let condition = condition.as_str().ok_or_else(|| malformed("no text"))?;
            if !condition_holds(condition, body, old)? {
                return Err(error(
                    400,
                    "ConditionalCheckFailedException",
                    "The conditional request failed",
                ));
            }
        }
        state.items.remove(&key);
        let consumed = json!({"TableName": self.table, "CapacityUnits": units as f64});
        Ok(ok(&json!({ "ConsumedCapacity": consumed })))
    }

    fn scan(&self, state: &mut State, body: &Item) -> Result<Answer, Answer> {
        self.check_table(body)?;
        let projection = Projection::from_request(body)?;
        let limit = body.get("Limit").and_then(Value::as_u64);
        let limit = limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let count = state.items.len().min(limit);
        let mut answer = json!({ "Count": count, "ScannedCount": count });
        if body.get("Select").and_then(Value::as_str) != Some("COUNT") {
            answer["Items"] = state
                .items
                .values()
                .take(limit)
                .map(|item| projection.apply(item))
                .collect();
        }
        if body.contains_key("ReturnConsumedCapacity") {
            let each = state.items.values().take(limit);
            let size: usize = each.map(|item| item::size(item).unwrap_or(0)).sum();
            let units = size.div_ceil(4096).max(1) as f64 / 2.0;
            state.stats.consumed_read_units += units;
            answer["ConsumedCapacity"] = json!({"TableName": self.table, "CapacityUnits": units});
        }
        Ok(ok(&answer))
    }

    fn check_table(&self, body: &Item) -> Result<(), Answer> {
        match body.get("TableName").and_then(Value::as_str) {
            Some(name) if self.is_table(name) => Ok(()),
            _ => Err(not_found("Requested resource not found")),
        }
    }
}

/// True if a condition holds for `item`. Supports `attribute_not_exists(#a)` and `#a =
/// :b`, joined by OR.
fn condition_holds(condition: &str, body: &Item, item: Option<&Item>) -> Result<bool, Answer> {
    let look_up = |map: &str, name: &str| {
        let known = body.get(map).and_then(|map| map.get(name));
        known
            .cloned()
            .ok_or_else(|| invalid(format!("{name} is not defined in {map}")))
    };
    let attribute = |name: &str| {
        let name = look_up("ExpressionAttributeNames", name)?;
        let name = name.as_str().unwrap_or_default().to_owned();
        Ok::<_, Answer>(item.and_then(|item| item.get(&name)))
    };
    let mut any = false;
    for clause in condition.split(" OR ") {
        let absent = clause
            .strip_prefix("attribute_not_exists(")
            .and_then(|rest| rest.strip_suffix(')'));
        any |= match (absent, clause.split_once(" = ")) {
            (Some(name), _) => attribute(name)?.is_none(),
            (None, Some((name, value))) => {
                let value = look_up("ExpressionAttributeValues", value)?;
                attribute(name)? == Some(&value)
            }
            (None, None) => return Err(invalid(format!("a condition like {clause}"))),
        };
    }
    Ok(any)
}

fn into_answer(answer: Result<Answer, Answer>) -> Answer {
    answer.unwrap_or_else(|error| error)
}

fn units_of(item: &Item) -> u64 {
    item::write_units(item::size(item).unwrap_or(0))
}

/// The response to a call that is not executed; `None` for other faults.
fn early_reply(fault: &Fault) -> Option<Reply> {
    let closed = || Reply::from(ok(&json!({}))).deliver(Delivery::Close);
    Some(match fault {
        Fault::DropBefore => closed(),
        Fault::Stall => closed().deliver(Delivery::Never),
        Fault::Garbage => Answer::new(200, "<html>It works!</html>").into(),
        Fault::Body(body) => Answer::new(200, body.clone()).into(),
        Fault::Http(status, "") => Answer::new(*status, "<html>Try again later</html>").into(),
        Fault::Http(status, code) => error(*status, code, "The request failed").into(),
        Fault::AccessDenied => {
            error(400, "AccessDeniedException", "User: test is not authorized").into()
        }
        Fault::ExpiredToken => error(
            400,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        )
        .into(),
        _ => return None,
    })
}

/// A required map by table name.
fn tables<'a>(body: &'a Item, field: &str, as_told: &str) -> Result<&'a Item, Answer> {
    match body.get(field) {
        Some(Value::Object(tables)) if tables.is_empty() => Err(invalid(format!(
            "1 validation error detected: Value '{{}}' at '{as_told}' failed to satisfy constraint: \
             Member must have length greater than or equal to 1"
        ))),
        Some(Value::Object(tables)) => Ok(tables),
        None | Some(Value::Null) => Err(invalid(format!(
            "1 validation error detected: Value null at '{as_told}' failed to satisfy constraint: \
             Member must not be null"
        ))),
        Some(_) => Err(malformed("Unexpected value type in payload")),
    }
}

fn list(value: &Value) -> Result<&[Value], Answer> {
    let list = value.as_array().map(Vec::as_slice);
    list.ok_or_else(|| malformed("Unexpected value type in payload"))
}

/// Reserved words that expressions cannot use as names; those that are likely here.
/// Source: Developer Guide, "Reserved words in DynamoDB".
const RESERVED: [&str; 10] = [
    "COMMENT", "DATE", "DESC", "HASH", "KEY", "NAME", "SIZE", "SOURCE", "STATUS", "TYPE",
];

/// A ProjectionExpression of whole attributes.
struct Projection(Option<Vec<String>>);

impl Projection {
    fn from_request(body: &Item) -> Result<Self, Answer> {
        let Some(expression) = body.get("ProjectionExpression").and_then(Value::as_str) else {
            return Ok(Self(None));
        };
        let named = body
            .get("ExpressionAttributeNames")
            .and_then(Value::as_object);
        let names = expression.split(',').map(str::trim).map(|name| {
            let word = name.to_ascii_uppercase();
            if RESERVED.contains(&word.as_str()) {
                return Err(invalid(format!(
                    "Invalid ProjectionExpression: Attribute name is a reserved keyword; reserved \
                     keyword: {name}"
                )));
            }
            if !name.starts_with('#') {
                return Ok(name.to_owned());
            }
            let real = named
                .and_then(|named| named.get(name))
                .and_then(Value::as_str);
            real.map(str::to_owned).ok_or_else(|| {
                invalid(format!(
                    "Invalid ProjectionExpression: An expression attribute name used in the \
                     document path is not defined; attribute name: {name}"
                ))
            })
        });
        Ok(Self(Some(names.collect::<Result<_, _>>()?)))
    }

    /// Checks that the expression uses all names, as DynamoDB does.
    fn uses_all(&self, names: &Value) -> Result<(), Answer> {
        let used = self.0.as_deref().unwrap_or_default();
        let unused = names.as_object().into_iter().flatten().find(|(_, name)| {
            let name = name.as_str().unwrap_or_default();
            !used.iter().any(|used| used == name)
        });
        match unused {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!(
                "Value provided in ExpressionAttributeNames unused in expressions: keys: {{{name}}}"
            ))),
        }
    }

    fn apply(&self, item: &Item) -> Value {
        let Some(names) = &self.0 else {
            return Value::Object(item.clone());
        };
        let kept = item.iter().filter(|(name, _)| names.contains(name));
        Value::Object(
            kept.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }
}
