//! Tests of the reads, in paused time, and of the router, without a socket. The table is
//! scripted.

use super::*;
use crate::aws::error::{CallError, ErrorClass};
use crate::base::hash::{Case, Hash};
use crate::commands::serve::access::AccessControl;
use crate::commands::serve::api_keys::Keys;
use crate::commands::serve::metrics::Metrics;
use crate::commands::serve::options::REQUEST_TIMEOUT;
use crate::commands::serve::pending::{Found, ReadError, ReadOptions};
use crate::commands::serve::reads::Reads;
use crate::commands::serve::request::Peer;
use crate::dynamodb::client::operation::BatchGet;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use axum::body::Body;
use futures::future::join_all;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use tokio::time::Instant;
use tower::ServiceExt as _;

/// Scripted outcome of a call.
#[derive(Clone)]
enum Step {
    Throttle,
    Refuse,
    /// The last keys, this many, are unprocessed.
    Unprocessed(usize),
    /// The response has an item that was not requested.
    Stranger,
    /// The response has this body.
    Says(&'static str),
    Never,
}

/// A scripted table. A call takes 10 ms.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    items: HashMap<String, Value>,
    steps: VecDeque<Step>,
    always: Option<Step>,
    /// The keys of each call.
    calls: Vec<Vec<String>>,
    in_flight: usize,
    most_in_flight: usize,
}

impl Table {
    fn sizes(&self) -> Vec<usize> {
        let inside = self.0.lock().expect("whole");
        inside.calls.iter().map(Vec::len).collect()
    }
}

