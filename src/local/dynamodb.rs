//! The embedded DynamoDB: the `dynoxide` engine over a SQLite file.
//!
//! The engine brings its own HTTP server with the DynamoDB protocol. It allows every web
//! page to read its answers, so it stands behind [`crate::local::front`], and each connection of a
//! client has one of its own to the engine. One lock guards the
//! SQLite connection, so requests are served one after the other however many
//! connections there are; some 12,000 items a second is the ceiling.
//!
//! What it does not have: throttling, ImportTable, DescribeLimits, backups. It
//! wants requests to look signed, but accepts any credentials and any region.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use dynoxide::Database;
use http::{Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::local::front::{Answer, BoxError, Service, answer};
use crate::local::servers::{LocalError, listen};

/// What DynamoDB's answers are.
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Opens the tables of a folder, or creates the file.
pub(super) fn open(dir: &Path) -> Result<Database, LocalError> {
    let path = dir.join("dynamodb.db");
    let Some(name) = path.to_str() else {
        return Err(LocalError::PathNotUtf8 { path });
    };
    // Despite its name the call is what makes writing fast: it lets SQLite leave
    // the syncing of each commit to the write-ahead log's checkpoints. The mode
    // it "restores" is set nowhere else.
    Database::new(name)
        .and_then(|database| database.disable_bulk_loading().map(|()| database))
        .map_err(|error| LocalError::Database {
            path: path.clone(),
            message: error.to_string(),
        })
}

/// Serves until `stop`, and then for as long as requests run, within limits.
pub(super) async fn serve(listener: TcpListener, database: Database, stop: CancellationToken) {
    let tables = || Tables {
        database: database.clone(),
        engine: Mutex::new(None),
    };
    crate::local::front::serve(listener, tables, stop).await;
}

/// The tables, behind one connection of a client.
struct Tables {
    database: Database,
    /// The way to the engine, once there was a request.
    engine: Mutex<Option<Engine>>,
}

/// A connection to the engine's own HTTP server.
struct Engine {
    sender: SendRequest<Either<Incoming, Empty<Bytes>>>,
    /// Ends the server's side when the client has gone.
    _end: DropGuard,
}

impl Tables {
    async fn ask(&self, request: Request<Incoming>) -> Result<Response<Incoming>, BoxError> {
        let mut engine = self.engine.lock().await;
        if let Some(open) = engine.as_mut()
            && open.sender.ready().await.is_err()
        {
            *engine = None;
        }
        let engine = match &mut *engine {
            Some(open) => open,
            none => none.insert(Engine::open(self.database.clone(), listen(0)?).await?),
        };
        let request = request.map(Either::Left);
        Ok(engine.sender.send_request(request).await?)
    }
}

impl Engine {
    /// Opens a connection to the engine. Its server needs a port to take connections
    /// from, and would answer web pages there. So `listener` is there for this connection
    /// only, and is closed as soon as the engine answers.
    async fn open(
        database: Database,
        (listener, address): (TcpListener, SocketAddr),
    ) -> Result<Engine, BoxError> {
        let end = CancellationToken::new();
        let ended = end.clone().cancelled_owned();
        let server = dynoxide::server::serve_with_shutdown(listener, database, ended);
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let health = Request::get("/")
                .header(header::HOST, "localhost")
                .body(Either::Right(Empty::new()))?;
            let answer = sender.send_request(health).await?;
            answer.into_body().collect().await?;
            Ok::<_, BoxError>(sender)
        };
        // Its connections are tasks of their own, and outlive what accepts them.
        let sender = tokio::select! {
            ended = server => {
                let why = ended.err();
                return Err(why.unwrap_or_else(|| "its server ended".to_owned()).into());
            }
            connected = connect => connected?,
        };
        Ok(Engine {
            sender,
            _end: end.drop_guard(),
        })
    }
}

impl Service for Tables {
    const NAME: &'static str = "DynamoDB";

    async fn answer(&self, mut request: Request<Incoming>) -> Answer {
        // What concerns the client's connection is not the engine's.
        for name in [header::CONNECTION, header::EXPECT, header::UPGRADE] {
            request.headers_mut().remove(name);
        }
        *request.version_mut() = Version::HTTP_11;
        if let Some(target) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = Uri::from(target);
        }
        match self.ask(request).await {
            Ok(mut answer) => {
                answer.headers_mut().remove(header::CONNECTION);
                answer.map(|body| body.map_err(BoxError::from).boxed_unsync())
            }
            Err(error) => {
                tracing::error!(error, "the local DynamoDB server failed on a request");
                let body = error_body("InternalServerError", "the engine does not answer");
                answer(StatusCode::INTERNAL_SERVER_ERROR, CONTENT_TYPE, body)
            }
        }
    }

    fn denied(message: &str) -> (&'static str, String) {
        (CONTENT_TYPE, error_body("AccessDeniedException", message))
    }
}

fn error_body(code: &str, message: &str) -> String {
    let code = format!("com.amazon.coral.service#{code}");
    serde_json::json!({"__type": code, "message": message}).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
    use aws_sdk_dynamodb::operation::batch_write_item::{
        BatchWriteItemError, BatchWriteItemOutput,
    };
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
    async fn a_table_reports_the_capacity_it_was_given() {
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
    async fn a_batch_of_25_is_taken_whole_and_counted() {
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
    async fn a_batch_with_a_key_twice_or_with_26_items_is_refused() {
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
    async fn the_engines_own_port_is_closed_once_it_answers() {
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
}
