//! Tests of start and stop, and clients for the tests of both servers.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;
use crate::local::access::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use crate::local::server::listen;

pub(super) fn options(dir: &Path) -> LocalOptions {
    LocalOptions {
        dir: dir.to_owned(),
        s3_port: 0,
        dynamodb_port: 0,
    }
}

pub(crate) fn start(dir: &Path) -> LocalServers {
    LocalServers::start(options(dir)).unwrap()
}

pub(crate) fn s3_client(servers: &LocalServers) -> aws_sdk_s3::Client {
    s3_client_as(servers, ACCESS_KEY_ID, SECRET_ACCESS_KEY)
}

pub(crate) fn s3_client_as(servers: &LocalServers, id: &str, secret: &str) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new(REGION))
        .endpoint_url(servers.s3_endpoint())
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

pub(crate) fn dynamodb_client(servers: &LocalServers) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new(REGION))
        .endpoint_url(servers.dynamodb_endpoint())
        .credentials_provider(credentials)
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// Sends raw bytes and returns the response as text.
pub(crate) fn raw(endpoint: &str, request: &str) -> String {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn port(endpoint: &str) -> u16 {
    endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn both_listen_on_the_loopback_address_only() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(&dir.path().join("new").join("folder"));
    for endpoint in [servers.s3_endpoint(), servers.dynamodb_endpoint()] {
        assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
    }
    assert!(servers.dir().join("s3").is_dir());
    assert_ne!(servers.s3_endpoint(), servers.dynamodb_endpoint());
    servers.stop();
}

#[tokio::test]
async fn starting_and_stopping_inside_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    s3_client(&servers).list_buckets().send().await.unwrap();
    drop(servers);
}

#[test]
fn a_second_process_gets_the_endpoints_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path());
    let error = LocalServers::start(options(dir.path())).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, LocalError::InUse { .. }), "{message}");
    for part in [
        &dir.path().display().to_string(),
        first.s3_endpoint(),
        first.dynamodb_endpoint(),
        "--endpoint-url",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_DYNAMODB",
        &format!("(process {} since 20", std::process::id()),
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    // The first process is unaffected.
    let answer = raw(
        first.s3_endpoint(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    first.stop();
    start(dir.path()).stop();
}

#[test]
fn a_lock_without_addresses_is_reported_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("lock")).unwrap();
    file.try_lock().unwrap();
    let error = LocalServers::start(options(dir.path())).unwrap_err();
    assert!(matches!(
        error,
        LocalError::InUse {
            endpoints: None,
            ..
        }
    ));
    assert!(format!("{error:#}").contains("another hashferry serves"));
}

#[test]
fn endpoints_of_a_dead_process_are_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("lock");
    std::fs::write(&lock, "http://127.0.0.1:1\nhttp://127.0.0.1:2\n and more\n").unwrap();
    let servers = start(dir.path());
    let (s3, dynamodb) = (servers.s3_endpoint(), servers.dynamodb_endpoint());
    if !cfg!(windows) {
        let text = std::fs::read_to_string(&lock).unwrap();
        let process = format!("process {} since 20", std::process::id());
        assert!(
            text.starts_with(&format!("{s3}\n{dynamodb}\n{process}")),
            "{text}"
        );
    }
    servers.stop();
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "");
}

#[test]
fn a_port_in_use_is_reported_with_its_option() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    for (flag, s3_port, dynamodb_port) in [("--s3-port", port, 0), ("--dynamodb-port", 0, port)] {
        let error = LocalServers::start(LocalOptions {
            dir: dir.path().to_owned(),
            s3_port,
            dynamodb_port,
        })
        .unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, LocalError::PortInUse { .. }), "{message}");
        assert!(
            message.contains(flag) && message.contains(&port.to_string()),
            "{message}"
        );
    }
    // The failed start released everything, the lock included.
    start(dir.path()).stop();
}

#[test]
fn a_stopped_server_releases_its_ports() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path());
    let options = LocalOptions {
        dir: dir.path().to_owned(),
        s3_port: port(first.s3_endpoint()),
        dynamodb_port: port(first.dynamodb_endpoint()),
    };
    // Leaves a connection that the server closed (TIME_WAIT).
    raw(
        first.s3_endpoint(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    first.stop();
    LocalServers::start(options).unwrap().stop();
}

#[test]
fn an_unfinished_request_does_not_delay_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    std::fs::create_dir(servers.dir().join("s3").join("lists")).unwrap();
    let half = |endpoint: &str, line: &str| {
        let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
        let head = "Host: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
        write!(stream, "{line} HTTP/1.1\r\n{head}").unwrap();
        // 100 Continue, so the server has begun to read the body.
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100");
        stream.write_all(b"half a request").unwrap();
        stream
    };
    let streams = [
        half(servers.s3_endpoint(), "PUT /lists/k"),
        half(servers.dynamodb_endpoint(), "POST /"),
    ];
    servers.stop();
    drop(streams);
    start(dir.path()).stop();
    // The partial object is removed too.
    let temp = dir.path().join("s3-meta").join("temp");
    assert!(std::fs::read_dir(temp).unwrap().next().is_none());
}

#[tokio::test]
async fn accepted_connections_send_without_delay() {
    let (listener, address) = listen(0).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    assert!(accepted.nodelay().unwrap());
}

