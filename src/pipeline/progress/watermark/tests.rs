use super::*;
use crate::base::hash::Hash;
use crate::list::identity::Identity;
use crate::pipeline::progress::sources::Account;
use proptest::prelude::*;

fn place(source: u32, line: u64) -> Place {
    Place {
        source,
        line,
        byte: line * 65,
    }
}

/// A stretch up to `line` of `lines` lines, of which `skipped` are settled.
fn stretch(source: u32, line: u64, lines: u64, skipped: u64) -> Stretch {
    Stretch {
        end: place(source, line),
        books: Books {
            lines,
            skipped,
            ..Books::default()
        },
    }
}

fn below(water: &LowWater) -> (u32, u64, u64) {
    let mark = water.mark();
    (mark.source, mark.below.lines, mark.below.bytes)
}

/// Opens a stretch, with a record for each of its lines.
fn open(water: &LowWater, stretch: Stretch) -> Vec<Record> {
    let Place { source, line, .. } = stretch.end;
    let lines = line - stretch.books.lines + 1..=line;
    let hash = Hash::from_bytes(&[1]).expect("a byte");
    let mut records: Vec<Record> = lines.map(|l| Record::new(hash, place(source, l))).collect();
    water.open(stretch, &mut records);
    records
}

#[test]
fn the_mark_moves_only_over_what_is_settled_whatever_the_order() {
    let water = LowWater::default();
    let first = open(&water, stretch(0, 3, 3, 1)); // lines 1 to 3, the second a comment
    let second = open(&water, stretch(0, 5, 2, 0)); // lines 4 and 5
    assert_eq!(below(&water), (0, 0, 0));
    water.settle(&second, Settled::Written);
    assert_eq!(below(&water), (0, 0, 0), "lines 1 and 3 are open");
    water.settle([&first[2]], Settled::Rejected);
    assert_eq!(below(&water), (0, 0, 0));
    water.settle([&first[0]], Settled::Duplicate);
    assert_eq!(below(&water), (0, 5, 325));
    let books = water.mark().books;
    assert!(books.balanced());
    assert_eq!((books.lines, books.written, books.duplicates), (5, 2, 1));
    assert_eq!((books.rejected, books.skipped), (1, 1));
    assert_eq!(water.mark().here, books);
}

#[test]
fn sources_follow_one_another_and_an_empty_one_counts_too() {
    let books = Books {
        lines: 2,
        written: 2,
        ..Books::default()
    };
    let mark = Mark {
        below: Below {
            lines: 2,
            bytes: 130,
        },
        here: books,
        books,
        ..Mark::default()
    };
    let water = LowWater::new(mark, Behind::default());
    for (n, uri) in (0..).zip(["a", "b", "c"]) {
        let account = Account {
            source: Identity::from(crate::source::version::ObjectVersion {
                uri: uri.into(),
                ..Default::default()
            }),
            read: 0,
            books: Books::default(),
        };
        water.accounts().begin(n, account);
    }
    let first = open(&water, stretch(0, 3, 1, 0));
    open(&water, stretch(1, 0, 0, 0));
    let last = open(&water, stretch(2, 1, 1, 0));
    water.settle(&last, Settled::Written);
    assert_eq!(below(&water), (0, 2, 130));
    assert_eq!(water.accounts().behind().count(), 0);
    water.settle(&first, Settled::Written);
    assert_eq!(below(&water), (2, 1, 65));
    let mark = water.mark();
    assert_eq!((mark.books.written, mark.here.written), (4, 1));
    // Those that are behind are closed, with what was written of each.
    let behind = water.accounts().behind();
    let written: Vec<u64> = behind.kept.iter().map(|a| a.books.written).collect();
    assert_eq!(written, [1, 0]);
}

#[test]
fn too_far_ahead_is_said() {
    let water = LowWater::default();
    let mut first = Vec::new();
    for line in 1..=MOST_STRETCHES as u64 {
        assert!(!water.is_full());
        let records = open(&water, stretch(0, line, 1, 0));
        if line == 1 {
            first = records;
        }
    }
    assert!(water.is_full());
    water.settle(&first, Settled::Written);
    assert!(!water.is_full());
}

proptest! {
    /// Settled in any order, the mark is at each moment where a plain list of
    /// the lines says.
    #[test]
    fn it_agrees_with_a_plain_list(
        sizes in prop::collection::vec(1u64..6, 1..20),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let water = LowWater::default();
        let mut ends = vec![0];
        let mut records = Vec::new();
        for size in &sizes {
            let end = ends[ends.len() - 1] + size;
            records.extend(open(&water, stretch(0, end, *size, 0)));
            ends.push(end);
        }
        let total = ends[ends.len() - 1];
        fastrand::Rng::with_seed(seed).shuffle(&mut records);
        records.truncate(order.index(total as usize + 1));
        let mut is_open: Vec<bool> = vec![true; total as usize + 1];
        for record in &records {
            water.settle([record], Settled::Written);
            is_open[record.place.line as usize] = false;
            let lowest = (1..=total).find(|l| is_open[*l as usize]).unwrap_or(total + 1) - 1;
            let expected = ends.iter().copied().filter(|e| *e <= lowest).max().unwrap_or(0);
            prop_assert_eq!(water.mark().books.lines, expected);
            prop_assert!(water.mark().books.balanced());
        }
    }
}
