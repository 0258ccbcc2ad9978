//! DynamoDB's protocol for a [`Table`]: DescribeTable and BatchWriteItem, in real
//! time, on the loopback interface.
//!
//! It counts stored and unprocessed items and throttled calls. The line counts of
//! a run are compared with these.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::item;
use super::table::{Part, Shape, Table};
use super::wire::{Answer, Connection, Request, Server};

/// Name of the table and of its partition key.
pub(crate) const TABLE: &str = "sha256";
/// Partition key of the index.
const INDEXED: &str = "source";
const INDEX: &str = "by-source";
const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/sha256";

/// Interval at which the model measures the delay of its thread.
const DELAY_INTERVAL: Duration = Duration::from_millis(5);

/// The running service; stops when dropped.
#[derive(Debug)]
pub(crate) struct Service {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    latency: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Table,
    on_demand: bool,
    /// Time of the first write: second 0.
    started: Option<Instant>,
    keys: HashSet<Box<str>>,
    counts: Counts,
    /// Start of the delay measurement; `None` before the first connection.
    delay_measured: Option<Instant>,
}

/// Counts of the service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Items in the table.
    pub(crate) stored: u64,
    /// Unprocessed items.
    pub(crate) unprocessed: u64,
    /// Calls throttled as a whole.
    pub(crate) throttled: u64,
    /// Invalid calls of BatchWriteItem, and calls of other operations.
    pub(crate) invalid: u64,
    /// DescribeTable calls.
    pub(crate) described: u64,
    /// Maximum delay of this thread, which shares the machine with the client and
    /// other programs. A delay above the slack costs the client capacity.
    pub(crate) max_delay: Duration,
}

impl Service {
    /// Starts a service with a table of this shape. It responds after `latency`,
    /// and its buckets hold `slack` seconds of capacity.
    pub(crate) fn start(shape: Shape, slack: f64, latency: Duration) -> Self {
        let on_demand = shape.provisioned.is_empty();
        let shared = Arc::new(Shared {
            latency,
            state: Mutex::new(State {
                table: Table::new(shape, slack),
                on_demand,
                started: None,
                keys: HashSet::new(),
                counts: Counts::default(),
                delay_measured: None,
            }),
        });
        let serving = Arc::clone(&shared);
        let server = Server::start(move |connection| Arc::clone(&serving).serve(connection));
        Self { server, shared }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Seconds since the first write; `None` if there was none.
    pub(crate) fn elapsed(&self) -> Option<f64> {
        let started = self.shared.state().started?;
        Some(started.elapsed().as_secs_f64())
    }

    /// Stops the service and returns its table and counts.
    pub(crate) fn stop(self) -> Outcome {
        let Self { server, shared } = self;
        // Closes every connection, each of which shares the state.
        drop(server);
        let shared = Arc::into_inner(shared).expect("no connection is open");
        let state = shared.state.into_inner();
        let State {
            table,
            keys,
            mut counts,
            ..
        } = state.unwrap_or_else(PoisonError::into_inner);
        counts.stored = keys.len() as u64;
        Outcome { table, counts }
    }
}

/// Table and counts of a stopped service.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) table: Table,
    pub(crate) counts: Counts,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, mut connection: Connection) -> io::Result<()> {
        let first = self
            .state()
            .delay_measured
            .replace(Instant::now())
            .is_none();
        if first {
            tokio::spawn(Arc::clone(&self).measure_delay());
        }
        while let Some(request) = connection.read_request().await? {
            let answer = self.answer(&request);
            tokio::time::sleep(self.latency).await;
            let answer = answer.header("Content-Type", "application/x-amz-json-1.0");
            connection.answer(&answer).await?;
        }
        Ok(())
    }

    async fn measure_delay(self: Arc<Self>) {
        loop {
            let slept = Instant::now();
            tokio::time::sleep(DELAY_INTERVAL).await;
            let late = slept.elapsed().saturating_sub(DELAY_INTERVAL);
            let mut state = self.state();
            state.counts.max_delay = state.counts.max_delay.max(late);
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let target = request.header("x-amz-target").unwrap_or_default();
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        // Parsed before the lock and the clock, so that parsing costs no capacity.
        let puts = match target {
            "DynamoDB_20120810.BatchWriteItem" => puts(&body),
            _ => None,
        };
        let mut state = self.state();
        match (target, puts) {
            ("DynamoDB_20120810.DescribeTable", _) => state.describe(),
            // `ingest` scans the table's first items: this one has none.
            ("DynamoDB_20120810.Scan", _) => {
                Answer::new(200, r#"{"Count":0,"Items":[],"ScannedCount":0}"#)
            }
            (_, Some(puts)) => state.write(&puts, &body["ReturnConsumedCapacity"]),
            (_, None) => {
                state.counts.invalid += 1;
                error(
                    "com.amazon.coral.validate#ValidationException",
                    "not a valid batch of puts",
                )
            }
        }
    }
}

/// One put of a batch.
struct Put<'a> {
    request: &'a Value,
    key: &'a str,
    units: f64,
}