#[test]
fn a_folder_that_cannot_be_created_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = LocalServers::start(options(&file.join("sub"))).unwrap_err();
    assert!(matches!(error, LocalError::Folder { .. }));
    assert!(format!("{error:#}").contains("file"), "{error}");
}

#[test]
fn an_invalid_database_file_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("dynamodb.db"),
        "not a database ".repeat(100),
    )
    .unwrap();
    let error = LocalServers::start(options(dir.path())).unwrap_err();
    assert!(matches!(error, LocalError::Database { .. }));
    assert!(format!("{error:#}").contains("dynamodb.db"), "{error}");
}

/// Sends a request to both servers, with these header lines; returns the responses of S3 and
/// of DynamoDB.
fn send_to_both(servers: &LocalServers, head: &str) -> [String; 2] {
    let s3 = format!("GET / HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
    let dynamodb = format!("POST / HTTP/1.1\r\n{head}{}", operation("ListTables", "{}"));
    [
        raw(servers.s3_endpoint(), &s3),
        raw(servers.dynamodb_endpoint(), &dynamodb),
    ]
}

/// The rest of a signed request to DynamoDB.
fn operation(name: &str, body: &str) -> String {
    format!(
        "X-Amz-Target: DynamoDB_20120810.{name}\r\nContent-Type: application/x-amz-json-1.0\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=0\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn assert_denied([s3, dynamodb]: [String; 2], because: &str) {
    for answer in [&s3, &dynamodb] {
        assert!(answer.starts_with("HTTP/1.1 403 "), "{because}: {answer}");
        let lower = answer.to_ascii_lowercase();
        assert!(!lower.contains("\naccess-control-"), "{because}: {answer}");
        assert!(answer.contains("this machine") || answer.contains("web page"));
    }
    assert!(s3.contains("<Code>AccessDenied</Code><Message>"), "{s3}");
    let (_, body) = dynamodb.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let kind = body["__type"].as_str().unwrap();
    assert!(kind.ends_with("#AccessDeniedException"), "{kind}");
}

#[test]
fn web_pages_are_denied_by_both_servers() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    for head in [
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: lists.localhost\r\n",
        "Host: localhost:1\r\n",
        "Host: localhost\r\nOrigin: https://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nOrigin: http://localhost:1\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
        "Host: localhost\r\nAccess-Control-Request-Method: POST\r\n",
        "Host: evil.example\r\nExpect: 100-continue\r\n",
    ] {
        assert_denied(send_to_both(&servers, head), head);
    }
    servers.stop();
}

#[test]
fn programs_on_this_machine_are_allowed_by_both_servers() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    for head in [
        "Host: localhost\r\n",
        "Host: LOCALHOST\r\n",
        "Host: 127.0.0.1\r\n",
        "Host: [::1]\r\n",
        "Host: localhost\r\nSec-Fetch-Site: none\r\n",
        "Host: localhost\r\nExpect: 100-continue\r\n",
    ] {
        for answer in send_to_both(&servers, head) {
            let answer = answer.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{head}: {answer}");
            assert!(!answer.to_ascii_lowercase().contains("\naccess-control-"));
        }
    }
    for endpoint in [servers.s3_endpoint(), servers.dynamodb_endpoint()] {
        let port = port(endpoint);
        let s3 = endpoint == servers.s3_endpoint();
        let (method, rest) = match s3 {
            true => ("GET", "Connection: close\r\n\r\n".to_owned()),
            false => ("POST", operation("ListTables", "{}")),
        };
        for (target, version, head) in [
            ("/", "1.1", format!("Host: localhost:{port}\r\n")),
            ("/", "1.0", format!("Host: 127.0.0.1:{port}\r\n")),
            (endpoint, "1.1", format!("Host: 127.0.0.1:{port}\r\n")),
            (
                "/",
                "1.1",
                format!(
                    "Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n\
                     Sec-Fetch-Site: same-origin\r\n"
                ),
            ),
        ] {
            let request = format!("{method} {target} HTTP/{version}\r\n{head}{rest}");
            let answer = raw(endpoint, &request);
            assert!(answer.contains(" 200 OK\r\n"), "{request}: {answer}");
            assert!(!answer.to_ascii_lowercase().contains("\naccess-control-"));
        }
    }
    servers.stop();
}

#[tokio::test]
async fn a_page_can_neither_create_a_table_nor_pass_a_preflight() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    let body = r#"{"TableName":"evil","AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}"#;
    let create = operation("CreateTable", body);
    let page = "Host: localhost\r\nOrigin: https://evil.example\r\n";
    let preflight = format!(
        "OPTIONS / HTTP/1.1\r\n{page}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: x-amz-target\r\nConnection: close\r\n\r\n"
    );
    let endpoint = servers.dynamodb_endpoint().to_owned();
    for request in [format!("POST / HTTP/1.1\r\n{page}{create}"), preflight] {
        let answer = raw(&endpoint, &request);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("\naccess-control-"));
    }
    let client = dynamodb_client(&servers);
    let tables = client.list_tables().send().await.unwrap();
    assert!(tables.table_names().is_empty());
    // A program may send the same request.
    let answer = raw(
        &endpoint,
        &format!("POST / HTTP/1.1\r\nHost: localhost\r\n{create}"),
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let tables = client.list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), ["evil"]);
    servers.stop();
}
