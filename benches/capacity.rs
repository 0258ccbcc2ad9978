//! Adaptation of hashferry's write rate to a table's capacity, in real time.
//!
//! ```text
//! cargo bench --bench capacity -- [SCENARIO...] [--python /path/to/python]
//! ```
//!
//! A model of DynamoDB in this process throttles writes above its capacity. The
//! real binary writes a list of hashes to it with `--rate auto`, until the
//! scenario's time is up and it gets a SIGTERM. A table shows the share of the
//! available capacity that was used, the share of the offered items that were
//! throttled, and the time until the rate followed a change. With `--python` the
//! usual boto3 script does the same, for `--python-seconds`. The scenarios are
//! those of `tests/scenarios`, but with sockets, real timers and a shared machine
//! instead of paused time.
//!
//! The model's buckets hold `--slack-ms` of capacity and one batch: see
//! `table.rs`. It responds after `--latency-ms`. Its auto scaling has periods of
//! three seconds instead of a minute. hashferry describes the table every half
//! second there instead of every ten seconds: a twentieth of both.
//!
//! «Followed in» is the time from a change of the capacity until both the
//! offered and the accepted rate stay within a tenth of it for half a second, or
//! for ten batches if that is longer. A step of auto scaling that is shorter does
//! not count. The figure is exact to some 50 ms.
//!
//! Figures are printed, not judged. The bench fails if a client exits otherwise
//! than expected, if a report differs from the model's counts, or if the model
//! accepted more than its capacity. A failure of boto3 is printed as a note.
//! `--quick`, or no `--bench` (`cargo test`), takes a few seconds per scenario.

#[path = "capacity/service.rs"]
mod service;
#[path = "capacity/table.rs"]
mod table;

#[path = "../tests/it/common/item.rs"]
#[allow(dead_code, unreachable_pub)]
mod item;
#[path = "end_to_end/list.rs"]
#[allow(dead_code)]
mod list;
#[path = "../tests/it/common/sigv4.rs"]
#[allow(dead_code, unreachable_pub)]
mod sigv4;
#[path = "../tests/it/common/wire.rs"]
#[allow(dead_code, unreachable_pub)]
mod wire;

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;

use service::{Outcome, Service};
use table::{Scaling, Shape};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Maximum time for a client to begin, and to exit after SIGTERM.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(120);

/// Interval at which clients and clocks are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Runs hashferry against a table of limited capacity and shows the share it used.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// Only scenarios whose name contains one of these.
    scenarios: Vec<String>,
    /// Shortens each scenario to a few seconds.
    #[arg(long)]
    quick: bool,
    /// hashferry binary to run [default: the one cargo has built].
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Also runs scripts/baseline.py, with this interpreter.
    #[arg(long, num_args = 0..=1, default_missing_value = "python3")]
    python: Option<PathBuf>,
    /// Maximum run time of scripts/baseline.py, in seconds.
    #[arg(long, default_value_t = 30.0)]
    python_seconds: f64,
    /// Delay of the steps, in seconds: hashferry describes the table about once
    /// every whole second, so with 0 a step coincides with such a call.
    #[arg(long, default_value_t = 0.45)]
    phase: f64,
    /// Milliseconds of capacity that the model's buckets hold.
    #[arg(long, default_value_t = 100)]
    slack_ms: u64,
    /// Milliseconds between a call and the model's response.
    #[arg(long, default_value_t = 5)]
    latency_ms: u64,
    /// Prints the clients' stderr.
    #[arg(long)]
    verbose: bool,
    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A table, the client's options, and the duration of a run.
struct Scenario {
    name: &'static str,
    /// Description of the capacity that the figures are compared with.
    compared: String,
    shape: Shape,
    seconds: f64,
    /// Second from which on the used share is calculated.
    settled: f64,
    /// The model's latency; `None` for the default.
    latency_ms: Option<u64>,
    /// Further options for hashferry.
    options: &'static [&'static str],
}

