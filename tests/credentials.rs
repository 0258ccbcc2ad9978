//! Credentials that end before the run does, and what is never shown of them.

mod common;

use std::path::Path;
use std::time::Duration;

use common::binary::Run;
use common::fake_credentials::{FakeCredentials, Keys};
use common::fake_dynamo::{DynamoConfig, FakeDynamo, FaultPlan, KeyType};
use common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};

const URI: &str = "s3://lists/a/list.txt";

const LIMIT: Duration = Duration::from_secs(60);

/// `n` different MD5 hashes.
fn list(n: u64) -> Vec<u8> {
    let lines = (0..n).map(|i| format!("{i:032x}\n"));
    lines.collect::<String>().into_bytes()
}

fn s3(n: u64, plan: S3Plan) -> FakeS3 {
    FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", list(n))
            .plan(plan),
    )
}

fn dynamo(plan: FaultPlan) -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new("md5", "md5", KeyType::S).plan(plan))
}

/// A run whose credentials come from beside it and from nowhere else.
fn ingest(args: &[&str], credentials: &FakeCredentials) -> Run {
    Run::ingest(URI, &[&["--table", "md5", "--rate", "max"], args].concat())
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &credentials.uri())
}

#[test]
fn credentials_that_expire_while_it_writes_are_renewed() {
    let (old, new) = (Keys::named("OLD"), Keys::named("NEW"));
    let dynamo = dynamo(FaultPlan::default().expire(40, &old.access_key_id));
    let s3 = s3(5000, S3Plan::default());
    // They are valid for an hour yet, by what they said of themselves.
    let credentials = FakeCredentials::start(old);
    let started = ingest(&[], &credentials).s3(&s3).dynamo(&dynamo).start();
    let refused = dynamo.wait_until(LIMIT, |s| s.expired >= 1);
    assert!(refused.is_some(), "they expire");
    credentials.renew(new);
    let ended = started.end();
    ended.assert_status(0);
    ended.assert_books([5000, 5000, 0, 0, 0, 0]);
    assert!(ended.number("requests") > 200);
    assert_eq!(dynamo.stop().distinct, 5000);
}

#[test]
fn credentials_that_expire_while_it_reads_are_renewed() {
    let (old, new) = (Keys::named("OLD"), Keys::named("NEW"));
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(10_000))
        .expire(2, &old.access_key_id);
    let (s3, dynamo) = (s3(5000, plan), dynamo(FaultPlan::default()));
    let credentials = FakeCredentials::start(old);
    let started = ingest(&[], &credentials).s3(&s3).dynamo(&dynamo).start();
    let refused = s3.wait_until(LIMIT, |s| s.get_count >= 2);
    assert!(refused.is_some(), "they expire");
    credentials.renew(new);
    let ended = started.end();
    ended.assert_status(0);
    ended.assert_books([5000, 5000, 0, 0, 0, 0]);
    assert_eq!(dynamo.stop().distinct, 5000);
}

#[test]
fn credentials_that_are_renewed_in_the_shared_file_are_read_from_it() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join(".aws/credentials");
    std::fs::create_dir(home.path().join(".aws")).expect("a folder");
    // Whole or not at all, as those who renew them do it.
    let write = |keys: &Keys| {
        let text = format!(
            "[work]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n",
            keys.access_key_id, keys.secret, keys.token
        );
        let new = home.path().join("new");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(&new, &file).expect("a file");
    };
    let (old, new) = (Keys::named("OLD"), Keys::named("NEW"));
    write(&old);
    let dynamo = dynamo(FaultPlan::default().expire(40, &old.access_key_id));
    let s3 = s3(5000, S3Plan::default());
    let args = ["--table", "md5", "--rate", "max", "--profile", "work"];
    let started = Run::ingest(URI, &args)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("HOME", home.path().to_str().expect("text"))
        .s3(&s3)
        .dynamo(&dynamo)
        .start();
    let refused = dynamo.wait_until(LIMIT, |s| s.expired >= 1);
    assert!(refused.is_some(), "they expire");
    write(&new);
    let ended = started.end();
    ended.assert_status(0);
    ended.assert_books([5000, 5000, 0, 0, 0, 0]);
}

#[test]
fn credentials_that_nobody_renews_end_the_run_which_is_taken_up_with_new_ones() {
    let (old, new) = (Keys::named("OLD"), Keys::named("NEW"));
    let dynamo = dynamo(FaultPlan::default().expire(40, &old.access_key_id));
    let s3 = s3(5000, S3Plan::default());
    let credentials = FakeCredentials::start(old);
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("checkpoint");
    let text = checkpoint.to_str().expect("text");
    let args = ["--checkpoint", text, "--give-up-after", "2s"];
    let run = || ingest(&args, &credentials).s3(&s3).dynamo(&dynamo);
    let started = run().start();
    let begun = dynamo.wait_until(LIMIT, |s| s.calls >= 1);
    assert!(begun.is_some(), "it writes");
    // By now every client has asked.
    let asked = credentials.asked();
    let ended = started.end();
    ended.assert_status(1);
    ended.assert_says(&[
        "nothing could be written to table md5 for 2 s",
        "ExpiredTokenException",
        "renew the credentials, then run this again",
    ]);
    let written = dynamo.stats().items_written;
    assert!(written >= 25 * 30, "it had begun: {written}");
    assert_eq!(ended.number("written"), written);
    assert!(ended.number("failed") > 0);
    assert!(Path::new(text).exists() && ended.report["checkpoint"] == text);
    assert!(credentials.asked() > asked, "others were asked for");

    credentials.renew(new);
    let ended = run().end();
    ended.assert_status(0);
    assert_eq!(ended.number("lines"), 5000);
    assert_eq!(dynamo.stop().distinct, 5000);
}
