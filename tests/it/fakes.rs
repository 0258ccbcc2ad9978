//! Tests of the fake servers, through the AWS SDK: they follow the rules of the real
//! services, and fail as planned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_write_item::{BatchWriteItemError, BatchWriteItemOutput};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, BillingMode, KeysAndAttributes, PutRequest, ReturnConsumedCapacity,
    ScalarAttributeType, WriteRequest,
};
use tokio::task::JoinSet;

use crate::common::fake_dynamo::{
    Billing, Capacity, Chance, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType, Stats,
};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};

/// Timeout of a wait, reached only if a test fails.
const LIMIT: Duration = Duration::from_secs(60);

fn dynamo_client(fake: &FakeDynamo) -> aws_sdk_dynamodb::Client {
    let keys = aws_sdk_dynamodb::config::Credentials::new("id", "secret", None, None, "test");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
        .credentials_provider(keys)
        .endpoint_url(fake.endpoint())
        .retry_config(RetryConfig::disabled());
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

fn s3_client(fake: &FakeS3) -> aws_sdk_s3::Client {
    let keys = aws_sdk_s3::config::Credentials::new("id", "secret", None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .credentials_provider(keys)
        .endpoint_url(fake.endpoint())
        .force_path_style(true)
        .retry_config(RetryConfig::disabled());
    aws_sdk_s3::Client::from_conf(config.build())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn put(item: HashMap<String, AttributeValue>) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(item)).build();
    WriteRequest::builder()
        .put_request(put.expect("an item"))
        .build()
}

fn hashes(names: impl IntoIterator<Item = u64>) -> Vec<WriteRequest> {
    let names = names.into_iter();
    names
        .map(|n| {
            put(HashMap::from([(
                "sha256".to_owned(),
                text(&format!("{n:064X}")),
            )]))
        })
        .collect()
}

type Answer = Result<BatchWriteItemOutput, SdkError<BatchWriteItemError>>;

async fn write(client: &aws_sdk_dynamodb::Client, requests: Vec<WriteRequest>) -> Answer {
    let call = client.batch_write_item().request_items("sha256", requests);
    call.return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send()
        .await
}

fn unprocessed(answer: &BatchWriteItemOutput) -> usize {
    let tables = answer.unprocessed_items();
    tables.map_or(0, |tables| tables.get("sha256").map_or(0, Vec::len))
}

fn code(answer: Answer) -> String {
    let error = answer.expect_err("a refusal").into_service_error();
    error.code().expect("an error of the service").to_owned()
}

fn message(answer: Answer) -> String {
    let error = answer.expect_err("a refusal").into_service_error();
    error.message().expect("an error of the service").to_owned()
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

#[tokio::test]
async fn a_batch_is_stored_counted_and_read_back() {
    let fake = FakeDynamo::start(table());
    let client = dynamo_client(&fake);
    let mut requests = hashes(1..25);
    requests.push(put(HashMap::from([
        ("sha256".to_owned(), text(&"F".repeat(64))),
        ("desc".to_owned(), text(&"d".repeat(2000))),
    ])));
    let answer = write(&client, requests).await.expect("a good batch");
    assert_eq!(unprocessed(&answer), 0);
    assert_eq!(
        answer.consumed_capacity()[0].capacity_units(),
        Some(24.0 + 3.0)
    );

    let key = |n: u64| HashMap::from([("sha256".to_owned(), text(&format!("{n:064X}")))]);
    let keys = KeysAndAttributes::builder()
        .keys(key(1))
        .keys(key(2))
        .keys(key(99))
        .build();
    let got = client
        .batch_get_item()
        .request_items("sha256", keys.expect("keys"));
    let got = got.send().await.expect("a good read");
    assert_eq!(got.responses().expect("an answer")["sha256"].len(), 2);
    let got = client
        .get_item()
        .table_name("sha256")
        .set_key(Some(key(3)))
        .send()
        .await;
    assert!(got.expect("a good read").item().is_some());
    let scan = client
        .scan()
        .table_name("sha256")
        .send()
        .await
        .expect("a good scan");
    assert_eq!(scan.count(), 25);

    let items = fake.items();
    assert_eq!(items.len(), 25);
    assert!(items.contains_key("F".repeat(64).as_bytes()));
    let stats = fake.stop();
    assert_eq!(
        (stats.calls, stats.items_written, stats.distinct),
        (1, 25, 25)
    );
    assert_eq!((stats.consumed_units, stats.max_concurrent), (27, 1));
    assert_eq!(stats.batch_sizes[&25], 1);
    assert_eq!(stats.targets["DynamoDB_20120810.BatchWriteItem"], 1);
}

#[tokio::test]
async fn a_description_has_the_fields_of_the_real_one() {
    let config = table()
        .sort("source", KeyType::N)
        .billing(Billing::Provisioned { wcu: 1000 });
    let fake = FakeDynamo::start(config);
    let client = dynamo_client(&fake);
    let describe = || async {
        let answer = client.describe_table().table_name("sha256").send().await;
        answer.expect("a table").table.expect("a table")
    };
    let before = describe().await;
    assert_eq!(before.key_schema()[1].attribute_name(), "source");
    let types = before.attribute_definitions();
    assert_eq!(*types[0].attribute_type(), ScalarAttributeType::S);
    assert_eq!(*types[1].attribute_type(), ScalarAttributeType::N);
    let throughput = before.provisioned_throughput().expect("a throughput");
    assert_eq!(throughput.write_capacity_units(), Some(1000));

    fake.set_billing(Billing::OnDemand { max: Some(700) });
    let after = describe().await;
    let mode = after
        .billing_mode_summary()
        .and_then(|mode| mode.billing_mode());
    assert_eq!(mode, Some(&BillingMode::PayPerRequest));
    let most = after
        .on_demand_throughput()
        .and_then(|most| most.max_write_request_units());
    assert_eq!(most, Some(700));

    let other = client.describe_table().table_name("other").send().await;
    let other = other.expect_err("no such table").into_service_error();
    assert!(other.is_resource_not_found_exception());
    assert_eq!(
        other.message(),
        Some("Requested resource not found: Table: other not found")
    );
    let unknown = client.list_tables().send().await.expect_err("not answered");
    assert_eq!(
        unknown.into_service_error().code(),
        Some("UnknownOperationException")
    );
}

#[tokio::test]
async fn an_invalid_batch_is_rejected_as_a_whole() {
    let fake = FakeDynamo::start(table());
    let client = dynamo_client(&fake);
    let with = |name: &str, value| vec![put(HashMap::from([(name.to_owned(), value)]))];
    let mut twice = hashes(1..4);
    twice.extend(hashes(2..3));
    let long = put(HashMap::from([
        ("sha256".to_owned(), text("A")),
        ("desc".to_owned(), text(&"d".repeat(400 * 1024))),
    ]));
    for (requests, expected) in [
        (hashes(1..27), "less than or equal to 25"),
        (twice, "Provided list of item keys contains duplicates"),
        (
            vec![long],
            "Item size has exceeded the maximum allowed size",
        ),
        (
            with("sha1", text("A")),
            "Missing the key sha256 in the item",
        ),
        (
            with("sha256", AttributeValue::N("1".to_owned())),
            "expected: S actual: N",
        ),
        (with("sha256", text("")), "empty string value. Key: sha256"),
        (
            with("sha256", text(&"A".repeat(2049))),
            "maximum size limit of2048 bytes",
        ),
    ] {
        let why = message(write(&client, requests).await);
        assert!(why.contains(expected), "expected {expected:?} in {why:?}");
    }
    let elsewhere = client
        .batch_write_item()
        .request_items("other", hashes(1..2))
        .send()
        .await;
    assert_eq!(code(elsewhere), "ResourceNotFoundException");
    let stats = fake.stop();
    assert_eq!(
        (
            stats.validation_errors,
            stats.duplicates_in_batch,
            stats.distinct
        ),
        (8, 1, 0)
    );
}

#[tokio::test]
async fn binary_keys_are_stored_as_raw_bytes() {
    let fake = FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::B));
    let raw = AttributeValue::B(Blob::new([0_u8, 255, 10]));
    let request = put(HashMap::from([("sha256".to_owned(), raw)]));
    write(&dynamo_client(&fake), vec![request])
        .await
        .expect("a good batch");
    assert!(fake.items().contains_key(&[0_u8, 255, 10][..]));
}

