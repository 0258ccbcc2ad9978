use super::*;
use crate::base::hash::Hash;
use crate::base::record::Place;
use std::time::Duration;

fn record(n: u8) -> Record {
    let place = Place {
        source: 0,
        line: u64::from(n),
        byte: 0,
    };
    Record::new(Hash::from_bytes(&[n; 32]).expect("32 bytes"), place)
}

fn again(n: u8, attempts: u32) -> Entry {
    Entry {
        record: record(n),
        attempts,
    }
}

fn lines(batch: &Batch) -> Vec<u64> {
    batch.entries.iter().map(|e| e.record.place.line).collect()
}

#[test]
fn a_batch_is_full_or_waits_or_is_flushed() {
    let now = Instant::now();
    let mut queue = Queue::new(3);
    queue.push_fresh((1..=4).map(record));
    assert_eq!(lines(&queue.compose(now, false).expect("full")), [1, 2, 3]);
    assert_eq!(queue.compose(now, false), None);
    assert_eq!(lines(&queue.compose(now, true).expect("flushed")), [4]);
    assert_eq!(queue.compose(now, true), None);
}

#[test]
fn records_sent_again_wait_out_their_backoff_and_are_mixed_with_fresh_ones() {
    let now = Instant::now();
    let later = now + Duration::from_millis(10);
    let mut queue = Queue::new(3);
    queue.push_again(again(1, 2), later);
    queue.push_fresh([record(2), record(3)]);
    assert_eq!(queue.compose(now, false), None);
    assert_eq!(queue.next_ready(), Some(later));
    let batch = queue.compose(later, false).expect("full");
    assert_eq!(lines(&batch), [1, 2, 3]);
    assert_eq!(batch.entries[0].attempts, 2);
    assert_eq!(batch.entries[1].attempts, 0);
    assert!(queue.is_empty());
}

#[test]
fn no_key_is_twice_in_a_batch() {
    let now = Instant::now();
    let mut queue = Queue::new(3);
    queue.push_again(again(1, 1), now);
    queue.push_again(again(1, 1), now);
    queue.push_fresh([record(1), record(2)]);
    assert_eq!(lines(&queue.compose(now, true).expect("some")), [1, 2]);
    assert_eq!(
        queue.take_duplicates(),
        [record(1)],
        "the fresh one is on its way already"
    );
    assert_eq!(lines(&queue.compose(now, true).expect("some")), [1]);
    assert!(queue.is_empty());
}

#[test]
fn a_refused_batch_is_halved_until_the_bad_item_stands_alone() {
    let now = Instant::now();
    let mut queue = Queue::new(25);
    queue.push_fresh((1..=25).map(record));
    let first = queue.compose(now, true).expect("full");
    assert_eq!(queue.push_refused(first), None);
    let (mut written, mut bad, mut calls) = (Vec::new(), Vec::new(), 0);
    while let Some(batch) = queue.compose(now, false) {
        assert!(batch.suspect);
        calls += 1;
        if lines(&batch).contains(&17) {
            bad.extend(queue.push_refused(batch));
        } else {
            written.extend(lines(&batch));
        }
    }
    written.sort_unstable();
    assert_eq!(written, (1..=25).filter(|n| *n != 17).collect::<Vec<_>>());
    assert_eq!(bad, [again(17, 0)]);
    assert!(calls <= 10, "{calls} calls");
}

#[test]
fn one_record_leaves_alone_and_not_always_the_same() {
    let now = Instant::now();
    let later = now + Duration::from_secs(20);
    let mut queue = Queue::new(3);
    queue.push_fresh((1..=3).map(record));
    let full = queue.compose(now, false);
    assert_eq!(lines(&queue.compose_one(full, now).expect("one")), [1]);
    assert_eq!((queue.fresh(), queue.again()), (0, 2), "two wait on");
    queue.push_again(again(1, 9), later);
    queue.push_fresh([record(4)]);
    let one = |queue: &mut Queue| lines(&queue.compose_one(None, now).expect("one"));
    assert_eq!([0; 4].map(|_| one(&mut queue)), [[2], [3], [4], [1]]);
    assert_eq!(queue.compose_one(None, now), None);
    let suspects = Batch {
        entries: (5..=8).map(|n| again(n, 0)).collect(),
        suspect: true,
    };
    let one = queue.compose_one(Some(suspects), now).expect("one");
    assert!(one.suspect && lines(&one) == [5]);
    assert_eq!(queue.compose_one(Some(one.clone()), now), Some(one));
    let rest = queue.compose(now, false).expect("the others");
    assert!(rest.suspect && lines(&rest) == [6, 7, 8]);
}

#[test]
fn all_that_wait_for_their_backoff_are_released() {
    let now = Instant::now();
    let mut queue = Queue::new(3);
    for n in 1..=3 {
        queue.push_again(again(n, 9), now + Duration::from_secs(u64::from(n)));
    }
    assert_eq!(queue.compose(now, true), None);
    queue.release(now);
    let batch = queue.compose(now, false).expect("full");
    assert_eq!(lines(&batch), [1, 2, 3]);
    assert!(batch.entries.iter().all(|e| e.attempts == 1));
}

#[test]
fn deletes_that_leave_alone_are_mixed_with_nothing_and_wait_out_their_backoff() {
    let now = Instant::now();
    let later = now + Duration::from_millis(10);
    let delete = |n| Record {
        action: Action::Delete,
        ..record(n)
    };
    let mut queue = Queue::new(2).deletes_alone();
    queue.push_fresh([delete(1), record(2), delete(3), record(4)]);
    assert_eq!((queue.fresh(), queue.alone(), queue.len()), (4, 2, 4));
    let first = queue.compose(now, false).expect("a delete");
    assert_eq!(lines(&first), [1]);
    queue.push_again(first.entries[0].clone(), later);
    assert_eq!((queue.again(), queue.next_ready()), (1, Some(later)));
    let mut left = Vec::new();
    while let Some(batch) = queue.compose(now, false) {
        left.push(lines(&batch));
    }
    assert_eq!(left, [vec![3], vec![2, 4]]);
    assert_eq!(lines(&queue.compose(later, false).expect("again")), [1]);
    assert!(queue.is_empty());
}

#[test]
fn the_queue_counts_what_it_holds() {
    let now = Instant::now();
    let mut queue = Queue::new(4);
    queue.push_fresh((1..=2).map(record));
    queue.push_again(again(3, 1), now);
    assert_eq!(
        queue.push_refused(Batch {
            entries: vec![again(4, 0), again(5, 0)],
            suspect: false
        }),
        None
    );
    assert_eq!((queue.fresh(), queue.again(), queue.len()), (2, 3, 5));
}
