//! `hashferry serve` from outside: the real binary, sockets, and a scripted table.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::binary::{Finished, Run, SECRET, Started};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Maximum time of any single step of a test.
const TIMEOUT: Duration = Duration::from_secs(60);

fn hash(n: usize) -> String {
    hex(format!("{n}").as_bytes())
}

/// SHA-256 of `bytes`, in upper case.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect()
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

/// A table with the first `n` hashes.
fn with_items(config: DynamoConfig, n: usize) -> FakeDynamo {
    let dynamo = FakeDynamo::start(config);
    for i in 0..n {
        dynamo.put(json!({"sha256": {"S": hash(i)}, "type": {"S": "linux"}, "source": {"S": "debian"},
            "file-name": {"S": "ls"}, "size": {"N": "123456789012345678901"}, "status": {"S": "x"}}));
    }
    dynamo
}

/// A server under test. Stopped when it is dropped.
struct RunningServer {
    started: Option<Started>,
    address: SocketAddr,
    /// Its log lines at the start.
    said: String,
}

impl RunningServer {
    fn start(run: Run) -> RunningServer {
        RunningServer::start_with_reader(run, Started::follow_stderr)
    }

    /// Starts a server; `read` waits for the log line with its address.
    fn start_with_reader(
        run: Run,
        read: impl FnOnce(&mut Started, &str) -> String,
    ) -> RunningServer {
        // Wrapped at once, so that a failure stops the server.
        let mut serving = RunningServer {
            started: Some(run.start()),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            said: String::new(),
        };
        let started = serving.started.as_mut().expect("it was started");
        serving.said = read(started, "listening on http://");
        let address = serving
            .said
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once(' '))
            .and_then(|(address, _)| address.parse().ok());
        serving.address = address.unwrap_or_else(|| panic!("no address in {}", serving.said));
        serving
    }

    /// `hashferry serve --table sha256` at any port, over `dynamo`.
    fn start_with_args<S: AsRef<str>>(dynamo: &FakeDynamo, args: &[S]) -> RunningServer {
        RunningServer::start(run(args).dynamo(dynamo))
    }

    fn signal(&self, signal: Signal) {
        self.started.as_ref().expect("it runs").signal(signal);
    }

    /// Sends SIGTERM and waits for the exit.
    fn stop(mut self) -> Finished {
        let started = self.started.take().expect("it runs");
        started.signal(Signal::SIGTERM);
        started.wait()
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    fn get(&self, path: &str) -> Answer {
        self.connect().exchange("GET", path, &[], "")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.connect()
            .exchange("POST", path, &[], &body.to_string())
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(started) = &mut self.started {
            started.kill();
        }
    }
}

fn run<S: AsRef<str>>(args: &[S]) -> Run {
    let mut all = vec!["serve", "--table", "sha256", "--listen", "127.0.0.1:0"];
    // The table describes a capacity of 5 RCU/s.
    if !args.iter().any(|a| a.as_ref() == "--rate") {
        all.extend(["--rate", "max"]);
    }
    all.extend(args.iter().map(AsRef::as_ref));
    Run::new(&all)
}

/// A client with one connection.
struct Client(BufReader<TcpStream>);

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    text: String,
    json: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|l| l.split_once(':'));
        let mut found = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a limit");
        Client(BufReader::new(stream))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("it takes");
    }

    fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text += "host: localhost\r\n";
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            text += &format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            );
        }
        self.send(text + "\r\n" + body);
    }

    /// Reads the next response; one to HEAD has no body.
    fn answer(&mut self, head_only: bool) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let n = self.0.read_line(&mut head).expect("an answer");
            assert!(n > 0, "the connection ended after {head:?}");
        }
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        let mut answer = Answer {
            status,
            head,
            text: String::new(),
            json: Value::Null,
        };
        let length = answer
            .header("content-length")
            .map_or(0, |l| l.parse().expect("a number"));
        let mut body = vec![0; if head_only { 0 } else { length }];
        self.0.read_exact(&mut body).expect("a body");
        answer.json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        answer.text = String::from_utf8(body).expect("UTF-8");
        answer
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.request(method, path, headers, body);
        self.answer(method == "HEAD")
    }

    /// Reads until the server closes the connection.
    fn read_to_end(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset also ends the connection.
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// Polls `found` until it returns a value.
fn poll_until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < TIMEOUT, "timed out");
        std::thread::yield_now();
    }
}

fn answer_upper(status: &str, n: usize) -> Value {
    json!({"input": hash(n), "hash": hash(n), "status": status})
}

