//! How far a run is, for a person at a terminal, for a log, or for a program.

use crate::base::human::{seconds, thousands};
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

/// How often the bar is drawn.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// Over how long the rates shown are taken.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// A run whose progress can be shown.
pub(super) trait Watched {
    /// How far it is; nothing as long as it has not begun.
    fn look(&self) -> Option<Look>;
}

/// How far a run is, at one moment.
pub(super) struct Look {
    begun: Instant,
    /// Bytes, items and units of an earlier run, which this one has taken up.
    earlier: (u64, u64, f64),
    /// Bytes to read in all, where that is known, and bytes read.
    bytes: Option<u64>,
    bytes_read: u64,
    lines: u64,
    /// All lines there are, where that is known.
    all_lines: Option<u64>,
    /// The columns of the books, and those of them that are not settled yet or
    /// never will be.
    columns: Vec<(&'static str, u64)>,
    open: u64,
    /// Items written or answered for, and the units that it took.
    items: u64,
    units: f64,
    /// What the units are: `write units` or `read units`, `wcu` or `rcu`; of an API, `calls`.
    of: &'static str,
    unit: &'static str,
    target: Option<f64>,
    requests: u64,
    in_flight: u64,
    unprocessed: u64,
    throttled: u64,
    retries: u64,
    /// What the person should know of, where it is not none.
    trouble: Vec<(u64, &'static str)>,
}

impl Watched for Watch {
    fn look(&self) -> Option<Look> {
        let plan = self.plan()?;
        let counts = self.meters().read();
        let b = counts.books;
        let mut columns = vec![
            ("written", b.written),
            ("duplicates", b.duplicates),
            ("rejected", b.rejected),
            ("skipped", b.skipped),
        ];
        if plan.is_refresh {
            let more = [
                ("deleted", b.deleted),
                ("unchanged", b.unchanged),
                ("kept", b.kept),
            ];
            columns.splice(1..1, more);
        }
        let settled: u64 = columns.iter().map(|(_, n)| n).sum();
        Some(Look {
            begun: plan.begun,
            earlier: (
                plan.earlier.bytes_read,
                plan.earlier.books.written + plan.earlier.books.deleted,
                plan.earlier.consumed,
            ),
            bytes: plan.bytes,
            bytes_read: counts.bytes_read,
            lines: b.lines,
            all_lines: self.lines(),
            columns,
            open: b.lines - settled,
            items: b.written + b.deleted,
            units: counts.consumed,
            of: "write units",
            unit: "wcu",
            target: plan.pace.rate(),
            requests: counts.requests,
            in_flight: counts.in_flight,
            unprocessed: counts.unprocessed,
            throttled: counts.throttled,
            retries: counts.retries,
            trouble: vec![
                (b.rejected, "rejected"),
                (counts.unprocessed, "handed back"),
                (counts.throttled, "throttled"),
            ],
        })
    }
}

impl Watched for VerifyWatch {
    fn look(&self) -> Option<Look> {
        let plan = self.plan()?;
        let counts = self.meters().read();
        let (b, asked) = (counts.books, counts.asked);
        let answered = b.found + b.missing + b.different;
        let closed = answered + b.duplicates + b.rejected + b.skipped + b.unchecked;
        Some(Look {
            begun: plan.begun,
            earlier: (0, 0, 0.0),
            bytes: plan.bytes,
            bytes_read: counts.bytes_read,
            lines: b.lines,
            all_lines: None,
            columns: vec![
                ("found", b.found),
                ("missing", b.missing),
                ("different", b.different),
                ("duplicates", b.duplicates),
                ("rejected", b.rejected),
                ("skipped", b.skipped),
                ("unchecked", b.unchecked),
            ],
            open: b.lines.saturating_sub(closed),
            items: answered,
            units: asked.consumed,
            of: "read units",
            unit: "rcu",
            target: plan.pace.rate(),
            requests: asked.requests,
            in_flight: asked.in_flight,
            unprocessed: asked.unprocessed,
            throttled: asked.throttled,
            retries: asked.retries,
            trouble: vec![
                (b.missing, "missing"),
                (b.different, "different"),
                (b.rejected, "rejected"),
                (asked.unprocessed, "left unread"),
                (asked.throttled, "throttled"),
            ],
        })
    }
}

impl Watched for LookupWatch {
    fn look(&self) -> Option<Look> {
        let plan = self.plan()?;
        let counts = self.meters().read();
        let b = counts.books;
        let answered = b.known + b.unknown + b.error;
        let (units, of, unit) = match plan.is_api {
            true => (counts.requests as f64, "calls", "calls"),
            false => (counts.consumed, "read units", "rcu"),
        };
        Some(Look {
            begun: plan.begun,
            earlier: (0, 0, 0.0),
            bytes: plan.bytes,
            bytes_read: counts.bytes_read,
            lines: b.lines,
            all_lines: None,
            columns: vec![
                ("known", b.known),
                ("unknown", b.unknown),
                ("invalid", b.invalid),
                ("error", b.error),
            ],
            open: b.lines.saturating_sub(answered + b.invalid),
            items: answered,
            units,
            of,
            unit,
            target: plan.pace.rate(),
            requests: counts.requests,
            in_flight: counts.in_flight,
            unprocessed: counts.unprocessed,
            throttled: counts.throttled,
            retries: counts.retries,
            trouble: vec![
                (b.known, "known"),
                (b.invalid - counts.blank.min(b.invalid), "invalid"),
                (b.error, "errors"),
                (counts.unprocessed, "left unread"),
                (counts.throttled, "throttled"),
            ],
        })
    }
}

/// Shows the progress of `watch` until it is dropped.
pub(super) async fn show(context: &Context, watch: &impl Watched) -> Infallible {
    let how = match context.common.progress {
        Progress::Auto if context.common.quiet => Progress::None,
        Progress::Auto if std::io::stderr().is_terminal() => Progress::Bar,
        Progress::Auto => Progress::Log,
        how => how,
    };
    match how {
        Progress::None => std::future::pending().await,
        Progress::Bar => bar(context, watch).await,
        _ => lines(context, watch, how == Progress::Json).await,
    }
}

/// Rates over the last seconds.
struct Rates {
    samples: VecDeque<(Instant, u64, f64)>,
}

impl Rates {
    fn new() -> Self {
        Rates {
            samples: VecDeque::new(),
        }
    }

    /// Items and units a second, up to now.
    fn take(&mut self, look: &Look) -> (f64, f64) {
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

impl Look {
    /// Lines that are settled: those that are read ahead do not count.
    fn settled(&self) -> u64 {
        self.lines.saturating_sub(self.open)
    }

    /// Bytes whose lines are settled.
    fn done(&self) -> u64 {
        let settled = self.settled();
        (self.bytes_read as f64 * settled as f64 / self.lines.max(1) as f64) as u64
    }

    /// How much is done, of how much in all, where that is known.
    fn share(&self) -> Option<(u64, u64)> {
        match (self.all_lines, self.bytes) {
            (Some(lines), _) => Some((self.settled(), lines)),
            (None, Some(bytes)) => Some((self.done(), bytes)),
            (None, None) => None,
        }
    }

    /// Time left, from the mean over the whole run so far.
    fn left(&self) -> Option<f64> {
        let done = self.done();
        let ours = done.saturating_sub(self.earlier.0);
        let total = self.bytes.filter(|_| ours > 0)?;
        Some(self.begun.elapsed().as_secs_f64() * total.saturating_sub(done) as f64 / ours as f64)
    }
}

async fn bar(context: &Context, watch: &impl Watched) -> Infallible {
    let bar = context.terminal.add(ProgressBar::no_length());
    bar.set_style(style("{spinner} {msg}"));
    bar.set_message("opening the source and asking for the table");
    let _clear = ClearOnDrop(bar.clone());
    let mut rates = Rates::new();
    let mut styled = false;
    loop {
        if let Some(look) = watch.look() {
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
            let (items, units) = rates.take(&look);
            bar.set_message(message(&look, items, units));
        }
        bar.tick();
        tokio::time::sleep(BAR_INTERVAL).await;
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a wrong one still shows a bar.
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

/// One line that says it all.
fn message(look: &Look, items: f64, units: f64) -> String {
    let done = look.done();
    let bytes = match look.bytes {
        Some(total) => format!("{} of {}", HumanBytes(done), HumanBytes(total)),
        None => HumanBytes(done).to_string(),
    };
    let lines = match look.all_lines {
        Some(all) => format!("{} of {}", HumanCount(look.settled()), HumanCount(all)),
        None => HumanCount(look.settled()).to_string(),
    };
    let target = look
        .target
        .map(|t| format!(" of {}", thousands(t)))
        .unwrap_or_default();
    let left = look
        .left()
        .map(|s| format!(", {} left", seconds(s)))
        .unwrap_or_default();
    let mut trouble = String::new();
    for (n, what) in &look.trouble {
        if *n > 0 {
            trouble.push_str(&format!(", {} {what}", HumanCount(*n)));
        }
    }
    format!(
        "{bytes}, {lines} lines done, {} items/s, {}{target} {}/s{trouble}{left}",
        thousands(items.round()),
        thousands(units.round()),
        look.of,
    )
}

async fn lines(context: &Context, watch: &impl Watched, json: bool) -> Infallible {
    let mut rates = Rates::new();
    let mut tick = tokio::time::interval(context.common.progress_interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        let Some(look) = watch.look() else { continue };
        let (mut items, mut units) = rates.take(&look);
        if rates.samples.len() < 2 {
            let elapsed = look.begun.elapsed().as_secs_f64().max(0.001);
            let (_, items_before, units_before) = look.earlier;
            items = look.items.saturating_sub(items_before) as f64 / elapsed;
            units = (look.units - units_before) / elapsed;
        }
        if json {
            context.say_json(&event(&look, items, units).to_string());
        } else {
            let percent = match look.share() {
                Some((done, total)) if total > 0 => {
                    format!("{:.1} %, ", done as f64 * 100.0 / total as f64)
                }
                _ => String::new(),
            };
            tracing::info!("{percent}{}", message(&look, items, units));
        }
    }
}

/// The same for a program.
fn event(look: &Look, items: f64, units: f64) -> serde_json::Value {
    let mut event = serde_json::json!({
        "event": "progress",
        "elapsed_s": (look.begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        "bytes_read": look.bytes_read, "bytes": look.bytes, "lines": look.lines,
        "requests": look.requests, "in_flight": look.in_flight,
        "unprocessed": look.unprocessed, "throttled": look.throttled, "retries": look.retries,
        "items_per_s": items.round(), "left_s": look.left().map(f64::round),
    });
    for (name, count) in &look.columns {
        event[*name] = (*count).into();
    }
    event[format!("{}_per_s", look.unit)] = units.round().into();
    event[format!("target_{}_per_s", look.unit)] = look.target.into();
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look {
            begun: Instant::now(),
            earlier: (0, 0, 0.0),
            bytes: Some(6_600),
            bytes_read: 3_960,
            lines: 60,
            all_lines: None,
            columns: vec![("written", 50)],
            open: 10,
            items: 50,
            units: 50.0,
            of: "write units",
            unit: "wcu",
            target: Some(1000.0),
            requests: 5,
            in_flight: 1,
            unprocessed: 0,
            throttled: 3,
            retries: 0,
            trouble: vec![(0, "rejected"), (3, "throttled")],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_says_bytes_lines_rates_trouble_and_time_left() {
        let look = look();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(look.done(), 3_300, "ten of sixty lines are read ahead");
        assert_eq!(
            message(&look, 5.0, 1234.4),
            "3.22 KiB of 6.45 KiB, 50 lines done, 5 items/s, 1,234 of 1,000 write units/s, 3 throttled, 10.0 s left"
        );
        // Where everything is read, it is said how many lines there are.
        let all = Look {
            all_lines: Some(60),
            ..self::look()
        };
        assert_eq!(all.share(), Some((50, 60)));
        assert!(message(&all, 5.0, 5.0).contains(", 50 of 60 lines done, "));
        // Of a run that was taken up, only what it has done itself tells how fast it is.
        let taken_up = Look {
            earlier: (1_650, 25, 25.0),
            ..look
        };
        assert_eq!(taken_up.left(), Some(20.0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_event_names_its_columns_and_units() {
        let look = look();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(
            event(&look, 5.0, 1234.4),
            serde_json::json!({
                "event": "progress", "elapsed_s": 10.0, "bytes_read": 3960, "bytes": 6600, "lines": 60,
                "written": 50, "requests": 5, "in_flight": 1, "unprocessed": 0, "throttled": 3, "retries": 0,
                "items_per_s": 5.0, "wcu_per_s": 1234.0, "target_wcu_per_s": 1000.0, "left_s": 10.0,
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_of_the_last_seconds() {
        let mut rates = Rates::new();
        let mut look = look();
        let mut last = (0.0, 0.0);
        for second in 0..20 {
            last = rates.take(&look);
            look.items += if second < 10 { 100 } else { 1000 };
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(last.0, 1000.0);
    }
}
