//! Reads of an S3 object through connection failures: every byte once, or an error that
//! names the position.

use std::time::Duration;

use crate::common::binary::Run;
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, KeyType};
use crate::common::fake_s3::{FakeS3, Get, S3Config, S3Fault, S3Plan, S3Stats};
use hashferry::bench::{Location, OpenSource, STALL_TIMEOUT};
use hashferry::{Aws, AwsOptions, LocalEndpoints, Result};

const URI: &str = "s3://lists/a/list.txt";

/// `n` different MD5 hashes, with CRLF.
fn list(n: u64) -> Vec<u8> {
    (0..n)
        .map(|i| format!("{i:032x}\r\n"))
        .collect::<String>()
        .into_bytes()
}

fn s3(list: Vec<u8>, plan: S3Plan) -> FakeS3 {
    FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", list)
            .plan(plan),
    )
}

async fn connect(s3: &FakeS3) -> Aws {
    let local = LocalEndpoints {
        folder: "a test".into(),
        s3: s3.endpoint(),
        dynamodb: s3.endpoint(),
        region: "us-east-1".into(),
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: "no secret".into(),
    };
    let options = AwsOptions {
        local: Some(local),
        ..AwsOptions::default()
    };
    Aws::load(&options).await.expect("a configuration")
}

/// Reads the whole object.
async fn read(aws: &Aws) -> Result<Vec<u8>> {
    let location: Location = URI.parse().expect("a location");
    let mut source = OpenSource::open(&location, aws).await?;
    let mut all = Vec::new();
    while let Some(chunk) = source.next().await? {
        all.extend_from_slice(&chunk);
        assert_eq!(source.position(), all.len() as u64);
    }
    Ok(all)
}

fn ranges(stats: &S3Stats) -> Vec<Option<&str>> {
    stats.gets.iter().map(|g| g.range.as_deref()).collect()
}

#[tokio::test]
async fn a_body_that_breaks_at_any_byte_is_read_completely() {
    let list = list(3);
    // The first GET of each read is cut, the second is not.
    let cuts = 0..list.len() as u64;
    let plan = cuts.clone().fold(S3Plan::default(), |plan, n| {
        plan.get(2 * n + 1, S3Fault::EndAfter(n))
    });
    let s3 = s3(list.clone(), plan);
    let aws = connect(&s3).await;
    for n in cuts.clone() {
        assert_eq!(read(&aws).await.expect("resumed"), list, "cut at {n}");
    }
    let stats = s3.stop();
    let rest: Vec<String> = cuts.map(|n| format!("bytes={n}-")).collect();
    let expected: Vec<_> = rest.iter().flat_map(|r| [None, Some(&**r)]).collect();
    assert_eq!(ranges(&stats), expected);
    let pinned = |pair: &[Get]| pair[1].if_match.is_some();
    assert!(stats.gets.chunks(2).all(pinned), "pinned to the object");
}

#[tokio::test]
async fn a_stalled_body_is_resumed() {
    let list = list(3);
    for at in [0, 5, 34, list.len() as u64 - 1] {
        let plan = S3Plan::default().get(1, S3Fault::StallAfter(at));
        let s3 = s3(list.clone(), plan);
        let aws = connect(&s3).await;
        let location: Location = URI.parse().expect("a location");
        let mut source = OpenSource::open(&location, &aws).await.expect("it opens");
        let mut all = Vec::new();
        while (all.len() as u64) < at {
            let chunk = source
                .next()
                .await
                .expect("a chunk or the end")
                .expect("some");
            all.extend_from_slice(&chunk);
        }
        // The clock advances only during this wait: a paused clock would run ahead of
        // responses in flight.
        let (next, ()) = tokio::join!(biased; source.next(), async {
            tokio::time::pause();
            tokio::time::advance(STALL_TIMEOUT + Duration::from_secs(1)).await;
            tokio::time::resume();
        });
        let mut next = next.expect("resumed");
        while let Some(chunk) = next {
            all.extend_from_slice(&chunk);
            next = source.next().await.expect("resumed");
        }
        assert_eq!(all, list, "silent at {at}");
        let rest = format!("bytes={at}-");
        assert_eq!(ranges(&s3.stop()), [None, Some(&*rest)]);
    }
}