impl BatchGet for Table {
    async fn batch_get(&self, body: Bytes) -> Result<Bytes, CallError> {
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let keys = body["RequestItems"]["t"]["Keys"]
            .as_array()
            .expect("keys")
            .clone();
        let text = |key: &Value| key["sha256"]["S"].as_str().expect("text").to_owned();
        let step = {
            let mut inside = self.0.lock().expect("whole");
            inside.calls.push(keys.iter().map(text).collect());
            inside.in_flight += 1;
            inside.most_in_flight = inside.most_in_flight.max(inside.in_flight);
            inside.steps.pop_front().or(inside.always.clone())
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
        let error = |meaning, code: &str| CallError {
            class: meaning,
            code: Some(code.to_owned()),
            message: "no".to_owned(),
            reasons: Vec::new(),
            no_credentials: false,
        };
        let kept = match step {
            Some(Step::Never) => std::future::pending().await,
            Some(Step::Unprocessed(n)) => keys.len().saturating_sub(n),
            _ => keys.len(),
        };
        let mut inside = self.0.lock().expect("whole");
        inside.in_flight -= 1;
        match step {
            Some(Step::Throttle) => return Err(error(ErrorClass::Throttled, "Throttled")),
            Some(Step::Refuse) => return Err(error(ErrorClass::Permanent, "AccessDenied")),
            Some(Step::Says(body)) => return Ok(Bytes::from_static(body.as_bytes())),
            _ => {}
        }
        let read = keys[..kept].iter().map(text);
        let mut items: Vec<_> = read.filter_map(|k| inside.items.get(&k).cloned()).collect();
        if matches!(step, Some(Step::Stranger)) {
            items.push(json!({"sha256": {"S": "EE".repeat(32)}}));
        }
        let mut answer = json!({"Responses": {"t": items}, "UnprocessedKeys": {},
            "ConsumedCapacity": [{"TableName": "t", "CapacityUnits": kept as f64 / 2.0}]});
        if kept < keys.len() {
            answer["UnprocessedKeys"]["t"] = json!({"Keys": keys[kept..]});
        }
        Ok(answer.to_string().into())
    }
}

fn hash(n: u32) -> Hash {
    let mut raw = [0; 32];
    raw[..4].copy_from_slice(&n.to_be_bytes());
    Hash::from(raw)
}

/// A table with the hashes of the even numbers below `n`.
fn table(n: u32) -> Table {
    let table = Table::default();
    for n in (0..n).step_by(2) {
        let hex = hash(n).to_hex(Case::Upper);
        let item =
            json!({"sha256": {"S": hex}, "source": {"S": "NSRL"}, "n": {"N": n.to_string()}});
        table.0.lock().expect("whole").items.insert(hex, item);
    }
    table
}

fn expected(n: u32) -> Found {
    match n % 2 {
        0 => Found::Known(format!("\"n\":{n},\"source\":\"NSRL\"").into()),
        _ => Found::Unknown,
    }
}

struct Made {
    reads: Reads,
    metrics: Arc<Metrics>,
    rate_limiter: Arc<RateLimiter>,
    asking: tokio::task::JoinHandle<()>,
}

fn make(table: &Table, rate: Option<f64>, concurrency: usize) -> Made {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "sha256".to_owned(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: Vec::new(),
    };
    let questions = CaseDetector::new(
        "t",
        &schema,
        Algorithm::Sha256,
        crate::pipeline::contents::settings::KeyCase::Known(Case::Upper),
        &[],
        SettingSyntax::Flags,
    );
    let (rate_limiter, metrics) = (
        Arc::new(RateLimiter::fixed(rate)),
        Arc::new(Metrics::default()),
    );
    let options = ReadOptions {
        concurrency: crate::flow::concurrency::Concurrency::Calls(concurrency),
        consistent: false,
        cache_ttl: Duration::from_secs(60),
        cache_entries: 10_000,
    };
    let (reads, asker) = Reads::new(
        table.clone(),
        questions.expect("they fit"),
        rate_limiter.clone(),
        metrics.clone(),
        options,
        Backoff::new(fastrand::Rng::with_seed(7)),
    );
    let asking = tokio::spawn(async move { match asker.run().await {} });
    Made {
        reads,
        metrics,
        rate_limiter,
        asking,
    }
}

fn in_seconds(n: u64) -> Instant {
    Instant::now() + Duration::from_secs(n)
}

/// Looks up each of `numbers` in a separate request.
async fn each(
    reads: &Reads,
    numbers: impl IntoIterator<Item = u32>,
    deadline: Instant,
) -> Vec<Found> {
    let one = |n| async move { reads.get(&[hash(n)], deadline).await.remove(0) };
    join_all(numbers.into_iter().map(one)).await
}

#[tokio::test(start_paused = true)]
async fn duplicates_in_a_request_wait_once_and_are_all_answered() {
    let table = table(4);
    table.0.lock().expect("whole").always = Some(Step::Throttle);
    let made = make(&table, None, 8);
    let asked: Vec<Hash> = (0..1000).map(|n| hash(n % 2)).collect();
    let requests = (0..50).map(|_| made.reads.get(&asked, in_seconds(30)));
    let watched = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(made.reads.waiter_count(&hash(0)), 50);
        table.0.lock().expect("whole").always = None;
    };
    let (found, ()) = tokio::join!(join_all(requests), watched);
    let all: Vec<_> = (0..1000).map(|n| expected(n % 2)).collect();
    assert!(found.iter().all(|f| *f == all));
    assert_eq!(made.reads.waiter_count(&hash(0)), 0);
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_share_calls_of_a_hundred_keys() {
    let table = table(500);
    let made = make(&table, None, 8);
    let found = each(&made.reads, 0..500, in_seconds(30)).await;
    assert_eq!(found, (0..500).map(expected).collect::<Vec<_>>());
    assert_eq!(table.sizes(), [100; 5]);
    let counts = made.metrics.snapshot();
    assert_eq!(
        (counts.calls, counts.keys, counts.read_units),
        (5, 500, 250.0)
    );
    assert_eq!((counts.pending, counts.calls_in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_hash_lingers_for_two_milliseconds_while_a_call_is_in_flight() {
    let table = table(10);
    let made = make(&table, None, 8);
    let begun = Instant::now();
    let after = |n: u32, ms: u64| {
        let reads = made.reads.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            reads.get(&[hash(n)], in_seconds(30)).await;
            begun.elapsed().as_millis()
        }
    };
    let took = tokio::join!(after(0, 0), after(1, 3), after(2, 4), after(3, 7));
    assert_eq!(table.sizes(), [1, 2, 1]);
    let near = |took: u128, expected: u128| took == expected || took == expected + 1;
    assert!(
        near(took.0, 10) && near(took.1, 15) && near(took.2, 15) && near(took.3, 19),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn known_and_unknown_hashes_are_read_once_and_cached() {
    let table = table(10);
    let made = make(&table, None, 8);
    for n in [4, 5] {
        let found = each(&made.reads, [n; 50], in_seconds(30)).await;
        assert!(found.iter().all(|f| *f == expected(n)));
        let twice = made.reads.get(&[hash(n), hash(n)], in_seconds(30)).await;
        assert_eq!(twice, [expected(n), expected(n)]);
    }
    assert_eq!(table.sizes(), [1, 1]);
    let counts = made.metrics.snapshot();
    assert_eq!(
        (counts.cache_hits, counts.cache_misses, counts.coalesced),
        (4, 100, 98)
    );
    tokio::time::advance(Duration::from_secs(61)).await;
    each(&made.reads, [4], in_seconds(30)).await;
    assert_eq!(table.sizes(), [1, 1, 1], "the entry has expired");
}

#[tokio::test(start_paused = true)]
async fn throttled_calls_and_unprocessed_keys_are_retried() {
    let table = table(100);
    table.0.lock().expect("whole").steps = [
        Step::Throttle,
        Step::Throttle,
        Step::Unprocessed(60),
        Step::Stranger,
        Step::Unprocessed(60),
    ]
    .into();
    let made = make(&table, Some(1000.0), 1);
    let hashes: Vec<_> = (0..100).map(hash).collect();
    let found = made.reads.get(&hashes, in_seconds(30)).await;
    assert_eq!(found, (0..100).map(expected).collect::<Vec<_>>());
    assert_eq!(table.sizes(), [100, 100, 100, 60, 60, 60]);
    let counts = made.metrics.snapshot();
    assert_eq!(
        (counts.throttled, counts.failed, counts.unprocessed),
        (2, 1, 120)
    );
    assert!(!counts.is_failing);
}

#[tokio::test(start_paused = true)]
async fn a_response_without_the_table_is_retried_and_not_cached() {
    let table = table(10);
    let bodies = [
        r#"{"Responses":{}}"#,
        r#"{"Responses":{"another":[]}}"#,
        r#"{"Responses":{"t":[],"another":[]}}"#,
        r#"{"Responses":{"t":[]},"UnprocessedKeys":{"another":{"Keys":[]}}}"#,
    ];
    table.0.lock().expect("whole").steps = bodies.map(Step::Says).into();
    let made = make(&table, None, 1);
    let hashes: Vec<_> = (0..10).map(hash).collect();
    let found = made.reads.get(&hashes, in_seconds(30)).await;
    assert_eq!(found, (0..10).map(expected).collect::<Vec<_>>());
    assert_eq!(table.sizes(), [10; 5]);
    assert_eq!(made.metrics.snapshot().failed, 4);
    // If no response names the table, the hash is an error, not unknown.
    table.0.lock().expect("whole").always = Some(Step::Says(bodies[0]));
    let found = made.reads.get(&[hash(10)], in_seconds(5)).await;
    assert_eq!(found, [Found::Error(ReadError::Late)]);
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_hash_times_out_and_leaves_nothing_pending() {
    let table = table(100);
    table.0.lock().expect("whole").always = Some(Step::Throttle);
    let made = make(&table, None, 2);
    let begun = Instant::now();
    let found = each(&made.reads, 0..300, in_seconds(5)).await;
    assert!(found.iter().all(|f| *f == Found::Error(ReadError::Late)));
    assert_eq!(begun.elapsed().as_secs(), 5);
    // A retry that no request waits for is dropped when it is due.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = table.sizes().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(table.sizes().len(), calls, "no request waits for it");
    table.0.lock().expect("whole").always = None;
    assert_eq!(
        each(&made.reads, [7], in_seconds(5)).await,
        [Found::Unknown]
    );
    assert_eq!(made.metrics.snapshot().pending, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hash_that_no_request_waits_for_is_not_read_and_takes_no_units() {
    let table = table(100);
    // 25 RCU at the start, then 1 RCU/s. A call of 100 keys takes 50 RCU.
    let made = make(&table, Some(1.0), 8);
    let first: Vec<_> = (0..100).map(hash).collect();
    assert_eq!(made.reads.get(&first, in_seconds(1)).await.len(), 100);
    let left = each(&made.reads, 100..200, in_seconds(1)).await;
    assert!(left.iter().all(|f| *f == Found::Error(ReadError::Late)));
    let later = each(&made.reads, [201], in_seconds(120)).await;
    assert_eq!(later, [Found::Unknown]);
    assert_eq!(table.sizes(), [100, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_reported_at_once_and_not_cached() {
    let table = table(10);
    table.0.lock().expect("whole").steps = [Step::Refuse].into();
    let made = make(&table, None, 8);
    let begun = Instant::now();
    let refused = Found::Error(ReadError::Refused(Some("AccessDenied".to_owned())));
    assert_eq!(each(&made.reads, [2], in_seconds(30)).await, [refused]);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(made.metrics.snapshot().is_failing);
    assert_eq!(each(&made.reads, [2], in_seconds(30)).await, [expected(2)]);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_limited_and_a_hanging_one_delays_no_other() {
    let table = table(1000);
    table.0.lock().expect("whole").steps = [Step::Never].into();
    let made = make(&table, None, 3);
    let found = each(&made.reads, 0..1000, in_seconds(5)).await;
    let late = found
        .iter()
        .filter(|f| **f == Found::Error(ReadError::Late))
        .count();
    assert_eq!(late, 100);
    assert_eq!(table.0.lock().expect("whole").most_in_flight, 3);
    assert!(!made.asking.is_finished());
}

// -- the router ---------------------------------------------------------------

const KEY: &str = "hf_test";

fn app(table: &Table, gate: AccessControl) -> App {
    let Made {
        reads,
        metrics,
        rate_limiter,
        asking,
    } = make(table, None, 8);
    let answers = TableSetup {
        algorithm: Algorithm::Sha256,
        normalizer: Normalizer::default(),
        reads,
    };
    App::from_parts(
        answers,
        Options::new("t"),
        gate,
        rate_limiter,
        metrics,
        asking,
    )
}

async fn ask(
    app: &App,
    request: http::request::Builder,
    body: Body,
) -> (StatusCode, http::HeaderMap, Value) {
    let request = request.body(body).expect("a request");
    let answer = app.router().oneshot(request).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("a body");
    (
        parts.status,
        parts.headers,
        serde_json::from_slice(&body).unwrap_or(Value::Null),
    )
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
}

#[tokio::test(start_paused = true)]
async fn every_described_route_exists_and_no_other() {
    let app = app(&table(2), AccessControl::without_keys(None));
    let (status, _, document) = ask(&app, request("GET", "/openapi.json"), Body::empty()).await;
    assert_eq!(
        (status, &document["openapi"]),
        (StatusCode::OK, &"3.1.0".into())
    );
    let paths = document["paths"].as_object().expect("paths");
    assert_eq!(paths.len(), 14);
    for (path, methods) in paths {
        let path = path.replace("{hash}", &hash(0).to_hex(Case::Lower));
        for (method, operation) in methods.as_object().expect("methods") {
            let body = Body::from(r#"{"hashes":[]}"#);
            let (status, _, answer) = ask(&app, request(&method.to_uppercase(), &path), body).await;
            let no_route = answer["error"]
                .as_str()
                .is_some_and(|e| e.starts_with("no such"));
            assert!(!no_route, "{method} {path}: {status} {answer}");
            let told = &operation["responses"][status.as_str()];
            assert!(
                told.is_object(),
                "{method} {path}: {status} is not described"
            );
        }
    }
    for path in [
        "/md5/00",
        "/sha256",
        "/sha256/",
        "/lookup/sha512/00",
        "/x/y/z",
        "/stats/top",
    ] {
        let (status, _, answer) = ask(&app, request("GET", path), Body::empty()).await;
        assert_eq!(
            (status, &answer["status"]),
            (StatusCode::NOT_FOUND, &"error".into()),
            "{path}"
        );
    }
    let (status, _, answer) = ask(&app, request("DELETE", "/lookup"), Body::empty()).await;
    assert_eq!(
        (status, &answer["status"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"error".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_times_out_after_ten_seconds() {
    let app = app(&table(2), AccessControl::without_keys(None));
    let begun = Instant::now();
    let first = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"{")) });
    let never = Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()));
    let (status, _, _) = ask(&app, request("POST", "/lookup"), never).await;
    assert_eq!(
        (status, begun.elapsed().as_secs()),
        (StatusCode::REQUEST_TIMEOUT, 10)
    );
}

#[tokio::test(start_paused = true)]
async fn bodies_are_limited_each_and_in_total() {
    let app = app(&table(2), AccessControl::without_keys(None));
    let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 256 * 1024]));
    // Without a Content-Length, the size is checked while the body arrives.
    let endless = Body::from_stream(futures::stream::repeat_with(chunk));
    let (status, _, answer) = ask(&app, request("POST", "/lookup"), endless).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    // Slow bodies of four clients exhaust the budget; then one more arrives.
    let from = |n: u8| request("POST", "/lookup").extension(Peer(([10, 0, 0, n], 9).into()));
    let slow = (0..64).map(|n| {
        let all = futures::stream::iter((0..4).map(move |_| chunk()));
        let all = futures::StreamExt::chain(all, futures::stream::pending());
        ask(&app, from(n % 4), Body::from_stream(all))
    });
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask(&app, from(5), Body::from(r#"{"hashes":[]}"#)).await
    };
    let (slow, (status, headers, _)) = tokio::join!(join_all(slow), late);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "1");
    assert!(
        slow.iter()
            .all(|(status, _, _)| *status == StatusCode::REQUEST_TIMEOUT)
    );
    let (status, _, _) = ask(
        &app,
        request("POST", "/lookup"),
        Body::from(r#"{"hashes":[]}"#),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "the budget is free");
}

#[tokio::test(start_paused = true)]
async fn items_beyond_the_maximum_response_size_are_errors() {
    let table = table(0);
    for n in 0..60 {
        let hex = hash(n).to_hex(Case::Upper);
        let item = json!({"sha256": {"S": hex}, "x": {"S": "x".repeat(399_000)}});
        table.0.lock().expect("whole").items.insert(hex, item);
    }
    let app = app(&table, AccessControl::without_keys(None));
    let hashes: Vec<_> = (0..60).map(|n| hash(n).to_hex(Case::Upper)).collect();
    let body = json!({"hashes": hashes}).to_string();
    let (status, _, answer) = ask(&app, request("POST", "/lookup"), body.clone().into()).await;
    let results = answer["results"].as_array().expect("results");
    let statuses: Vec<_> = results
        .iter()
        .map(|r| r["status"].as_str().expect("text"))
        .collect();
    assert_eq!((status, statuses.len()), (StatusCode::OK, 60));
    let known = statuses.iter().filter(|s| **s == "known").count();
    assert!((40..=43).contains(&known), "{known}");
    assert!(statuses[known..].iter().all(|s| *s == "error"));
    let (status, _, answer) = ask(&app, request("POST", "/bulk/sha256"), body.into()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn without_keys_every_route_rejects_a_foreign_host_or_page() {
    let app = app(&table(2), AccessControl::without_keys(None));
    for path in ["/healthz", "/", "/nothing", "/sha256/00"] {
        let foreign = Request::builder().uri(path).header("host", "evil.example");
        let (status, _, _) = ask(&app, foreign, Body::empty()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        let (status, _, _) = ask(&app, Request::builder().uri(path), Body::empty()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: no host");
        let two = request("GET", path).header("host", "evil.example");
        let (status, _, _) = ask(&app, two, Body::empty()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: two hosts");
    }
    // HTTP/2 has the host in the URI.
    let (status, _, _) = ask(
        &app,
        Request::builder().uri("http://evil.example/healthz"),
        Body::empty(),
    )
    .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _, _) = ask(
        &app,
        Request::builder().uri("http://[::1]:80/healthz"),
        Body::empty(),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let from_page = request("POST", "/lookup").header("sec-fetch-site", "cross-site");
    let (status, _, _) = ask(&app, from_page, Body::from(r#"{"hashes":[]}"#)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let by_link = request("GET", "/").header("sec-fetch-site", "cross-site");
    assert_eq!(ask(&app, by_link, Body::empty()).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn with_keys_only_routes_without_table_data_are_open() {
    let digest = crate::list::matchmeta::normalizer::hash(KEY.as_bytes()).to_hex(Case::Lower);
    let keys = Keys::parse(&format!("alice sha256:{digest}")).expect("keys");
    let app = app(&table(2), AccessControl::from_keys(keys, None));
    let foreign = |path: &str| {
        Request::builder()
            .uri(path)
            .header("host", "lookup.example")
    };
    let hex = hash(0).to_hex(Case::Lower);
    for (path, status) in [
        ("/", 200),
        ("/healthz", 200),
        ("/openapi.json", 200),
        ("/nothing", 404),
        ("/metrics", 401),
        ("/info", 401),
        ("/path?p=x", 401),
        (&format!("/sha256/{hex}"), 401),
        (&format!("/lookup/sha256/{hex}"), 401),
        (&format!("/lookup/md5/{hex}"), 401),
    ] {
        let (answered, headers, _) = ask(&app, foreign(path), Body::empty()).await;
        assert_eq!(answered, status, "{path}");
        assert_eq!(
            headers.contains_key("www-authenticate"),
            status == 401,
            "{path}"
        );
        if status == 401 {
            let wrong = foreign(path).header("x-api-key", "hf_wrong");
            assert_eq!(ask(&app, wrong, Body::empty()).await.0, 401, "{path}");
            let right = foreign(path).header("authorization", format!("Bearer {KEY}"));
            assert_ne!(ask(&app, right, Body::empty()).await.0, 401, "{path}");
        }
    }
    // A loopback peer needs a key too, since it can be a proxy.
    for ip in ["127.0.0.1:9", "[::1]:9", "10.1.2.3:9"] {
        let peer = Peer(ip.parse().expect("an address"));
        let from = foreign("/metrics").extension(peer);
        assert_eq!(ask(&app, from, Body::empty()).await.0, 401, "{ip}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeouts_of_body_and_response_are_separate() {
    let table = table(2);
    table.0.lock().expect("whole").always = Some(Step::Never);
    let app = app(&table, AccessControl::without_keys(None));
    let text = json!({"hashes": [hash(0).to_hex(Case::Upper)]}).to_string();
    let slow = futures::stream::once(async move {
        tokio::time::sleep(Duration::from_secs(9)).await;
        Ok::<_, std::io::Error>(text)
    });
    let begun = Instant::now();
    let request = request("POST", "/lookup");
    let (status, _, answer) = ask(&app, request, Body::from_stream(slow)).await;
    assert_eq!(
        (status, &answer["results"][0]["status"]),
        (StatusCode::OK, &"error".into())
    );
    assert_eq!(begun.elapsed().as_secs(), 9 + REQUEST_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_above_its_rate_limit_gets_retry_after() {
    let app = app(&table(2), AccessControl::without_keys(Some(2.0)));
    let hex = hash(0).to_hex(Case::Lower);
    let one = || {
        ask(
            &app,
            request("GET", &format!("/sha256/{hex}")),
            Body::empty(),
        )
    };
    assert_eq!(one().await.0, StatusCode::OK);
    assert_eq!(one().await.0, StatusCode::OK);
    let (status, headers, _) = one().await;
    assert_eq!(
        (status, &headers["retry-after"]),
        (
            StatusCode::TOO_MANY_REQUESTS,
            &"1".parse().expect("a value")
        )
    );
    tokio::time::advance(Duration::from_secs(2)).await;
    let body = json!({"hashes": vec![hex.clone(); 10]}).to_string();
    let (status, _, _) = ask(&app, request("POST", "/lookup"), body.into()).await;
    assert_eq!(status, StatusCode::OK, "the bucket was full");
    let (status, headers, _) = ask(
        &app,
        request("GET", &format!("/lookup/sha256/{hex}")),
        Body::empty(),
    )
    .await;
    assert_eq!(
        (status, &headers["retry-after"]),
        (
            StatusCode::TOO_MANY_REQUESTS,
            &"5".parse().expect("a value")
        )
    );
    assert_eq!(
        ask(&app, request("GET", "/healthz"), Body::empty()).await.0,
        StatusCode::OK
    );
}
