//! A DynamoDB with one table, which keeps the rules and breaks them on demand.
//!
//! It answers DescribeTable, BatchWriteItem, BatchGetItem, GetItem, DeleteItem and
//! Scan over HTTP on the loopback interface, refuses what DynamoDB refuses in
//! DynamoDB's own words, and counts: what was offered, stored, handed back and
//! acknowledged, how often and how large. A test runs a client against it and
//! then compares the client's books with these.
//!
//! ```ignore
//! let plan = FaultPlan::default().at(3, Fault::DropAfter).refuse_key("AB12…");
//! let dynamo = FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::S).plan(plan));
//! // … point a client at dynamo.endpoint(), run it …
//! assert_eq!(dynamo.stats().items_written, 1_000);
//! ```
//!
//! **Faults are a value, not a script.** A [`FaultPlan`] says what befalls the
//! k-th BatchWriteItem, from 1 in order of arrival; or draws it by rates from a
//! seed, where what is drawn depends on the seed and k alone; or names items
//! that are never taken; or sets a capacity, beyond which items come back.
//! [`FakeDynamo::set_plan`] replaces it while the table stays: one run fails,
//! the next resumes.
//!
//! **Written and acknowledged are two counts.** A lost answer leaves an item
//! stored that nobody was told about: it is in [`Stats::items_stored`], but not
//! in [`Stats::items_written`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::item::{self, Item, KeySchema, Refusal};
use super::wire::{Answer, Connection, Request, Server};

pub use super::item::KeyType;

/// Most requests in one BatchWriteItem. Source: API reference, BatchWriteItem.
const MAX_BATCH: usize = 25;
/// Largest BatchWriteItem as sent. Source: API reference, BatchWriteItem.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// Most keys in one BatchGetItem. Source: API reference, BatchGetItem.
const MAX_GET: usize = 100;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

/// How the table is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// So many write units a second.
    Provisioned {
        /// Write capacity units.
        wcu: u64,
    },
    /// By the request.
    OnDemand {
        /// `OnDemandThroughput.MaxWriteRequestUnits`, if set.
        max: Option<u64>,
    },
}

/// The table and how it behaves.
#[derive(Clone, Debug)]
pub struct DynamoConfig {
    /// The table's name.
    pub table: String,
    /// The table's key.
    pub key: KeySchema,
    /// What DescribeTable says of its capacity. Not enforced: see
    /// [`FaultPlan::capacity`].
    pub billing: Billing,
    /// What goes wrong.
    pub plan: FaultPlan,
    /// Time between a call and its answer, by the real clock.
    pub latency: Duration,
    /// Fields that replace or add to DescribeTable's `Table`.
    pub describe: Map<String, Value>,
    /// The secret access key requests must be signed with. Without one,
    /// signatures are not looked at.
    pub secret: Option<String>,
}

impl DynamoConfig {
    /// A table of this name and partition key, 40,000 write units, no faults.
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

    /// Refuses whatever isn't signed with this secret access key.
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

    /// Sets one field of what DescribeTable says: `GlobalSecondaryIndexes`,
    /// `Replicas`, `TableStatus`, …
    pub fn describe(mut self, field: &str, value: Value) -> Self {
        self.describe.insert(field.to_owned(), value);
        self
    }
}

