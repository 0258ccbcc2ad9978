//! How far a run is, for a person at a terminal, for a log, or for a program.

use super::{Context, Progress};
use crate::books::Counts;
use crate::ingest::{Plan, Watch};
use crate::report::{seconds, thousands};
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

/// Shows the progress of `watch` until it is dropped.
pub(super) async fn show(context: &Context, watch: &Watch) -> Infallible {
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

    /// Items and write units a second, up to now.
    fn take(&mut self, counts: &Counts) -> (f64, f64) {
        let now = Instant::now();
        while self.samples.len() > 1 && now - self.samples[0].0 > RATE_WINDOW {
            self.samples.pop_front();
        }
        self.samples
            .push_back((now, counts.books.written, counts.consumed));
        let (then, written, consumed) = self.samples[0];
        let elapsed = (now - then).as_secs_f64();
        if elapsed < 0.05 {
            return (0.0, 0.0);
        }
        (
            (counts.books.written - written) as f64 / elapsed,
            (counts.consumed - consumed) / elapsed,
        )
    }
}

/// Bytes whose lines are settled: read-ahead does not count.
fn settled_bytes(counts: &Counts) -> u64 {
    let b = counts.books;
    let settled = b.written + b.duplicates + b.rejected + b.skipped;
    (counts.bytes_read as f64 * settled as f64 / b.lines.max(1) as f64) as u64
}

/// Time left, from the mean over the whole run so far.
fn left(plan: &Plan, done: u64) -> Option<f64> {
    let total = plan.bytes.filter(|_| done > 0)?;
    Some(plan.begun.elapsed().as_secs_f64() * total.saturating_sub(done) as f64 / done as f64)
}

async fn bar(context: &Context, watch: &Watch) -> Infallible {
    let bar = context.terminal.add(ProgressBar::no_length());
    bar.set_style(style("{spinner} {msg}"));
    bar.set_message("opening the source and asking for the table");
    let _clear = ClearOnDrop(bar.clone());
    let mut rates = Rates::new();
    let mut styled = false;
    loop {
        if let Some(plan) = watch.plan() {
            if !styled {
                styled = true;
                if let Some(bytes) = plan.bytes {
                    bar.set_length(bytes.max(1));
                    bar.set_style(style("{wide_bar:.cyan/blue} {percent:>3} %\n{msg}"));
                }
            }
            let counts = watch.meters().read();
            let done = settled_bytes(&counts);
            bar.set_position(done);
            let (items, units) = rates.take(&counts);
            bar.set_message(message(plan, &counts, done, items, units));
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
fn message(plan: &Plan, counts: &Counts, done: u64, items: f64, units: f64) -> String {
    let bytes = match plan.bytes {
        Some(total) => format!("{} of {}", HumanBytes(done), HumanBytes(total)),
        None => HumanBytes(done).to_string(),
    };
    let target = plan
        .pace
        .rate()
        .map(|t| format!(" of {}", thousands(t)))
        .unwrap_or_default();
    let left = left(plan, done)
        .map(|s| format!(", {} left", seconds(s)))
        .unwrap_or_default();
    let mut trouble = String::new();
    for (n, what) in [
        (counts.books.rejected, "rejected"),
        (counts.unprocessed, "handed back"),
        (counts.throttled, "throttled"),
    ] {
        if n > 0 {
            trouble.push_str(&format!(", {} {what}", HumanCount(n)));
        }
    }
    format!(
        "{bytes}, {} lines, {} items/s, {}{target} write units/s{trouble}{left}",
        HumanCount(counts.books.lines),
        thousands(items.round()),
        thousands(units.round()),
    )
}

async fn lines(context: &Context, watch: &Watch, json: bool) -> Infallible {
    let mut rates = Rates::new();
    let mut tick = tokio::time::interval(context.common.progress_interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        let Some(plan) = watch.plan() else { continue };
        let counts = watch.meters().read();
        let done = settled_bytes(&counts);
        let (mut items, mut units) = rates.take(&counts);
        if rates.samples.len() < 2 {
            let elapsed = plan.begun.elapsed().as_secs_f64().max(0.001);
            (items, units) = (
                counts.books.written as f64 / elapsed,
                counts.consumed / elapsed,
            );
        }
        if json {
            let b = counts.books;
            let event = serde_json::json!({
                "event": "progress",
                "elapsed_s": (plan.begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
                "bytes_read": counts.bytes_read, "bytes": plan.bytes, "lines": b.lines,
                "written": b.written, "duplicates": b.duplicates, "rejected": b.rejected, "skipped": b.skipped,
                "requests": counts.requests, "in_flight": counts.in_flight,
                "unprocessed": counts.unprocessed, "throttled": counts.throttled, "retries": counts.retries,
                "items_per_s": items.round(), "wcu_per_s": units.round(), "target_wcu_per_s": plan.pace.rate(),
                "left_s": left(plan, done).map(f64::round),
            });
            context.say(&event.to_string());
        } else {
            let percent = match plan.bytes {
                Some(total) if total > 0 => {
                    format!("{:.1} %, ", done as f64 * 100.0 / total as f64)
                }
                _ => String::new(),
            };
            tracing::info!("{percent}{}", message(plan, &counts, done, items, units));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Algorithm;
    use crate::books::Books;

    #[tokio::test(start_paused = true)]
    async fn the_line_says_bytes_lines_rates_trouble_and_time_left() {
        let plan = Plan {
            algorithm: Algorithm::Sha256,
            bytes: Some(6_600),
            pace: std::sync::Arc::new(crate::pace::Pace::fixed(Some(1000.0))),
            begun: Instant::now(),
        };
        tokio::time::advance(Duration::from_secs(10)).await;
        let books = Books {
            lines: 60,
            written: 50,
            ..Books::default()
        };
        let counts = Counts {
            books,
            bytes_read: 3_960,
            throttled: 3,
            ..Counts::default()
        };
        let done = settled_bytes(&counts);
        assert_eq!(done, 3_300, "ten of sixty lines are read ahead");
        let text = message(&plan, &counts, done, 5.0, 1234.4);
        assert_eq!(
            text,
            "3.22 KiB of 6.45 KiB, 60 lines, 5 items/s, 1,234 of 1,000 write units/s, 3 throttled, 10.0 s left"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_of_the_last_seconds() {
        let mut rates = Rates::new();
        let mut counts = Counts::default();
        let mut last = (0.0, 0.0);
        for second in 0..20 {
            last = rates.take(&counts);
            counts.books.written += if second < 10 { 100 } else { 1000 };
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(last.0, 1000.0);
    }
}