fn known_answer(n: usize) -> Value {
    let mut known = answer_upper("known", n);
    let item: Value = serde_json::from_str(
        r#"{"type":"linux","source":"debian","file-name":"ls","item.status":"x"}"#,
    )
    .expect("JSON");
    for (name, value) in item.as_object().expect("an object") {
        known[name] = value.clone();
    }
    known
}

/// Removes the number, which has more digits than this test's JSON keeps.
fn without_size(mut result: Value) -> Value {
    if let Some(object) = result.as_object_mut() {
        object.remove("size");
    }
    result
}

#[test]
fn hashes_are_known_unknown_or_invalid_and_other_routes_are_not_found() {
    let dynamo = with_items(table(), 3);
    let serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
    let of = |n: usize| format!("/sha256/{}", hash(n).to_lowercase());
    let answer = serving.get(&format!("/sha256/{}", hash(1)));
    assert_eq!(
        (answer.status, without_size(answer.json)),
        (200, known_answer(1))
    );
    assert!(
        answer.text.contains("\"size\":123456789012345678901"),
        "{}",
        answer.text
    );
    let answer = serving.get(&of(2));
    assert_eq!(
        (answer.status, &answer.json["hash"]),
        (200, &hash(2).into())
    );
    assert_eq!(answer.json["input"], hash(2).to_lowercase());
    let answer = serving.get(&format!("/sha256/{}", hash(9)));
    assert_eq!(
        (answer.status, answer.json),
        (404, answer_upper("unknown", 9))
    );
    for (path, input) in [
        ("/sha256/abc", "abc"),
        ("/sha256/%20%22", " \""),
        ("/sha256/%ff", "\u{FFFD}"),
    ] {
        let answer = serving.get(path);
        assert_eq!(
            (answer.status, &answer.json["status"]),
            (400, &"invalid".into())
        );
        assert_eq!(
            (&answer.json["input"], &answer.json["hash"]),
            (&input.into(), &Value::Null)
        );
        assert!(answer.json["reason"].is_string(), "{}", answer.text);
    }
    for path in ["/sha1/00", "/x", "/sha256/a/b", "//"] {
        let answer = serving.get(path);
        assert_eq!(
            (answer.status, &answer.json["status"]),
            (404, &"error".into()),
            "{path}"
        );
        assert!(answer.text.contains("no such route"), "{}", answer.text);
    }
    let answer = serving.connect().exchange("HEAD", &of(1), &[], "");
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let ended = serving.stop();
    ended.assert_status(0);
    assert_eq!(ended.stdout, "");
    ended.assert_stderr(&[
        "route=\"/sha256/{hash}\" status=200",
        "route=\"other\" status=404",
        "method=HEAD",
    ]);
    assert!(
        !ended.stderr.contains(&hash(9)),
        "hashes are not logged: {}",
        ended.stderr
    );
}

