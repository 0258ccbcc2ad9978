use super::*;
use crate::base::hash::Hash;
use crate::list::identity::Identity;
use crate::pipeline::progress::sources::SourceProgress;
use proptest::prelude::*;

fn place(source: u32, line: u64) -> Position {
    Position {
        source,
        line,
        byte: line * 65,
    }
}

/// A segment of `lines` lines up to `line`, of which `skipped` are skipped.
fn segment(source: u32, line: u64, lines: u64, skipped: u64) -> Segment {
    Segment {
        end: place(source, line),
        line_counts: LineCounts {
            lines,
            skipped,
            ..LineCounts::default()
        },
    }
}

fn below(watermark: &WatermarkTracker) -> (u32, u64, u64) {
    let mark = watermark.watermark();
    (mark.source, mark.offset.lines, mark.offset.bytes)
}

/// Starts a segment, with a record for each of its lines.
fn open(watermark: &WatermarkTracker, segment: Segment) -> Vec<Record> {
    let Position { source, line, .. } = segment.end;
    let lines = line - segment.line_counts.lines + 1..=line;
    let hash = Hash::from_bytes(&[1]).expect("a byte");
    let mut records: Vec<Record> = lines.map(|l| Record::new(hash, place(source, l))).collect();
    watermark.start_segment(segment, &mut records);
    records
}

#[test]
fn the_watermark_passes_only_segments_whose_lines_all_have_an_outcome() {
    let watermark = WatermarkTracker::default();
    let first = open(&watermark, segment(0, 3, 3, 1)); // lines 1 to 3, the second a comment
    let second = open(&watermark, segment(0, 5, 2, 0)); // lines 4 and 5
    assert_eq!(below(&watermark), (0, 0, 0));
    watermark.record_outcome(&second, LineOutcome::Written);
    assert_eq!(below(&watermark), (0, 0, 0), "lines 1 and 3 are pending");
    watermark.record_outcome([&first[2]], LineOutcome::Rejected);
    assert_eq!(below(&watermark), (0, 0, 0));
    watermark.record_outcome([&first[0]], LineOutcome::Duplicate);
    assert_eq!(below(&watermark), (0, 5, 325));
    let line_counts = watermark.watermark().line_counts;
    assert!(line_counts.is_balanced());
    assert_eq!(
        (
            line_counts.lines,
            line_counts.written,
            line_counts.duplicates
        ),
        (5, 2, 1)
    );
    assert_eq!((line_counts.rejected, line_counts.skipped), (1, 1));
    assert_eq!(watermark.watermark().source_line_counts, line_counts);
}

#[test]
fn the_watermark_advances_over_sources_including_an_empty_one() {
    let line_counts = LineCounts {
        lines: 2,
        written: 2,
        ..LineCounts::default()
    };
    let mark = Watermark {
        offset: Offset {
            lines: 2,
            bytes: 130,
        },
        source_line_counts: line_counts,
        line_counts,
        ..Watermark::default()
    };
    let watermark = WatermarkTracker::new(mark, FinishedSources::default());
    for (n, uri) in (0..).zip(["a", "b", "c"]) {
        let account = SourceProgress {
            source: Identity::from(crate::source::version::ObjectVersion {
                uri: uri.into(),
                ..Default::default()
            }),
            bytes_read: 0,
            line_counts: LineCounts::default(),
        };
        watermark.sources().start_source(n, account);
    }
    let first = open(&watermark, segment(0, 3, 1, 0));
    open(&watermark, segment(1, 0, 0, 0));
    let last = open(&watermark, segment(2, 1, 1, 0));
    watermark.record_outcome(&last, LineOutcome::Written);
    assert_eq!(below(&watermark), (0, 2, 130));
    assert_eq!(watermark.sources().finished().count(), 0);
    watermark.record_outcome(&first, LineOutcome::Written);
    assert_eq!(below(&watermark), (2, 1, 65));
    let mark = watermark.watermark();
    assert_eq!(
        (mark.line_counts.written, mark.source_line_counts.written),
        (4, 1)
    );
    // Sources before the watermark are finished, with their line counts.
    let behind = watermark.sources().finished();
    let written: Vec<u64> = behind
        .listed
        .iter()
        .map(|a| a.line_counts.written)
        .collect();
    assert_eq!(written, [1, 0]);
}

#[test]
fn the_tracker_is_full_at_the_maximum_of_pending_segments() {
    let watermark = WatermarkTracker::default();
    let mut first = Vec::new();
    for line in 1..=MAX_PENDING_SEGMENTS as u64 {
        assert!(!watermark.is_full());
        let records = open(&watermark, segment(0, line, 1, 0));
        if line == 1 {
            first = records;
        }
    }
    assert!(watermark.is_full());
    watermark.record_outcome(&first, LineOutcome::Written);
    assert!(!watermark.is_full());
}

proptest! {
    /// The watermark equals the one calculated from a plain list, for any order of
    /// outcomes.
    #[test]
    fn the_watermark_agrees_with_a_plain_list_of_lines(
        sizes in prop::collection::vec(1u64..6, 1..20),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let watermark = WatermarkTracker::default();
        let mut ends = vec![0];
        let mut records = Vec::new();
        for size in &sizes {
            let end = ends[ends.len() - 1] + size;
            records.extend(open(&watermark, segment(0, end, *size, 0)));
            ends.push(end);
        }
        let total = ends[ends.len() - 1];
        fastrand::Rng::with_seed(seed).shuffle(&mut records);
        records.truncate(order.index(total as usize + 1));
        let mut is_open: Vec<bool> = vec![true; total as usize + 1];
        for record in &records {
            watermark.record_outcome([record], LineOutcome::Written);
            is_open[record.position.line as usize] = false;
            let lowest = (1..=total).find(|l| is_open[*l as usize]).unwrap_or(total + 1) - 1;
            let expected = ends.iter().copied().filter(|e| *e <= lowest).max().unwrap_or(0);
            prop_assert_eq!(watermark.watermark().line_counts.lines, expected);
            prop_assert!(watermark.watermark().line_counts.is_balanced());
        }
    }
}
