//! Reorder buffer: pending lines in, answers out in input order.
//!
//! The buffer numbers each line. Only a new hash causes a request. The line of a pending
//! hash waits for that request, and a recently answered hash has its reply in the cache.
//! Answers leave in the order of the lines, or, unordered, as they arrive.
//!
//! Memory: the buffer accepts lines up to [`MAX_BUFFERED_LINES`] and [`MAX_BUFFERED_BYTES`]; the
//! cache has up to [`MAX_CACHED_REPLIES`] replies and [`MAX_CACHED_BYTES`]. Accepted lines get
//! replies of any length: up to 16 MB a call from a table, 1 MiB a hash from an API.
//!
//! Pure: no clock, no socket.

use crate::base::hash::Hash;
use crate::commands::lookup::backend::Reply;
use crate::commands::lookup::counts::AnswerCounts;
use crate::commands::lookup::query::Query;
use crate::commands::lookup::status::Status;
use crate::dynamodb::batch_get::ordered_json::write_string;
use foldhash::quality::RandomState;
use std::collections::VecDeque;

/// A fast hasher with a random seed, because lists are untrusted input.
type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// Maximum number of buffered lines.
const MAX_BUFFERED_LINES: usize = 32_768;

/// Maximum size of the buffered lines and their replies, for new lines to be accepted.
const MAX_BUFFERED_BYTES: usize = 32 << 20;

/// Maximum number of cached replies.
const MAX_CACHED_REPLIES: usize = 32_768;

/// Maximum size of the cached replies.
const MAX_CACHED_BYTES: usize = 16 << 20;

#[derive(Debug)]
struct Slot {
    question: Query,
    /// The reply. `None` if it is pending, or if the line is invalid.
    reply: Option<Reply>,
}

/// Reorder buffer of a look-up. See the [module](self).
#[derive(Debug)]
pub(super) struct ReorderBuffer {
    slots: HashMap<u64, Slot>,
    /// Number of the next line to accept.
    next_in: u64,
    /// Number of the next line to write.
    next_out: u64,
    /// Lines ready to be written, if unordered.
    ready: VecDeque<u64>,
    /// Lines that wait for a pending hash.
    pending: HashMap<Hash, Vec<u64>>,
    bytes: usize,
    cache: ReplyCache,
    unordered: bool,
    only: Option<Status>,
    /// Number of lines answered without their own request.
    pub(super) coalesced: u64,
}

impl ReorderBuffer {
    /// An empty buffer. It writes only answers with the status `only`, or all if `None`.
    pub(super) fn new(unordered: bool, only: Option<Status>) -> ReorderBuffer {
        ReorderBuffer {
            slots: HashMap::default(),
            next_in: 0,
            next_out: 0,
            ready: VecDeque::new(),
            pending: HashMap::default(),
            bytes: 0,
            cache: ReplyCache::default(),
            unordered,
            only,
            coalesced: 0,
        }
    }