#[test]
fn batch_answers_have_the_order_of_the_request_and_a_status_each() {
    let dynamo = with_items(table(), 500);
    let serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
    let mut hashes: Vec<Value> = (0..999).map(|n| hash(n).into()).collect();
    hashes.push("nonsense".into());
    let answer = serving.post("/lookup", &json!({"hashes": hashes}));
    assert_eq!(answer.status, 200);
    let results = answer.json["results"].as_array().expect("results");
    assert_eq!(results.len(), 1000);
    for (n, result) in results.iter().enumerate() {
        match n {
            0..500 => assert_eq!(without_size(result.clone()), known_answer(n)),
            500..999 => assert_eq!(*result, answer_upper("unknown", n)),
            _ => assert_eq!(
                (&result["status"], &result["input"]),
                (&"invalid".into(), &"nonsense".into())
            ),
        }
    }
    assert_eq!(dynamo.stats().gets, 10);
    hashes.push("one more".into());
    for (body, why) in [
        (
            json!({"hashes": hashes}).to_string(),
            "1001 entries are too many",
        ),
        ("{".to_owned(), "the body must be"),
        ("[]".to_owned(), "the body must be"),
        (r#"{"hashes":[1]}"#.to_owned(), "the body must be"),
        (r#"{"hash":["x"]}"#.to_owned(), "the body must be"),
        (r#"{"hashes":[],"paths":[]}"#.to_owned(), "either"),
        ("{}".to_owned(), "either"),
    ] {
        let answer = serving.connect().exchange("POST", "/lookup", &[], &body);
        assert_eq!(answer.status, 400, "{body:.80}");
        assert!(
            answer.json["error"]
                .as_str()
                .is_some_and(|e| e.contains(why)),
            "{}",
            answer.text
        );
    }
    let answer = serving.post("/lookup", &json!({"hashes": []}));
    assert_eq!((answer.status, answer.json), (200, json!({"results": []})));
    serving.stop().assert_status(0);
}

#[test]
fn paths_are_normalised_by_the_rules_of_the_options() {
    let dynamo = FakeDynamo::start(table());
    dynamo.put(json!({"sha256": {"S": hex(b"/home/user/x")}, "source": {"S": "gold"}}));
    let serving = RunningServer::start_with_args(&dynamo, &["--rules", "v3"]);
    let answer = serving.get("/path?p=/home/alice/x");
    let alice = json!({"input": "/home/alice/x", "normalized": "/home/user/x", "rules": "v3",
        "hash": hex(b"/home/user/x"), "status": "known", "source": "gold"});
    assert_eq!((answer.status, answer.json), (200, alice.clone()));
    let answer = serving.get("/path?p=C%3A%5CProgram+Files%5Cx%2By");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json["input"], "C:\\Program Files\\x+y");
    for (path, why) in [
        ("/path?p=%ff%fe", "UTF-8"),
        ("/path?p=", "empty"),
        ("/path?p=a%00", "NUL"),
    ] {
        let answer = serving.get(path);
        assert_eq!(
            (answer.status, &answer.json["status"]),
            (400, &"invalid".into()),
            "{path}"
        );
        assert!(
            answer.json["reason"]
                .as_str()
                .is_some_and(|r| r.contains(why)),
            "{}",
            answer.text
        );
    }
    assert_eq!(serving.get("/path").json["status"], "error");
    let answer = serving.post(
        "/lookup",
        &json!({"paths": ["/home/alice/x", "/home/alice/y", ""]}),
    );
    let results = answer.json["results"].as_array().expect("results");
    assert_eq!(results[0], alice);
    assert_eq!(
        (&results[1]["status"], &results[1]["normalized"]),
        (&"unknown".into(), &"/home/user/y".into())
    );
    assert_eq!(
        (&results[2]["status"], &results[2]["hash"]),
        (&"invalid".into(), &Value::Null)
    );
    serving.stop().assert_status(0);

    // Items name the rules that normalised their paths.
    dynamo.put(
        json!({"sha256": {"S": hex(b"/etc/x")}, "rules": {"S": "v2"}, "source": {"S": "gold"}}),
    );
    dynamo.deny("Scan");
    let serving = RunningServer::start_with_args(&dynamo, &["--rules", "v3"]);
    for _ in 0..2 {
        assert_eq!(serving.get("/path?p=/etc/x").json["item.rules"], "v2");
    }
    let ended = serving.stop();
    let warnings = ended.stderr.matches("give --rules v2").count();
    assert_eq!(warnings, 1, "{}", ended.stderr);

    // No path is in a table of other hashes.
    let md5 = FakeDynamo::start(DynamoConfig::new("sha256", "md5", KeyType::B));
    let serving = RunningServer::start_with_args(&md5, &[""; 0]);
    assert_eq!(serving.get("/path?p=/x").status, 400);
    assert_eq!(
        serving.post("/lookup", &json!({"paths": ["/x"]})).status,
        400
    );
    let answer = serving.get(&format!("/md5/{}", "ab".repeat(16)));
    assert_eq!(
        (answer.status, &answer.json["status"]),
        (404, &"unknown".into())
    );
    serving.stop().assert_status(0);
}

#[test]
fn hashes_are_read_in_the_case_of_the_table() {
    let lower = |n: usize| format!("{n:062x}ab");
    for is_looked_at in [true, false] {
        let dynamo = FakeDynamo::start(table());
        for n in 0..30 {
            dynamo.put(json!({"sha256": {"S": lower(n)}, "source": {"S": "gold"}}));
        }
        if !is_looked_at {
            dynamo.deny("Scan");
        }
        let serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
        let status = |n| serving.get(&format!("/sha256/{}", lower(n))).json["status"].clone();
        let got = [status(99), status(7), status(98), status(8)];
        assert_eq!(
            got,
            ["unknown", "known", "unknown", "known"].map(Value::from)
        );
        serving.stop().assert_status(0);
    }
    let dynamo = FakeDynamo::start(table());
    dynamo.put(json!({"sha256": {"S": lower(7)}}));
    let ended = run(&["--case", "upper"]).dynamo(&dynamo).run();
    ended.assert_status(2);
    ended.assert_stderr(&["give --case lower (in Lambda: HASHFERRY_CASE=lower)"]);
    // Without a sample of the table, a hash in the wrong case is an error, never «unknown».
    dynamo.deny("Scan");
    let serving = RunningServer::start_with_args(&dynamo, &["--case", "upper"]);
    let answer = serving.get(&format!("/sha256/{}", lower(7)));
    assert_eq!(answer.json["status"], "error", "{}", answer.text);
    assert_eq!(answer.status / 100, 5, "{}", answer.text);
    let ended = serving.stop();
    ended.assert_stderr(&["has hashes in lower case", "give --case lower"]);
}

#[test]
fn circl_clients_get_the_circl_api() {
    let dynamo = with_items(table(), 3);
    let serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
    let info = serving.get("/info");
    assert_eq!(
        (info.status, &info.json["algorithms"]),
        (200, &json!(["sha256"]))
    );
    let answer = serving.get(&format!("/lookup/sha256/{}", hash(1).to_lowercase()));
    assert_eq!(answer.status, 200);
    for (name, value) in [
        ("SHA-256", hash(1).as_str()),
        ("sha256", hash(1).as_str()),
        ("FileName", "ls"),
        ("source", "debian"),
        ("type", "linux"),
    ] {
        assert_eq!(answer.json[name], value, "{}", answer.text);
    }
    assert!(
        answer.text.contains("\"FileSize\":123456789012345678901"),
        "{}",
        answer.text
    );
    let answer = serving.get(&format!("/lookup/sha256/{}", hash(7)));
    assert_eq!(
        (answer.status, &answer.json["query"]),
        (404, &hash(7).into())
    );
    assert_eq!(answer.json["message"], "Non existing SHA-256");
    assert!(
        answer
            .json
            .get("SHA-256")
            .or(answer.json.get("sha256"))
            .is_none()
    );
    assert_eq!(serving.get("/lookup/sha256/zz").status, 400);
    let answer = serving.get(&format!("/lookup/md5/{}", "ab".repeat(16)));
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json["message"],
        "the hashes of this table are SHA-256, not MD5"
    );
    let head = serving
        .connect()
        .exchange("HEAD", &format!("/lookup/sha256/{}", hash(1)), &[], "");
    assert_eq!(head.status, 200);
    let some = json!({"hashes": [hash(2), "nonsense", hash(8), hash(0).to_lowercase()]});
    let answer = serving.post("/bulk/sha256", &some);
    let found: Vec<_> = answer
        .json
        .as_array()
        .expect("a list")
        .iter()
        .map(|i| i["SHA-256"].clone())
        .collect();
    assert_eq!(
        (answer.status, found),
        (200, vec![Value::from(hash(2)), hash(0).into()])
    );
    assert_eq!(serving.post("/bulk/sha1", &some).status, 400);
    assert_eq!(serving.post("/bulk/sha256", &json!([])).status, 400);
    serving.stop().assert_status(0);
}

#[test]
fn lookup_works_with_each_route_of_a_server_and_rejects_others() {
    let dynamo = with_items(table(), 20);
    let serving = RunningServer::start_with_args(&dynamo, &[] as &[&str]);
    let list: String = (10..30).map(|n| hash(n) + "\n").collect();
    let lookup = |route: &str, hash: &str| {
        let url = format!("http://{}{route}", serving.address);
        Run::lookup("-", &["--api", &url, "--hash", hash])
            .input(list.clone())
            .run()
    };
    for route in ["/sha256", "/lookup/sha256"] {
        let ended = lookup(route, "sha256");
        ended.assert_status(0);
        ended.assert_looked_up([20, 10, 10, 0, 0, 0]);
    }
    for (route, hash) in [
        // Routes for other algorithms, a missing route, and one with a fixed response.
        ("/lookup/sha1", "sha256"),
        ("/lookup/md5", "md5"),
        ("/v1/sha256", "sha256"),
        ("/healthz?", "sha256"),
    ] {
        let ended = lookup(route, hash);
        ended.assert_status(2);
        assert_eq!(ended.stdout, "", "{route}");
        ended.assert_stderr(&["a random hash: status ", "check the URL"]);
    }
}

#[test]
fn equal_answers_are_identical_for_any_order_of_attributes() {
    let ask = |attributes: [&str; 2]| {
        let key = format!(r#""sha256":{{"S":"{}"}}"#, hash(1));
        let body = format!(
            r#"{{"Responses":{{"sha256":[{{{},{key}}}]}}}}"#,
            attributes.join(",")
        );
        let plan = FaultPlan::default().reads_from(1, Fault::Body(body));
        let dynamo = FakeDynamo::start(table().plan(plan));
        let serving = RunningServer::start_with_args(&dynamo, &["--cache-ttl", "0s"]);
        let hashes = json!({ "hashes": [hash(1)] });
        [
            serving.get(&format!("/sha256/{}", hash(1))),
            serving.get(&format!("/lookup/sha256/{}", hash(1))),
            serving.post("/lookup", &hashes),
            serving.post("/bulk/sha256", &hashes),
        ]
        .map(|answer| {
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.text
        })
    };
    let one = ask([
        r#""m":{"M":{"b":{"SS":["y","x"]},"a":{"N":"1"}}}"#,
        r#""FileName":{"S":"ls"}"#,
    ]);
    let other = ask([
        r#""FileName":{"S":"ls"}"#,
        r#""m":{"M":{"a":{"N":"1"},"b":{"SS":["x","y"]}}}"#,
    ]);
    assert_eq!(one, other);
    for text in &one {
        assert!(text.contains(r#""m":{"a":1,"b":["x","y"]}"#), "{text}");
    }
}

#[test]
fn a_failed_read_is_an_error_and_never_unknown() {
    let plan = FaultPlan::default().reads_from(1, Fault::Throttle);
    let dynamo = with_items(table().plan(plan), 3);
    let serving = RunningServer::start_with_args(&dynamo, &["--request-timeout", "300ms"]);
    let answer = serving.get(&format!("/sha256/{}", hash(1)));
    assert_eq!(
        (answer.status, &answer.json["status"]),
        (503, &"error".into())
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    let answer = serving.post("/lookup", &json!({"hashes": [hash(1), "x"]}));
    let statuses: Vec<_> = answer.json["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|r| &r["status"])
        .collect();
    assert_eq!(
        (answer.status, statuses),
        (200, vec![&Value::from("error"), &"invalid".into()])
    );
    assert_eq!(
        serving
            .post("/bulk/sha256", &json!({"hashes": [hash(1)]}))
            .status,
        503
    );
    assert_eq!(
        serving.get(&format!("/lookup/sha256/{}", hash(1))).status,
        503
    );
    let health = serving.get("/healthz");
    assert_eq!(
        (health.status, &health.json["table"]),
        (200, &"failing".into())
    );
    // The server recovers without a restart.
    dynamo.set_plan(
        FaultPlan::default()
            .read_at(1, Fault::UnprocessedAll)
            .read_at(2, Fault::Unprocessed(1)),
    );
    let answer = poll_until(|| {
        Some(serving.get(&format!("/sha256/{}", hash(1)))).filter(|a| a.status != 503)
    });
    assert_eq!(answer.status, 200);
    assert_eq!(serving.get("/healthz").json["table"], "answering");
    dynamo.set_plan(FaultPlan::default().reads_from(1, Fault::AccessDenied));
    let answer = serving.get(&format!("/sha256/{}", hash(2)));
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json["error"],
        "cannot read the table (AccessDeniedException)"
    );
    let metrics = serving.get("/metrics").text;
    let throttled = metrics
        .lines()
        .find_map(|l| l.strip_prefix("hashferry_batch_get_item_throttled_total "));
    assert!(
        throttled.is_some_and(|n| n.parse::<u64>().expect("a number") > 0),
        "{metrics}"
    );
    serving.stop().assert_status(0);
}

#[test]
fn five_hundred_requests_share_calls_and_their_results_are_cached() {
    let dynamo = with_items(table().latency(Duration::from_millis(50)), 250);
    let serving = RunningServer::start_with_args(&dynamo, &["--concurrency", "2"]);
    let mut clients: Vec<_> = (0..500).map(|_| serving.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.request("GET", &format!("/sha256/{}", hash(n)), &[], "");
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer(false).status, if n < 250 { 200 } else { 404 });
    }
    let stats = dynamo.stats();
    assert_eq!(stats.keys_asked, [500, 0]);
    assert!((5..=60).contains(&stats.gets), "{}", stats.gets);
    // The clients reuse their connections.
    for (n, client) in clients.iter_mut().enumerate() {
        let answer = client.exchange("GET", &format!("/sha256/{}", hash(n)), &[], "");
        assert_eq!(answer.status, if n < 250 { 200 } else { 404 });
    }
    assert_eq!(dynamo.stats().gets, stats.gets, "all of it was remembered");
    let metrics = serving.get("/metrics").text;
    for line in [
        "hashferry_cache_hits_total 500",
        "hashferry_cache_misses_total 500",
        "hashferry_connections_total 501",
        "hashferry_http_requests_total{route=\"/sha256/{hash}\",status=\"200\"} 500",
        "hashferry_lookups_total{status=\"unknown\"} 500",
        "hashferry_read_units_total 250.5",
        "hashferry_http_requests_in_flight 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in:\n{metrics}");
    }
    drop(clients);
    serving.stop().assert_status(0);
}

#[test]
fn concurrent_requests_for_one_hash_read_one_key() {
    let dynamo = with_items(table().latency(Duration::from_millis(100)), 1);
    let serving = RunningServer::start_with_args(&dynamo, &["--cache-ttl", "0"]);
    let mut clients: Vec<_> = (0..50).map(|_| serving.connect()).collect();
    for client in &mut clients {
        client.request("GET", &format!("/sha256/{}", hash(0)), &[], "");
    }
    for client in &mut clients {
        assert_eq!(client.answer(false).status, 200);
    }
    // Without a cache, a request after the response reads the table again.
    assert!(dynamo.stats().gets <= 5, "{}", dynamo.stats().gets);
    serving.stop().assert_status(0);
}

fn new_key(name: &str, file: &Path) -> String {
    let file = file.to_str().expect("UTF-8");
    let ended = Run::new(&["serve", "--new-key", name, "--api-keys", file]).run();
    ended.assert_status(0);
    let key = ended.stdout.trim_end().to_owned();
    assert!(key.starts_with("hf_") && key.len() == 67, "{key}");
    ended.assert_stderr(&["shown only once"]);
    key
}

fn keys() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("keys.txt");
    (dir, path)
}

#[test]
fn keys_are_required_reloaded_and_never_logged() {
    let (_dir, path) = keys();
    let alice = new_key("alice", &path);
    let file = path.to_str().expect("UTF-8").to_owned();
    let dynamo = with_items(table(), 3);
    let serving = RunningServer::start_with_args(&dynamo, &["--api-keys", &file, "-vv"]);
    let get = |name: &str, key: &str| {
        let path = format!("/sha256/{}", hash(1));
        serving
            .connect()
            .exchange("GET", &path, &[("host", "lookup.example"), (name, key)], "")
    };
    let denied = serving.get(&format!("/sha256/{}", hash(1)));
    assert_eq!(
        (denied.status, &denied.json["status"]),
        (401, &"error".into())
    );
    assert!(denied.header("www-authenticate").is_some());
    let wrong = "hf_WRONG-key-of-somebody";
    assert_eq!(get("x-api-key", wrong).status, 401);
    assert_eq!(get("x-api-key", &alice).status, 200);
    assert_eq!(get("authorization", &format!("Bearer {alice}")).status, 200);
    let many = json!({"hashes": [hash(1)]}).to_string();
    let answer = serving
        .connect()
        .exchange("POST", "/lookup", &[("x-api-key", &alice)], &many);
    assert_eq!(answer.status, 200);
    for path in ["/", "/healthz", "/openapi.json"] {
        assert_eq!(serving.get(path).status, 200, "{path}");
    }
    assert_eq!(serving.get("/metrics").status, 401);
    let metrics = serving
        .connect()
        .exchange("GET", "/metrics", &[("x-api-key", &alice)], "");
    assert_eq!(metrics.status, 200);

    let bob = new_key("bob", &path);
    poll_until(|| (get("x-api-key", &bob).status == 200).then_some(()));
    let text = std::fs::read_to_string(&path).expect("keys");
    let without = text.lines().filter(|l| !l.starts_with("alice "));
    std::fs::write(&path, without.map(|l| format!("{l}\n")).collect::<String>()).expect("written");
    serving.signal(Signal::SIGHUP);
    poll_until(|| (get("x-api-key", &alice).status == 401).then_some(()));
    assert_eq!(get("x-api-key", &bob).status, 200);
    std::fs::write(&path, format!("bob {bob}\n")).expect("written");
    serving.signal(Signal::SIGHUP);
    // An invalid file changes nothing.
    assert_eq!(get("x-api-key", &bob).status, 200);
    let ended = serving.stop();
    ended.assert_status(0);
    ended.assert_stderr(&["key=\"alice\"", "key=\"bob\"", "was reloaded"]);
    for secret in [alice.as_str(), &alice[3..], &bob, &bob[3..], wrong, SECRET] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
    }
}

#[test]
fn each_key_has_a_separate_rate_limit() {
    let (_dir, path) = keys();
    let (alice, bob) = (new_key("alice", &path), new_key("bob", &path));
    let dynamo = with_items(table(), 3);
    let file = path.to_str().expect("UTF-8");
    let serving =
        RunningServer::start_with_args(&dynamo, &["--api-keys", file, "--rate-limit", "0.01"]);
    let get = |key: &str| {
        let path = format!("/sha256/{}", hash(1));
        serving
            .connect()
            .exchange("GET", &path, &[("x-api-key", key)], "")
    };
    assert_eq!(get(&alice).status, 200);
    let answer = get(&alice);
    assert_eq!(
        (answer.status, &answer.json["status"]),
        (429, &"error".into())
    );
    let wait: u64 = answer
        .header("retry-after")
        .expect("a time")
        .parse()
        .expect("a number");
    assert!((90..=100).contains(&wait), "{wait}");
    assert_eq!(get(&bob).status, 200);
    serving.stop().assert_status(0);
}

#[test]
fn without_keys_only_this_machine_is_served() {
    let dynamo = with_items(table(), 1);
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let args = ["serve", "--table", "sha256", "--listen", listen];
        let ended = Run::new(&args).dynamo(&dynamo).run();
        ended.assert_status(2);
        ended.assert_stderr(&["other machines can reach", "--api-keys"]);
    }
    let serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
    assert!(
        serving.said.contains("for this machine only"),
        "{}",
        serving.said
    );
    let path = format!("/sha256/{}", hash(0));
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]", 200),
        ("rebound.example", 403),
        ("rebound.example:8080", 403),
    ] {
        let answer = serving
            .connect()
            .exchange("GET", &path, &[("host", host)], "");
        assert_eq!(answer.status, status, "{host}");
    }
    serving.stop().assert_status(0);
}

