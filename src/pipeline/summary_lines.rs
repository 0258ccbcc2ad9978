//! Lines that the summaries of all commands share.

use crate::base::human::{format_number, format_seconds};
use indicatif::{HumanBytes, HumanCount};
use std::fmt::Write as _;

/// Calls of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    pub(crate) unprocessed: u64,
    pub(crate) throttled: u64,
}

/// A number with digit groups.
pub(crate) fn count(n: u64) -> String {
    HumanCount(n).to_string()
}

/// A number with digit groups and its noun: `1 call`, `2,547 calls`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(n))
}

/// Appends a count with its label. The `note` explains a count other than 0.
pub(crate) fn write_count(out: &mut String, name: &str, value: u64, note: &str) {
    let width = 27 - name.len().min(20);
    let _ = write!(out, "  {name}{:>width$}", count(value));
    if value > 0 && !note.is_empty() {
        let _ = write!(out, "  {note}");
    }
    out.push('\n');
}

/// Appends bytes, time and mean rate in `unit`, such as `WCU/s`.
pub(crate) fn write_rate(
    out: &mut String,
    bytes: u64,
    elapsed_s: f64,
    (mean, target): (f64, Option<f64>),
    unit: &str,
) {
    let _ = writeln!(
        out,
        "  {} in {}: {} {unit}, {}",
        HumanBytes(bytes),
        format_seconds(elapsed_s),
        format_number(mean),
        describe_target(target),
    );
}

/// Describes the target rate.
pub(crate) fn describe_target(target: Option<f64>) -> String {
    match target {
        Some(units) => format!("target {}", format_number(units)),
        None => "no limit".to_owned(),
    }
}

/// Appends the calls of a run that sends items or keys, as `noun` says.
pub(crate) fn write_calls(out: &mut String, calls: Calls, noun: &str) {
    let _ = writeln!(
        out,
        "  {}, {} retried; {} unprocessed, {} throttled",
        counted(calls.requests, "call"),
        count(calls.retries),
        counted(calls.unprocessed, noun),
        counted(calls.throttled, "call"),
    );
}

/// Appends the consumed capacity in `unit`, `WCU` or `RCU`, and its cost.
pub(crate) fn write_cost(out: &mut String, units: f64, unit: &str, usd: f64) {
    let _ = writeln!(
        out,
        "  {} {unit}: {usd:.4} USD at the on-demand price of us-east-1",
        format_number(units)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_no_plural() {
        let each = [0, 1, 2547].map(|n| counted(n, "call"));
        assert_eq!(each, ["0 calls", "1 call", "2,547 calls"]);
    }

    #[test]
    fn counts_are_right_aligned_and_zero_has_no_note() {
        let mut out = String::new();
        write_count(&mut out, "written", 63_663, "acknowledged by DynamoDB");
        write_count(&mut out, "would be written", 1, "");
        write_count(&mut out, "failed", 0, "not acknowledged");
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(
            lines,
            [
                "  written              63,663  acknowledged by DynamoDB",
                "  would be written          1",
                "  failed                    0",
            ]
        );
    }
}
