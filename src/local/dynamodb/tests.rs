//! Tests of the DynamoDB server with an SDK client.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::batch_write_item::{BatchWriteItemError, BatchWriteItemOutput};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, KeySchemaElement, KeyType, ProvisionedThroughput,
    PutRequest, ReturnConsumedCapacity, ScalarAttributeType, WriteRequest,
};

use super::*;
use crate::local::servers::tests::{dynamodb_client, start};

async fn create_table(client: &Client, name: &str, kind: ScalarAttributeType) {
    client
        .create_table()
        .table_name(name)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name("hash")
                .attribute_type(kind)
                .build()
                .unwrap(),
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name("hash")
                .key_type(KeyType::Hash)
                .build()
                .unwrap(),
        )
        .provisioned_throughput(
            ProvisionedThroughput::builder()
                .read_capacity_units(5)
                .write_capacity_units(1000)
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap();
}

fn put(key: AttributeValue) -> WriteRequest {
    let request = PutRequest::builder()
        .item("hash", key)
        .item("file", AttributeValue::S("setup.exe".to_owned()))
        .build()
        .unwrap();
    WriteRequest::builder().put_request(request).build()
}

async fn write(
    client: &Client,
    table: &str,
    keys: impl IntoIterator<Item = AttributeValue>,
) -> Result<BatchWriteItemOutput, SdkError<BatchWriteItemError>> {
    client
        .batch_write_item()
        .request_items(table, keys.into_iter().map(put).collect())
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send()
        .await
}

fn text(number: usize) -> AttributeValue {
    AttributeValue::S(format!("{number:040X}"))
}

fn binary(number: usize) -> AttributeValue {
    AttributeValue::B(Blob::new(number.to_be_bytes()))
}

#[tokio::test]
async fn a_table_reports_its_provisioned_capacity() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    let client = dynamodb_client(&servers);
    for (name, kind) in [
        ("text", ScalarAttributeType::S),
        ("binary", ScalarAttributeType::B),
    ] {
        create_table(&client, name, kind.clone()).await;
        let described = client.describe_table().table_name(name).send().await;
        let table = described.unwrap().table.unwrap();
        let capacity = table.provisioned_throughput.unwrap();
        assert_eq!(capacity.write_capacity_units, Some(1000));
        let attributes = table.attribute_definitions.unwrap();
        assert_eq!(attributes[0].attribute_type, kind);
        assert_eq!(table.table_status.unwrap().as_str(), "ACTIVE");
    }
    servers.stop();
}

#[tokio::test]
async fn a_batch_of_25_is_written_and_its_capacity_reported() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    let client = dynamodb_client(&servers);
    create_table(&client, "text", ScalarAttributeType::S).await;
    create_table(&client, "binary", ScalarAttributeType::B).await;
    for (table, key) in [("text", text as fn(usize) -> _), ("binary", binary)] {
        let written = write(&client, table, (0..25).map(key)).await.unwrap();
        assert!(written.unprocessed_items.unwrap_or_default().is_empty());
        let consumed = written.consumed_capacity.unwrap();
        assert_eq!(consumed[0].capacity_units, Some(25.0));

        let found = client
            .get_item()
            .table_name(table)
            .key("hash", key(24))
            .send()
            .await
            .unwrap();
        let expected = HashMap::from([
            ("hash".to_owned(), key(24)),
            ("file".to_owned(), AttributeValue::S("setup.exe".to_owned())),
        ]);
        assert_eq!(found.item, Some(expected));
    }
    servers.stop();
}

#[tokio::test]
async fn a_batch_with_a_duplicate_key_or_26_items_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    let client = dynamodb_client(&servers);
    create_table(&client, "text", ScalarAttributeType::S).await;
    for keys in [vec![text(1), text(2), text(1)], (0..26).map(text).collect()] {
        let error = write(&client, "text", keys).await.unwrap_err();
        assert_eq!(error.code(), Some("ValidationException"));
    }
    let error = write(&client, "none", [text(1)]).await.unwrap_err();
    assert_eq!(error.code(), Some("ResourceNotFoundException"));
    servers.stop();
}

#[tokio::test]
async fn items_are_still_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    let client = dynamodb_client(&servers);
    create_table(&client, "text", ScalarAttributeType::S).await;
    write(&client, "text", (0..25).map(text)).await.unwrap();
    servers.stop();
    assert!(dir.path().join("dynamodb.db").is_file());

    let servers = start(dir.path());
    let client = dynamodb_client(&servers);
    let scanned = client.scan().table_name("text").send().await.unwrap();
    assert_eq!(scanned.count, 25);
    servers.stop();
}

#[tokio::test]
async fn the_engine_port_is_closed_after_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, address) = listen(0).unwrap();
    let opened = Engine::open(open(dir.path()).unwrap(), (listener, address)).await;
    let mut engine = opened.unwrap();
    let error = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    for _ in 0..2 {
        engine.sender.ready().await.unwrap();
        let health = Request::get("/").header(header::HOST, "localhost");
        let health = health.body(Either::Right(Empty::new())).unwrap();
        let answer = engine.sender.send_request(health).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.unwrap();
    }
}