fn scenarios(quick: bool, phase: f64) -> Vec<Scenario> {
    // Value of a quick run, or of a full one.
    let or = |short: f64, long: f64| if quick { short } else { long };
    let steady = |units: f64| Shape {
        provisioned: vec![(0.0, units)],
        scaling: None,
        index: None,
        hidden: None,
    };
    let step = or(2.5, 10.0);
    let steps = vec![
        (0.0, 500.0),
        (step + phase, 2000.0),
        (2.0 * step + phase, 800.0),
    ];
    let scaling = Scaling {
        max: or(1000.0, 2000.0),
        target: 0.7,
        period: or(1.0, 3.0),
    };
    let from = or(400.0, 25.0);
    let settled = or(2.0, 5.0);
    vec![
        Scenario {
            name: "steady",
            compared: "the table's 1,000".to_owned(),
            shape: steady(1000.0),
            seconds: or(3.0, 60.0),
            settled: 0.0,
            latency_ms: None,
            options: &[],
        },
        Scenario {
            name: "near",
            compared: "the table's 10,000, 5 ms away".to_owned(),
            shape: steady(10_000.0),
            seconds: or(3.0, 60.0),
            settled: 0.0,
            latency_ms: Some(5),
            options: &[],
        },
        Scenario {
            name: "far",
            compared: "the table's 10,000, 50 ms away".to_owned(),
            shape: steady(10_000.0),
            seconds: or(3.0, 60.0),
            settled: 0.0,
            latency_ms: Some(50),
            options: &[],
        },
        Scenario {
            name: "steps",
            compared: format!("500, 2,000, 800, each {step} s"),
            shape: Shape {
                provisioned: steps,
                ..steady(0.0)
            },
            seconds: 3.0 * step,
            settled: 0.0,
            latency_ms: None,
            options: &["--capacity-interval", "1s"],
        },
        Scenario {
            name: "auto-scaling",
            compared: format!(
                "{from} to {}, periods of {} s",
                thousands(scaling.max),
                scaling.period
            ),
            shape: Shape {
                scaling: Some(scaling),
                ..steady(from)
            },
            seconds: or(8.0, 100.0),
            settled: 0.0,
            // Scaled from ten seconds as the period is scaled from a minute.
            latency_ms: None,
            options: &["--capacity-interval", "500ms"],
        },
        Scenario {
            name: "on-demand",
            compared: format!("an undescribed 3,000, from {settled} s on"),
            shape: Shape {
                provisioned: Vec::new(),
                hidden: Some(3000.0),
                ..steady(0.0)
            },
            seconds: or(5.0, 60.0),
            settled,
            latency_ms: None,
            options: &[],
        },
        Scenario {
            name: "index",
            compared: "the index's 500, of a table with 1,000".to_owned(),
            shape: Shape {
                index: Some(500.0),
                ..steady(1000.0)
            },
            seconds: or(3.0, 30.0),
            settled: 0.0,
            latency_ms: None,
            options: &[],
        },
    ]
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capacity: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result {
    if !cfg!(unix) {
        println!("This bench needs SIGTERM, which this system does not have: nothing is measured.");
        return Ok(());
    }
    let mut scenarios = scenarios(arguments.quick || !arguments.bench, arguments.phase);
    let wanted = &arguments.scenarios;
    scenarios.retain(|s| wanted.is_empty() || wanted.iter().any(|part| s.name.contains(part)));
    if scenarios.is_empty() {
        return Err(format!("no scenario matches {wanted:?}").into());
    }
    let built = option_env!("CARGO_BIN_EXE_hashferry").map(PathBuf::from);
    let binary = arguments.binary.clone().or(built);
    let binary = binary.ok_or("no hashferry binary found; give --binary")?;
    let mut rows = Vec::new();
    for scenario in &scenarios {
        let clients = [Some(Client::Hashferry(&binary))].into_iter();
        let python = arguments.python.as_deref().map(Client::Boto3);
        for client in clients.chain([python]).flatten() {
            let row = run(scenario, client, arguments)
                .map_err(|error| format!("{}, {}: {error}", scenario.name, client.name()))?;
            eprintln!("{}", row.log());
            rows.push(row);
        }
    }
    print(arguments, &rows);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client<'a> {
    Hashferry(&'a Path),
    Boto3(&'a Path),
}

impl Client<'_> {
    fn name(self) -> &'static str {
        match self {
            Client::Hashferry(_) => "hashferry",
            Client::Boto3(_) => "boto3",
        }
    }
}

/// Result of one run of one client.
struct Row {
    scenario: &'static str,
    client: &'static str,
    compared: String,
    seconds: f64,
    available: f64,
    accepted: f64,
    /// Throttled share of the offered items, over the whole run.
    throttled: f64,
    followed: String,
    /// Lines that the client read, and that are neither in the table nor reported
    /// as not written.
    lost: u64,
    outcome: Outcome,
    note: Option<String>,
}

impl Row {
    fn log(&self) -> String {
        let counts = self.outcome.counts;
        let changes = self.outcome.table.changes().len() - 1;
        format!(
            "{}, {}: {} s, {changes} changes of capacity, {} descriptions, {} items unprocessed, \
             {} calls throttled, maximum delay of the model {:.1} ms{}",
            self.scenario,
            self.client,
            self.seconds,
            counts.described,
            thousands(counts.unprocessed as f64),
            thousands(counts.throttled as f64),
            counts.max_delay.as_secs_f64() * 1e3,
            self.note
                .iter()
                .map(|note| format!("; {note}"))
                .collect::<String>(),
        )
    }
}

/// Runs a client once.
fn run(scenario: &Scenario, client: Client<'_>, arguments: &Arguments) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let seconds = match client {
        Client::Hashferry(_) => scenario.seconds,
        Client::Boto3(_) => scenario.seconds.min(arguments.python_seconds),
    };
    let list = folder.path().join("list");
    // Enough lines for the maximum rate over the whole run and ten seconds more.
    let provisioned = scenario.shape.provisioned.iter().map(|(_, units)| *units);
    let max_rate = provisioned.fold(4000.0, f64::max);
    write_list(&list, (max_rate * (seconds + 10.0)) as u64)?;
    let slack = Duration::from_millis(arguments.slack_ms).as_secs_f64();
    let latency = scenario.latency_ms.unwrap_or(arguments.latency_ms);
    let latency = Duration::from_millis(latency);
    let service = Service::start(scenario.shape.clone(), slack, latency);
    let mut process = Process::start(scenario, client, seconds, folder.path(), &service)?;
    let ended = match client {
        Client::Hashferry(_) => {
            process.wait_for(&service, seconds)?;
            process.terminate()?;
            process.wait(CLIENT_TIMEOUT)?
        }
        // The script stops by itself.
        Client::Boto3(_) => process.wait(Duration::from_secs_f64(seconds) + CLIENT_TIMEOUT)?,
    };
    let outcome = service.stop();
    let stderr = std::fs::read_to_string(folder.path().join("stderr"))?;
    if arguments.verbose {
        eprint!("{stderr}");
    }
    if outcome.counts.invalid > 0 {
        return Err(format!(
            "{} calls were not valid batches of puts",
            outcome.counts.invalid
        )
        .into());
    }
    if outcome.table.exceeded_capacity(seconds) {
        return Err("the model accepted more than its capacity".into());
    }
    let (lost, note) = match client {
        Client::Hashferry(_) => {
            let report = folder.path().join("report.json");
            check_report(&report, ended, &outcome).map_err(|error| format!("{error}\n{stderr}"))?;
            (0, None)
        }
        Client::Boto3(_) => {
            let read: u64 = std::fs::read_to_string(folder.path().join("stdout"))?
                .trim()
                .parse()
                .map_err(|_| {
                    format!("the script did not print how many lines it read\n{stderr}")
                })?;
            let failed = (!ended.success()).then(|| {
                let last = stderr.lines().rfind(|line| !line.trim().is_empty());
                format!(
                    "the script failed: {}",
                    last.unwrap_or("no message on stderr")
                )
            });
            (read.saturating_sub(outcome.counts.stored), failed)
        }
    };
    let table = &outcome.table;
    let from = scenario.settled.min(seconds / 2.0);
    let (_, offered) = table.written(0.0, seconds);
    let throttled = offered - table.written(0.0, seconds).0;
    Ok(Row {
        scenario: scenario.name,
        client: client.name(),
        compared: scenario.compared.clone(),
        seconds,
        available: table.available(from, seconds),
        accepted: table.written(from, seconds).0,
        throttled: throttled / offered.max(1.0),
        followed: describe_following(scenario, table, seconds),
        lost,
        outcome,
        note,
    })
}

