use super::*;
use crate::base::hash::Hash;
use crate::base::record::Position;
use std::time::Duration;

fn record(n: u8) -> Record {
    let place = Position {
        source: 0,
        line: u64::from(n),
        byte: 0,
    };
    Record::new(Hash::from_bytes(&[n; 32]).expect("32 bytes"), place)
}

fn retry_entry(n: u8, attempts: u32) -> Entry {
    Entry {
        record: record(n),
        attempts,
    }
}

fn lines(batch: &Batch) -> Vec<u64> {
    batch
        .entries
        .iter()
        .map(|e| e.record.position.line)
        .collect()
}

#[test]
fn batches_are_full_or_flushed() {
    let now = Instant::now();
    let mut queue = RetryQueue::new(3);
    queue.push_fresh((1..=4).map(record));
    assert_eq!(lines(&queue.compose(now, false).expect("full")), [1, 2, 3]);
    assert_eq!(queue.compose(now, false), None);
    assert_eq!(lines(&queue.compose(now, true).expect("flushed")), [4]);
    assert_eq!(queue.compose(now, true), None);
}

#[test]
fn retries_wait_out_their_backoff_and_are_mixed_with_new_records() {
    let now = Instant::now();
    let later = now + Duration::from_millis(10);
    let mut queue = RetryQueue::new(3);
    queue.push_retry(retry_entry(1, 2), later);
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
fn batches_have_distinct_keys() {
    let now = Instant::now();
    let mut queue = RetryQueue::new(3);
    queue.push_retry(retry_entry(1, 1), now);
    queue.push_retry(retry_entry(1, 1), now);
    queue.push_fresh([record(1), record(2)]);
    assert_eq!(lines(&queue.compose(now, true).expect("some")), [1, 2]);
    assert_eq!(
        queue.take_duplicates(),
        [record(1)],
        "the new one is already being written"
    );
    assert_eq!(lines(&queue.compose(now, true).expect("some")), [1]);
    assert!(queue.is_empty());
}

#[test]
fn an_invalid_batch_is_bisected_down_to_the_invalid_item() {
    let now = Instant::now();
    let mut queue = RetryQueue::new(25);
    queue.push_fresh((1..=25).map(record));
    let first = queue.compose(now, true).expect("full");
    assert_eq!(queue.bisect(first), None);
    let (mut written, mut bad, mut calls) = (Vec::new(), Vec::new(), 0);
    while let Some(batch) = queue.compose(now, false) {
        assert!(batch.is_bisected);
        calls += 1;
        if lines(&batch).contains(&17) {
            bad.extend(queue.bisect(batch));
        } else {
            written.extend(lines(&batch));
        }
    }
    written.sort_unstable();
    assert_eq!(written, (1..=25).filter(|n| *n != 17).collect::<Vec<_>>());
    assert_eq!(bad, [retry_entry(17, 0)]);
    assert!(calls <= 10, "{calls} calls");
}

#[test]
fn a_probe_has_one_record_and_the_record_varies() {
    let now = Instant::now();
    let later = now + Duration::from_secs(20);
    let mut queue = RetryQueue::new(3);
    queue.push_fresh((1..=3).map(record));
    let full = queue.compose(now, false);
    assert_eq!(lines(&queue.compose_one(full, now).expect("one")), [1]);
    assert_eq!((queue.fresh(), queue.retries()), (0, 2), "two keep waiting");
    queue.push_retry(retry_entry(1, 9), later);
    queue.push_fresh([record(4)]);
    let one = |queue: &mut RetryQueue| lines(&queue.compose_one(None, now).expect("one"));
    assert_eq!([0; 4].map(|_| one(&mut queue)), [[2], [3], [4], [1]]);
    assert_eq!(queue.compose_one(None, now), None);
    let bisected = Batch {
        entries: (5..=8).map(|n| retry_entry(n, 0)).collect(),
        is_bisected: true,
    };
    let one = queue.compose_one(Some(bisected), now).expect("one");
    assert!(one.is_bisected && lines(&one) == [5]);
    assert_eq!(queue.compose_one(Some(one.clone()), now), Some(one));
    let rest = queue.compose(now, false).expect("the others");
    assert!(rest.is_bisected && lines(&rest) == [6, 7, 8]);
}

#[test]
fn release_ends_the_backoff_of_all_retries() {
    let now = Instant::now();
    let mut queue = RetryQueue::new(3);
    for n in 1..=3 {
        queue.push_retry(retry_entry(n, 9), now + Duration::from_secs(u64::from(n)));
    }
    assert_eq!(queue.compose(now, true), None);
    queue.release_delayed(now);
    let batch = queue.compose(now, false).expect("full");
    assert_eq!(lines(&batch), [1, 2, 3]);
    assert!(batch.entries.iter().all(|e| e.attempts == 1));
}

#[test]
fn single_deletes_are_not_mixed_and_wait_out_their_backoff() {
    let now = Instant::now();
    let later = now + Duration::from_millis(10);
    let delete = |n| Record {
        action: Action::Delete,
        ..record(n)
    };
    let mut queue = RetryQueue::new(2).with_single_deletes();
    queue.push_fresh([delete(1), record(2), delete(3), record(4)]);
    assert_eq!(
        (queue.fresh(), queue.single_deletes(), queue.len()),
        (4, 2, 4)
    );
    let first = queue.compose(now, false).expect("a delete");
    assert_eq!(lines(&first), [1]);
    queue.push_retry(first.entries[0].clone(), later);
    assert_eq!((queue.retries(), queue.next_ready()), (1, Some(later)));
    let mut left = Vec::new();
    while let Some(batch) = queue.compose(now, false) {
        left.push(lines(&batch));
    }
    assert_eq!(left, [vec![3], vec![2, 4]]);
    assert_eq!(lines(&queue.compose(later, false).expect("again")), [1]);
    assert!(queue.is_empty());
}

#[test]
fn the_queue_counts_its_records() {
    let now = Instant::now();
    let mut queue = RetryQueue::new(4);
    queue.push_fresh((1..=2).map(record));
    queue.push_retry(retry_entry(3, 1), now);
    assert_eq!(
        queue.bisect(Batch {
            entries: vec![retry_entry(4, 0), retry_entry(5, 0)],
            is_bisected: false
        }),
        None
    );
    assert_eq!((queue.fresh(), queue.retries(), queue.len()), (2, 3, 5));
}
