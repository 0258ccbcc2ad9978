//! Starting and stopping, and clients for the tests of both servers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

pub(super) fn options(dir: &Path) -> LocalOptions {
    LocalOptions {
        dir: dir.to_owned(),
        s3_port: 0,
        dynamodb_port: 0,
    }
}

pub(super) fn start(dir: &Path) -> LocalServers {
    LocalServers::start(options(dir)).unwrap()
}

pub(super) fn s3_client(servers: &LocalServers) -> aws_sdk_s3::Client {
    s3_client_as(servers, ACCESS_KEY_ID, SECRET_ACCESS_KEY)
}

pub(super) fn s3_client_as(servers: &LocalServers, id: &str, secret: &str) -> aws_sdk_s3::Client {
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

pub(super) fn dynamodb_client(servers: &LocalServers) -> aws_sdk_dynamodb::Client {
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

/// Sends bytes as they are, and returns the answer as text.
pub(super) fn raw(endpoint: &str, request: &str) -> String {
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
fn a_second_one_is_told_where_the_first_one_is() {
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
    // The first one is none the worse for it.
    let answer = raw(
        first.s3_endpoint(),
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
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
    assert!(error.to_string().contains("another hashferry serves"));
}

#[test]
fn addresses_of_a_process_that_died_are_forgotten() {
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
fn a_taken_port_is_named_with_the_option_that_sets_it() {
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
    // Nothing was left behind, the lock neither.
    start(dir.path()).stop();
}

#[test]
fn a_stopped_server_gives_its_ports_back() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path());
    let options = LocalOptions {
        dir: dir.path().to_owned(),
        s3_port: port(first.s3_endpoint()),
        dynamodb_port: port(first.dynamodb_endpoint()),
    };
    // Leaves a connection behind that the server closed.
    raw(
        first.s3_endpoint(),
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    first.stop();
    LocalServers::start(options).unwrap().stop();
}

#[test]
fn a_client_that_never_finishes_its_request_does_not_hold_up_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let servers = start(dir.path());
    std::fs::create_dir(servers.dir().join("s3").join("lists")).unwrap();
    let half = |endpoint: &str, line: &str| {
        let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
        let head = "Host: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
        write!(stream, "{line} HTTP/1.1\r\n{head}").unwrap();
        // Told to go on, so the server is at it.
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
    // What had come in of the object is gone too.
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
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = LocalServers::start(options(&file.join("sub"))).unwrap_err();
    assert!(matches!(error, LocalError::Folder { .. }));
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("dynamodb.db"),
        "not a database ".repeat(100),
    )
    .unwrap();
    let error = LocalServers::start(options(dir.path())).unwrap_err();
    assert!(matches!(error, LocalError::Database { .. }));
    assert!(error.to_string().contains("dynamodb.db"), "{error}");
}
