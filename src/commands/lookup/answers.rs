//! Lines that wait for their answers, and answers in the order of the lines.
//!
//! Each line is numbered as it comes. A hash that is new is asked for; one that is
//! under way is not asked for again, and neither is one that was answered a short
//! while ago: the line waits with the others, or is answered at once. What can be
//! written is handed out in the order of the lines, or, unordered, as it comes.
//!
//! Memory: [`MOST_LINES`] lines and [`MOST_BYTES`] bytes of them are open, then no
//! more are taken; [`REMEMBERED`] answers and [`REMEMBERED_BYTES`] of them are kept. Lines
//! that are taken already still get their answers, however long these are: a table gives
//! 16 MB a call, an API 1 MiB a hash.
//!
//! Pure: no clock, no socket.

use crate::base::hash::Hash;
use crate::commands::lookup::backend::Reply;
use crate::commands::lookup::counts::Tally;
use crate::commands::lookup::query::Question;
use crate::commands::lookup::status::Status;
use crate::dynamodb::batch_get::ordered_json::put;
use foldhash::quality::RandomState;
use std::collections::VecDeque;

/// By a seeded hash that is quick: the lists may come from anybody.
type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// Lines that are open at most.
const MOST_LINES: usize = 32_768;

/// Bytes of lines that are open, and of their answers, above which no more are taken.
const MOST_BYTES: usize = 32 << 20;

/// Different hashes whose answers are kept for a line that asks the same.
const REMEMBERED: usize = 32_768;

/// Bytes of such answers at most.
const REMEMBERED_BYTES: usize = 16 << 20;

#[derive(Debug)]
struct Slot {
    question: Question,
    /// Its answer; a line that is no hash needs none.
    reply: Option<Reply>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Desk {
    slots: HashMap<u64, Slot>,
    /// Numbers: of the line that comes next, and of the one that is written next.
    coming: u64,
    leaving: u64,
    /// Unordered: lines that can be written.
    done: VecDeque<u64>,
    /// The lines that wait for a hash that is under way.
    open: HashMap<Hash, Vec<u64>>,
    bytes: usize,
    remembered: Remembered,
    unordered: bool,
    only: Option<Status>,
    /// Lines that were answered without a question of their own.
    pub(super) repeated: u64,
}

impl Desk {
    /// With nothing on it; `only` these answers are written.
    pub(super) fn new(unordered: bool, only: Option<Status>) -> Desk {
        Desk {
            slots: HashMap::default(),
            coming: 0,
            leaving: 0,
            done: VecDeque::new(),
            open: HashMap::default(),
            bytes: 0,
            remembered: Remembered::default(),
            unordered,
            only,
            repeated: 0,
        }
    }

    /// Whether more lines can be taken.
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < MOST_LINES && self.bytes < MOST_BYTES
    }

    /// Lines that are not written yet.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes the next line; returns the hash that must be asked for, if one must.
    pub(super) fn take(&mut self, question: Question) -> Option<Hash> {
        let number = self.coming;
        self.coming += 1;
        self.bytes += question.size();
        let mut ask = None;
        let mut reply = None;
        let open = match question.hash {
            Err(_) => false,
            Ok(hash) => {
                reply = self.remembered.get(&hash);
                if reply.is_none() {
                    let waiting = self.open.entry(hash).or_default();
                    if waiting.is_empty() {
                        ask = Some(hash);
                    }
                    waiting.push(number);
                }
                self.repeated += u64::from(ask.is_none());
                reply.is_none()
            }
        };
        self.bytes += reply.as_ref().map_or(0, Reply::size);
        self.slots.insert(number, Slot { question, reply });
        if !open && self.unordered {
            self.done.push_back(number);
        }
        ask
    }

    /// Answers every line that waits for `hash`.
    pub(super) fn settle(&mut self, hash: Hash, reply: Reply) {
        for number in self.open.remove(&hash).unwrap_or_default() {
            if let Some(slot) = self.slots.get_mut(&number) {
                self.bytes += reply.size();
                slot.reply = Some(reply.clone());
                if self.unordered {
                    self.done.push_back(number);
                }
            }
        }
        // Of an error, the next line may find out more.
        if !matches!(reply, Reply::Error(_)) {
            self.remembered.put(hash, reply);
        }
    }

    /// Appends to `out` what can be written now, up to some `limit` bytes, and counts it.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, limit: usize, tally: &mut Tally) {
        while out.len() < limit {
            let number = match self.unordered {
                true => match self.done.pop_front() {
                    Some(number) => number,
                    None => return,
                },
                false => self.leaving,
            };
            let is_done = |slot: &Slot| slot.reply.is_some() || slot.question.hash.is_err();
            if !self.slots.get(&number).is_some_and(is_done) {
                return;
            }
            let Some(slot) = self.slots.remove(&number) else {
                return;
            };
            self.leaving += 1;
            let size = slot.reply.as_ref().map_or(0, Reply::size);
            self.bytes = self.bytes.saturating_sub(slot.question.size() + size);
            self.write_one(&slot, out, tally);
        }
    }

    fn write_one(&self, slot: &Slot, out: &mut Vec<u8>, tally: &mut Tally) {
        let mut error = Vec::new();
        let (status, rest): (_, &str) = match (&slot.question.hash, &slot.reply) {
            (Err(invalid), _) => {
                tally.blank += u64::from(invalid.blank);
                (Status::Invalid, "")
            }
            (Ok(_), Some(Reply::Known { fields, foreign })) => {
                tally.foreign += u64::from(*foreign);
                (Status::Known, fields)
            }
            (Ok(_), Some(Reply::Unknown)) => (Status::Unknown, ""),
            (Ok(_), Some(Reply::Error(why))) => {
                error.extend_from_slice(b"\"error\":");
                put(&mut error, why);
                (Status::Error, std::str::from_utf8(&error).unwrap_or(""))
            }
            (Ok(_), None) => return,
        };
        tally.count(status);
        if self.only.is_none_or(|only| only == status) {
            slot.question.write(status.name(), rest, out);
        }
    }
}

