//! No secret is shown or stored, in any failure and at any log level.

use std::path::Path;
use std::time::Duration;

use crate::common::binary::{Run, SECRET};
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};

const URI: &str = "s3://lists/a/list.txt";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLEsession+token/of==";
const PASSWORD: &str = "passw0rd-of-a-proxy";
const SIGNATURE: &str = "5EC2E7516";

/// A failure, with its expected results.
struct Case {
    name: &'static str,
    dynamo: FaultPlan,
    s3: S3Plan,
    /// Arguments before `--table`; `{dynamo}` and `{dead}` stand for endpoints.
    args: &'static [&'static str],
    /// Secret that the table requires for signatures.
    signed: Option<&'static str>,
    status: i32,
    expected: &'static [&'static str],
    /// Files that must exist, because they are searched for secrets.
    expected_files: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let default = || Case {
        name: "",
        dynamo: FaultPlan::default(),
        s3: S3Plan::default(),
        args: &[URI],
        signed: None,
        status: 1,
        expected: &[],
        expected_files: &["report", "rejects"],
    };
    vec![
        Case {
            name: "403 of DynamoDB, and the command that resumes",
            dynamo: FaultPlan::default().from(3, Fault::AccessDenied),
            args: &["list.txt", "--endpoint-url", "{dynamo}"],
            expected: &["AccessDeniedException", "--endpoint-url http://127.0.0.1:"],
            expected_files: &["report", "rejects", "checkpoint"],
            ..default()
        },
        Case {
            name: "403 of S3",
            s3: S3Plan::default().gets_from(1, S3Fault::AccessDenied),
            status: 2,
            expected: &["access is denied"],
            expected_files: &["report"],
            ..default()
        },
        Case {
            name: "an expired token",
            dynamo: FaultPlan::default().from(3, Fault::ExpiredToken),
            args: &[URI, "--give-up-after", "1s"],
            expected: &["ExpiredTokenException", "loading new ones"],
            expected_files: &["report", "rejects", "checkpoint"],
            ..default()
        },
        Case {
            name: "resets, and an object that is replaced",
            dynamo: FaultPlan::default().at(2, Fault::DropBefore),
            s3: S3Plan::default()
                .get(1, S3Fault::EndAfter(5000))
                .get(2, S3Fault::Reset)
                .etag_from(3, "\"new\""),
            expected: &["broke off at byte 5000", "replaced"],
            expected_files: &["report", "rejects", "checkpoint"],
            ..default()
        },
        Case {
            name: "a dead endpoint",
            args: &[URI, "--endpoint-url", "{dead}"],
            expected: &["cannot be reached"],
            expected_files: &["report"],
            ..default()
        },
        Case {
            name: "no endpoint at all",
            args: &[
                URI,
                "--endpoint-url=user:passw0rd-of-a-proxy@h?X-Amz-Signature=5EC2E7516",
            ],
            status: 2,
            expected: &["is not a server URL", "not shown"],
            expected_files: &["report"],
            ..default()
        },
        Case {
            name: "a damaged checkpoint",
            args: &[URI, "--checkpoint", "list.txt"],
            status: 2,
            expected: &["the checkpoint list.txt is damaged"],
            expected_files: &["report"],
            ..default()
        },
        Case {
            name: "a signature that does not fit",
            signed: Some("other"),
            status: 2,
            expected: &["InvalidSignatureException", "does not match the signature"],
            expected_files: &["report"],
            ..default()
        },
        Case {
            name: "a table that is not there",
            args: &[URI, "--table", "other"],
            status: 2,
            expected: &["there is no table other at http://127.0.0.1:"],
            expected_files: &["report"],
            ..default()
        },
    ]
}

/// Adds a password, and the query of a presigned URL, to an endpoint.
fn with_secrets(endpoint: &str) -> String {
    let server = endpoint.strip_prefix("http://").expect("an endpoint");
    format!("http://user:{PASSWORD}@{server}/?X-Amz-Signature={SIGNATURE}")
}

