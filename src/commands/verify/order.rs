//! Answers in the order of the list.
//!
//! Calls end in any order, and some keys are asked more than once; what is found
//! out about them is told in the order in which they stand in the list, so that
//! the same table and list always give the same output. For that, records are
//! counted in slots of a hundred, and a slot is told when each of its records is
//! answered for and nothing before it is open. How many slots may be open is the
//! caller's to bound.

use crate::base::record::Place;
use crate::commands::verify::finding::Finding;
use std::collections::VecDeque;

/// Records in a slot.
const SLOT: u32 = 100;

#[derive(Debug)]
struct Slot {
    /// Where its last record stands.
    last: Place,
    /// How many it has, and how many of them are open.
    records: u32,
    open: u32,
    findings: Vec<Finding>,
}

/// The records that are open, and what is not told yet. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Order {
    slots: VecDeque<Slot>,
}

impl Order {
    /// Takes the next record of the list, which stands at `place`.
    pub(super) fn push(&mut self, place: Place) {
        match self.slots.back_mut() {
            Some(slot) if slot.records < SLOT => {
                slot.last = place;
                slot.records += 1;
                slot.open += 1;
            }
            _ => self.slots.push_back(Slot {
                last: place,
                records: 1,
                open: 1,
                findings: Vec::new(),
            }),
        }
    }

    /// The record at `place` is answered for.
    pub(super) fn settle(&mut self, place: Place, finding: Option<Finding>) {
        let at = self.slots.partition_point(|s| s.last < place);
        if let Some(slot) = self.slots.get_mut(at) {
            slot.open -= 1;
            slot.findings.extend(finding);
        }
    }

    /// Slots that are open, or wait for one that is.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What can be told now.
    pub(super) fn ready(&mut self) -> Vec<Finding> {
        let mut ready = Vec::new();
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.open == 0) {
            ready.extend(in_order(slot));
        }
        ready
    }

    /// All that is known, once nothing more will come.
    pub(super) fn rest(&mut self) -> Vec<Finding> {
        self.slots.drain(..).flat_map(in_order).collect()
    }
}

fn in_order(mut slot: Slot) -> Vec<Finding> {
    slot.findings.sort_unstable_by_key(|f| f.place);
    slot.findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Hash;
    use crate::commands::verify::finding::What;

    fn place(line: u64) -> Place {
        Place {
            source: u32::from(line >= 500),
            line,
            byte: 0,
        }
    }

    fn finding(line: u64) -> Finding {
        Finding {
            hash: Hash::from_bytes(&line.to_be_bytes()).expect("8 bytes"),
            place: place(line),
            what: What::Missing,
        }
    }

    #[test]
    fn whatever_the_order_of_answers_the_list_is_the_order_of_findings() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut order = Order::default();
        let mut open: Vec<u64> = Vec::new();
        let mut told = Vec::new();
        for line in 0..1000 {
            order.push(place(line));
            open.push(line);
            while open.len() > 30 {
                let line = open.swap_remove(random.usize(0..open.len()));
                order.settle(place(line), line.is_multiple_of(7).then(|| finding(line)));
            }
            told.extend(order.ready());
        }
        let before = told.len();
        assert!(before > 50, "most is told on the way: {before}");
        for line in open.drain(..) {
            order.settle(place(line), line.is_multiple_of(7).then(|| finding(line)));
        }
        told.extend(order.ready());
        assert_eq!(order.len(), 0);
        let lines: Vec<u64> = told.iter().map(|f| f.place.line).collect();
        assert_eq!(lines, (0..1000).step_by(7).collect::<Vec<_>>());
    }

    #[test]
    fn an_open_record_holds_back_what_is_behind_it_until_the_end() {
        let mut order = Order::default();
        for line in 0..300 {
            order.push(place(line));
        }
        for line in 1..300 {
            order.settle(place(line), (line % 100 == 50).then(|| finding(line)));
        }
        assert!(order.ready().is_empty());
        assert_eq!(order.len(), 3);
        let rest: Vec<u64> = order.rest().iter().map(|f| f.place.line).collect();
        assert_eq!(rest, [50, 150, 250]);
        assert_eq!(order.len(), 0);
    }
}
