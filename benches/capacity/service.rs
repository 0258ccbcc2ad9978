//! DynamoDB's wire around a [`Table`]: DescribeTable and BatchWriteItem, by the
//! real clock, on the loopback interface.
//!
//! It knows what it stored, and what it told its clients: the books of a run
//! are compared with these.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::item;
use super::table::{Part, Shape, Table};
use super::wire::{Answer, Connection, Request, Server};

/// The table's name, and its partition key's.
pub(crate) const TABLE: &str = "sha256";
/// The attribute that the index is on.
const INDEXED: &str = "source";
const INDEX: &str = "by-source";
const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/sha256";

/// How often the model's own thread looks whether it is kept waiting.
const PULSE: Duration = Duration::from_millis(5);

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
    /// When the first write came: second 0.
    begun: Option<Instant>,
    keys: HashSet<Box<str>>,
    counts: Counts,
    /// When the pulse last beat; none before there was a connection.
    pulse: Option<Instant>,
}

/// What the service did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Items in the table.
    pub(crate) stored: u64,
    /// Items handed back.
    pub(crate) handed_back: u64,
    /// Calls refused whole for want of capacity.
    pub(crate) throttled: u64,
    /// Calls that were no good BatchWriteItem, or of another kind.
    pub(crate) strange: u64,
    /// DescribeTable calls.
    pub(crate) described: u64,
    /// How late this thread ever was, while it was beside a client on a machine
    /// that is also others'. Beyond the slack it costs the client units.
    pub(crate) late: Duration,
}

impl Service {
    /// A service of such a table; it answers after `latency`, and its buckets
    /// save `slack` seconds.
    pub(crate) fn start(shape: Shape, slack: f64, latency: Duration) -> Self {
        let on_demand = shape.provisioned.is_empty();
        let shared = Arc::new(Shared {
            latency,
            state: Mutex::new(State {
                table: Table::new(shape, slack),
                on_demand,
                begun: None,
                keys: HashSet::new(),
                counts: Counts::default(),
                pulse: None,
            }),
        });
        let serving = Arc::clone(&shared);
        let server = Server::start(move |connection| Arc::clone(&serving).serve(connection));
        Self { server, shared }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Seconds since the first write, once there was one.
    pub(crate) fn elapsed(&self) -> Option<f64> {
        let begun = self.shared.state().begun?;
        Some(begun.elapsed().as_secs_f64())
    }

    /// Stops it: the table, and what was done.
    pub(crate) fn stop(self) -> Outcome {
        let Self { server, shared } = self;
        // With it goes every connection, and its hold on the state.
        drop(server);
        let shared = Arc::into_inner(shared).expect("nobody else has it any more");
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

/// What is left of a service.
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
        let first = self.state().pulse.replace(Instant::now()).is_none();
        if first {
            tokio::spawn(Arc::clone(&self).beat());
        }
        while let Some(request) = connection.read_request().await? {
            let answer = self.answer(&request);
            tokio::time::sleep(self.latency).await;
            let answer = answer.header("Content-Type", "application/x-amz-json-1.0");
            connection.answer(&answer).await?;
        }
        Ok(())
    }

    async fn beat(self: Arc<Self>) {
        loop {
            let slept = Instant::now();
            tokio::time::sleep(PULSE).await;
            let late = slept.elapsed().saturating_sub(PULSE);
            let mut state = self.state();
            state.counts.late = state.counts.late.max(late);
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let target = request.header("x-amz-target").unwrap_or_default();
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        // Before the lock and the clock, so that reading takes no capacity.
        let puts = match target {
            "DynamoDB_20120810.BatchWriteItem" => puts(&body),
            _ => None,
        };
        let mut state = self.state();
        match (target, puts) {
            ("DynamoDB_20120810.DescribeTable", _) => state.describe(),
            // The look at the table's first items: there are none.
            ("DynamoDB_20120810.Scan", _) => {
                Answer::new(200, r#"{"Count":0,"Items":[],"ScannedCount":0}"#)
            }
            (_, Some(puts)) => state.write(&puts, &body["ReturnConsumedCapacity"]),
            (_, None) => {
                state.counts.strange += 1;
                error("com.amazon.coral.validate#ValidationException", "strange")
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

/// The puts of a BatchWriteItem that DynamoDB would take: up to 25 for this
/// table, all of different keys, each with what the index needs.
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
        self.begun
            .map_or(0.0, |begun| begun.elapsed().as_secs_f64())
    }

    fn describe(&mut self) -> Answer {
        self.counts.described += 1;
        let now = self.now();
        let (table, index) = self.table.told(now);
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

    fn write(&mut self, puts: &[Put<'_>], told: &Value) -> Answer {
        self.begun.get_or_insert_with(Instant::now);
        let now = self.now();
        let units: Vec<f64> = puts.iter().map(|put| put.units).collect();
        let (taken, in_the_way) = self.table.take(&units, now);
        let (mut back, mut consumed) = (Vec::new(), 0.0);
        for (put, taken) in puts.iter().zip(taken) {
            if taken {
                self.keys.insert(put.key.into());
                consumed += put.units;
            } else {
                back.push(put.request.clone());
            }
        }
        if let Some(part) = in_the_way
            && back.len() == puts.len()
        {
            self.counts.throttled += 1;
            return throttled(part);
        }
        self.counts.handed_back += back.len() as u64;
        let mut answer = json!({ "UnprocessedItems": {} });
        if !back.is_empty() {
            answer["UnprocessedItems"][TABLE] = Value::Array(back);
        }
        if let Some(how @ ("TOTAL" | "INDEXES")) = told.as_str() {
            answer["ConsumedCapacity"] = json!([self.consumed(how, consumed)]);
        }
        ok(&answer)
    }

    fn consumed(&mut self, how: &str, units: f64) -> Value {
        let now = self.now();
        let (_, index) = self.table.told(now);
        let parts = 1.0 + f64::from(u8::from(index.is_some()));
        let mut consumed = json!({ "TableName": TABLE, "CapacityUnits": units * parts });
        if how == "INDEXES" {
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

/// The refusal of a whole call, with DynamoDB's reason.
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