/// The last answers.
#[derive(Debug, Default)]
struct Remembered {
    replies: HashMap<Hash, Reply>,
    order: VecDeque<Hash>,
    bytes: usize,
}

impl Remembered {
    fn get(&self, hash: &Hash) -> Option<Reply> {
        self.replies.get(hash).cloned()
    }

    fn put(&mut self, hash: Hash, reply: Reply) {
        self.bytes += reply.size();
        match self.replies.insert(hash, reply) {
            None => self.order.push_back(hash),
            Some(old) => self.bytes -= old.size(),
        }
        while (self.replies.len() > REMEMBERED || self.bytes > REMEMBERED_BYTES)
            && let Some(oldest) = self.order.pop_front()
        {
            let gone = self.replies.remove(&oldest);
            self.bytes -= gone.as_ref().map_or(0, Reply::size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Algorithm;
    use crate::commands::lookup::query::Questions;
    use crate::list::lines::Line;
    use proptest::prelude::*;

    fn question(n: u32) -> Question {
        let text = match n {
            // Not a hash.
            0 => "no hash".to_owned(),
            n => format!("{n:032x}"),
        };
        let line = Line {
            bytes: text.as_bytes(),
            offset: 0,
            number: 2,
            length: text.len() as u64,
        };
        let mut md5 = Questions::of_hashes(Algorithm::Md5).expect("a parser");
        md5.read(&line, "-").expect("text")
    }

    fn known(n: usize) -> Reply {
        Reply::Known {
            fields: "x".repeat(n).into(),
            foreign: false,
        }
    }

    fn written(desk: &mut Desk, tally: &mut Tally) -> String {
        let mut out = Vec::new();
        desk.write(&mut out, usize::MAX, tally);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_hash_is_asked_once_while_it_is_under_way_and_remembered() {
        let mut desk = Desk::new(false, None);
        let mut tally = Tally::default();
        let first = desk.take(question(7)).expect("new");
        assert_eq!(desk.take(question(7)), None);
        assert_eq!(written(&mut desk, &mut tally), "");
        desk.settle(first, Reply::Unknown);
        assert_eq!(desk.take(question(7)), None);
        assert_eq!(written(&mut desk, &mut tally).lines().count(), 3);
        assert_eq!((tally.unknown, desk.repeated, desk.len()), (3, 2, 0));
        // An error is not remembered.
        let other = desk.take(question(8)).expect("new");
        desk.settle(other, Reply::Error("no".into()));
        assert_eq!(desk.take(question(8)), Some(other));
    }

    #[test]
    fn what_is_open_and_what_is_remembered_is_bounded() {
        let mut desk = Desk::new(false, None);
        let mut tally = Tally::default();
        let mut taken = 0;
        while desk.has_room() {
            taken += 1;
            desk.take(question(taken));
        }
        assert_eq!(taken as usize, MOST_LINES);
        let large = (2 << 20) - 1;
        for n in 1..=taken {
            desk.settle(
                question(n).hash.expect("a hash"),
                known(if n < 40 { large } else { 1 }),
            );
        }
        assert!(desk.remembered.bytes <= REMEMBERED_BYTES);
        assert!(desk.remembered.replies.len() <= REMEMBERED);
        assert_eq!(desk.remembered.replies.len(), desk.remembered.order.len());
        let mut out = Vec::new();
        while desk.len() > 0 {
            out.clear();
            desk.write(&mut out, 1, &mut tally);
        }
        assert_eq!((desk.bytes, tally.known), (0, u64::from(taken)));
    }

    proptest! {
        /// Whatever the order of answers: each line has one answer, its own, and in
        /// order unless that was not asked for.
        #[test]
        fn each_line_has_its_answer(
            lines in prop::collection::vec(0u32..12, 0..80),
            turns in prop::collection::vec(any::<prop::sample::Index>(), 80),
            unordered in any::<bool>(),
        ) {
            let mut desk = Desk::new(unordered, None);
            let mut tally = Tally::default();
            let mut asked: Vec<Hash> = Vec::new();
            let mut out = String::new();
            for (line, turn) in lines.iter().zip(turns) {
                asked.extend(desk.take(question(*line)));
                if asked.len() > 3 {
                    let hash = asked.swap_remove(turn.index(asked.len()));
                    desk.settle(hash, Reply::Unknown);
                }
                out.push_str(&written(&mut desk, &mut tally));
            }
            for hash in asked {
                desk.settle(hash, Reply::Unknown);
            }
            out.push_str(&written(&mut desk, &mut tally));
            let mut got: Vec<String> = out.lines().map(str::to_owned).collect();
            let mut expected: Vec<String> = lines.iter().map(|n| {
                let question = question(*n);
                let mut out = Vec::new();
                let status = if question.hash.is_ok() { "unknown" } else { "invalid" };
                question.write(status, "", &mut out);
                String::from_utf8(out).expect("UTF-8").trim_end().to_owned()
            }).collect();
            if unordered {
                got.sort();
                expected.sort();
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(tally.unknown + tally.invalid, lines.len() as u64);
        }
    }
}