#[tokio::test]
async fn a_file_truncated_during_the_read_is_an_error() {
    let (s3, mut file) = (
        s3(Vec::new(), S3Plan::default()),
        tempfile::NamedTempFile::new().expect("a file"),
    );
    let text = list(50_000);
    std::io::Write::write_all(&mut file, &text).expect("written");
    let location = Location::File(file.path().to_owned());
    let mut source = OpenSource::open(&location, &connect(&s3).await)
        .await
        .expect("opened");
    let first = source.next().await.expect("read").expect("a chunk");
    assert!(first.len() < text.len(), "one chunk is not all of it");
    file.as_file().set_len(10).expect("cut off");
    let error = source.next().await.expect_err("it had more");
    assert!(
        format!("{error:#}").contains("has been truncated since"),
        "{error:#}"
    );
    assert_eq!(error.exit_status(), 1);
}

#[tokio::test]
async fn a_wrong_range_in_a_response_is_an_error() {
    let list = list(100);
    let cut = || S3Plan::default().get(1, S3Fault::EndAfter(1000));
    for (plan, says) in [
        // A part that overlaps the bytes before.
        (
            cut().get(2, S3Fault::Earlier(34)),
            &["at byte 1000", "bytes 966-3399/3400"][..],
        ),
        // The whole object, with status 200.
        (cut().ignore_ranges(), &["at byte 1000", "from 1000 on"]),
        // More bytes than the object has.
        (
            cut().get(2, S3Fault::Longer(3)),
            &["the object has 3400 bytes, but 3403 arrived"],
        ),
    ] {
        let s3 = s3(list.clone(), plan);
        let error = read(&connect(&s3).await).await.expect_err("it ends");
        assert_eq!(error.exit_status(), 1);
        for part in says {
            assert!(
                format!("{error:#}").contains(part),
                "{part:?} in: {error:#}"
            );
        }
    }
}

fn table() -> DynamoConfig {
    DynamoConfig::new("md5", "md5", KeyType::S)
}

fn ingest(args: &[&str]) -> Run {
    Run::ingest(URI, &[&["--table", "md5", "--rate", "max"], args].concat())
}

#[test]
fn a_list_is_written_completely_despite_broken_bodies() {
    // 34 bytes a line. The body is cut before the first byte, within a line, at a
    // line's end, between CR and LF, and before the last byte, with errors and resets
    // between.
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(0))
        .get(2, S3Fault::EndAfter(7))
        .get(3, S3Fault::InternalError)
        .get(4, S3Fault::EndAfter(3400 - 7))
        .get(5, S3Fault::Reset)
        .get(6, S3Fault::EndAfter(33))
        .get(7, S3Fault::SlowDown)
        .get(8, S3Fault::EndAfter(34_000 - 3400 - 33 - 1));
    let (s3, dynamo) = (s3(list(1000), plan), FakeDynamo::start(table()));
    let ended = ingest(&[]).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_line_counts([1000, 1000, 0, 0, 0, 0]);
    assert_eq!(ended.number("bytes_read"), 34_000);
    assert_eq!(dynamo.stop().distinct, 1000);
    let stats = s3.stop();
    let from = [0, 7, 7, 3400, 3400, 3433, 3433, 33_999].map(|n| format!("bytes={n}-"));
    let expected: Vec<_> = [None]
        .into_iter()
        .chain(from.iter().map(|r| Some(&**r)))
        .collect();
    assert_eq!(ranges(&stats), expected);
}

#[test]
fn a_body_that_cannot_be_resumed_ends_the_run_with_a_checkpoint() {
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(1000))
        .gets_from(2, S3Fault::EndAfter(0));
    let (s3, dynamo) = (s3(list(1000), plan), FakeDynamo::start(table()));
    let ended = ingest(&[]).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(1);
    ended.assert_stderr(&["ended at byte 1000", "end of file before message length"]);
    // 29 lines and a part of the next.
    ended.assert_line_counts([29, 29, 0, 0, 0, 0]);
    assert!(ended.report["checkpoint"].is_string());
    assert_eq!(s3.stop().get_count, 1 + 8, "the maximum number of resumes");
}

#[test]
fn a_replaced_object_is_an_error_with_both_etags() {
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(1000))
        .etag_from(2, "\"new\"");
    let (s3, dynamo) = (s3(list(1000), plan), FakeDynamo::start(table()));
    let ended = ingest(&[]).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(1);
    let before = s3.stats().gets[1].if_match.clone().expect("pinned");
    let both = format!("its ETag was {before} and is \"new\"");
    ended.assert_stderr(&["ended at byte 1000", "replaced", &both]);
    assert_eq!(s3.stop().head_count, 1);

    // Without permission for HeadObject, the error says so.
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(1000))
        .etag_from(2, "\"new\"")
        .head(1, S3Fault::AccessDenied);
    let (s3, dynamo) = (self::s3(list(1000), plan), FakeDynamo::start(table()));
    let ended = ingest(&[]).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(1);
    ended.assert_stderr(&["replaced", &before, "unknown ("]);
}