#[tokio::test]
async fn each_planned_fault_occurs_at_its_call() {
    let plan = FaultPlan::default()
        .at(1, Fault::Unprocessed(3))
        .at(2, Fault::UnprocessedAll)
        .at(3, Fault::Throttle)
        .at(
            4,
            Fault::Throttling(vec!["TableWriteKeyRangeThroughputExceeded"]),
        )
        .at(5, Fault::Http(503, "ServiceUnavailable"))
        .at(6, Fault::AccessDenied)
        .at(7, Fault::ExpiredToken)
        .at(8, Fault::UnknownUnprocessed)
        .reject_key(&format!("{:064X}", 77));
    let fake = FakeDynamo::start(table().plan(plan));
    let client = dynamo_client(&fake);
    let answer = write(&client, hashes(0..10)).await.expect("a part of them");
    assert_eq!((unprocessed(&answer), fake.items().len()), (3, 7));
    let answer = write(&client, hashes(10..20)).await.expect("none of them");
    assert_eq!((unprocessed(&answer), fake.items().len()), (10, 7));
    let answer = write(&client, hashes(20..30)).await;
    assert_eq!(code(answer), "ProvisionedThroughputExceededException");
    match write(&client, hashes(20..30))
        .await
        .expect_err("throttled")
        .into_service_error()
    {
        BatchWriteItemError::ThrottlingException(throttle) => {
            let reason = throttle.throttling_reasons()[0].reason();
            assert_eq!(reason, Some("TableWriteKeyRangeThroughputExceeded"));
        }
        other => panic!("{other:?}"),
    }
    for expected in [
        "ServiceUnavailable",
        "AccessDeniedException",
        "ExpiredTokenException",
    ] {
        assert_eq!(code(write(&client, hashes(20..30)).await), expected);
    }
    let answer = write(&client, hashes(30..40)).await.expect("all of them");
    assert_eq!((unprocessed(&answer), fake.items().len()), (1, 17));
    assert_eq!(
        code(write(&client, hashes(70..80)).await),
        "ValidationException"
    );
    let answer = write(&client, hashes(40..50))
        .await
        .expect("no more faults");
    assert_eq!((unprocessed(&answer), fake.items().len()), (0, 27));
    let stats = fake.stop();
    assert_eq!(
        (
            stats.throttled,
            stats.failed,
            stats.validation_errors,
            stats.calls
        ),
        (2, 3, 1, 10)
    );
    assert_eq!((stats.unprocessed, stats.items_written), (13, 27));
}