#[test]
fn too_large_heads_and_bodies_get_an_error() {
    let dynamo = with_items(table(), 1);
    let serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
    let long = "x".repeat(20_000);
    let answer = serving
        .connect()
        .exchange("GET", "/healthz", &[("x-long", &long)], "");
    assert_eq!(answer.status, 431);
    assert_eq!(serving.get("/healthz").status, 200);
    let mut client = serving.connect();
    client.send("POST /lookup HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048577\r\n\r\n");
    assert_eq!(client.answer(false).status, 413);
    // Detected while the body arrives.
    let mut client = serving.connect();
    client.send("POST /lookup HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, " ".repeat(65_536));
    for _ in 0..17 {
        client.send(&chunk);
    }
    assert_eq!(client.answer(false).status, 413);
    let mut body = json!({"hashes": [hash(0)]}).to_string();
    body += &" ".repeat(1_048_576 - body.len());
    let answer = serving.connect().exchange("POST", "/lookup", &[], &body);
    assert_eq!(answer.status, 200, "exactly as large as it may be");
    // Bytes that are not HTTP.
    let mut client = serving.connect();
    client.send("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n");
    assert!(client.read_to_end().starts_with("HTTP/1.1 400"));
    serving.stop().assert_status(0);
}

#[test]
fn slow_clients_do_not_delay_others() {
    let dynamo = with_items(table(), 1);
    let serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
    let mut slow: Vec<_> = (0..200).map(|_| serving.connect()).collect();
    for (n, client) in slow.iter_mut().enumerate() {
        match n % 3 {
            0 => {}
            1 => client.send("GET /heal"),
            _ => client
                .send("POST /lookup HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"),
        }
    }
    for _ in 0..20 {
        assert_eq!(serving.get(&format!("/sha256/{}", hash(0))).status, 200);
    }
    let ended = wait_until_ended(serving, &mut slow);
    ended.assert_status(0);
}

/// Stops the server while idle clients are connected, and closes them.
fn wait_until_ended(mut serving: RunningServer, slow: &mut Vec<Client>) -> Finished {
    serving.signal(Signal::SIGTERM);
    poll_until(|| TcpStream::connect(serving.address).is_err().then_some(()));
    slow.clear();
    serving.started.take().expect("it runs").wait()
}

#[test]
fn requests_in_flight_finish_on_shutdown() {
    let plan = FaultPlan::default().reads_from(1, Fault::Throttle);
    let dynamo = with_items(table().plan(plan), 1);
    let mut serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
    let mut idle = serving.connect();
    assert_eq!(idle.exchange("GET", "/healthz", &[], "").status, 200);
    let mut client = serving.connect();
    client.request("GET", &format!("/sha256/{}", hash(0)), &[], "");
    dynamo.wait_until(TIMEOUT, |s| s.gets > 0).expect("it asks");
    serving.signal(Signal::SIGINT);
    poll_until(|| TcpStream::connect(serving.address).is_err().then_some(()));
    assert_eq!(idle.read_to_end(), "", "an idle connection is closed");
    dynamo.set_plan(FaultPlan::default());
    let answer = client.answer(false);
    assert_eq!(
        (answer.status, without_size(answer.json)),
        (200, known_answer(0))
    );
    assert_eq!(client.read_to_end(), "");
    serving
        .started
        .take()
        .expect("it runs")
        .wait()
        .assert_status(0);
}

#[test]
fn a_closed_log_pipe_does_not_stop_the_server_or_its_shutdown() {
    let dynamo = with_items(table(), 1);
    let run = run(&[""; 0]).dynamo(&dynamo);
    let serving = RunningServer::start_with_reader(run, Started::close_stderr);
    for _ in 0..2 {
        assert_eq!(serving.get(&format!("/sha256/{}", hash(0))).status, 200);
    }
    serving.stop().assert_status(0);
}

#[test]
fn connections_above_the_limit_wait() {
    let dynamo = with_items(table(), 1);
    let serving = RunningServer::start_with_args(&dynamo, &["--max-connections", "2"]);
    let (mut first, mut second) = (serving.connect(), serving.connect());
    assert_eq!(first.exchange("GET", "/healthz", &[], "").status, 200);
    assert_eq!(second.exchange("GET", "/healthz", &[], "").status, 200);
    let mut third = serving.connect();
    third.request("GET", "/metrics", &[], "");
    assert_eq!(first.exchange("GET", "/healthz", &[], "").status, 200);
    drop(second);
    let answer = third.answer(false);
    assert!(
        answer.text.contains("hashferry_connections 2\n"),
        "{}",
        answer.text
    );
    drop((first, third));
    serving.stop().assert_status(0);
}

#[test]
fn the_page_and_the_description_are_served_with_their_headers() {
    let dynamo = with_items(table(), 1);
    let serving = RunningServer::start_with_args(&dynamo, &[""; 0]);
    let page = serving.get("/");
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Look up hashes and paths"));
    assert!(page.text.contains("Content-Security-Policy"));
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("access-control-allow-origin"), None);
    let document = serving.get("/openapi.json");
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert_eq!(document.json["openapi"], "3.1.0");
    assert!(document.json["paths"]["/sha256/{hash}"].is_object());
    serving.stop().assert_status(0);
}