fn list() -> Vec<u8> {
    let lines = (0..500).map(|i| format!("{i:064x}\n"));
    let list: String = lines.collect();
    (list + "no hash\n").into_bytes()
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

fn s3(plan: S3Plan) -> FakeS3 {
    let config = S3Config::default().object("lists", "a/list.txt", list());
    FakeS3::start(config.plan(plan))
}

/// `hashferry ingest` with all its files, and its home, in `folder`.
fn run(args: &[String], folder: &Path, s3: &FakeS3, dynamo: &FakeDynamo) -> Run {
    let place = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    let mut all = vec!["ingest".to_owned()];
    all.extend_from_slice(args);
    for (flag, name) in [("--report", "report"), ("--rejects", "rejects")] {
        all.extend([flag.to_owned(), place(name)]);
    }
    for (flag, value) in [
        ("--checkpoint", &*place("checkpoint")),
        ("--table", "sha256"),
    ] {
        if !args.iter().any(|a| a == flag) {
            all.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    Run::new(&all)
        .file("list.txt", &list())
        .env("HOME", folder.to_str().expect("text"))
        .env("AWS_SESSION_TOKEN", TOKEN)
        .env("AWS_ENDPOINT_URL_S3", &with_secrets(&s3.endpoint()))
        .env(
            "AWS_ENDPOINT_URL_DYNAMODB",
            &with_secrets(&dynamo.endpoint()),
        )
}

fn assert_nothing_secret(text: &str, place: &str) {
    for secret in [SECRET, TOKEN, PASSWORD, SIGNATURE] {
        assert!(!text.contains(secret), "{secret} is in {place}:\n{text}");
    }
}

/// Searches every file in `folder` for secrets. Returns their names.
fn assert_nothing_secret_in(folder: &Path, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_nothing_secret_in(&path, name);
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
        assert_nothing_secret(&text, &format!("{} ({name})", path.display()));
        names.push(
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned(),
        );
    }
    names
}

fn assert_fails_without_secrets(case: &Case, format: &str) {
    let name = format!("{}, {format}", case.name);
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = table().plan(case.dynamo.clone());
    config.secret = case.signed.map(str::to_owned);
    let (s3, dynamo) = (s3(case.s3.clone()), FakeDynamo::start(config));
    let gone = FakeS3::start(S3Config::default());
    let dead = with_secrets(&gone.endpoint());
    gone.stop();
    let live = with_secrets(&dynamo.endpoint());
    let mut args: Vec<String> = case
        .args
        .iter()
        .map(|a| a.replace("{dynamo}", &live).replace("{dead}", &dead))
        .collect();
    args.extend(["-vv", "--progress", "none", "--log-format", format].map(str::to_owned));
    let ended = run(&args, folder.path(), &s3, &dynamo).run();
    assert_eq!(ended.status, case.status, "{name}: {}", ended.stderr);
    for part in case.expected {
        // In JSON, quotation marks are escaped.
        assert!(
            ended.stderr.contains(part),
            "{name}: expected {part:?} in {}",
            ended.stderr
        );
    }
    assert_nothing_secret(&ended.stderr, &format!("stderr ({name})"));
    assert_nothing_secret(&ended.stdout, &format!("stdout ({name})"));
    let names = assert_nothing_secret_in(folder.path(), &name);
    for left in case.expected_files {
        assert!(
            names.iter().any(|n| n == left),
            "{name}: no {left} in {names:?}"
        );
    }
}

#[test]
fn no_failure_shows_or_stores_a_secret() {
    // Concurrently, because some wait before they give up.
    std::thread::scope(|scope| {
        for case in cases() {
            scope.spawn(move || {
                assert_fails_without_secrets(&case, "text");
                assert_fails_without_secrets(&case, "json");
            });
        }
    });
}

#[test]
fn the_raise_note_stores_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = table().billing(Billing::Provisioned { wcu: 5 });
    let dynamo = FakeDynamo::start(config.plan(FaultPlan::default().from(1, Fault::Stall)));
    let s3 = s3(S3Plan::default());
    let note = folder
        .path()
        .join("note")
        .to_str()
        .expect("text")
        .to_owned();
    let args = [URI, "-vv", "--raise-to", "1000", "--raise-note", &note].map(str::to_owned);
    let mut started = run(&args, folder.path(), &s3, &dynamo).start();
    let writes = dynamo.wait_until(Duration::from_secs(60), |s| s.calls >= 1);
    assert!(writes.is_some(), "it is raised, and writes");
    started.kill();
    let ended = started.wait();
    assert_nothing_secret(&ended.stderr, "stderr");
    let names = assert_nothing_secret_in(folder.path(), "killed");
    assert!(names.iter().any(|n| n == "note"), "{names:?}");
}