#[tokio::test]
async fn connections_break_before_and_after_the_write() {
    let plan = FaultPlan::default()
        .at(1, Fault::DropBefore)
        .at(2, Fault::DropAfter)
        .at(3, Fault::CutAnswer)
        .at(4, Fault::Garbage);
    let fake = FakeDynamo::start(table().plan(plan));
    let client = dynamo_client(&fake);
    for (k, stored) in [(1, 0), (2, 10), (3, 20), (4, 20)] {
        let answer = write(&client, hashes(k * 10..k * 10 + 10)).await;
        let error = answer.expect_err("no acknowledgement");
        assert_eq!(error.code(), None, "call {k}");
        assert_eq!(fake.items().len(), stored, "after call {k}");
    }
    let stats = fake.stats();
    assert_eq!((stats.items_stored, stats.items_written), (20, 0));
    assert_eq!((stats.dropped, stats.failed), (3, 1));

    // The table stays under another plan.
    fake.set_plan(FaultPlan::default().at(1, Fault::Throttle));
    assert!(write(&client, hashes(0..1)).await.is_err());
    assert!(write(&client, hashes(0..1)).await.is_ok());
    assert_eq!(fake.items().len(), 21);
}

#[tokio::test]
async fn responses_can_be_reordered_and_stalled_calls_end_with_the_server() {
    let plan = FaultPlan::default()
        .at(1, Fault::HoldUntil(2))
        .at(2, Fault::Stall);
    let fake = Arc::new(FakeDynamo::start(table().plan(plan)));
    let client = dynamo_client(&fake);
    let mut calls = JoinSet::new();
    for n in 0..2 {
        let client = client.clone();
        calls.spawn(async move { write(&client, hashes(n..n + 1)).await.is_ok() });
        let watched = Arc::clone(&fake);
        let arrived = move || watched.wait_until(LIMIT, |stats| stats.calls == n + 1);
        let arrived = tokio::task::spawn_blocking(arrived)
            .await
            .expect("no panic");
        assert!(arrived.is_some());
    }
    assert!(
        calls
            .join_next()
            .await
            .expect("one of two")
            .expect("no panic")
    );
    let fake = Arc::into_inner(fake).expect("the last one");
    assert_eq!(fake.stop().max_concurrent, 2);
    assert!(
        !calls
            .join_next()
            .await
            .expect("the other")
            .expect("no panic")
    );
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    async fn run() -> Stats {
        let chance = Chance {
            seed: 7,
            unprocessed: 0.1,
            throttled: 0.1,
            drop_before: 0.05,
            drop_after: 0.05,
            server_error: 0.1,
        };
        let fake = FakeDynamo::start(table().plan(FaultPlan::default().chance(chance)));
        let client = dynamo_client(&fake);
        for n in 0..100 {
            let _ = write(&client, hashes(n * 25..n * 25 + 25)).await;
        }
        fake.stop()
    }
    let (first, second) = (run().await, run().await);
    let draws = |stats: &Stats| {
        (
            stats.items_written,
            stats.items_stored,
            stats.unprocessed,
            stats.throttled,
            stats.dropped,
        )
    };
    assert_eq!(draws(&first), draws(&second));
    assert!(first.throttled > 0 && first.dropped > 0 && first.failed > 0);
    assert!(first.unprocessed > 100 && first.items_stored > first.items_written);
}