/// What befalls one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The last n items (or keys, for a read) come back unprocessed. When
    /// these are all, DynamoDB would throttle instead; this answers 200.
    Unprocessed(usize),
    /// All of them come back.
    UnprocessedAll,
    /// Everything is written, and an item nobody sent comes back.
    UnknownUnprocessed,
    /// Everything is acknowledged; nothing written.
    Forget,
    /// ProvisionedThroughputExceededException; nothing written.
    Throttle,
    /// ThrottlingException with these reasons; nothing written.
    Throttling(Vec<&'static str>),
    /// This status and error code; nothing written. Without a code the body is
    /// the HTML of some machine in between.
    Http(u16, &'static str),
    /// AccessDeniedException; nothing written.
    AccessDenied,
    /// ExpiredTokenException; nothing written.
    ExpiredToken,
    /// The connection closes without an answer; nothing written.
    DropBefore,
    /// Everything is written; the connection closes without an answer.
    DropAfter,
    /// Everything is written; the answer breaks off halfway.
    CutAnswer,
    /// Status 200 and a body that isn't JSON; nothing written, so that a
    /// client that takes it for success loses items.
    Garbage,
    /// Status 200 and this body; nothing read or written.
    Says(String),
    /// No answer, until the server stops; nothing written.
    Stall,
    /// Everything is written; the answer waits until the k-th call has come
    /// in, or until the server stops. Reorders answers without a clock.
    HoldUntil(u64),
}

/// Faults by rates. All zero unless set; each is between 0 and 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chance {
    /// The same seed draws the same for the same k.
    pub seed: u64,
    /// Share of items handed back.
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

/// A table's capacity, as a bucket of write units filled by the real clock.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Units a second.
    pub rate: f64,
    /// How many seconds' worth of unused units are kept.
    pub burst: f64,
    /// How many seconds' worth there are at the start.
    pub saved: f64,
}

type Refuse = Arc<dyn Fn(&Item) -> bool + Send + Sync>;

/// What goes wrong, and when. The default is: nothing.
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
    /// Items that an eventually consistent read does not see yet.
    pub unseen: Option<Refuse>,
    /// Faults by rates, for BatchWriteItem calls without one of the above.
    pub chance: Chance,
    /// Items that make their whole batch fail with ValidationException.
    pub refuse: Option<Refuse>,
    /// The table's capacity. Items beyond it come back unprocessed; a call of
    /// which none fits is throttled.
    pub capacity: Option<Capacity>,
    /// From the k-th BatchWriteItem on, whatever comes with this access key is
    /// refused with ExpiredTokenException.
    pub expired: Option<(u64, String)>,
    /// Operations (`DescribeTable`, …) refused with AccessDeniedException.
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

    /// Hides the items of which this is true from eventually consistent reads.
    pub fn unseen(mut self, unseen: impl Fn(&Item) -> bool + Send + Sync + 'static) -> Self {
        self.unseen = Some(Arc::new(unseen));
        self
    }

    /// These rates.
    pub fn chance(mut self, chance: Chance) -> Self {
        self.chance = chance;
        self
    }

    /// Refuses every batch with an item of which this is true, besides those
    /// refused already.
    pub fn refuse(mut self, refuse: impl Fn(&Item) -> bool + Send + Sync + 'static) -> Self {
        let before = self.refuse.take();
        self.refuse = Some(Arc::new(move |item| {
            refuse(item) || before.as_ref().is_some_and(|before| before(item))
        }));
        self
    }

    /// Refuses every batch with an item of which some attribute has this
    /// content: text, number, or base64.
    pub fn refuse_key(self, key: &str) -> Self {
        let key = key.to_owned();
        self.refuse(move |item| {
            let mut values = item.values().filter_map(Value::as_object);
            values.any(|value| value.values().any(|content| *content == *key))
        })
    }

    /// This capacity.
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Refuses this access key as expired from the k-th BatchWriteItem on.
    pub fn expire(mut self, k: u64, access_key_id: &str) -> Self {
        self.expired = Some((k, access_key_id.to_owned()));
        self
    }

    /// Refuses an operation with AccessDeniedException.
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
            .field("unseen", &self.unseen.is_some())
            .field("chance", &self.chance)
            .field("refuse", &self.refuse.is_some())
            .field("capacity", &self.capacity)
            .field("expired", &self.expired)
            .field("denied", &self.denied)
            .finish()
    }
}