#[test]
fn log_lines_are_json_with_log_format_json() {
    let dynamo = with_items(table(), 1);
    let serving = RunningServer::start_with_args(&dynamo, &["--log-format", "json"]);
    assert_eq!(serving.get(&format!("/sha256/{}", hash(0))).status, 200);
    let ended = serving.stop();
    let lines = ended
        .stderr
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let line = lines
        .into_iter()
        .find(|l| l["message"] == "request")
        .expect("a line");
    assert_eq!(
        (&line["method"], &line["status"]),
        (&"GET".into(), &200.into())
    );
    assert_eq!(line["route"], "/sha256/{hash}");
    assert!(
        line["ms"].is_f64() && line["bytes"].as_u64() > Some(50),
        "{line}"
    );
}

#[cfg(feature = "local")]
#[test]
fn an_embedded_table_is_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let list: String = (0..10).map(|n| hash(n) + "\n").collect();
    Run::new(&[
        "ingest",
        "-",
        "--table",
        "sha256",
        "--local",
        data,
        "--source",
        "NSRL",
        "--progress",
        "none",
    ])
    .input(list)
    .run()
    .assert_status(0);
    let serving = RunningServer::start(run(&["--local", data]));
    let answer = serving.get(&format!("/sha256/{}", hash(3)));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json["source"], "NSRL");
    assert_eq!(serving.get(&format!("/sha256/{}", hash(30))).status, 404);
    serving.stop().assert_status(0);
}

#[test]
fn configuration_errors_are_reported_at_the_start() {
    let dynamo = with_items(table(), 1);
    let at = |args: &[&str]| {
        Run::new(&[&["serve", "--listen", "127.0.0.1:0"], args].concat())
            .dynamo(&dynamo)
            .run()
    };
    let ended = at(&["--table", "other"]);
    ended.assert_status(2);
    ended.assert_stderr(&["there is no table other"]);
    let ended = at(&["--table", "sha256", "--api-keys", "nowhere.txt"]);
    ended.assert_status(2);
    ended.assert_stderr(&["cannot read the API keys in nowhere.txt", "--new-key"]);
    at(&[]).assert_status(2);
    at(&["--new-key", "alice"]).assert_status(2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = Run::new(&["serve", "--table", "sha256", "--listen", &address])
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["cannot listen at", "--listen 127.0.0.1:0"]);
    let other = FakeDynamo::start(DynamoConfig::new("sha256", "pk", KeyType::S));
    let ended = run(&[""; 0]).dynamo(&other).run();
    ended.assert_status(2);
    ended.assert_stderr(&["the key pk of table", "--hash sha256"]);
}