#[tokio::test]
async fn above_its_capacity_a_table_leaves_items_unprocessed_then_throttles() {
    // One unit an hour: no unit is added during the test.
    let rate = 1.0 / 3600.0;
    let saved = 40.5 / rate;
    let capacity = Capacity {
        rate,
        burst: saved,
        saved,
    };
    let fake = FakeDynamo::start(table().plan(FaultPlan::default().capacity(capacity)));
    let client = dynamo_client(&fake);
    assert_eq!(
        unprocessed(&write(&client, hashes(0..25)).await.expect("all fit")),
        0
    );
    assert_eq!(
        unprocessed(&write(&client, hashes(25..50)).await.expect("some fit")),
        10
    );
    let none = code(write(&client, hashes(50..60)).await);
    assert_eq!(none, "ProvisionedThroughputExceededException");
    assert_eq!(fake.stop().consumed_units, 40);
}

#[tokio::test]
async fn keys_of_a_read_can_be_unprocessed() {
    let plan = FaultPlan::default().read_at(1, Fault::Unprocessed(1));
    let fake = FakeDynamo::start(table().plan(plan));
    fake.put(serde_json::json!({ "sha256": { "S": "A" }, "type": { "S": "good" } }));
    let key = |hash: &str| HashMap::from([("sha256".to_owned(), text(hash))]);
    let keys = KeysAndAttributes::builder()
        .keys(key("A"))
        .keys(key("B"))
        .projection_expression("#t")
        .expression_attribute_names("#t", "type")
        .build()
        .expect("keys");
    let read = dynamo_client(&fake)
        .batch_get_item()
        .request_items("sha256", keys)
        .send()
        .await;
    let read = read.expect("a part of them");
    assert_eq!(read.responses().expect("an answer")["sha256"][0].len(), 1);
    let back = &read.unprocessed_keys().expect("one")["sha256"];
    assert_eq!(
        (back.keys(), back.projection_expression()),
        (&[key("B")][..], Some("#t"))
    );
}