/// What the server has seen and done.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// BatchWriteItem calls, whatever became of them.
    pub calls: u64,
    /// Items in these calls.
    pub items_offered: u64,
    /// Puts and deletes acknowledged to the client.
    pub items_written: u64,
    /// Puts and deletes done, acknowledged or not.
    pub items_stored: u64,
    /// Items in the table now.
    pub distinct: u64,
    /// Items handed back unprocessed.
    pub unprocessed: u64,
    /// Calls throttled whole.
    pub throttled: u64,
    /// Calls whose connection was closed before or within the answer.
    pub dropped: u64,
    /// Calls answered with an error other than a throttle or a refusal, with
    /// garbage, or not at all.
    pub failed: u64,
    /// Calls refused by validation, poisoned items included.
    pub refused: u64,
    /// Items that repeated a key of their own batch. A good client has none.
    pub duplicates_in_batch: u64,
    /// Most BatchWriteItem calls in the server at once.
    pub max_concurrent: u64,
    /// Calls by the number of their items.
    pub batch_sizes: BTreeMap<usize, u64>,
    /// The longest BatchWriteItem body.
    pub largest_request: usize,
    /// All calls by their X-Amz-Target.
    pub targets: BTreeMap<String, u64>,
    /// The access keys that signed, and the regions they signed for.
    pub signers: BTreeSet<(String, String)>,
    /// Requests refused for their signature.
    pub unsigned: u64,
    /// Requests refused because their access key has expired.
    pub expired: u64,
    /// Write units consumed.
    pub consumed_units: u64,
    /// BatchGetItem calls, whatever became of them.
    pub gets: u64,
    /// Keys in those that were carried out, by consistency: eventual, strong.
    pub keys_asked: [u64; 2],
    /// Keys handed back unread.
    pub keys_unprocessed: u64,
    /// BatchGetItem calls throttled whole.
    pub gets_throttled: u64,
    /// Read units consumed.
    pub consumed_read_units: f64,
    /// The attribute names that BatchGetItem calls asked for.
    pub projected: BTreeSet<String>,
    /// Connections accepted.
    pub connections: u64,
    /// Write units of the table and its indexes after each UpdateTable.
    pub updates: Vec<BTreeMap<String, u64>>,
}

/// The running server.
#[derive(Debug)]
pub struct FakeDynamo {
    server: Server,
    shared: Arc<Shared>,
}

impl FakeDynamo {
    /// Starts it. Works inside and outside of any runtime.
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
                looks: 0,
                decreases: 0,
                most_decreases: u64::MAX,
                describe: config.describe,
                items: BTreeMap::new(),
                stats: Stats::default(),
            }),
        });
        let serving = Arc::clone(&shared);
        let server = Server::start(move |connection| Arc::clone(&serving).serve(connection));
        Self { server, shared }
    }

    /// Where it listens, for AWS_ENDPOINT_URL_DYNAMODB.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.shared.state().snapshot()
    }

    /// The table: whole items by their key's bytes, see [`KeySchema::key_of`].
    pub fn items(&self) -> BTreeMap<Vec<u8>, Value> {
        let state = self.shared.state();
        let items = state.items.iter();
        items
            .map(|(key, item)| (key.clone(), Value::Object(item.clone())))
            .collect()
    }

    /// Puts an item (`{"sha256": {"S": "…"}}`) past the wire and the counts.
    ///
    /// # Panics
    /// When it isn't an item of this table.
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

    /// Refuses an operation with AccessDeniedException from now on.
    pub fn deny(&self, operation: &'static str) {
        self.shared.state().plan.denied.insert(operation);
    }

    /// Takes an item out of the table, past the wire and the counts.
    pub fn delete(&self, key: &[u8]) -> Option<Value> {
        self.shared.state().items.remove(key).map(Value::Object)
    }

    /// Replaces the plan. Its k counts from 1 again; table and counts stay.
    pub fn set_plan(&self, plan: FaultPlan) {
        let mut state = self.shared.state();
        state.bucket = plan.capacity.map(Bucket::new);
        state.plan = plan;
        state.writes = 0;
        state.reads = 0;
        state.deletes = 0;
    }

    /// Changes what DescribeTable says of the capacity.
    pub fn set_billing(&self, billing: Billing) {
        self.shared.state().billing = billing;
    }

    /// Provisioned write units of the table now; nothing when it is on demand.
    pub fn write_units(&self) -> Option<u64> {
        match self.shared.state().billing {
            Billing::Provisioned { wcu } => Some(wcu),
            Billing::OnDemand { .. } => None,
        }
    }

    /// Lets the capacity be lowered so many times more.
    pub fn set_decreases_left(&self, left: u64) {
        let mut state = self.shared.state();
        state.most_decreases = state.decreases + left;
    }

    /// Changes another field of what DescribeTable says.
    pub fn set_describe(&self, field: &str, value: Value) {
        self.shared.state().describe.insert(field.to_owned(), value);
    }

    /// Blocks until the counts satisfy `wanted`, and returns them; or `None`
    /// when that takes longer than `limit`.
    pub fn wait_until(&self, limit: Duration, wanted: impl Fn(&Stats) -> bool) -> Option<Stats> {
        let state = self.shared.state();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| !wanted(&state.snapshot()))
            .expect("the server has not panicked");
        (!waited.timed_out()).then(|| state.snapshot())
    }

    /// Stops it, as dropping does, and returns the final counts.
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
    /// How many BatchWriteItem calls of the present plan have come in.
    /// BatchWriteItem and BatchGetItem calls that have come in.
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
    /// The UpdateTable under way, and how many more descriptions show that.
    update: Option<BTreeMap<Option<String>, u64>>,
    looks: u64,
    decreases: u64,
    most_decreases: u64,
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

    /// Takes so many units if they are there. An item larger than the bucket
    /// fits once it is full, and leaves it in debt: it would never fit else.
    fn take(&mut self, units: u64) -> bool {
        let units = units as f64;
        let fits = self.level >= units.min(self.capacity.rate * self.capacity.burst);
        if fits {
            self.level -= units;
        }
        fits
    }
}

