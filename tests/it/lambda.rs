//! Tests of the Lambda functions: their binaries, started as Lambda starts them, against
//! fakes of the Runtime API, DynamoDB and Application Auto Scaling.

use crate::common::binary::{Run, SECRET, Started};
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, FaultPlan, KeyType};
use crate::common::fake_lambda::{FakeLambda, FunctionOutput};
use crate::common::fake_scaling::{FakeScaling, Target};
use hashferry::binaries::keepalive::{Event, handle};
use hashferry::{Aws, AwsOptions, ErrorKind, LocalEndpoints};
use serde_json::{Value, json};

/// Event of the schedule in scripts/keepalive/lambda.yaml.
const EVENT: &str = r#"{"table":"sha256","until_min":true}"#;

fn table(wcu: u64) -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
        .billing(Billing::Provisioned { wcu })
        .secret(SECRET)
}

fn scaling_targets(targets: &[(u64, u64)]) -> FakeScaling {
    let targets = targets.iter().map(|&(min, max)| Target {
        resource: "table/sha256".to_owned(),
        min,
        max,
        target_percent: Some(70.0),
        suspended: false,
    });
    FakeScaling::start(targets.collect())
}

/// The bootstrap binary with the environment that Lambda sets.
fn bootstrap(lambda: &FakeLambda) -> Run {
    Run::with_binary(env!("CARGO_BIN_EXE_keepalive-lambda"), &[""; 0])
        .env("AWS_LAMBDA_RUNTIME_API", &lambda.host())
        .env("AWS_LAMBDA_FUNCTION_NAME", "keepalive")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
}

fn start(lambda: &FakeLambda, dynamo: &FakeDynamo, scaling: &FakeScaling) -> Started {
    bootstrap(lambda)
        .dynamo(dynamo)
        .env(
            "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING",
            &scaling.endpoint(),
        )
        .start()
}

fn expected_output(request: u64, body: Value) -> FunctionOutput {
    FunctionOutput {
        path: format!("invocation/request-{request}/response"),
        body,
    }
}

