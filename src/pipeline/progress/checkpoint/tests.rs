use super::*;
use crate::pipeline::progress::sources::SourceProgress;
use proptest::prelude::*;

pub(crate) fn run() -> RunIdentity {
    RunIdentity {
        sources: vec!["s3://b/1".into(), "s3://b/2".into()],
        read_settings: "as they are".into(),
        table: "sha256".into(),
        table_location: "us-east-1".into(),
        table_id: Some("id".into()),
        algorithm: "sha256".into(),
        item_template: "{…}".into(),
    }
}

fn identity(uri: &str) -> Identity {
    Identity::from(crate::source::version::ObjectVersion {
        uri: uri.into(),
        etag: Some("\"e\"".into()),
        bytes: Some(6500),
        ..Default::default()
    })
}

fn written(written: u64) -> LineCounts {
    LineCounts {
        lines: written + 3,
        written,
        rejected: 1,
        skipped: 2,
        ..LineCounts::default()
    }
}

/// Progress of two sources, of which every line of the first has an outcome.
fn accounts() -> SourceTracker {
    let accounts = SourceTracker::default();
    for (n, uri, line_counts) in [
        (0, "s3://b/1", written(97)),
        (1, "s3://b/2", LineCounts::default()),
    ] {
        let progress = SourceProgress {
            source: identity(uri),
            bytes_read: 6500,
            line_counts,
        };
        accounts.start_source(n, progress);
    }
    accounts
}

fn checkpoint() -> Checkpoint {
    let accounts = accounts();
    accounts.finish_before(1);
    let mut line_counts = written(97);
    line_counts += written(7);
    let mark = Watermark {
        source: 1,
        offset: Offset {
            lines: 10,
            bytes: 650,
        },
        source_line_counts: written(7),
        line_counts,
    };
    let counts = RunCounters {
        requests: 7,
        consumed_wcu: 104.5,
        ..RunCounters::default()
    };
    Checkpoint::new(
        run(),
        &mark,
        &accounts,
        &counts,
        Duration::from_millis(1500),
    )
}

#[test]
fn a_checkpoint_parses_to_the_one_that_was_written() {
    let written = checkpoint();
    let read = Checkpoint::from_text(written.to_text().as_bytes()).expect("valid");
    assert_eq!(read, written);
    let mark = read.watermark();
    assert_eq!(
        (mark.source, mark.offset.lines, mark.offset.bytes),
        (1, 10, 650)
    );
    assert_eq!(
        (read.line_counts.lines, mark.source_line_counts.lines),
        (110, 10)
    );
    assert_eq!(read.counters(650).bytes_read, 7150);
    assert_eq!(read.counters(0).line_counts, written.line_counts);
}

#[test]
fn a_checkpoint_before_the_first_outcome_starts_at_the_first_source() {
    let counts = RunCounters::default();
    let none = Checkpoint::new(
        run(),
        &Watermark::default(),
        &accounts(),
        &counts,
        Duration::ZERO,
    );
    let uri = none
        .partial_source
        .as_ref()
        .map(|r| r.source.object.uri.as_str());
    assert_eq!(
        uri,
        Some("s3://b/1"),
        "the second is opened, and no line of the first has an outcome"
    );
    assert_eq!(
        (none.finished.count(), none.watermark()),
        (0, Watermark::default())
    );
    Checkpoint::from_text(none.to_text().as_bytes()).expect("valid");
}

#[test]
fn a_checkpoint_without_its_partial_source_reads_that_source_from_its_start() {
    let whole = checkpoint().without_partial_source();
    let read = Checkpoint::from_text(whole.to_text().as_bytes()).expect("valid");
    assert_eq!(
        (read.line_counts, read.partial_source.is_none()),
        (written(97), true)
    );
    let mark = read.watermark();
    assert_eq!(
        (mark.source, mark.offset, mark.source_line_counts.lines),
        (1, Offset::default(), 0)
    );
}

#[test]
fn a_different_run_is_an_error_that_names_the_difference() {
    let place = CheckpointLocation::File("c".into());
    let saved = checkpoint();
    saved.check_run(&run(), &place).expect("the same");
    saved
        .check_run(
            &RunIdentity {
                table_id: None,
                ..run()
            },
            &place,
        )
        .expect("an unknown id is no difference");
    for (now, words) in [
        (
            RunIdentity {
                sources: vec!["s3://b/1".into()],
                ..run()
            },
            "the sources were s3://b/1 s3://b/2, and are s3://b/1",
        ),
        (
            RunIdentity {
                read_settings: "as CSV".into(),
                ..run()
            },
            "its lists were read as they are, and are read as CSV",
        ),
        (
            RunIdentity {
                table: "t".into(),
                ..run()
            },
            "the table was sha256",
        ),
        (
            RunIdentity {
                table_location: "eu-west-1".into(),
                ..run()
            },
            "(us-east-1), and is sha256 (eu-west-1)",
        ),
        (
            RunIdentity {
                table_id: Some("other".into()),
                ..run()
            },
            "created again",
        ),
        (
            RunIdentity {
                algorithm: "md5".into(),
                ..run()
            },
            "the hashes were sha256, and are md5",
        ),
        (
            RunIdentity {
                item_template: "{}".into(),
                ..run()
            },
            "the items were",
        ),
    ] {
        let e = saved.check_run(&now, &place).expect_err(words);
        assert_eq!(e.exit_status(), 2);
        assert!(
            format!("{e:#}").contains(words),
            "expected {words:?} in {e}"
        );
    }
}

#[test]
fn a_checkpoint_whose_parts_disagree_is_damaged() {
    fn sealed(change: impl Fn(&mut Checkpoint)) -> String {
        let mut c = checkpoint();
        change(&mut c);
        Checkpoint::from_text(c.to_text().as_bytes()).expect_err("damaged")
    }
    assert!(sealed(|c| c.version = 1).contains("version is 1"));
    assert!(sealed(|c| c.line_counts.written += 1).contains("balance"));
    assert!(sealed(|c| c.line_counts.written = u64::MAX).contains("balance"));
    let read = |c: &mut Checkpoint, change: fn(&mut PartialSource)| {
        c.partial_source.iter_mut().for_each(change)
    };
    assert!(sealed(move |c| read(c, |r| r.line_counts.lines += 1)).contains("balance"));
    assert!(sealed(|c| c.finished.listed[0].line_counts.written += 1).contains("balance"));
    assert!(sealed(move |c| read(c, |r| r.bytes = 6501)).contains("sources"));
    assert!(sealed(|c| c.finished.digest.clear()).contains("sources"));
}

proptest! {
    /// Any damage is detected, and nothing panics.
    #[test]
    fn damage_is_detected(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let whole = checkpoint().to_text().into_bytes();
        let mut text = whole.clone();
        let at = at.index(text.len() - 1);
        if cut { text.truncate(at) } else { text[at] = byte }
        let read = Checkpoint::from_text(&text);
        prop_assert!(read.is_err() || text == whole || text[at] == b'\r' || read == Ok(checkpoint()));
    }

    #[test]
    fn random_bytes_are_an_error(text in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Checkpoint::from_text(&text).is_err());
        let mut sealed = text.clone();
        sealed.retain(|b| *b != b'\n');
        if let Ok(json) = std::str::from_utf8(&sealed) {
            let sealed = format!("{json}\n{}\n", digest(json));
            prop_assert!(Checkpoint::from_text(sealed.as_bytes()).is_err());
        }
    }
}