#[tokio::test]
async fn an_object_is_served_whole_and_in_ranges() {
    let fake = FakeS3::start(S3Config::default().object("lists", "a b/ö.txt", "0123456789"));
    let client = s3_client(&fake);
    let get = || client.get_object().bucket("lists").key("a b/ö.txt");
    let whole = get().send().await.expect("the object");
    let etag = whole.e_tag().expect("an ETag").to_owned();
    assert_eq!(whole.content_length(), Some(10));
    assert!(whole.last_modified().is_some());
    let bytes = whole.body.collect().await.expect("its bytes").into_bytes();
    assert_eq!(&bytes[..], b"0123456789");
    for (range, expected) in [
        ("bytes=3-", "3456789"),
        ("bytes=2-4", "234"),
        ("bytes=-2", "89"),
    ] {
        let part = get()
            .range(range)
            .if_match(&etag)
            .send()
            .await
            .expect("a part");
        let part = part.body.collect().await.expect("its bytes").into_bytes();
        assert_eq!(&part[..], expected.as_bytes());
    }
    let code = |error: SdkError<aws_sdk_s3::operation::get_object::GetObjectError>| {
        error
            .into_service_error()
            .code()
            .unwrap_or_default()
            .to_owned()
    };
    let beyond = get()
        .range("bytes=10-")
        .send()
        .await
        .expect_err("nothing there");
    assert_eq!(code(beyond), "InvalidRange");
    let changed = get()
        .if_match("\"other\"")
        .send()
        .await
        .expect_err("another object");
    assert_eq!(code(changed), "PreconditionFailed");
    let missing = client.get_object().bucket("lists").key("none").send().await;
    assert!(
        missing
            .expect_err("no object")
            .into_service_error()
            .is_no_such_key()
    );
    let missing = client.get_object().bucket("none").key("none").send().await;
    assert_eq!(code(missing.expect_err("no bucket")), "NoSuchBucket");
    let head = client
        .head_object()
        .bucket("lists")
        .key("a b/ö.txt")
        .send()
        .await;
    assert_eq!(head.expect("the object").content_length(), Some(10));
    let head = client
        .head_object()
        .bucket("lists")
        .key("none")
        .send()
        .await;
    assert!(
        head.expect_err("no object")
            .into_service_error()
            .is_not_found()
    );

    let stats = fake.stop();
    assert_eq!((stats.get_count, stats.head_count), (8, 2));
    assert_eq!(stats.gets[1].range.as_deref(), Some("bytes=3-"));
    assert_eq!((stats.gets[1].status, stats.gets[1].sent), (206, 7));
}

