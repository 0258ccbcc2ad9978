use super::*;
use crate::aws::config::AwsOptions;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::{Position, Record};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::StaticTimeSource;
use aws_smithy_runtime_api::client::connection::ConnectionMetadata;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, http_client_fn};
use aws_smithy_runtime_api::http::StatusCode;
use aws_types::SdkConfig;
use aws_types::endpoint_config::AccountIdEndpointMode;
use aws_types::region::Region;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

// 2026-11-24T10:15:00Z.
const NOON: u64 = 1_795_515_300;

/// A call as it would have gone out.
#[derive(Debug, Clone)]
struct Sent {
    uri: String,
    headers: HashMap<String, String>,
    body: serde_json::Value,
}

impl Sent {
    /// `AKID/20261124/eu-west-1/dynamodb/aws4_request`.
    fn scope(&self) -> &str {
        let header = &self.headers["authorization"];
        let scope = header.split("Credential=").nth(1).expect("a credential");
        scope.split(',').next().expect("its end")
    }
}

/// Answers every call alike, and keeps it.
#[derive(Debug, Clone, Default)]
struct Wire {
    sent: Arc<Mutex<Vec<Sent>>>,
    poisoned: Arc<AtomicU32>,
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    answer: &'static str,
    silent: bool,
}

impl Wire {
    fn accepting() -> Wire {
        Wire {
            status: 200,
            answer: r#"{"UnprocessedItems":{}}"#,
            ..Wire::default()
        }
    }

    fn last(&self) -> Sent {
        let sent = self.sent.lock().expect("no panic");
        sent.last().expect("a call").clone()
    }

