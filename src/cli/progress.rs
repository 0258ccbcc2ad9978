//! Progress of a run: a bar for a terminal, lines for a log, or JSON for a program.

use crate::base::human::{format_number, format_seconds};
use crate::cli::context::{Context, Progress};
use crate::commands::ingest::watch::Watch;
use crate::commands::lookup::watch::LookupWatch;
use crate::commands::verify::options::VerifyWatch;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two updates of the bar.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// Window over which the shown rates are averaged.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// A run whose progress can be shown.
pub(super) trait Observable {
    /// The current progress; `None` if the run has not started.
    fn snapshot(&self) -> Option<Snapshot>;
}

/// Progress of a run at one moment.
pub(super) struct Snapshot {
    started: Instant,
    /// Bytes, items and capacity units of the earlier run that this one resumed; else 0.
    resumed_from: (u64, u64, f64),
    /// Total bytes of the list; `None` if unknown.
    bytes: Option<u64>,
    bytes_read: u64,
    lines: u64,
    /// Total lines of the list; `None` if unknown.
    total_lines: Option<u64>,
    /// Line counts by outcome.
    columns: Vec<(&'static str, u64)>,
    /// Lines read that have no outcome yet.
    pending: u64,
    /// Items written, or keys read.
    items: u64,
    /// Consumed capacity in WCU or RCU; for an API, calls.
    units: f64,
    /// Name of the unit in text: `WCU`, `RCU` or `calls`.
    unit_label: &'static str,
    /// Name of the unit in JSON fields: `wcu`, `rcu` or `calls`.
    json_unit: &'static str,
    target: Option<f64>,
    requests: u64,
    in_flight: u64,
    unprocessed: u64,
    throttled: u64,
    retries: u64,
    /// Counts to show if they are not 0.
    notices: Vec<(u64, &'static str)>,
}

impl Observable for Watch {
    fn snapshot(&self) -> Option<Snapshot> {
        let plan = self.plan()?;
        let counts = self.counters().snapshot();
        let b = counts.line_counts;
        let mut columns = vec![
            ("written", b.written),
            ("duplicates", b.duplicates),
            ("rejected", b.rejected),
            ("skipped", b.skipped),
        ];
        if plan.details.is_refresh {
            let more = [
                ("deleted", b.deleted),
                ("unchanged", b.unchanged),
                ("kept", b.kept),
            ];
            columns.splice(1..1, more);
        }
        let settled: u64 = columns.iter().map(|(_, n)| n).sum();
        Some(Snapshot {
            started: plan.started,
            resumed_from: (
                plan.details.resumed_counters.bytes_read,
                plan.details.resumed_counters.line_counts.written
                    + plan.details.resumed_counters.line_counts.deleted,
                plan.details.resumed_counters.consumed_wcu,
            ),
            bytes: plan.total_bytes,
            bytes_read: counts.bytes_read,
            lines: b.lines,
            total_lines: self.total_lines(),
            columns,
            pending: b.lines - settled,
            items: b.written + b.deleted,
            units: counts.consumed_wcu,
            unit_label: "WCU",
            json_unit: "wcu",
            target: plan.rate_limiter.rate(),
            requests: counts.requests,
            in_flight: counts.in_flight,
            unprocessed: counts.unprocessed,
            throttled: counts.throttled,
            retries: counts.retries,
            notices: vec![
                (b.rejected, "rejected"),
                (counts.unprocessed, "unprocessed"),
                (counts.throttled, "throttled"),
            ],
        })
    }
}

impl Observable for VerifyWatch {
    fn snapshot(&self) -> Option<Snapshot> {
        let plan = self.plan()?;
        let counts = self.counters().snapshot();
        let (b, asked) = (counts.line_counts, counts.reads);
        let answered = b.found + b.missing + b.different;
        let closed = answered + b.duplicates + b.rejected + b.skipped + b.unchecked;
        Some(Snapshot {
            started: plan.started,
            resumed_from: (0, 0, 0.0),
            bytes: plan.total_bytes,
            bytes_read: counts.bytes_read,
            lines: b.lines,
            total_lines: None,
            columns: vec![
                ("found", b.found),
                ("missing", b.missing),
                ("different", b.different),
                ("duplicates", b.duplicates),
                ("rejected", b.rejected),
                ("skipped", b.skipped),
                ("unchecked", b.unchecked),
            ],
            pending: b.lines.saturating_sub(closed),
            items: answered,
            units: asked.consumed_rcu,
            unit_label: "RCU",
            json_unit: "rcu",
            target: plan.rate_limiter.rate(),
            requests: asked.requests,
            in_flight: asked.in_flight,
            unprocessed: asked.unprocessed,
            throttled: asked.throttled,
            retries: asked.retries,
            notices: vec![
                (b.missing, "missing"),
                (b.different, "different"),
                (b.rejected, "rejected"),
                (asked.unprocessed, "unprocessed"),
                (asked.throttled, "throttled"),
            ],
        })
    }
}

impl Observable for LookupWatch {
    fn snapshot(&self) -> Option<Snapshot> {
        let plan = self.plan()?;
        let counts = self.counters().snapshot();
        let b = counts.line_counts;
        let answered = b.known + b.unknown + b.error;
        let (units, of, unit) = match plan.details.is_api {
            true => (counts.requests as f64, "calls", "calls"),
            false => (counts.consumed_rcu, "RCU", "rcu"),
        };
        Some(Snapshot {
            started: plan.started,
            resumed_from: (0, 0, 0.0),
            bytes: plan.total_bytes,
            bytes_read: counts.bytes_read,
            lines: b.lines,
            total_lines: None,
            columns: vec![
                ("known", b.known),
                ("unknown", b.unknown),
                ("invalid", b.invalid),
                ("error", b.error),
            ],
            pending: b.lines.saturating_sub(answered + b.invalid),
            items: answered,
            units,
            unit_label: of,
            json_unit: unit,
            target: plan.rate_limiter.rate(),
            requests: counts.requests,
            in_flight: counts.in_flight,
            unprocessed: counts.unprocessed,
            throttled: counts.throttled,
            retries: counts.retries,
            notices: vec![
                (b.known, "known"),
                (b.invalid - counts.blank.min(b.invalid), "invalid"),
                (b.error, "errors"),
                (counts.unprocessed, "unprocessed"),
                (counts.throttled, "throttled"),
            ],
        })
    }
}

/// Shows the progress of `watch` until it is dropped.
pub(super) async fn show(context: &Context, watch: &impl Observable) -> Infallible {
    let how = match context.common.progress {
        Progress::Auto if context.common.quiet => Progress::None,
        Progress::Auto if std::io::stderr().is_terminal() => Progress::Bar,
        Progress::Auto => Progress::Log,
        how => how,
    };
    match how {
        Progress::None => std::future::pending().await,
        Progress::Bar => draw_bar(context, watch).await,
        _ => print_lines(context, watch, how == Progress::Json).await,
    }
}

/// Rates over the last [`RATE_WINDOW`].
struct Rates {
    samples: VecDeque<(Instant, u64, f64)>,
}

impl Rates {
    fn new() -> Self {
        Rates {
            samples: VecDeque::new(),
        }
    }

    /// Adds a sample and returns items/s and units/s. Both are 0 until samples are 50 ms apart.
    fn update(&mut self, look: &Snapshot) -> (f64, f64) {
        let now = Instant::now();
        while self.samples.len() > 1 && now - self.samples[0].0 > RATE_WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back((now, look.items, look.units));
        let (then, items, units) = self.samples[0];
        let elapsed = (now - then).as_secs_f64();
        if elapsed < 0.05 {
            return (0.0, 0.0);
        }
        (
            (look.items - items) as f64 / elapsed,
            (look.units - units) / elapsed,
        )
    }
}

impl Snapshot {
    /// Lines with an outcome, without lines read ahead.
    fn settled_lines(&self) -> u64 {
        self.lines.saturating_sub(self.pending)
    }

    /// Bytes of lines with an outcome, estimated from the mean line length.
    fn settled_bytes(&self) -> u64 {
        let settled = self.settled_lines();
        (self.bytes_read as f64 * settled as f64 / self.lines.max(1) as f64) as u64
    }

    /// Completed and total amount, in lines or bytes; `None` if the total is unknown.
    fn share(&self) -> Option<(u64, u64)> {
        match (self.total_lines, self.bytes) {
            (Some(lines), _) => Some((self.settled_lines(), lines)),
            (None, Some(bytes)) => Some((self.settled_bytes(), bytes)),
            (None, None) => None,
        }
    }

    /// Seconds left, from the mean rate of this run; `None` if it cannot be estimated.
    fn seconds_left(&self) -> Option<f64> {
        let done = self.settled_bytes();
        let ours = done.saturating_sub(self.resumed_from.0);
        let total = self.bytes.filter(|_| ours > 0)?;
        Some(self.started.elapsed().as_secs_f64() * total.saturating_sub(done) as f64 / ours as f64)
    }
}

async fn draw_bar(context: &Context, watch: &impl Observable) -> Infallible {
    let bar = context.terminal.add(ProgressBar::no_length());
    bar.set_style(style("{spinner} {msg}"));
    bar.set_message("opening the source and describing the table");
    let _clear = ClearOnDrop(bar.clone());
    let mut rates = Rates::new();
    let mut styled = false;
    loop {
        if let Some(look) = watch.snapshot() {
            if !styled {
                styled = look.share().is_some();
                if styled {
                    bar.set_style(style("{wide_bar:.cyan/blue} {percent:>3} %\n{msg}"));
                }
            }
            if let Some((done, all)) = look.share() {
                bar.set_length(all.max(1));
                bar.set_position(done);
            }
            let (items, units) = rates.update(&look);
            bar.set_message(progress_line(&look, items, units));
        }
        bar.tick();
        tokio::time::sleep(BAR_INTERVAL).await;
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; an invalid one falls back to the default.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The progress as one line of text.
fn progress_line(look: &Snapshot, items: f64, units: f64) -> String {
    let done = look.settled_bytes();
    let bytes = match look.bytes {
        Some(total) => format!("{} of {}", HumanBytes(done), HumanBytes(total)),
        None => HumanBytes(done).to_string(),
    };
    let lines = match look.total_lines {
        Some(all) => format!(
            "{} of {}",
            HumanCount(look.settled_lines()),
            HumanCount(all)
        ),
        None => HumanCount(look.settled_lines()).to_string(),
    };
    let target = look
        .target
        .map(|t| format!(" of {}", format_number(t)))
        .unwrap_or_default();
    let left = look
        .seconds_left()
        .map(|s| format!(", {} left", format_seconds(s)))
        .unwrap_or_default();
    let mut trouble = String::new();
    for (n, what) in &look.notices {
        if *n > 0 {
            trouble.push_str(&format!(", {} {what}", HumanCount(*n)));
        }
    }
    format!(
        "{bytes}, {lines} lines done, {} items/s, {} {}/s{target}{trouble}{left}",
        format_number(items.round()),
        format_number(units.round()),
        look.unit_label,
    )
}

async fn print_lines(context: &Context, watch: &impl Observable, json: bool) -> Infallible {
    let mut rates = Rates::new();
    let mut tick = tokio::time::interval(context.common.progress_interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        let Some(look) = watch.snapshot() else {
            continue;
        };
        let (mut items, mut units) = rates.update(&look);
        if rates.samples.len() < 2 {
            let elapsed = look.started.elapsed().as_secs_f64().max(0.001);
            let (_, items_before, units_before) = look.resumed_from;
            items = look.items.saturating_sub(items_before) as f64 / elapsed;
            units = (look.units - units_before) / elapsed;
        }
        if json {
            context.print_json(&progress_event(&look, items, units).to_string());
        } else {
            let percent = match look.share() {
                Some((done, total)) if total > 0 => {
                    format!("{:.1} %, ", done as f64 * 100.0 / total as f64)
                }
                _ => String::new(),
            };
            tracing::info!("{percent}{}", progress_line(&look, items, units));
        }
    }
}

/// The progress as a JSON event.
fn progress_event(look: &Snapshot, items: f64, units: f64) -> serde_json::Value {
    let mut event = serde_json::json!({
        "event": "progress",
        "elapsed_s": (look.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        "bytes_read": look.bytes_read, "bytes": look.bytes, "lines": look.lines,
        "requests": look.requests, "in_flight": look.in_flight,
        "unprocessed": look.unprocessed, "throttled": look.throttled, "retries": look.retries,
        "items_per_s": items.round(), "left_s": look.seconds_left().map(f64::round),
    });
    for (name, count) in &look.columns {
        event[*name] = (*count).into();
    }
    event[format!("{}_per_s", look.json_unit)] = units.round().into();
    event[format!("target_{}_per_s", look.json_unit)] = look.target.into();
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Snapshot {
        Snapshot {
            started: Instant::now(),
            resumed_from: (0, 0, 0.0),
            bytes: Some(6_600),
            bytes_read: 3_960,
            lines: 60,
            total_lines: None,
            columns: vec![("written", 50)],
            pending: 10,
            items: 50,
            units: 50.0,
            unit_label: "WCU",
            json_unit: "wcu",
            target: Some(1000.0),
            requests: 5,
            in_flight: 1,
            unprocessed: 0,
            throttled: 3,
            retries: 0,
            notices: vec![(0, "rejected"), (3, "throttled")],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_shows_bytes_lines_rates_notices_and_time_left() {
        let look = look();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(
            look.settled_bytes(),
            3_300,
            "ten of sixty lines are read ahead"
        );
        assert_eq!(
            progress_line(&look, 5.0, 1234.4),
            "3.22 KiB of 6.45 KiB, 50 lines done, 5 items/s, 1,234 WCU/s of 1,000, 3 throttled, 10.0 s left"
        );
        // Once the whole list is read, the line shows its total of lines.
        let all = Snapshot {
            total_lines: Some(60),
            ..self::look()
        };
        assert_eq!(all.share(), Some((50, 60)));
        assert!(progress_line(&all, 5.0, 5.0).contains(", 50 of 60 lines done, "));
        // The time left of a resumed run follows from its own work only.
        let resumed = Snapshot {
            resumed_from: (1_650, 25, 25.0),
            ..look
        };
        assert_eq!(resumed.seconds_left(), Some(20.0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_event_names_its_columns_and_units() {
        let look = look();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(
            progress_event(&look, 5.0, 1234.4),
            serde_json::json!({
                "event": "progress", "elapsed_s": 10.0, "bytes_read": 3960, "bytes": 6600, "lines": 60,
                "written": 50, "requests": 5, "in_flight": 1, "unprocessed": 0, "throttled": 3, "retries": 0,
                "items_per_s": 5.0, "wcu_per_s": 1234.0, "target_wcu_per_s": 1000.0, "left_s": 10.0,
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_averaged_over_the_last_seconds() {
        let mut rates = Rates::new();
        let mut look = look();
        let mut last = (0.0, 0.0);
        for second in 0..20 {
            last = rates.update(&look);
            look.items += if second < 10 { 100 } else { 1000 };
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(last.0, 1000.0);
    }
}