    /// True if the buffer accepts another line.
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < MAX_BUFFERED_LINES && self.bytes < MAX_BUFFERED_BYTES
    }

    /// Number of buffered lines.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds the next line. Returns its hash if it causes a request.
    pub(super) fn push(&mut self, question: Query) -> Option<Hash> {
        let number = self.next_in;
        self.next_in += 1;
        self.bytes += question.size();
        let mut new = None;
        let mut reply = None;
        let is_pending = match question.hash {
            Err(_) => false,
            Ok(hash) => {
                reply = self.cache.get(&hash);
                if reply.is_none() {
                    let waiting = self.pending.entry(hash).or_default();
                    if waiting.is_empty() {
                        new = Some(hash);
                    }
                    waiting.push(number);
                }
                self.coalesced += u64::from(new.is_none());
                reply.is_none()
            }
        };
        self.bytes += reply.as_ref().map_or(0, Reply::size);
        self.slots.insert(number, Slot { question, reply });
        if !is_pending && self.unordered {
            self.ready.push_back(number);
        }
        new
    }

    /// Sets the reply of every line that waits for `hash`.
    pub(super) fn resolve(&mut self, hash: Hash, reply: Reply) {
        for number in self.pending.remove(&hash).unwrap_or_default() {
            if let Some(slot) = self.slots.get_mut(&number) {
                self.bytes += reply.size();
                slot.reply = Some(reply.clone());
                if self.unordered {
                    self.ready.push_back(number);
                }
            }
        }
        // Not an error: the look-up may succeed for a later line with this hash.
        if !matches!(reply, Reply::Error(_)) {
            self.cache.insert(hash, reply);
        }
    }

    /// Appends the answers that are ready to `out`, until it has about `limit` bytes, and
    /// counts them.
    pub(super) fn write_ready(
        &mut self,
        out: &mut Vec<u8>,
        limit: usize,
        counts: &mut AnswerCounts,
    ) {
        while out.len() < limit {
            let number = match self.unordered {
                true => match self.ready.pop_front() {
                    Some(number) => number,
                    None => return,
                },
                false => self.next_out,
            };
            let is_ready = |slot: &Slot| slot.reply.is_some() || slot.question.hash.is_err();
            if !self.slots.get(&number).is_some_and(is_ready) {
                return;
            }
            let Some(slot) = self.slots.remove(&number) else {
                return;
            };
            self.next_out += 1;
            let size = slot.reply.as_ref().map_or(0, Reply::size);
            self.bytes = self.bytes.saturating_sub(slot.question.size() + size);
            self.write_answer(&slot, out, counts);
        }
    }

    fn write_answer(&self, slot: &Slot, out: &mut Vec<u8>, counts: &mut AnswerCounts) {
        let mut error = Vec::new();
        let (status, rest): (_, &str) = match (&slot.question.hash, &slot.reply) {
            (Err(invalid), _) => {
                counts.blank += u64::from(invalid.is_blank);
                (Status::Invalid, "")
            }
            (Ok(_), Some(Reply::Known { fields, foreign })) => {
                counts.other_rules += u64::from(*foreign);
                (Status::Known, fields)
            }
            (Ok(_), Some(Reply::Unknown)) => (Status::Unknown, ""),
            (Ok(_), Some(Reply::Error(message))) => {
                error.extend_from_slice(b"\"error\":");
                write_string(&mut error, message);
                (Status::Error, std::str::from_utf8(&error).unwrap_or(""))
            }
            (Ok(_), None) => return,
        };
        counts.count(status);
        if self.only.is_none_or(|only| only == status) {
            slot.question.write_answer(status.name(), rest, out);
        }
    }
}

/// Cache of the most recent replies.
#[derive(Debug, Default)]
struct ReplyCache {
    replies: HashMap<Hash, Reply>,
    order: VecDeque<Hash>,
    bytes: usize,
}

impl ReplyCache {
    fn get(&self, hash: &Hash) -> Option<Reply> {
        self.replies.get(hash).cloned()
    }