/// Puts of a valid BatchWriteItem: up to 25 for this table, with distinct keys,
/// each with the attribute of the index. `None` if the call is invalid.
fn puts(body: &Value) -> Option<Vec<Put<'_>>> {
    let tables = body["RequestItems"].as_object()?;
    let requests = tables.get(TABLE)?.as_array()?;
    let put = |request| -> Option<Put<'_>> {
        let item = Value::pointer(request, "/PutRequest/Item")?.as_object()?;
        let text = |name: &str| item.get(name)?.get("S")?.as_str();
        text(INDEXED)?;
        Some(Put {
            request,
            key: text(TABLE)?,
            units: item::write_units(item::size(item).ok()?) as f64,
        })
    };
    let puts: Vec<_> = requests.iter().map(put).collect::<Option<_>>()?;
    let keys: HashSet<&str> = puts.iter().map(|put| put.key).collect();
    let good = tables.len() == 1 && (1..=25).contains(&puts.len()) && keys.len() == puts.len();
    good.then_some(puts)
}

fn ok(body: &Value) -> Answer {
    Answer::new(200, body.to_string())
}

fn error(kind: &str, message: &str) -> Answer {
    let body = json!({ "__type": kind, "message": message });
    Answer::new(400, body.to_string())
}

impl State {
    fn now(&self) -> f64 {
        self.started
            .map_or(0.0, |started| started.elapsed().as_secs_f64())
    }

    fn describe(&mut self) -> Answer {
        self.counts.described += 1;
        let now = self.now();
        let (table, index) = self.table.described(now);
        let throughput = |units: f64| json!({ "NumberOfDecreasesToday": 0, "ReadCapacityUnits": 5, "WriteCapacityUnits": units as u64 });
        let attribute = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
        let mut description = json!({
            "TableName": TABLE,
            "TableStatus": "ACTIVE",
            "AttributeDefinitions": [attribute(TABLE)],
            "KeySchema": [{ "AttributeName": TABLE, "KeyType": "HASH" }],
            "CreationDateTime": 1_790_000_000.5,
            "TableSizeBytes": 0,
            "ItemCount": 0,
            "TableArn": ARN,
            "ProvisionedThroughput": throughput(table.unwrap_or(0.0)),
        });
        if self.on_demand {
            description["BillingModeSummary"] = json!({ "BillingMode": "PAY_PER_REQUEST" });
        }
        if let Some(units) = index {
            description["AttributeDefinitions"] = json!([attribute(TABLE), attribute(INDEXED)]);
            description["GlobalSecondaryIndexes"] = json!([{
                "IndexName": INDEX,
                "IndexStatus": "ACTIVE",
                "KeySchema": [{ "AttributeName": INDEXED, "KeyType": "HASH" }],
                "Projection": { "ProjectionType": "ALL" },
                "ProvisionedThroughput": throughput(units),
            }]);
        }
        ok(&json!({ "Table": description }))
    }

    fn write(&mut self, puts: &[Put<'_>], return_consumed: &Value) -> Answer {
        self.started.get_or_insert_with(Instant::now);
        let now = self.now();
        let units: Vec<f64> = puts.iter().map(|put| put.units).collect();
        let (accepted, bottleneck) = self.table.write(&units, now);
        let (mut unprocessed, mut consumed) = (Vec::new(), 0.0);
        for (put, accepted) in puts.iter().zip(accepted) {
            if accepted {
                self.keys.insert(put.key.into());
                consumed += put.units;
            } else {
                unprocessed.push(put.request.clone());
            }
        }
        if let Some(part) = bottleneck
            && unprocessed.len() == puts.len()
        {
            self.counts.throttled += 1;
            return throttled(part);
        }
        self.counts.unprocessed += unprocessed.len() as u64;
        let mut answer = json!({ "UnprocessedItems": {} });
        if !unprocessed.is_empty() {
            answer["UnprocessedItems"][TABLE] = Value::Array(unprocessed);
        }
        if let Some(level @ ("TOTAL" | "INDEXES")) = return_consumed.as_str() {
            answer["ConsumedCapacity"] = json!([self.consumed(level, consumed)]);
        }
        ok(&answer)
    }

    fn consumed(&mut self, level: &str, units: f64) -> Value {
        let now = self.now();
        let (_, index) = self.table.described(now);
        let parts = 1.0 + f64::from(u8::from(index.is_some()));
        let mut consumed = json!({ "TableName": TABLE, "CapacityUnits": units * parts });
        if level == "INDEXES" {
            consumed["Table"] = json!({ "CapacityUnits": units });
            if index.is_some() {
                let mut indexes = Map::new();
                indexes.insert(INDEX.to_owned(), json!({ "CapacityUnits": units }));
                consumed["GlobalSecondaryIndexes"] = Value::Object(indexes);
            }
        }
        consumed
    }
}

/// Error response to a call throttled as a whole, with DynamoDB's reason.
fn throttled(part: Part) -> Answer {
    let exceeded = "ProvisionedThroughputExceededException";
    let (kind, reasons, reason, resource) = match part {
        Part::Table => (
            exceeded,
            "ThrottlingReasons",
            "TableWriteProvisionedThroughputExceeded",
            ARN.to_owned(),
        ),
        // Back-pressure: an index that cannot follow throttles its table.
        Part::Index => (
            exceeded,
            "ThrottlingReasons",
            "IndexWriteProvisionedThroughputExceeded",
            format!("{ARN}/index/{INDEX}"),
        ),
        Part::Hidden => (
            "ThrottlingException",
            "throttlingReasons",
            "TableWriteKeyRangeThroughputExceeded",
            ARN.to_owned(),
        ),
    };
    let body = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"),
        "message": "Throughput exceeds the current capacity of your table or index.",
        reasons: [{ "reason": reason, "resource": resource }],
    });
    Answer::new(400, body.to_string())
}