    /// A connection over it, by a configuration that `set` completes.
    fn aws(
        &self,
        set: impl FnOnce(aws_types::sdk_config::Builder) -> aws_types::sdk_config::Builder,
    ) -> Aws {
        let identities = CredentialCache::new();
        let wire = self.clone();
        let credentials = Credentials::builder()
            .access_key_id("AKID")
            .secret_access_key("secret")
            .session_token("token")
            .account_id("123456789012")
            .provider_name("test")
            .build();
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(NOON);
        let config = SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .http_client(http_client_fn(move |_, _| {
                SharedHttpConnector::new(wire.clone())
            }))
            .identity_cache(identities.clone())
            .time_source(StaticTimeSource::new(noon))
            .sleep_impl(TokioSleep::new())
            .credentials_provider(
                aws_credential_types::provider::SharedCredentialsProvider::new(credentials),
            );
        let config = set(config).build();
        let dynamodb_endpoint = config.endpoint_url().map(str::to_owned);
        Aws {
            s3: aws_sdk_s3::Client::new(&config),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            dynamodb_endpoint,
            policy: AwsOptions::default().policy.unwrap_or_default(),
            is_local: false,
            local_folder: None,
            credential_cache: identities,
            config,
        }
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if let Some(capture) = request.extension::<CaptureSmithyConnection>() {
            let poisoned = self.poisoned.clone();
            capture.set_connection_retriever(move || {
                let poisoned = poisoned.clone();
                let connection =
                    ConnectionMetadata::builder()
                        .proxied(false)
                        .poison_fn(move || {
                            poisoned.fetch_add(1, Ordering::Relaxed);
                        });
                Some(connection.build())
            });
        }
        let headers = request.headers().iter();
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let body = request.body().bytes().expect("a body in memory");
        self.sent.lock().expect("no panic").push(Sent {
            uri: request.uri().to_owned(),
            headers,
            body: serde_json::from_slice(body).expect("JSON"),
        });
        if self.silent {
            return HttpConnectorFuture::new(std::future::pending());
        }
        let status = StatusCode::try_from(self.status).expect("a status");
        let mut response = HttpResponse::new(status, SdkBody::from(self.answer));
        for (name, value) in &self.headers {
            response.headers_mut().insert(*name, *value);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

const ATTRIBUTES: [(&str, &str); 4] = [
    ("type", "known"),
    ("source", "a \"quoted\"\\ one\n"),
    ("desc", "Käse, \u{1F9C0}"),
    ("e", "\u{1}"),
];

fn hashes() -> Vec<Hash> {
    let hash = |n: u8| Hash::from_bytes(&[n.wrapping_mul(31); 32]).expect("32 bytes");
    (1..=25).map(hash).collect()
}

/// The body of a batch by our own path.
fn our_batch() -> Bytes {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "sha256".into(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: Vec::new(),
    };
    let attributes = ATTRIBUTES.map(|(name, value)| Attribute {
        name: name.into(),
        value: Value::S(value.into()),
    });
    let template = ItemTemplate::new(
        "hashes",
        &schema,
        Algorithm::Sha256,
        Case::Upper,
        &attributes,
    );
    let place = Position {
        source: 0,
        line: 1,
        byte: 0,
    };
    let records: Vec<Record> = hashes()
        .into_iter()
        .map(|h| Record::new(h, place))
        .collect();
    let mut body = Vec::new();
    template
        .expect("it fits")
        .write_request(&records, &mut body);
    Bytes::from(body)
}

/// The same batch by the generated client.
async fn their_batch(aws: &Aws) -> bool {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let requests = hashes().into_iter().map(|hash| {
        let item = [("sha256", hash.to_hex(Case::Upper).as_str())]
            .into_iter()
            .chain(ATTRIBUTES)
            .map(|(name, value)| (name.to_owned(), text(value)))
            .collect();
        let put = PutRequest::builder().set_item(Some(item)).build();
        WriteRequest::builder()
            .put_request(put.expect("an item"))
            .build()
    });
    let call = aws
        .dynamodb()
        .batch_write_item()
        .request_items("hashes", requests.collect());
    call.send().await.is_ok()
}

/// Sends the batch by both paths, and gives what went out.
async fn by_both(wire: &Wire, aws: &Aws) -> (Sent, Sent) {
    assert!(their_batch(aws).await, "the generated client sends it");
    let theirs = wire.last();
    let operation = PreparedOperation::new(aws, "BatchWriteItem", "hashes").expect("prepares");
    operation.send(our_batch()).await.expect("sends it");
    (theirs, wire.last())
}

#[tokio::test]
async fn both_paths_send_the_same_items_to_the_same_place() {
    type Set = fn(aws_types::sdk_config::Builder) -> aws_types::sdk_config::Builder;
    let cases: [(&str, Set); 12] = [
        ("https://123456789012.ddb.eu-west-1.amazonaws.com/", |c| c),
        ("https://dynamodb.eu-west-1.amazonaws.com/", |c| {
            c.account_id_endpoint_mode(AccountIdEndpointMode::Disabled)
        }),
        ("https://123456789012.ddb.eu-west-1.amazonaws.com/", |c| {
            c.account_id_endpoint_mode(AccountIdEndpointMode::Required)
        }),
        ("https://123456789012.ddb.eu-west-1.api.aws/", |c| {
            c.use_dual_stack(true)
        }),
        ("https://dynamodb.eu-west-1.api.aws/", |c| {
            c.use_dual_stack(true)
                .account_id_endpoint_mode(AccountIdEndpointMode::Disabled)
        }),
        ("https://dynamodb-fips.us-east-1.amazonaws.com/", |c| {
            c.use_fips(true).region(Region::new("us-east-1"))
        }),
        ("https://dynamodb-fips.us-east-1.api.aws/", |c| {
            c.use_fips(true)
                .use_dual_stack(true)
                .region(Region::new("us-east-1"))
        }),
        ("https://dynamodb.us-gov-west-1.amazonaws.com/", |c| {
            c.use_fips(true).region(Region::new("us-gov-west-1"))
        }),
        (
            "https://123456789012.ddb.cn-north-1.amazonaws.com.cn/",
            |c| c.region(Region::new("cn-north-1")),
        ),
        ("http://localhost:8000/", |c| {
            c.region(Region::new("local"))
                .account_id_endpoint_mode(AccountIdEndpointMode::Disabled)
        }),
        ("http://127.0.0.1:8000/", |c| {
            c.endpoint_url("http://127.0.0.1:8000")
        }),
        ("https://proxy.example.org/aws/dynamodb/", |c| {
            c.endpoint_url("https://proxy.example.org/aws/dynamodb")
        }),
    ];
    for (expected, set) in cases {
        let wire = Wire::accepting();
        let aws = wire.aws(set);
        let (theirs, ours) = by_both(&wire, &aws).await;
        assert_eq!(ours.uri, expected);
        assert_eq!(ours.uri, theirs.uri);
        assert_eq!(ours.scope(), theirs.scope(), "{expected}");
        let items = |sent: &Sent| sent.body["RequestItems"].clone();
        assert_eq!(items(&ours), items(&theirs), "{expected}");
        for name in [
            "x-amz-target",
            "content-type",
            "x-amz-date",
            "x-amz-security-token",
        ] {
            assert_eq!(ours.headers[name], theirs.headers[name], "{name}");
        }
        // All that the generated client sends is there, and said likewise.
        for name in theirs.headers.keys().filter(|n| *n != "x-amz-user-agent") {
            assert!(ours.headers.contains_key(name), "{name}");
        }
        let agent = |sent: &Sent| {
            let agent = &sent.headers["user-agent"];
            agent.split(" lang/").next().map(str::to_owned)
        };
        assert!(ours.headers["user-agent"].ends_with("app/hashferry-0.1.0"));
        assert!(agent(&theirs).is_some_and(|a| a.starts_with("aws-sdk-rust/")));
    }
}

#[tokio::test]
async fn where_an_account_is_required_and_unknown_neither_sends() {
    let wire = Wire::accepting();
    let aws = wire.aws(|c| {
        let nameless = Credentials::new("AKID", "secret", None, None, "test");
        c.account_id_endpoint_mode(AccountIdEndpointMode::Required)
            .credentials_provider(
                aws_credential_types::provider::SharedCredentialsProvider::new(nameless),
            )
    });
    assert!(!their_batch(&aws).await);
    let operation = PreparedOperation::new(&aws, "BatchWriteItem", "hashes").expect("prepares");
    let error = operation.send(our_batch()).await.expect_err("no account");
    assert!(error.message.contains("AccountId"), "{error}");
    assert_eq!(wire.sent.lock().expect("no panic").len(), 0);
}

#[tokio::test]
async fn a_fault_of_the_server_closes_its_connection_and_a_refusal_does_not() {
    let throttled = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException"}"#;
    for (status, answer, meaning, poisoned) in [
        (500, "{}", ErrorClass::Transient, 1),
        (503, "", ErrorClass::Transient, 1),
        (400, throttled, ErrorClass::Throttled, 0),
    ] {
        let wire = Wire {
            status,
            answer,
            ..Wire::default()
        };
        let aws = wire.aws(|c| c);
        let operation = PreparedOperation::new(&aws, "BatchWriteItem", "hashes").expect("prepares");
        let error = operation.send(our_batch()).await.expect_err("a refusal");
        assert_eq!(error.class, meaning);
        assert_eq!(wire.poisoned.load(Ordering::Relaxed), poisoned, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_given_up_in_time() {
    let wire = Wire {
        silent: true,
        ..Wire::default()
    };
    let aws = wire.aws(|c| c);
    let operation = PreparedOperation::new(&aws, "BatchWriteItem", "hashes").expect("prepares");
    let begun = tokio::time::Instant::now();
    let error = operation.send(our_batch()).await.expect_err("no answer");
    assert_eq!(begun.elapsed(), DYNAMODB_ATTEMPT_TIMEOUT);
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.message.contains("no answer within 10 s"), "{error}");
    // Its connection may be dead, and still be used by others.
    assert_eq!(wire.poisoned.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_from_the_first_answer_on() {
    let wire = Wire {
        // An hour before this machine's.
        headers: vec![("date", "Tue, 24 Nov 2026 09:15:00 GMT")],
        ..Wire::accepting()
    };
    let aws = wire.aws(|c| c);
    let operation = PreparedOperation::new(&aws, "BatchWriteItem", "hashes").expect("prepares");
    let mut dates = Vec::new();
    for _ in 0..2 {
        operation.send(our_batch()).await.expect("sent");
        dates.push(wire.last().headers["x-amz-date"].clone());
    }
    assert_eq!(dates, ["20261124T101500Z", "20261124T091500Z"]);
    let uncorrected = wire.aws(|c| c.disable_clock_skew_correction(true));
    let operation =
        PreparedOperation::new(&uncorrected, "BatchWriteItem", "hashes").expect("prepares");
    for _ in 0..2 {
        operation.send(our_batch()).await.expect("sent");
        assert_eq!(wire.last().headers["x-amz-date"], "20261124T101500Z");
    }
}

#[tokio::test]
async fn each_call_has_an_id_of_its_own() {
    let wire = Wire::accepting();
    let aws = wire.aws(|c| c);
    let operation = PreparedOperation::new(&aws, "BatchWriteItem", "hashes").expect("prepares");
    let mut ids = Vec::new();
    for _ in 0..2 {
        operation.send(our_batch()).await.expect("sent");
        ids.push(wire.last().headers["amz-sdk-invocation-id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
}
