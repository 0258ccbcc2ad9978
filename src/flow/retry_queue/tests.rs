use super::*;
use crate::base::hash::Hash;
use crate::base::record::Position;

const MS: Duration = Duration::from_millis(1);

fn record(n: u8) -> Record {
    let position = Position {
        source: 0,
        line: u64::from(n),
        byte: 0,
    };
    Record::new(Hash::from_bytes(&[n; 32]).expect("32 bytes"), position)
}

fn retry_entry(n: u8, attempts: u32) -> Entry<Record> {
    Entry {
        item: record(n),
        attempts,
    }
}

/// A queue with a kind for each of `max_items`.
fn queue<const N: usize>(max_items: [usize; N]) -> RetryQueue<Record> {
    RetryQueue::new(&max_items.map(|max_items| KindOptions {
        max_items,
        linger: 200 * MS,
    }))
}

fn lines(batch: &Batch<Record>) -> Vec<u64> {
    batch.entries.iter().map(|e| e.item.position.line).collect()
}

/// The lines of all batches at `now`.
fn all_lines(queue: &mut RetryQueue<Record>, now: Instant, flush: bool) -> Vec<Vec<u64>> {
    std::iter::from_fn(|| queue.compose(now, flush))
        .map(|batch| lines(&batch))
        .collect()
}

#[test]
fn batches_are_full_or_lingered_or_flushed() {
    let now = Instant::now();
    let mut queue = queue([3]);
    assert_eq!((queue.next_ready(), queue.is_empty()), (None, true));
    queue.extend(0, (1..=8).map(record), now);
    assert_eq!(all_lines(&mut queue, now, false), [[1, 2, 3], [4, 5, 6]]);
    assert_eq!(queue.next_ready(), Some(now + 200 * MS));
    assert_eq!(queue.compose(now + 199 * MS, false), None);
    assert_eq!(all_lines(&mut queue, now + 200 * MS, false), [[7, 8]]);
    queue.extend(0, [record(9)], now);
    assert_eq!(all_lines(&mut queue, now, true), [[9]]);
    assert_eq!((queue.next_ready(), queue.is_empty()), (None, true));
}

#[test]
fn retries_wait_out_their_backoff_and_go_before_new_items() {
    let now = Instant::now();
    let later = now + 10 * MS;
    let mut queue = queue([3]);
    queue.push_retry(0, retry_entry(1, 2), later);
    queue.extend(0, [record(2), record(3)], now);
    assert_eq!(queue.compose(now, false), None);
    assert_eq!(queue.next_ready(), Some(later));
    let batch = queue.compose(later, false).expect("full");
    assert_eq!(lines(&batch), [1, 2, 3]);
    assert_eq!(
        batch.entries.iter().map(|e| e.attempts).collect::<Vec<_>>(),
        [2, 0, 0]
    );
    assert!(queue.is_empty());
}

#[test]
fn batches_have_distinct_keys_and_lose_none() {
    let now = Instant::now();
    let mut queue = queue([3]);
    queue.push_retry(0, retry_entry(1, 1), now);
    queue.push_retry(0, retry_entry(1, 1), now);
    queue.extend(0, [record(1), record(2)], now);
    assert_eq!(
        all_lines(&mut queue, now, true),
        [vec![1], vec![1, 2], vec![1]]
    );
    assert!(queue.is_empty());
}

