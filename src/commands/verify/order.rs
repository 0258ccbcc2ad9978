//! Findings in the order of the list.
//!
//! Calls end in any order, and some keys are read twice. Findings still come in the order
//! of the list, so that the same table and list always give the same output. Records are
//! counted in slots of a hundred. A slot is ready once each of its records has an outcome
//! and no earlier slot is pending. The caller limits the number of slots.

use crate::base::record::Position;
use crate::commands::verify::finding::UnresolvedFinding;
use std::collections::VecDeque;

const SLOT_RECORDS: u32 = 100;

#[derive(Debug)]
struct Slot {
    /// Position of its last record.
    last: Position,
    records: u32,
    /// Records without an outcome.
    pending: u32,
    findings: Vec<UnresolvedFinding>,
}

/// Pending records, and findings that are not ready. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct FindingOrder {
    slots: VecDeque<Slot>,
}

impl FindingOrder {
    /// Adds the next record of the list, at position `place`.
    pub(super) fn push(&mut self, place: Position) {
        match self.slots.back_mut() {
            Some(slot) if slot.records < SLOT_RECORDS => {
                slot.last = place;
                slot.records += 1;
                slot.pending += 1;
            }
            _ => self.slots.push_back(Slot {
                last: place,
                records: 1,
                pending: 1,
                findings: Vec::new(),
            }),
        }
    }

    /// Records the outcome of the record at `place`, with its finding if it has one.
    pub(super) fn resolve(&mut self, place: Position, finding: Option<UnresolvedFinding>) {
        let at = self.slots.partition_point(|s| s.last < place);
        if let Some(slot) = self.slots.get_mut(at) {
            slot.pending -= 1;
            slot.findings.extend(finding);
        }
    }

    /// Number of slots that are pending, or wait for an earlier slot.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes the findings of all slots that are ready.
    pub(super) fn take_ready(&mut self) -> Vec<UnresolvedFinding> {
        let mut ready = Vec::new();
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.pending == 0) {
            ready.extend(sorted_findings(slot));
        }
        ready
    }

    /// Takes all remaining findings, at the end of the run.
    pub(super) fn take_rest(&mut self) -> Vec<UnresolvedFinding> {
        self.slots.drain(..).flat_map(sorted_findings).collect()
    }
}

fn sorted_findings(mut slot: Slot) -> Vec<UnresolvedFinding> {
    slot.findings.sort_unstable_by_key(|f| f.position);
    slot.findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Hash;
    use crate::commands::verify::finding::FindingKind;

    fn place(line: u64) -> Position {
        Position {
            source: u32::from(line >= 500),
            line,
            byte: 0,
        }
    }

    fn finding(line: u64) -> UnresolvedFinding {
        UnresolvedFinding {
            hash: Hash::from_bytes(&line.to_be_bytes()).expect("8 bytes"),
            position: place(line),
            kind: FindingKind::Missing,
        }
    }

    #[test]
    fn findings_are_in_list_order_for_any_order_of_responses() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut order = FindingOrder::default();
        let mut pending: Vec<u64> = Vec::new();
        let mut findings = Vec::new();
        for line in 0..1000 {
            order.push(place(line));
            pending.push(line);
            while pending.len() > 30 {
                let line = pending.swap_remove(random.usize(0..pending.len()));
                order.resolve(place(line), line.is_multiple_of(7).then(|| finding(line)));
            }
            findings.extend(order.take_ready());
        }
        let before = findings.len();
        assert!(before > 50, "most findings are ready early: {before}");
        for line in pending.drain(..) {
            order.resolve(place(line), line.is_multiple_of(7).then(|| finding(line)));
        }
        findings.extend(order.take_ready());
        assert_eq!(order.len(), 0);
        let lines: Vec<u64> = findings.iter().map(|f| f.position.line).collect();
        assert_eq!(lines, (0..1000).step_by(7).collect::<Vec<_>>());
    }

    #[test]
    fn a_pending_record_delays_later_findings_until_the_end() {
        let mut order = FindingOrder::default();
        for line in 0..300 {
            order.push(place(line));
        }
        for line in 1..300 {
            order.resolve(place(line), (line % 100 == 50).then(|| finding(line)));
        }
        assert!(order.take_ready().is_empty());
        assert_eq!(order.len(), 3);
        let rest: Vec<u64> = order.take_rest().iter().map(|f| f.position.line).collect();
        assert_eq!(rest, [50, 150, 250]);
        assert_eq!(order.len(), 0);
    }
}