/// Asserts that the invocation failed with an error that contains each of `parts`.
fn assert_failed(sent: &FunctionOutput, request: u64, kind: &str, parts: &[&str]) {
    assert_eq!(sent.path, format!("invocation/request-{request}/error"));
    assert_eq!(sent.body["errorType"], kind, "{}", sent.body);
    let message = sent.body["errorMessage"].as_str().expect("a text");
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// The lines of a log, each of which is one JSON object.
fn log_lines(stderr: &str) -> Vec<Value> {
    let lines = stderr.lines();
    lines
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect()
}

#[test]
fn each_event_is_one_round_until_the_minimum() {
    let (lambda, scaling) = (FakeLambda::start(), scaling_targets(&[(25, 2000)]));
    let dynamo = FakeDynamo::start(table(1000));
    let mut started = start(&lambda, &dynamo, &scaling);

    let expected = json!({"table": "sha256", "write_units": 1000, "min": 25,
        "consumed": 1.0, "at_minimum": false, "not_helped": []});
    assert_eq!(lambda.invoke(EVENT), expected_output(1, expected));
    let stats = dynamo.stats();
    assert_eq!((stats.consumed_units, stats.distinct), (1, 0));
    assert_eq!(
        (calls(&dynamo, "DeleteItem"), calls(&dynamo, "GetItem")),
        (1, 1)
    );

    // Auto scaling has lowered it.
    dynamo.set_billing(Billing::Provisioned { wcu: 25 });
    let expected = json!({"table": "sha256", "write_units": 25, "min": 25,
        "consumed": 0.0, "at_minimum": true, "not_helped": []});
    assert_eq!(lambda.invoke(EVENT), expected_output(2, expected));
    assert_eq!(
        (calls(&dynamo, "DeleteItem"), calls(&dynamo, "GetItem")),
        (1, 1)
    );

    // Without until_min the round writes anyway, and does not read the minimum.
    let asked = scaling.calls().len();
    let expected = json!({"table": "sha256", "write_units": 25, "min": null,
        "consumed": 1.0, "at_minimum": null, "not_helped": []});
    assert_eq!(
        lambda.invoke(r#"{"table":"sha256"}"#),
        expected_output(3, expected)
    );
    assert_eq!(dynamo.stats().consumed_units, 2);
    assert_eq!(scaling.calls().len(), asked);
    assert!(scaling.calls().iter().all(|c| c.starts_with("Describe")));
    assert_eq!(dynamo.stats().unsigned, 0, "signed with the credentials");

    started.kill();
    let ended = started.wait();
    assert_eq!(ended.status, -1, "a signal ended it");
    assert_eq!(ended.stdout, "");
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    let lines = log_lines(&ended.stderr);
    assert_eq!(lines.len(), 3, "one line an event: {}", ended.stderr);
    assert_eq!(lines[0]["span"]["requestId"], "request-1", "{}", lines[0]);
    assert_eq!(
        (&lines[1]["level"], &lines[1]["at_minimum"]),
        (&json!("INFO"), &json!(true))
    );
    let message = lines[1]["message"].as_str().expect("a text");
    assert!(message.contains("the schedule can be deleted"), "{message}");
}

fn calls(dynamo: &FakeDynamo, operation: &str) -> u64 {
    let targets = dynamo.stats().targets;
    let of =
        |(target, n): (&String, &u64)| target.ends_with(&format!(".{operation}")).then_some(*n);
    targets.iter().filter_map(of).sum()
}

#[test]
fn a_failed_invocation_reports_its_error_and_the_next_one_succeeds() {
    let (lambda, targets) = (FakeLambda::start(), scaling_targets(&[(25, 2000)]));
    let dynamo = FakeDynamo::start(table(1000));
    let mut started = start(&lambda, &dynamo, &targets);

    let sent = lambda.invoke(r#"{"table":"sha256","untilmin":true}"#);
    let expected = r#"{"table":"NAME","until_min":true}"#;
    assert_failed(
        &sent,
        1,
        "hashferry.Usage",
        &["unknown field: untilmin", expected],
    );
    let sent = lambda.invoke(r#"{"table":"other","until_min":true}"#);
    assert_failed(&sent, 2, "hashferry.Usage", &["there is no table other"]);
    dynamo.set_plan(FaultPlan::default().deny("DeleteItem"));
    let sent = lambda.invoke(EVENT);
    assert_failed(
        &sent,
        3,
        "hashferry.Write",
        &["DeleteItem on table sha256", "dynamodb:DeleteItem"],
    );
    dynamo.set_plan(FaultPlan::default());
    dynamo.set_billing(Billing::OnDemand { max: None });
    assert_failed(
        &lambda.invoke(EVENT),
        4,
        "hashferry.Usage",
        &["is on-demand"],
    );
    dynamo.set_billing(Billing::Provisioned { wcu: 1000 });
    assert_eq!(lambda.invoke(EVENT).path, "invocation/request-5/response");
    assert_eq!(dynamo.stats().consumed_units, 1, "one round only");

    started.kill();
    let ended = started.wait();
    ended.assert_stderr(&["unknown field: untilmin", "there is no table other"]);
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    let lines = log_lines(&ended.stderr);
    let levels: Vec<_> = lines.iter().map(|l| l["level"].as_str()).collect();
    let error = Some("ERROR");
    assert_eq!(levels, [error, error, error, error, Some("INFO")]);

    // Nothing would ever scale this one in.
    let (lambda, none) = (FakeLambda::start(), scaling_targets(&[]));
    let mut started = start(&lambda, &dynamo, &none);
    let sent = lambda.invoke(EVENT);
    assert_failed(
        &sent,
        1,
        "hashferry.Usage",
        &["no auto scaling of its writes"],
    );
    assert_eq!(dynamo.stats().consumed_units, 1, "no round");
    started.kill();
    started.wait();
}

#[test]
fn the_binary_exits_outside_lambda() {
    let lambda = FakeLambda::start();
    for (name, value, why) in [
        ("AWS_LAMBDA_RUNTIME_API", None, "not set"),
        ("AWS_LAMBDA_FUNCTION_NAME", None, "not set"),
        ("AWS_LAMBDA_FUNCTION_VERSION", None, "not set"),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            Some("much"),
            "not a number",
        ),
    ] {
        let run = match value {
            None => bootstrap(&lambda).without_env(name),
            Some(value) => bootstrap(&lambda).env(name, value),
        };
        let ended = run.run();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&[name, why, "hashferry keepalive --table NAME"]);
    }
    let ended = bootstrap(&lambda).without_env("AWS_REGION").run();
    assert_eq!(ended.status, 2, "{}", ended.stderr);
    ended.assert_stderr(&["no AWS region"]);

    // The API is closed, so there is nothing to wait for.
    let run = bootstrap(&lambda);
    drop(lambda);
    let ended = run.run();
    assert_eq!(ended.status, 1, "{}", ended.stderr);
    ended.assert_stderr(&["the Lambda runtime API sent an unexpected response"]);
}

#[tokio::test]
async fn the_handler_works_without_lambda() {
    let index = |name| {
        json!([{"IndexName": name, "IndexStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "source", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"}}])
    };
    let config = DynamoConfig::new("sha256", "sha256", KeyType::B)
        .billing(Billing::OnDemand { max: None })
        .describe("GlobalSecondaryIndexes", index("by-source"))
        .describe("LocalSecondaryIndexes", index("local"));
    let dynamo = FakeDynamo::start(config);
    let local = LocalEndpoints {
        folder: String::new(),
        s3: dynamo.endpoint(),
        dynamodb: dynamo.endpoint(),
        region: "us-east-1".to_owned(),
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SECRET.to_owned(),
    };
    let options = AwsOptions {
        local: Some(local),
        ..AwsOptions::default()
    };
    let aws = Aws::load(&options).await.expect("a configuration");
    let answer = handle(&aws, &json!({"table": "sha256", "until_min": false})).await;
    let answer = serde_json::to_value(answer.expect("a round")).expect("JSON");
    let expected = json!({"table": "sha256", "write_units": null, "min": null,
        "consumed": 1.0, "at_minimum": null, "not_helped": ["by-source"]});
    assert_eq!(answer, expected);
    let stats = dynamo.stop();
    assert_eq!((stats.consumed_units, stats.distinct), (1, 0));
}

#[test]
fn an_event_of_another_source_is_an_error() {
    let read = |text: &str| Event::parse(&serde_json::from_str(text).expect("JSON"));
    let event = |until_min| Event {
        table: "sha256".to_owned(),
        until_min,
    };
    assert_eq!(read(EVENT).expect("an event"), event(true));
    assert_eq!(read(r#"{"table":"sha256"}"#).expect("one"), event(false));
    for (text, why) in [
        ("null", "not a JSON object"),
        ("[]", "not a JSON object"),
        (r#""hunter2""#, "not a JSON object"),
        ("{}", "names no table"),
        (r#"{"until_min":true}"#, "names no table"),
        (r#"{"table":""}"#, "table is not a name"),
        (r#"{"table":{"hunter2":1}}"#, "table is not a name"),
        (
            r#"{"table":"sha256","until_min":"hunter2"}"#,
            "neither true nor false",
        ),
        (
            r#"{"table":"sha256","Until_Min":"hunter2"}"#,
            "unknown field: Until_Min",
        ),
        // Event of a schedule without an input.
        (
            r#"{"version":"0","id":"hunter2","detail-type":"Scheduled Event","detail":"{}"}"#,
            "unknown field",
        ),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Usage);
        let said = error.to_string();
        assert!(said.contains(why), "{text}: {said}");
        assert!(!said.contains("hunter2"), "it shows no values: {said}");
        let hint = error.hint().expect("what was expected");
        assert!(
            hint.contains(r#"{"table":"NAME","until_min":true}"#),
            "{hint}"
        );
    }
}

/// A request in the event format of a function URL.
fn request(method: &str, path: &str, key: Option<&str>, body: Option<&str>) -> String {
    let mut headers =
        json!({"host": "abc.lambda-url.us-east-1.on.aws", "content-type": "application/json"});
    if let Some(key) = key {
        headers["x-api-key"] = key.into();
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    json!({"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": headers, "body": body, "isBase64Encoded": false,
        "requestContext": {"accountId": "anonymous", "apiId": "abc", "domainName": "abc.lambda-url.us-east-1.on.aws",
            "domainPrefix": "abc", "requestId": "1", "routeKey": "$default", "stage": "$default",
            "time": "24/Nov/2026:10:00:00 +0000", "timeEpoch": 1_795_514_400_000_u64,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "test"}}})
    .to_string()
}

#[test]
fn look_ups_get_the_answers_of_the_serve_command() {
    let dynamo = FakeDynamo::start(table(1000));
    // SHA-256 of "test": both an API key and a hash of the table.
    let digest = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
    dynamo.put(json!({"sha256": {"S": digest}, "source": {"S": "NSRL"}}));
    let lambda = FakeLambda::start();
    let bootstrap = || {
        Run::with_binary(env!("CARGO_BIN_EXE_serve-lambda"), &[""; 0])
            .env("AWS_LAMBDA_RUNTIME_API", &lambda.host())
            .env("AWS_LAMBDA_FUNCTION_NAME", "serve")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .dynamo(&dynamo)
    };
    let ended = bootstrap().env("HASHFERRY_TABLE", "sha256").run();
    ended.assert_status(2);
    ended.assert_stderr(&["HASHFERRY_API_KEYS is not set", "--new-key"]);

    // Options that contradict the table are an error at the start.
    for (name, value, hint) in [
        ("HASHFERRY_CASE", "lower", "HASHFERRY_CASE=upper"),
        ("HASHFERRY_HASH", "md5", "HASHFERRY_KEY=sha256"),
    ] {
        let ended = bootstrap()
            .env("HASHFERRY_TABLE", "sha256")
            .env("HASHFERRY_API_KEYS", &format!("alice sha256:{digest}"))
            .env(name, value)
            .run();
        ended.assert_status(2);
        ended.assert_stderr(&["does not fit table sha256", hint]);
    }

    let mut started = bootstrap()
        .env("HASHFERRY_TABLE", "sha256")
        .env("HASHFERRY_CASE", "")
        .env("HASHFERRY_API_KEYS", &format!("alice sha256:{digest}"))
        .start();
    let ask = |method: &str, path: &str, key: Option<&str>, body: Option<&str>| {
        let sent = lambda.invoke(&request(method, path, key, body));
        assert!(sent.path.ends_with("/response"), "{sent:?}");
        let text = sent.body["body"].as_str().unwrap_or_default();
        let json = serde_json::from_str(text).unwrap_or(Value::Null);
        (sent.body["statusCode"].as_u64(), json)
    };
    let known = json!({"input": digest, "hash": digest, "status": "known", "source": "NSRL"});
    let path = format!("/sha256/{digest}");
    assert_eq!(ask("GET", &path, None, None).0, Some(401));
    assert_eq!(ask("GET", &path, Some("other"), None).0, Some(401));
    assert_eq!(
        ask("GET", "/metrics", None, None).0,
        Some(401),
        "nobody is on this machine"
    );
    assert_eq!(
        ask("GET", &path, Some("test"), None),
        (Some(200), known.clone())
    );
    let body = json!({"hashes": [digest, "x"]}).to_string();
    let (status, many) = ask("POST", "/lookup", Some("test"), Some(&body));
    assert_eq!((status, &many["results"][0]), (Some(200), &known));
    assert_eq!(many["results"][1]["status"], "invalid");
    let (status, of_path) = ask("GET", "/path?p=%2Fhome%2Fa+b", Some("test"), None);
    assert_eq!(
        (status, &of_path["normalized"]),
        (Some(404), &"/home/ubuntu".into())
    );
    assert_eq!(ask("GET", "/healthz", None, None).0, Some(200));
    started.kill();
    let ended = started.wait();
    assert!(
        ended.stderr.contains("\"key\":\"alice\""),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
}