    fn insert(&mut self, hash: Hash, reply: Reply) {
        self.bytes += reply.size();
        match self.replies.insert(hash, reply) {
            None => self.order.push_back(hash),
            Some(old) => self.bytes -= old.size(),
        }
        while (self.replies.len() > MAX_CACHED_REPLIES || self.bytes > MAX_CACHED_BYTES)
            && let Some(oldest) = self.order.pop_front()
        {
            let removed = self.replies.remove(&oldest);
            self.bytes -= removed.as_ref().map_or(0, Reply::size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Algorithm;
    use crate::commands::lookup::query::QueryParser;
    use crate::list::lines::Line;
    use proptest::prelude::*;

    fn query(n: u32) -> Query {
        let text = match n {
            0 => "no hash".to_owned(),
            n => format!("{n:032x}"),
        };
        let line = Line {
            bytes: text.as_bytes(),
            offset: 0,
            number: 2,
            length: text.len() as u64,
        };
        let mut md5 = QueryParser::for_hashes(Algorithm::Md5).expect("a parser");
        md5.parse(&line, "-").expect("text")
    }

    fn known(n: usize) -> Reply {
        Reply::Known {
            fields: "x".repeat(n).into(),
            foreign: false,
        }
    }

    fn written(buffer: &mut ReorderBuffer, counts: &mut AnswerCounts) -> String {
        let mut out = Vec::new();
        buffer.write_ready(&mut out, usize::MAX, counts);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_pending_or_answered_hash_causes_no_second_request() {
        let mut buffer = ReorderBuffer::new(false, None);
        let mut counts = AnswerCounts::default();
        let first = buffer.push(query(7)).expect("new");
        assert_eq!(buffer.push(query(7)), None);
        assert_eq!(written(&mut buffer, &mut counts), "");
        buffer.resolve(first, Reply::Unknown);
        assert_eq!(buffer.push(query(7)), None);
        assert_eq!(written(&mut buffer, &mut counts).lines().count(), 3);
        assert_eq!((counts.unknown, buffer.coalesced, buffer.len()), (3, 2, 0));
        // An error is not cached.
        let other = buffer.push(query(8)).expect("new");
        buffer.resolve(other, Reply::Error("no".into()));
        assert_eq!(buffer.push(query(8)), Some(other));
    }

    #[test]
    fn buffer_and_cache_keep_their_limits() {
        let mut buffer = ReorderBuffer::new(false, None);
        let mut counts = AnswerCounts::default();
        let mut lines = 0;
        while buffer.has_room() {
            lines += 1;
            buffer.push(query(lines));
        }
        assert_eq!(lines as usize, MAX_BUFFERED_LINES);
        let large = (2 << 20) - 1;
        for n in 1..=lines {
            buffer.resolve(
                query(n).hash.expect("a hash"),
                known(if n < 40 { large } else { 1 }),
            );
        }
        let cache = &buffer.cache;
        assert!(cache.bytes <= MAX_CACHED_BYTES);
        assert!(cache.replies.len() <= MAX_CACHED_REPLIES);
        assert_eq!(cache.replies.len(), cache.order.len());
        let mut out = Vec::new();
        while buffer.len() > 0 {
            out.clear();
            buffer.write_ready(&mut out, 1, &mut counts);
        }
        assert_eq!((buffer.bytes, counts.known), (0, u64::from(lines)));
    }

    proptest! {
        /// Each line has its own answer for any order of replies, in order if requested.
        #[test]
        fn each_line_has_its_answer(
            lines in prop::collection::vec(0u32..12, 0..80),
            turns in prop::collection::vec(any::<prop::sample::Index>(), 80),
            unordered in any::<bool>(),
        ) {
            let mut buffer = ReorderBuffer::new(unordered, None);
            let mut counts = AnswerCounts::default();
            let mut requested: Vec<Hash> = Vec::new();
            let mut out = String::new();
            for (line, turn) in lines.iter().zip(turns) {
                requested.extend(buffer.push(query(*line)));
                if requested.len() > 3 {
                    let hash = requested.swap_remove(turn.index(requested.len()));
                    buffer.resolve(hash, Reply::Unknown);
                }
                out.push_str(&written(&mut buffer, &mut counts));
            }
            for hash in requested {
                buffer.resolve(hash, Reply::Unknown);
            }
            out.push_str(&written(&mut buffer, &mut counts));
            let mut got: Vec<String> = out.lines().map(str::to_owned).collect();
            let mut expected: Vec<String> = lines.iter().map(|n| {
                let query = query(*n);
                let mut out = Vec::new();
                let status = if query.hash.is_ok() { "unknown" } else { "invalid" };
                query.write_answer(status, "", &mut out);
                String::from_utf8(out).expect("UTF-8").trim_end().to_owned()
            }).collect();
            if unordered {
                got.sort();
                expected.sort();
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(counts.unknown + counts.invalid, lines.len() as u64);
        }
    }
}