/// Writes a list with this number of lines.
fn write_list(path: &Path, lines: u64) -> Result {
    let mut file = File::create(path)?;
    let mut chunk = vec![0; 1000 * list::LINE as usize];
    for at in (0..lines).step_by(1000) {
        list::fill(at * list::LINE, &mut chunk);
        file.write_all(&chunk)?;
    }
    Ok(())
}

/// Describes the time to follow each change, without the start if there are
/// other changes. For the many changes of auto scaling it is the maximum.
fn describe_following(scenario: &Scenario, table: &table::Table, end: f64) -> String {
    let changes = table.changes();
    let show = |change: usize| match table.seconds_to_follow(change, end) {
        Some(after) => format!("{after:.2} s"),
        None => "never".to_owned(),
    };
    let last = changes.len() - 1;
    match scenario.shape.scaling {
        Some(_) => {
            let (at, units) = changes[last];
            let each = (1..=last).map(|change| table.seconds_to_follow(change, end));
            let each: Vec<f64> = each.flatten().collect();
            let longest = match each.iter().copied().reduce(f64::max) {
                Some(longest) => format!(", {longest:.2} s at most"),
                None => String::new(),
            };
            let (followed, final_units) = (each.len(), thousands(units));
            format!("{followed} of {last} steps{longest}; {final_units} after {at:.1} s")
        }
        None if last == 0 => show(0),
        None => {
            let each: Vec<_> = (1..=last).map(show).collect();
            each.join(", ")
        }
    }
}

