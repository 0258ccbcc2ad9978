//! Tests of `hashferry capacity` and `hashferry keepalive`, with the real binary.

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, FaultPlan, KeyType};
use crate::common::fake_scaling::{FakeScaling, Target};
use serde_json::{Value, json};

fn table(wcu: u64) -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S).billing(Billing::Provisioned { wcu })
}

fn with_index(config: DynamoConfig) -> DynamoConfig {
    config.describe(
        "GlobalSecondaryIndexes",
        json!([{"IndexName": "by-source", "IndexStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "source", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
            "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 300}}]),
    )
}

fn target(resource: &str, min: u64, max: u64) -> Target {
    let resource = resource.to_owned();
    Target {
        resource,
        min,
        max,
        target_percent: Some(70.0),
        suspended: false,
    }
}

fn run(args: &[&str], dynamo: &FakeDynamo, scaling: &FakeScaling) -> Finished {
    let args = [args, &["--table", "sha256"]].concat();
    Run::new(&args)
        .dynamo(dynamo)
        .env(
            "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING",
            &scaling.endpoint(),
        )
        .run()
}

#[test]
fn capacity_prints_the_start_rate_and_its_reason() {
    let scaling = FakeScaling::start(vec![
        target("table/sha256", 25, 2000),
        Target {
            suspended: true,
            target_percent: None,
            ..target("table/sha256/index/by-source", 5, 300)
        },
        target("table/another", 1, 2),
    ]);
    let dynamo = FakeDynamo::start(with_index(table(1000)));
    let ended = run(&["capacity"], &dynamo, &scaling);
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    for part in [
        "provisioned: 1,000 WCU/s",
        "index by-source (items with source): 300 WCU/s",
        "auto scaling of table/sha256: 25 to 2000, target utilisation 70 %",
        "auto scaling of table/sha256/index/by-source: 5 to 300, without a target-tracking policy; scale-in suspended",
        "starts at 300 WCU/s: index by-source has the lowest capacity",
    ] {
        assert!(
            ended.stdout.contains(part),
            "expected {part:?} in:\n{}",
            ended.stdout
        );
    }
    assert!(!ended.stdout.contains("another"));

    let ended = run(&["capacity", "--json"], &dynamo, &scaling);
    let got: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        (&got["billing"], &got["write_units"]),
        (&json!("provisioned"), &json!(1000))
    );
    assert_eq!(
        (&got["takes_wcu_per_s"], &got["narrowest"]),
        (&json!(300.0), &json!("index by-source"))
    );
    assert_eq!(got["auto_scaling"][0]["min"], 25);

    let on_demand =
        DynamoConfig::new("sha256", "sha256", KeyType::S).billing(Billing::OnDemand { max: None });
    let ended = run(&["capacity"], &FakeDynamo::start(on_demand), &scaling);
    assert!(
        ended.stdout.contains("on-demand, without a maximum"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("starts at 4,000 WCU/s"),
        "{}",
        ended.stdout
    );

    let ended = Run::new(&["capacity", "--table", "other"])
        .dynamo(&dynamo)
        .run();
    assert_eq!(ended.status, 2);
    ended.assert_stderr(&["there is no table other"]);
}

#[test]
fn unreachable_auto_scaling_is_reported_and_is_not_an_error() {
    // The server has stopped, so no one listens at its endpoint.
    let endpoint = FakeScaling::start(vec![]).endpoint();
    let dynamo = FakeDynamo::start(table(1000));
    let ended = Run::new(&["capacity", "--table", "sha256"])
        .dynamo(&dynamo)
        .env("AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING", &endpoint)
        .run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("auto scaling: unknown"),
        "{}",
        ended.stdout
    );
}

#[test]
fn keepalive_consumes_a_unit_and_changes_nothing() {
    let scaling = FakeScaling::start(vec![target("table/sha256", 25, 2000)]);
    for config in [
        table(1000),
        DynamoConfig::new("sha256", "sha256", KeyType::B).sort("n", KeyType::N),
        DynamoConfig::new("sha256", "sha256", KeyType::S).sort("type", KeyType::S),
    ] {
        let dynamo = FakeDynamo::start(config);
        let ended = run(&["keepalive"], &dynamo, &scaling);
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(ended.stdout.contains("Consumed 1 WCU"), "{}", ended.stdout);
        let stats = dynamo.stop();
        assert_eq!((stats.consumed_units, stats.distinct), (1, 0));
    }

    let dynamo = FakeDynamo::start(with_index(table(1000)));
    run(&["keepalive"], &dynamo, &scaling)
        .assert_stderr(&["does not scale the table's indexes in"]);
    // A local secondary index consumes the table's capacity, so there is no warning.
    let local = table(1000).describe(
        "LocalSecondaryIndexes",
        json!([{"IndexName": "by-day", "Projection": {"ProjectionType": "ALL"},
            "KeySchema": [{"AttributeName": "sha256", "KeyType": "HASH"},
                {"AttributeName": "day", "KeyType": "RANGE"}]}]),
    );
    let ended = run(&["keepalive"], &FakeDynamo::start(local), &scaling);
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("does not scale"), "{}", ended.stderr);

    let denied = table(1000).plan(FaultPlan::default().deny("DeleteItem"));
    let ended = run(&["keepalive"], &FakeDynamo::start(denied), &scaling);
    assert_eq!(ended.status, 1);
    ended.assert_stderr(&["dynamodb:DeleteItem"]);
}

#[test]
fn keepalive_until_min_ends_at_the_minimum() {
    let scaling = FakeScaling::start(vec![target("table/sha256", 25, 2000)]);
    let dynamo = FakeDynamo::start(table(2000));
    let started = Run::new(&[
        "keepalive",
        "--table",
        "sha256",
        "--until-min",
        "--interval",
        "10ms",
    ])
    .dynamo(&dynamo)
    .env(
        "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING",
        &scaling.endpoint(),
    )
    .start();
    let begun = dynamo.wait_until(std::time::Duration::from_secs(60), |s| {
        s.consumed_units >= 3
    });
    assert!(begun.is_some(), "three rounds");
    dynamo.set_billing(Billing::Provisioned { wcu: 25 });
    let ended = started.wait();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("at its minimum of 25"),
        "{}",
        ended.stdout
    );
    assert!(
        scaling.calls().iter().all(|c| c.starts_with("Describe")),
        "nothing is changed"
    );

    // Tables that nothing scales in.
    let none = FakeScaling::start(vec![]);
    let ended = run(&["keepalive", "--until-min"], &dynamo, &none);
    assert_eq!(ended.status, 2);
    ended.assert_stderr(&["no auto scaling", "update-table"]);
    let on_demand =
        DynamoConfig::new("sha256", "sha256", KeyType::S).billing(Billing::OnDemand { max: None });
    let ended = run(
        &["keepalive", "--until-min"],
        &FakeDynamo::start(on_demand),
        &scaling,
    );
    assert_eq!(ended.status, 2);
    ended.assert_stderr(&["is on-demand"]);
}
