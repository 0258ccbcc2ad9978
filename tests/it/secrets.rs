//! Nothing secret is shown or kept, whatever fails and however much is logged.

use std::path::Path;
use std::time::Duration;

use crate::common::binary::{Run, SECRET};
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};

const URI: &str = "s3://lists/a/list.txt";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLEsession+token/of==";
const PASSWORD: &str = "passw0rd-of-a-proxy";
const SIGNATURE: &str = "5EC2E7516";

/// One way to fail, and what is expected of it.
struct Case {
    name: &'static str,
    dynamo: FaultPlan,
    s3: S3Plan,
    /// What stands before `--table`, with `{dynamo}` and `{dead}` for endpoints.
    args: &'static [&'static str],
    /// The secret that the table wants requests to be signed with.
    signed: Option<&'static str>,
    status: i32,
    says: &'static [&'static str],
    /// Files that must be left, for it is they that are looked through.
    leaves: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let usual = || Case {
        name: "",
        dynamo: FaultPlan::default(),
        s3: S3Plan::default(),
        args: &[URI],
        signed: None,
        status: 1,
        says: &[],
        leaves: &["report", "rejects"],
    };
    vec![
        Case {
            name: "403 of DynamoDB, and the command that goes on",
            dynamo: FaultPlan::default().from(3, Fault::AccessDenied),
            args: &["list.txt", "--endpoint-url", "{dynamo}"],
            says: &["AccessDeniedException", "--endpoint-url http://127.0.0.1:"],
            leaves: &["report", "rejects", "checkpoint"],
            ..usual()
        },
        Case {
            name: "403 of S3",
            s3: S3Plan::default().gets_from(1, S3Fault::AccessDenied),
            status: 2,
            says: &["access is denied"],
            leaves: &["report"],
            ..usual()
        },
        Case {
            name: "an expired token",
            dynamo: FaultPlan::default().from(3, Fault::ExpiredToken),
            args: &[URI, "--give-up-after", "1s"],
            says: &["ExpiredTokenException", "loading them anew"],
            leaves: &["report", "rejects", "checkpoint"],
            ..usual()
        },
        Case {
            name: "resets, and an object that is replaced",
            dynamo: FaultPlan::default().at(2, Fault::DropBefore),
            s3: S3Plan::default()
                .get(1, S3Fault::EndAfter(5000))
                .get(2, S3Fault::Reset)
                .etag_from(3, "\"new\""),
            says: &["broke off at byte 5000", "replaced"],
            leaves: &["report", "rejects", "checkpoint"],
            ..usual()
        },
        Case {
            name: "a dead endpoint",
            args: &[URI, "--endpoint-url", "{dead}"],
            says: &["cannot be reached"],
            leaves: &["report"],
            ..usual()
        },
        Case {
            name: "no endpoint at all",
            args: &[
                URI,
                "--endpoint-url=user:passw0rd-of-a-proxy@h?X-Amz-Signature=5EC2E7516",
            ],
            status: 2,
            says: &["no URL of a server", "not shown"],
            leaves: &["report"],
            ..usual()
        },
        Case {
            name: "a damaged checkpoint",
            args: &[URI, "--checkpoint", "list.txt"],
            status: 2,
            says: &["the checkpoint list.txt is damaged"],
            leaves: &["report"],
            ..usual()
        },
        Case {
            name: "a signature that does not fit",
            signed: Some("other"),
            status: 2,
            says: &["InvalidSignatureException", "does not match the signature"],
            leaves: &["report"],
            ..usual()
        },
        Case {
            name: "a table that is not there",
            args: &[URI, "--table", "other"],
            status: 2,
            says: &["there is no table other at http://127.0.0.1:"],
            leaves: &["report"],
            ..usual()
        },
    ]
}

/// The endpoint with a password, and a query as of a presigned URL.
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

/// `hashferry ingest` that leaves all its files in `folder`, and its home there.
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

/// Looks through every file in `folder`; their names.
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

fn fails_without_a_word(case: &Case, format: &str) {
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
    let ended = run(&args, folder.path(), &s3, &dynamo).end();
    assert_eq!(ended.status, case.status, "{name}: {}", ended.stderr);
    for part in case.says {
        // Within JSON a quotation mark has a stroke before it.
        assert!(
            ended.stderr.contains(part),
            "{name}: expected {part:?} in {}",
            ended.stderr
        );
    }
    assert_nothing_secret(&ended.stderr, &format!("stderr ({name})"));
    assert_nothing_secret(&ended.stdout, &format!("stdout ({name})"));
    let names = assert_nothing_secret_in(folder.path(), &name);
    for left in case.leaves {
        assert!(
            names.iter().any(|n| n == left),
            "{name}: no {left} in {names:?}"
        );
    }
}

#[test]
fn nothing_secret_is_shown_or_kept_whatever_fails() {
    // Side by side: some of them wait before they give up.
    std::thread::scope(|scope| {
        for case in cases() {
            scope.spawn(move || {
                fails_without_a_word(&case, "text");
                fails_without_a_word(&case, "json");
            });
        }
    });
}

#[test]
fn the_note_of_a_raised_table_keeps_nothing_secret() {
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
    let ended = started.end();
    assert_nothing_secret(&ended.stderr, "stderr");
    let names = assert_nothing_secret_in(folder.path(), "killed");
    assert!(names.iter().any(|n| n == "note"), "{names:?}");
}
