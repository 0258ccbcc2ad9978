//! The account of each source: what it is, how much of it was read, and where its
//! lines went.
//!
//! A prefix may hold a million objects. Those that are settled, from the first on up
//! to the one that the [low-water mark](crate::pipeline::progress::watermark) is in, are kept one by one up
//! to [`MOST_KEPT`] and summed up [beyond](Beyond) that; by a running digest a later
//! run knows all of them again. Above the mark each is kept: there are as many as the
//! reader is ahead.

use crate::base::record::LANE;
use crate::list::identity::Identity;
use crate::pipeline::progress::counts::{Books, Settled};
use crate::source::version::ObjectVersion;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Settled sources whose accounts are kept one by one: some 3 MB.
pub(crate) const MOST_KEPT: usize = 10_000;

/// The account of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What it is.
    pub source: Identity,
    /// Bytes read of it, as it lies there.
    pub read: u64,
    /// Where its lines went.
    pub books: Books,
}

/// The accounts that are not kept one by one, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beyond {
    /// How many they are.
    pub count: u64,
    /// Bytes read of them.
    pub read: u64,
    /// Where their lines went.
    pub books: Books,
}

/// The sources that are settled, from the first on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behind {
    /// The first [`MOST_KEPT`].
    pub kept: Vec<Account>,
    /// Those after them.
    pub beyond: Beyond,
    /// Of what each is, one after another, in hex; empty when there is none.
    pub digest: String,
}

impl Behind {
    /// How many they are.
    pub fn count(&self) -> u64 {
        self.kept.len() as u64 + self.beyond.count
    }

    /// The books of all of them.
    pub fn books(&self) -> Books {
        let mut books = self.beyond.books;
        self.kept.iter().for_each(|a| books += a.books);
        books
    }

    /// Bytes read of all of them.
    pub fn read(&self) -> u64 {
        self.kept.iter().map(|a| a.read).sum::<u64>() + self.beyond.read
    }

    /// What they are, without what became of their lines.
    #[must_use]
    pub fn without_books(mut self) -> Behind {
        self.kept
            .iter_mut()
            .for_each(|a| a.books = Books::default());
        self.beyond.books = Books::default();
        self
    }

    /// Adds the next.
    pub fn add(&mut self, mut account: Account) {
        self.digest = next_digest(&self.digest, &account.source.object);
        if self.kept.len() < MOST_KEPT {
            // What its lines are matters only where reading goes on in the middle of
            // it, and a header may be long.
            account.source.layout = None;
            self.kept.push(account);
        } else {
            self.beyond.count += 1;
            self.beyond.read += account.read;
            self.beyond.books += account.books;
        }
    }
}

