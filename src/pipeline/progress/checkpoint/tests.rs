use super::*;
use crate::pipeline::progress::sources::Account;
use proptest::prelude::*;

pub(crate) fn run() -> Run {
    Run {
        sources: vec!["s3://b/1".into(), "s3://b/2".into()],
        reading: "as they are".into(),
        table: "sha256".into(),
        place: "us-east-1".into(),
        table_id: Some("id".into()),
        hash: "sha256".into(),
        item: "{…}".into(),
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

fn written(written: u64) -> Books {
    Books {
        lines: written + 3,
        written,
        rejected: 1,
        skipped: 2,
        ..Books::default()
    }
}

/// The accounts of two sources, of which the first is settled.
fn accounts() -> Accounts {
    let accounts = Accounts::default();
    for (n, uri, books) in [
        (0, "s3://b/1", written(97)),
        (1, "s3://b/2", Books::default()),
    ] {
        let account = Account {
            source: identity(uri),
            read: 6500,
            books,
        };
        accounts.begin(n, account);
    }
    accounts
}

fn checkpoint() -> Checkpoint {
    let accounts = accounts();
    accounts.close_below(1);
    let mut books = written(97);
    books += written(7);
    let mark = Mark {
        source: 1,
        below: Below {
            lines: 10,
            bytes: 650,
        },
        here: written(7),
        books,
    };
    let counts = Counts {
        requests: 7,
        consumed: 104.5,
        ..Counts::default()
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
fn it_is_read_as_it_was_written() {
    let written = checkpoint();
    let read = Checkpoint::from_text(written.to_text().as_bytes()).expect("whole");
    assert_eq!(read, written);
    let mark = read.mark();
    assert_eq!(
        (mark.source, mark.below.lines, mark.below.bytes),
        (1, 10, 650)
    );
    assert_eq!((read.books.lines, mark.here.lines), (110, 10));
    assert_eq!(read.counts(650).bytes_read, 7150);
    assert_eq!(read.counts(0).books, written.books);
}

#[test]
fn before_the_first_line_is_settled_there_is_the_beginning() {
    let counts = Counts::default();
    let none = Checkpoint::new(
        run(),
        &Mark::default(),
        &accounts(),
        &counts,
        Duration::ZERO,
    );
    let uri = none.read.as_ref().map(|r| r.source.object.uri.as_str());
    assert_eq!(
        uri,
        Some("s3://b/1"),
        "the second is opened, and nothing of the first settled"
    );
    assert_eq!((none.behind.count(), none.mark()), (0, Mark::default()));
    Checkpoint::from_text(none.to_text().as_bytes()).expect("whole");
}

#[test]
fn a_source_that_is_damaged_is_left_out_and_read_again() {
    let whole = checkpoint().without_the_last();
    let read = Checkpoint::from_text(whole.to_text().as_bytes()).expect("whole");
    assert_eq!((read.books, read.read.is_none()), (written(97), true));
    let mark = read.mark();
    assert_eq!(
        (mark.source, mark.below, mark.here.lines),
        (1, Below::default(), 0)
    );
}

#[test]
fn another_run_is_refused_and_what_is_other_is_named() {
    let place = Place::File("c".into());
    let had = checkpoint();
    had.is_of(&run(), &place).expect("the same");
    had.is_of(
        &Run {
            table_id: None,
            ..run()
        },
        &place,
    )
    .expect("not known to be another");
    for (now, words) in [
        (
            Run {
                sources: vec!["s3://b/1".into()],
                ..run()
            },
            "the sources were s3://b/1 s3://b/2, and are s3://b/1",
        ),
        (
            Run {
                reading: "as CSV".into(),
                ..run()
            },
            "its lists were read as they are, and are read as CSV",
        ),
        (
            Run {
                table: "t".into(),
                ..run()
            },
            "the table was sha256",
        ),
        (
            Run {
                place: "eu-west-1".into(),
                ..run()
            },
            "(us-east-1), and is sha256 (eu-west-1)",
        ),
        (
            Run {
                table_id: Some("other".into()),
                ..run()
            },
            "made anew",
        ),
        (
            Run {
                hash: "md5".into(),
                ..run()
            },
            "the hashes were sha256, and are md5",
        ),
        (
            Run {
                item: "{}".into(),
                ..run()
            },
            "the items were",
        ),
    ] {
        let e = had.is_of(&now, &place).expect_err(words);
        assert_eq!(e.exit_status(), 2);
        assert!(
            format!("{e:#}").contains(words),
            "expected {words:?} in {e}"
        );
    }
}

#[test]
fn what_contradicts_itself_is_damaged() {
    fn sealed(change: impl Fn(&mut Checkpoint)) -> String {
        let mut c = checkpoint();
        change(&mut c);
        Checkpoint::from_text(c.to_text().as_bytes()).expect_err("damaged")
    }
    assert!(sealed(|c| c.version = 1).contains("version is 1"));
    assert!(sealed(|c| c.books.written += 1).contains("balance"));
    assert!(sealed(|c| c.books.written = u64::MAX).contains("balance"));
    let read = |c: &mut Checkpoint, change: fn(&mut Read)| c.read.iter_mut().for_each(change);
    assert!(sealed(move |c| read(c, |r| r.books.lines += 1)).contains("balance"));
    assert!(sealed(|c| c.behind.kept[0].books.written += 1).contains("balance"));
    assert!(sealed(move |c| read(c, |r| r.bytes = 6501)).contains("sources"));
    assert!(sealed(|c| c.behind.digest.clear()).contains("sources"));
}

proptest! {
    /// Any damage is noticed, and nothing panics.
    #[test]
    fn damage_is_noticed(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let whole = checkpoint().to_text().into_bytes();
        let mut text = whole.clone();
        let at = at.index(text.len() - 1);
        if cut { text.truncate(at) } else { text[at] = byte }
        let read = Checkpoint::from_text(&text);
        prop_assert!(read.is_err() || text == whole || text[at] == b'\r' || read == Ok(checkpoint()));
    }

    #[test]
    fn anything_at_all_is_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Checkpoint::from_text(&text).is_err());
        let mut sealed = text.clone();
        sealed.retain(|b| *b != b'\n');
        if let Ok(json) = std::str::from_utf8(&sealed) {
            let sealed = format!("{json}\n{}\n", digest(json));
            prop_assert!(Checkpoint::from_text(sealed.as_bytes()).is_err());
        }
    }
}