/// Compares a report with the model's counts.
fn check_report(path: &Path, ended: ExitStatus, outcome: &Outcome) -> Result {
    let report: Value = match std::fs::read(path) {
        Ok(text) if !text.is_empty() => serde_json::from_slice(&text)?,
        _ => return Err(format!("no report was written ({ended})").into()),
    };
    // 4: interrupted, by SIGTERM.
    if ended.code() != Some(4) {
        return Err(
            format!("hashferry ended with {ended}, expected exit status 4: {report}").into(),
        );
    }
    let number = |field: &str| {
        let number = report[field].as_u64();
        number.ok_or_else(|| format!("no {field} in the report {report}"))
    };
    let columns = ["written", "duplicates", "rejected", "skipped", "failed"].map(number);
    let sum: u64 = columns.into_iter().sum::<std::result::Result<_, _>>()?;
    let counts = outcome.counts;
    for (field, reported, expected) in [
        ("lines", number("lines")?, sum),
        ("written", number("written")?, counts.stored),
        ("unprocessed", number("unprocessed")?, counts.unprocessed),
        ("throttled", number("throttled")?, counts.throttled),
    ] {
        if reported != expected {
            return Err(format!("{field}: the report has {reported}, expected {expected}").into());
        }
    }
    Ok(())
}

/// A running client; killed when dropped.
struct Process(Child);

impl Process {
    fn start(
        scenario: &Scenario,
        client: Client<'_>,
        seconds: f64,
        folder: &Path,
        service: &Service,
    ) -> Result<Self> {
        let list = folder.join("list");
        let mut command;
        match client {
            Client::Hashferry(binary) => {
                command = Command::new(binary);
                command
                    .arg("ingest")
                    .arg(list)
                    .args(["--table", service::TABLE]);
                let usual = "--type bench --source bench --desc bench --progress none";
                command.args(usual.split(' ')).args(scenario.options);
                command.arg("--report").arg(folder.join("report.json"));
            }
            Client::Boto3(python) => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/baseline.py");
                command = Command::new(python);
                command.arg(script).arg(list).arg(service::TABLE);
                command.args(["--seconds", &seconds.to_string()]);
            }
        }
        let child = command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", folder)
            .env("AWS_ENDPOINT_URL_DYNAMODB", service.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env(
                "AWS_SECRET_ACCESS_KEY",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            )
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("stdout"))?)
            .stderr(File::create(folder.join("stderr"))?)
            .spawn()?;
        Ok(Self(child))
    }

    /// Waits until this many seconds have passed since the first write.
    fn wait_for(&mut self, service: &Service, seconds: f64) -> Result {
        let started = Instant::now();
        let limit = Duration::from_secs_f64(seconds) + CLIENT_TIMEOUT;
        while service.elapsed().is_none_or(|elapsed| elapsed < seconds) {
            if self.0.try_wait()?.is_some() || started.elapsed() > limit {
                // An early exit is no error here: the exit status is checked later.
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Sends SIGTERM.
    fn terminate(&self) -> Result {
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, kill};
            let id = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
            // A zombie also accepts the signal.
            kill(id, Signal::SIGTERM)?;
        }
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                return Err(format!("the client did not exit within {} s", limit.as_secs()).into());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without effect on a client that has exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn print(arguments: &Arguments, rows: &[Row]) {
    let heads = [
        "scenario",
        "client",
        "available",
        "accepted",
        "use",
        "throttled",
        "followed in",
        "lost",
        "compared with",
    ];
    let mut lines = vec![heads.map(str::to_owned)];
    for row in rows {
        lines.push([
            row.scenario.to_owned(),
            row.client.to_owned(),
            thousands(row.available),
            thousands(row.accepted),
            format!("{:.1} %", 100.0 * row.accepted / row.available),
            format!("{:.2} %", 100.0 * row.throttled),
            row.followed.clone(),
            thousands(row.lost as f64),
            row.compared.clone(),
        ]);
    }
    println!(
        "\nAvailable and accepted WCU, and the throttled share of the offered items. The model holds \
        {} ms and one batch of capacity, and responds after {} ms by default.\n",
        arguments.slack_ms, arguments.latency_ms
    );
    // Numbers are right-aligned, text left-aligned.
    let right = |column: usize| (2..6).contains(&column) || column == 7;
    let width = |column: usize| lines.iter().map(move |line| line[column].chars().count());
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| width(column).max().unwrap_or(0))
        .collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match right(column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
    for row in rows {
        if let Some(note) = &row.note {
            println!("{}, {}: {note}", row.scenario, row.client);
        }
    }
}

/// Formats a number without decimals, with a comma between thousands.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