/// How an answer reaches the client.
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
    /// Puts this answer acknowledges.
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

/// An error in DynamoDB's form, under the name space the real one uses.
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

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Validation(why) => error(400, "ValidationException", &why),
            Refusal::Serialization(why) => error(400, "SerializationException", &why),
        }
    }
}

fn invalid(why: impl Into<String>) -> Answer {
    Refusal::Validation(why.into()).into()
}

fn malformed(why: impl Into<String>) -> Answer {
    Refusal::Serialization(why.into()).into()
}

/// A key, the item to be put under it (nothing where one is deleted), and the request.
type Write = (Vec<u8>, Option<Item>, Value);

/// A BatchWriteItem that may be carried out.
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

    /// Does what the request asks, and counts it; also gives it an id.
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
        if expired.is_some_and(|(k, key)| writes >= *k && request.is_of_key(key)) {
            state.stats.expired += 1;
            return (unread(&Fault::ExpiredToken).expect("an answer"), id);
        }
        if state.plan.denied.contains(operation) {
            let what = format!(
                "User: arn:aws:iam::{ACCOUNT}:user/test is not authorized to perform: \
                 dynamodb:{operation} on resource: {} because no identity-based policy \
                 allows the dynamodb:{operation} action",
                self.arn()
            );
            return (error(400, "AccessDeniedException", &what).into(), id);
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
            ("DescribeTable", Ok(body)) => either(self.describe(&mut state, &body)).into(),
            ("UpdateTable", Ok(body)) => either(self.update(&mut state, &body)).into(),
            ("GetItem", Ok(body)) => either(self.get(&state, &body)).into(),
            ("DeleteItem", Ok(body)) => self.delete_item(&mut state, &body),
            ("Scan", Ok(body)) => either(self.scan(&mut state, &body)).into(),
            _ => error(400, "UnknownOperationException", "").into(),
        };
        (reply, id)
    }

    fn batch_write(&self, state: &mut State, body: Result<Item, Answer>, length: usize) -> Reply {
        state.writes += 1;
        state.stats.calls += 1;
        state.stats.largest_request = state.stats.largest_request.max(length);
        // Looked at before any fault, so that the counts miss nothing.
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
        if let Some(reply) = fault.as_ref().and_then(unread) {
            match reply.delivery {
                Delivery::Close => state.stats.dropped += 1,
                _ => state.stats.failed += 1,
            }
            return reply;
        }
        let batch = batch.and_then(|batch| {
            let refuse = state.plan.refuse.as_ref();
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
                state.stats.refused += 1;
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
        let (mut stored, mut units, mut back) = (0, 0, Vec::new());
        for (index, (key, item, request)) in batch.requests.into_iter().enumerate() {
            let old = state.items.get(&key).map_or(0, units_of);
            let cost = old.max(item.as_ref().map_or(1, units_of));
            let taken = index < kept
                && !(by_chance > 0.0 && rng.f64() < by_chance)
                && state.bucket.as_mut().is_none_or(|bucket| bucket.take(cost));
            if taken {
                match item {
                    _ if fault == Some(Fault::Forget) => {}
                    Some(item) => drop(state.items.insert(key, item)),
                    None => drop(state.items.remove(&key)),
                }
                stored += 1;
                units += cost;
            } else {
                back.push(request);
            }
        }
        if stored == 0 && fault.is_none() {
            state.stats.throttled += 1;
            return throttled().into();
        }
        state.stats.items_stored += stored;
        state.stats.consumed_units += units;
        state.stats.unprocessed += back.len() as u64;
        if fault == Some(Fault::UnknownUnprocessed) {
            back.push(json!({ "PutRequest": { "Item": self.stranger() } }));
        }
        let mut answer = json!({ "UnprocessedItems": {} });
        if !back.is_empty() {
            answer["UnprocessedItems"][&self.table] = Value::Array(back);
        }
        self.consumed(&mut answer, &batch.capacity, units as f64);
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

    /// DynamoDB's validation of a BatchWriteItem, in its order.
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
        // Every item is looked at, also behind a bad one: the repeated keys
        // are counted.
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

    /// The answer to a call that is throttled whole.
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
    fn stranger(&self) -> Item {
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

    fn consumed(&self, answer: &mut Value, how: &str, units: f64) {
        let mut consumed = json!({ "TableName": self.table, "CapacityUnits": units });
        match how {
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
            let what = format!("Requested resource not found: Table: {name} not found");
            return Err(not_found(&what));
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
        match (&state.update, state.looks) {
            (Some(_), 1..) => {
                table["TableStatus"] = json!("UPDATING");
                state.looks -= 1;
            }
            (Some(_), 0) => {
                self.finish_update(state);
                return self.describe(state, body);
            }
            (None, _) => {}
        }
        Ok(ok(&json!({ "Table": table })))
    }

    /// UpdateTable of provisioned capacity: it takes effect when the table has been
    /// described once or more.
    fn update(&self, state: &mut State, body: &Item) -> Result<Answer, Answer> {
        self.own_table(body)?;
        if state.update.is_some() {
            let what = format!(
                "Attempt to change a resource which is still in use: Table is being updated: {}",
                self.table
            );
            return Err(error(400, "ResourceInUseException", &what));
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
        if lowers && state.decreases >= state.most_decreases {
            let what = "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day";
            return Err(error(400, "LimitExceededException", what));
        }
        state.decreases += u64::from(lowers);
        state.update = Some(wanted);
        state.looks = 1;
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
            if let Some(reply) = unread(fault) {
                return reply;
            }
            if let Some(refusal) = self.throttle(fault) {
                state.stats.gets_throttled += 1;
                return refusal.into();
            }
        }
        let answer = either(self.batch_get_answer(state, body, fault.as_ref()));
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
        let projection = Projection::of(wanted)?;
        if let Some(names) = wanted.get("ExpressionAttributeNames") {
            projection.uses_all(names)?;
        }
        let strong = wanted.get("ConsistentRead").and_then(Value::as_bool) == Some(true);
        let (mut found, mut units) = (Vec::new(), 0.0);
        for key in &keys[..kept] {
            let key = key.as_object().map(|key| self.key.exact_key(key));
            let item = key.transpose()?.and_then(|key| state.items.get(&key));
            let behind = state.plan.unseen.as_ref().filter(|_| !strong);
            let item = item.filter(|item| !behind.is_some_and(|unseen| unseen(item)));
            // What is not there costs as much as the smallest item.
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
            let mut back = wanted.clone();
            back.insert("Keys".to_owned(), keys[kept..].into());
            answer["UnprocessedKeys"][*table] = Value::Object(back);
        }
        let capacity = body.get("ReturnConsumedCapacity").and_then(Value::as_str);
        self.consumed(&mut answer, capacity.unwrap_or("NONE"), units);
        Ok(ok(&answer))
    }

    fn get(&self, state: &State, body: &Item) -> Result<Answer, Answer> {
        self.own_table(body)?;
        let key = body.get("Key").and_then(Value::as_object);
        let key = self
            .key
            .exact_key(key.ok_or_else(|| malformed("not a key"))?)?;
        let projection = Projection::of(body)?;
        Ok(ok(&match state.items.get(&key) {
            Some(item) => json!({ "Item": projection.apply(item) }),
            None => json!({}),
        }))
    }

    /// A delete of what is not there costs one unit and leaves nothing.
    fn delete_item(&self, state: &mut State, body: &Item) -> Reply {
        state.deletes += 1;
        let fault = state.plan.deletes.get(&state.deletes).cloned();
        if let Some(reply) = fault.as_ref().and_then(unread) {
            return reply;
        }
        if let Some(refusal) = fault.as_ref().and_then(|fault| self.throttle(fault)) {
            return refusal.into();
        }
        let reply = Reply::from(either(self.delete_one(state, body)));
        match fault {
            Some(Fault::DropAfter) => reply.deliver(Delivery::Close),
            Some(Fault::CutAnswer) => reply.deliver(Delivery::Half),
            _ => reply,
        }
    }

    fn delete_one(&self, state: &mut State, body: &Item) -> Result<Answer, Answer> {
        self.own_table(body)?;
        let key = body.get("Key").and_then(Value::as_object);
        let key = key.ok_or_else(|| malformed("not a key"))?;
        let key = self.key.exact_key(key)?;
        let old = state.items.get(&key);
        let units = old.map_or(1, units_of);
        state.stats.consumed_units += units;
        if let Some(condition) = body.get("ConditionExpression") {
            let condition = condition.as_str().ok_or_else(|| malformed("no text"))?;
            if !holds(condition, body, old)? {
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
        self.own_table(body)?;
        let projection = Projection::of(body)?;
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

    fn own_table(&self, body: &Item) -> Result<(), Answer> {
        match body.get("TableName").and_then(Value::as_str) {
            Some(name) if self.is_table(name) => Ok(()),
            _ => Err(not_found("Requested resource not found")),
        }
    }
}

/// Whether a condition holds of `item`: `attribute_not_exists(#a)` and `#a = :b`, joined
/// by OR. No other is known here.
fn holds(condition: &str, body: &Item, item: Option<&Item>) -> Result<bool, Answer> {
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

fn either(answer: Result<Answer, Answer>) -> Answer {
    answer.unwrap_or_else(|error| error)
}

fn units_of(item: &Item) -> u64 {
    item::write_units(item::size(item).unwrap_or(0))
}

/// The answer to a call that is not even looked at.
fn unread(fault: &Fault) -> Option<Reply> {
    let closed = || Reply::from(ok(&json!({}))).deliver(Delivery::Close);
    Some(match fault {
        Fault::DropBefore => closed(),
        Fault::Stall => closed().deliver(Delivery::Never),
        Fault::Garbage => Answer::new(200, "<html>It works!</html>").into(),
        Fault::Says(body) => Answer::new(200, body.clone()).into(),
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

/// A map by table name that a request must have.
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

/// Words an expression can't use as names, those that are likely here. Source:
/// Developer Guide, "Reserved words in DynamoDB".
const RESERVED: [&str; 10] = [
    "COMMENT", "DATE", "DESC", "HASH", "KEY", "NAME", "SIZE", "SOURCE", "STATUS", "TYPE",
];

/// A ProjectionExpression of whole attributes.
struct Projection(Option<Vec<String>>);

impl Projection {
    fn of(body: &Item) -> Result<Self, Answer> {
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

    /// DynamoDB refuses names that an expression does not use.
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