/// The digest of sources of which all but the last have `digest`.
pub(crate) fn next_digest(digest: &str, last: &ObjectVersion) -> String {
    let mut hash = Sha256::new();
    let length = last.bytes.map(|b| b.to_string());
    let etag = (last.etag.as_deref()).map(|e| e.trim_matches('"'));
    let parts = [
        Some(digest),
        Some(&last.uri),
        etag,
        length.as_deref(),
        last.modified.as_deref(),
    ];
    for part in parts {
        let part = part.unwrap_or_default();
        // With its length, so that two lists never read alike.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    (hash.finalize().iter()).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The accounts of a run that is under way. See the [module](self).
#[derive(Debug, Default)]
pub struct Accounts {
    lanes: Mutex<[Lane; 2]>,
    /// What the sources of either list were when they were read before.
    before: Option<[Vec<Identity>; 2]>,
}

/// The sources of one list; where two are read, the second's are numbered from [`LANE`]
/// on.
#[derive(Debug, Default)]
struct Lane {
    behind: Behind,
    /// Those that are not settled yet; the first has the number of those behind.
    open: VecDeque<Account>,
}

impl Accounts {
    /// The accounts of a run of which these sources are settled already.
    pub fn new(behind: Behind) -> Accounts {
        let first = Lane {
            behind,
            open: VecDeque::new(),
        };
        Accounts {
            lanes: Mutex::new([first, Lane::default()]),
            before: None,
        }
    }

    /// The accounts of a second reading of the sources of `first`, none of which is
    /// settled: see [`expect`](Self::expect).
    pub fn again(first: &Accounts) -> Accounts {
        let of = |lane: &Lane| lane.open.iter().map(|a| a.source.clone()).collect();
        let lanes = first.lanes();
        Accounts {
            lanes: Mutex::default(),
            before: Some([of(&lanes[0]), of(&lanes[1])]),
        }
    }

    /// Checks that source `source` is what it was when the list was read before, or that
    /// there was none either where it is no more.
    ///
    /// # Errors
    /// What of it has changed.
    pub fn expect(&self, source: u32, now: Option<&ObjectVersion>) -> Result<(), String> {
        let Some(before) = &self.before else {
            return Ok(());
        };
        let before = before[usize::from(source >= LANE)].get((source % LANE) as usize);
        let before = before.map(|identity| &identity.object);
        match (before, now) {
            (None, None) => Ok(()),
            (Some(was), Some(now)) if was.uri == now.uri => match was.difference(now) {
                None => Ok(()),
                Some(what) => Err(format!("{}: {what}", now.uri)),
            },
            (was, now) => {
                let name = |i: Option<&ObjectVersion>| i.map_or("the end", |i| &i.uri).to_owned();
                Err(format!("where {} was, {} comes now", name(was), name(now)))
            }
        }
    }

    /// Begins anew.
    pub fn reset(&self) {
        *self.lanes() = Default::default();
    }

    /// The next source, which has this number, and of which so much is settled already.
    pub fn begin(&self, source: u32, account: Account) {
        lane(&mut self.lanes(), source).open.push_back(account);
    }

    /// Counts what was read of a source: bytes, as it lies there, and lines with what
    /// the reader found out about them.
    pub fn count(&self, source: u32, read: u64, books: Books) {
        if let Some(account) = at(&mut self.lanes(), source) {
            account.read += read;
            account.books += books;
        }
    }

    /// Enters `count` lines of a source that are settled.
    pub fn settle(&self, source: u32, how: Settled, count: u64) {
        if let Some(account) = at(&mut self.lanes(), source) {
            account.books.enter(how, count);
        }
    }

    /// The sources of the first list before this one are settled.
    pub fn close_below(&self, source: u32) {
        let mut lanes = self.lanes();
        let Lane { behind, open } = &mut lanes[0];
        while behind.count() < u64::from(source)
            && let Some(account) = open.pop_front()
        {
            behind.add(account);
        }
    }

    /// The books of all sources of the first list so far, or of the `second`.
    pub fn books(&self, second: bool) -> Books {
        let lanes = self.lanes();
        let Lane { behind, open } = &lanes[usize::from(second)];
        let mut books = behind.books();
        open.iter().for_each(|account| books += account.books);
        books
    }

    /// What a source that is not settled is.
    pub fn identity(&self, source: u32) -> Option<Identity> {
        at(&mut self.lanes(), source).map(|a| a.source.clone())
    }

    /// The name of a source, as far as its account is kept.
    pub fn name(&self, source: u32) -> String {
        let mut lanes = self.lanes();
        if let Some(account) = at(&mut lanes, source) {
            return account.source.object.uri.clone();
        }
        let kept = &lane(&mut lanes, source).behind.kept;
        let account = kept.get((source % LANE) as usize);
        account
            .map(|a| a.source.object.uri.clone())
            .unwrap_or_default()
    }

    /// The sources of the first list that are settled.
    pub fn behind(&self) -> Behind {
        self.lanes()[0].behind.clone()
    }

    /// How many sources there are.
    pub fn len(&self) -> u64 {
        let of = |lane: &Lane| lane.behind.count() + lane.open.len() as u64;
        self.lanes().iter().map(of).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All sources at the end of a run, those of a second list last. Lines that are in no
    /// column have failed.
    pub fn all(&self) -> Behind {
        let lanes = self.lanes();
        let mut all = lanes[0].behind.clone();
        for account in lanes[0].open.iter().chain(&lanes[1].open) {
            let mut account = account.clone();
            account.books.failed += account.books.open();
            all.add(account);
        }
        all
    }

    fn lanes(&self) -> MutexGuard<'_, [Lane; 2]> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lane(lanes: &mut [Lane; 2], source: u32) -> &mut Lane {
    &mut lanes[usize::from(source >= LANE)]
}

fn at(lanes: &mut [Lane; 2], source: u32) -> Option<&mut Account> {
    let lane = lane(lanes, source);
    let at = u64::from(source % LANE).checked_sub(lane.behind.count())?;
    lane.open.get_mut(usize::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: u64) -> Account {
        Account {
            source: Identity::from(ObjectVersion {
                uri: format!("s3://b/{n}"),
                etag: Some(format!("\"{n}\"")),
                bytes: Some(n),
                ..ObjectVersion::default()
            }),
            read: 0,
            books: Books::default(),
        }
    }

    fn lines(lines: u64, skipped: u64) -> Books {
        Books {
            lines,
            skipped,
            ..Books::default()
        }
    }

    #[test]
    fn each_source_has_its_own_books_and_what_is_open_at_the_end_has_failed() {
        let accounts = Accounts::default();
        accounts.begin(0, account(0));
        accounts.count(0, 100, lines(3, 1));
        accounts.begin(1, account(1));
        accounts.count(1, 50, lines(2, 0));
        accounts.settle(0, Settled::Written, 2);
        accounts.settle(1, Settled::Duplicate, 1);
        accounts.close_below(1);
        assert_eq!(accounts.behind().count(), 1);
        assert_eq!(
            (accounts.name(0), accounts.name(1)),
            ("s3://b/0".into(), "s3://b/1".into())
        );
        assert_eq!((accounts.identity(0), accounts.len()), (None, 2));
        let all = accounts.all();
        assert!(all.kept.iter().all(|a| a.books.balanced()));
        let got: Vec<_> = (all.kept.iter())
            .map(|a| (a.read, a.books.written, a.books.failed))
            .collect();
        assert_eq!(got, [(100, 2, 0), (50, 0, 1)]);
        assert_eq!((all.read(), all.books().lines), (150, 5));
    }

    #[test]
    fn two_lists_have_their_own_sources() {
        let accounts = Accounts::default();
        accounts.begin(0, account(0));
        accounts.begin(LANE, account(1));
        accounts.begin(1, account(2));
        accounts.count(LANE, 7, lines(1, 0));
        accounts.settle(LANE, Settled::Unchanged, 1);
        let names = [0, 1, LANE].map(|n| accounts.name(n));
        assert_eq!(names, ["s3://b/0", "s3://b/2", "s3://b/1"]);
        let all = accounts.all();
        let last = all.kept.last().expect("three");
        assert_eq!((all.count(), last.read, last.books.unchanged), (3, 7, 1));
        accounts.reset();
        assert!(accounts.is_empty());
    }

    #[test]
    fn a_second_reading_must_be_of_the_same_sources() {
        let first = Accounts::default();
        first.begin(0, account(0));
        first.begin(1, account(1));
        first.begin(LANE, account(2));
        let again = Accounts::again(&first);
        let is = |source, n: u64| again.expect(source, Some(&account(n).source.object));
        assert_eq!((is(0, 0), is(1, 1), is(LANE, 2)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(
            (again.expect(2, None), again.expect(LANE + 1, None)),
            (Ok(()), Ok(()))
        );
        let mut replaced = account(1);
        replaced.source.object.etag = Some("\"new\"".into());
        let error = again
            .expect(1, Some(&replaced.source.object))
            .expect_err("other");
        assert_eq!(error, "s3://b/1: its ETag was \"1\" and is \"new\"");
        assert!(is(1, 2).is_err() && is(2, 2).is_err());
        assert!(again.expect(1, None).is_err(), "one is gone");
        // A first reading expects nothing.
        assert_eq!(first.expect(7, None), Ok(()));
    }

    #[test]
    fn a_million_objects_take_the_room_of_some_thousand() {
        let accounts = Accounts::default();
        let many = MOST_KEPT as u64 + 500;
        for n in 0..many {
            accounts.begin(n as u32, account(n));
            accounts.count(n as u32, 1, lines(1, 1));
            accounts.close_below(n as u32);
        }
        accounts.close_below(many as u32);
        let behind = accounts.behind();
        assert_eq!((behind.kept.len(), behind.beyond.count), (MOST_KEPT, 500));
        assert_eq!(
            (behind.count(), behind.read(), behind.books()),
            (many, many, lines(many, many))
        );
        assert_eq!(accounts.name(MOST_KEPT as u32), "", "it is not kept");
    }

    #[test]
    fn the_digest_is_of_each_source_and_their_order() {
        let digest = |sources: &[Account]| {
            sources
                .iter()
                .fold(String::new(), |d, a| next_digest(&d, &a.source.object))
        };
        let (a, b) = (account(1), account(2));
        let whole = digest(&[a.clone(), b.clone()]);
        assert_eq!(whole.len(), 64);
        assert_ne!(whole, digest(&[b.clone(), a.clone()]));
        let mut other = a.clone();
        other.source.object.bytes = Some(9);
        assert_ne!(whole, digest(&[other, b.clone()]));
        // Quotes around a tag, and what was found inside, are no difference.
        let mut bare = a;
        bare.source.object.etag = Some("1".into());
        bare.source.object.version_id = Some("v".into());
        assert_eq!(whole, digest(&[bare, b]));
    }
}