#[tokio::test]
async fn a_body_ends_early_and_an_object_changes() {
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(4))
        .get(2, S3Fault::Reset)
        .get(3, S3Fault::InternalError)
        .get(4, S3Fault::SlowDown)
        .get(5, S3Fault::AccessDenied)
        .get(6, S3Fault::Redirect("eu-central-1"))
        .head(1, S3Fault::AccessDenied)
        .etag_from(8, "\"new\"")
        .chunk(3);
    let fake = FakeS3::start(
        S3Config::default()
            .object("b", "k", "0123456789")
            .plan(plan),
    );
    let client = s3_client(&fake);
    let get = || client.get_object().bucket("b").key("k");
    let first = get().send().await.expect("the headers");
    let etag = first.e_tag().expect("an ETag").to_owned();
    assert!(first.body.collect().await.is_err());
    let reset = get().send().await.expect_err("no answer");
    assert!(matches!(reset, SdkError::DispatchFailure(_)), "{reset:?}");
    for expected in ["InternalError", "SlowDown", "AccessDenied"] {
        let error = get()
            .send()
            .await
            .expect_err("a refusal")
            .into_service_error();
        assert_eq!(error.code(), Some(expected));
    }
    let moved = get().send().await.expect_err("elsewhere");
    let region = moved
        .raw_response()
        .and_then(|r| r.headers().get("x-amz-bucket-region"));
    assert_eq!(region, Some("eu-central-1"));
    let whole = get().if_match(&etag).send().await.expect("the object");
    let bytes = whole.body.collect().await.expect("its bytes").into_bytes();
    assert_eq!(&bytes[..], b"0123456789");
    assert!(get().if_match(&etag).send().await.is_err());
    let replaced = get().send().await.expect("the new one");
    assert_eq!(replaced.e_tag(), Some("\"new\""));
    assert!(
        client
            .head_object()
            .bucket("b")
            .key("k")
            .send()
            .await
            .is_err()
    );
    assert_eq!(fake.stop().gets[0].sent, 4);
}

#[tokio::test]
async fn a_generated_object_needs_no_memory_and_a_prefix_is_listed_in_pages() {
    let fill = |offset: u64, out: &mut [u8]| {
        let bytes = (offset..).map(|at| (at % 251) as u8);
        out.iter_mut()
            .zip(bytes)
            .for_each(|(out, byte)| *out = byte);
    };
    let mut config = S3Config::default().generated("b", "big", 1 << 40, fill);
    for n in 0..5 {
        config = config.object("b", &format!("p/{n}&"), "x");
    }
    let fake = FakeS3::start(config);
    let client = s3_client(&fake);
    let far = client
        .get_object()
        .bucket("b")
        .key("big")
        .range("bytes=1099511627770-");
    let far = far
        .send()
        .await
        .expect("its end")
        .body
        .collect()
        .await
        .expect("six bytes");
    assert_eq!(far.into_bytes()[0], ((1_099_511_627_770_u64) % 251) as u8);
    let mut keys = Vec::new();
    let mut pages = client
        .list_objects_v2()
        .bucket("b")
        .prefix("p/")
        .max_keys(2)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.expect("a page");
        keys.extend(
            page.contents()
                .iter()
                .filter_map(|o| o.key().map(str::to_owned)),
        );
    }
    assert_eq!(keys, ["p/0&", "p/1&", "p/2&", "p/3&", "p/4&"]);
    assert_eq!(fake.stop().list_count, 3);
}

#[tokio::test]
async fn a_signature_is_checked() {
    for (secret, good) in [("secret", true), ("another", false)] {
        let dynamo = FakeDynamo::start(table().secret(secret));
        let answer = write(&dynamo_client(&dynamo), hashes(0..1)).await;
        assert_eq!(answer.is_ok(), good, "{answer:?}");
        assert_eq!(dynamo.stop().unsigned, u64::from(!good));

        let config = S3Config::default()
            .object("b", "p/a b+ö", "x")
            .secret(secret);
        let fake = FakeS3::start(config);
        let s3 = s3_client(&fake);
        let got = s3.get_object().bucket("b").key("p/a b+ö").send().await;
        assert_eq!(got.is_ok(), good, "{got:?}");
        let listed = s3
            .list_objects_v2()
            .bucket("b")
            .prefix("p/a b")
            .send()
            .await;
        assert_eq!(listed.is_ok(), good, "{listed:?}");
    }
}