#[test]
fn an_invalid_batch_is_bisected_down_to_the_invalid_item() {
    let now = Instant::now();
    let mut queue = queue([25]);
    queue.extend(0, (1..=25).map(record), now);
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
fn a_probe_has_one_item_and_the_item_varies() {
    let now = Instant::now();
    let later = now + Duration::from_secs(20);
    let mut queue = queue([3]);
    queue.extend(0, (1..=3).map(record), now);
    let full = queue.compose(now, false);
    assert_eq!(lines(&queue.compose_one(full, now).expect("one")), [1]);
    assert_eq!((queue.max_ready(), queue.retries()), (2, 0), "two wait on");
    queue.push_retry(0, retry_entry(1, 9), later);
    queue.push_retry(0, retry_entry(4, 9), now);
    let mut one = || lines(&queue.compose_one(None, now).expect("one"));
    assert_eq!([0; 4].map(|_| one()), [[4], [2], [3], [1]]);
    assert_eq!(queue.compose_one(None, now), None);
}

#[test]
fn a_probe_of_a_bisected_batch_leaves_the_rest_bisected() {
    let now = Instant::now();
    let mut queue = queue([3]);
    let bisected = Batch {
        kind: 0,
        entries: (5..=8).map(|n| retry_entry(n, 0)).collect(),
        is_bisected: true,
    };
    let one = queue.compose_one(Some(bisected), now).expect("one");
    assert!(one.is_bisected && lines(&one) == [5]);
    assert_eq!(queue.compose_one(Some(one.clone()), now), Some(one));
    let next = queue.compose_one(None, now).expect("the next");
    assert!(next.is_bisected && lines(&next) == [6]);
    let rest = queue.compose(now, false).expect("the others");
    assert!(rest.is_bisected && lines(&rest) == [7, 8]);
}

#[test]
fn release_ends_the_backoff_of_all_retries() {
    let now = Instant::now();
    let mut queue = queue([3]);
    for n in 1..=3 {
        queue.push_retry(0, retry_entry(n, 9), now + u32::from(n) * 1000 * MS);
    }
    assert_eq!(queue.compose(now, true), None);
    queue.release_delayed(now);
    let batch = queue.compose(now, false).expect("full");
    assert_eq!(lines(&batch), [1, 2, 3]);
    assert!(batch.entries.iter().all(|e| e.attempts == 1));
}

#[test]
fn kinds_are_not_mixed_and_the_first_goes_first() {
    let now = Instant::now();
    let later = now + 10 * MS;
    let mut queue = queue([1, 2]);
    queue.extend(1, [record(2), record(4)], now);
    queue.extend(0, [record(1), record(3)], now);
    assert_eq!((queue.kind_len(0), queue.len()), (2, 4));
    let first = queue.compose(now, false).expect("the first kind");
    assert_eq!((first.kind, lines(&first)), (0, vec![1]));
    queue.push_retry(0, first.entries[0].clone(), later);
    assert_eq!((queue.retries(), queue.next_ready()), (1, Some(later)));
    assert_eq!(all_lines(&mut queue, now, false), [vec![3], vec![2, 4]]);
    // A probe reaches every kind.
    assert_eq!(lines(&queue.compose_one(None, now).expect("one")), [1]);
    assert!(queue.is_empty());
}

#[test]
fn a_kind_is_flushed_once_no_later_kind_can_add_to_it() {
    let now = Instant::now();
    let mut queue = queue([3, 3]);
    queue.extend(0, [record(1)], now);
    queue.extend(1, [record(2)], now);
    let later = queue.compose(now, true).expect("the later kind");
    assert_eq!((later.kind, lines(&later)), (1, vec![2]));
    queue.record_sent(1);
    assert_eq!(queue.compose(now, true), None, "its call is in flight");
    queue.extend(0, [record(2)], now);
    queue.record_ended(1);
    assert_eq!(all_lines(&mut queue, now, true), [[1, 2]]);
}

#[test]
fn the_queue_counts_its_items() {
    let now = Instant::now();
    let mut queue = queue([4]);
    queue.extend(0, (1..=2).map(record), now);
    queue.push_retry(0, retry_entry(3, 1), now);
    let batch = Batch {
        kind: 0,
        entries: vec![retry_entry(4, 0), retry_entry(5, 0)],
        is_bisected: false,
    };
    assert_eq!(queue.bisect(batch), None);
    assert_eq!((queue.max_ready(), queue.retries(), queue.len()), (2, 3, 5));
}
