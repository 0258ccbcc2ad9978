//! How much a client costs, from the list's first byte to the last answer.
//!
//! ```text
//! cargo bench --bench end_to_end -- --lines 2000000 --rounds 5 --binary target/dist/hashferry
//! ```
//!
//! One server in this process plays S3 and DynamoDB on the loopback interface
//! and answers at once. Each client is a process of its own that reads the
//! same list by GetObject and writes every line by BatchWriteItem; then its
//! wall time, its processor time (user and system) and its peak memory are
//! taken from the operating system. The server sums up what it got: a client
//! that loses an item, or sends one twice, has no result, and the bench fails.
//!
//! The clients: **hashferry**; a good program on the generated SDK client; the
//! floor, written by hand for this list and this server (see `clients.rs`);
//! and with `--python` the well-known boto3 script, on fewer lines, since it
//! takes its time. The rounds are interleaved, so that all clients share the
//! machine's moods. Two cores are enough, one for the server.
//!
//! Processor time says more than items per second: that number is for a server
//! without latency, where all work is the client's, and includes the start of
//! the process. TLS isn't part of it. What a server is worth that takes its time
//! is in the rows «away»: the default flags and no others, against one that is
//! provisioned with 40,000 units and answers after so many milliseconds, and the
//! same as fast as it goes.
//!
//! «verify» and «lookup» read all of it back, a hundred keys a call; «lookup» answers
//! with a line of JSON each, into nowhere.
//!
//! In the end, how soon: from the start of the process to the first item that is
//! acknowledged, and to the end of `--help`.
//!
//! Without `--bench`, as a mere test, it makes one short round.

#[path = "end_to_end/clients.rs"]
mod clients;
#[path = "end_to_end/list.rs"]
mod list;
#[path = "end_to_end/sink.rs"]
mod sink;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde::{Deserialize, Serialize};

use sink::{Counts, Sink};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs clients against a server that answers at once and compares their cost.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// Lines of the list [default: 50,000, as a test 2,000].
    #[arg(long)]
    lines: Option<u64>,
    /// How often each client runs.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// The hashferry to measure [default: the one cargo has built].
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Lines of the list that goes to a server which takes its time [default: 400,000,
    /// as a test 500].
    #[arg(long)]
    far_lines: Option<u64>,
    /// Only clients whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Also runs scripts/baseline.py, with this interpreter.
    #[arg(long, num_args = 0..=1, default_missing_value = "python3")]
    python: Option<PathBuf>,
    /// Lines for scripts/baseline.py.
    #[arg(long, default_value_t = 50_000)]
    python_lines: u64,
    /// Longest time for one run, in seconds.
    #[arg(long, default_value_t = 1800)]
    limit: u64,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
    /// Is this client, instead of measuring it.
    #[arg(long, hide = true)]
    self_client: Option<SelfClient>,
    /// Runs this command, and prints what it cost.
    #[arg(last = true, hide = true)]
    measure: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SelfClient {
    Generated,
    Floor,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (arguments.self_client, arguments.measure.is_empty()) {
        (Some(client), _) => be(client),
        (None, false) => measure(&arguments),
        (None, true) => compare(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end_to_end: {error}");
            ExitCode::FAILURE
        }
    }
}

fn be(client: SelfClient) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match client {
        SelfClient::Generated => runtime.block_on(clients::generated()),
        SelfClient::Floor => runtime.block_on(clients::floor()),
    }
}

/// What one run of one client cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Cost {
    wall_s: f64,
    cpu_s: f64,
    peak_mib: f64,
}

/// Runs one command as the only child of this process, so that all the system
/// knows of this process's children is that command's.
fn measure(arguments: &Arguments) -> Outcome {
    let started = Instant::now();
    let mut child = Command::new(&arguments.measure[0])
        .args(&arguments.measure[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > Duration::from_secs(arguments.limit) {
            child.kill()?;
            child.wait()?;
            return Err(format!("took longer than {} s", arguments.limit).into());
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let wall_s = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err(status.to_string().into());
    }
    let (cpu_s, peak_mib) = usage_of_children()?;
    let cost = Cost {
        wall_s,
        cpu_s,
        peak_mib,
    };
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

#[cfg(unix)]
fn usage_of_children() -> Outcome<(f64, f64)> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;

    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    // Kilobytes, but bytes on macOS.
    let unit = if cfg!(target_os = "macos") {
        1.0
    } else {
        1024.0
    };
    let peak = usage.max_rss() as f64 * unit / (1024.0 * 1024.0);
    Ok((cpu.num_microseconds() as f64 / 1e6, peak))
}

#[cfg(not(unix))]
fn usage_of_children() -> Outcome<(f64, f64)> {
    Ok((f64::NAN, f64::NAN))
}

/// A client, its command, and what its runs cost.
struct Client {
    name: &'static str,
    command: Vec<String>,
    lines: u64,
    latency: Duration,
    costs: Vec<Cost>,
}

/// The client that this is about, and those that it is compared with.
const HASHFERRY: &str = "hashferry";
const GENERATED: &str = "generated SDK client";
const FLOOR: &str = "floor, by hand";

/// Stands for a path in a command that is another in each run.
const REPORT: &str = "{report}";

fn clients(arguments: &Arguments) -> Outcome<Vec<Client>> {
    let lines = arguments
        .lines
        .unwrap_or(if arguments.bench { 50_000 } else { 2_000 });
    let far_lines = arguments
        .far_lines
        .unwrap_or(if arguments.bench { 400_000 } else { 500 });
    let mut clients = Vec::new();
    let mut add = |name: &'static str, lines: u64, latency: u64, command: &[&str]| {
        if arguments
            .only
            .as_ref()
            .is_none_or(|part| name.contains(part))
        {
            clients.push(Client {
                name,
                command: command.iter().map(|&word| word.to_owned()).collect(),
                lines,
                latency: Duration::from_millis(latency),
                costs: Vec::new(),
            });
        }
    };
    let built = option_env!("CARGO_BIN_EXE_hashferry").map(PathBuf::from);
    match arguments.binary.clone().or(built) {
        Some(binary) => {
            let options = "--table sha256 --type bench --source bench --desc bench \
                           --progress none --report {report}";
            let max = ["--rate", "max"];
            let many = ["--rate", "max", "--concurrency", "256"];
            for (name, lines, latency, more) in [
                (HASHFERRY, lines, 0, &max[..]),
                ("hashferry, 256 calls", lines, 0, &many),
                ("hashferry, 5 ms away", far_lines, 5, &[]),
                ("hashferry, 50 ms away", far_lines, 50, &[]),
                ("hashferry, 5 ms away, max", far_lines, 5, &max),
                ("hashferry, 50 ms away, max", far_lines, 50, &max),
            ] {
                let mut command = vec![text(&binary)?, "ingest", "s3://bench/list"];
                command.extend(options.split_whitespace());
                command.extend(more);
                add(name, lines, latency, &command);
            }
            for (name, verb, more) in [
                (
                    "hashferry verify",
                    "verify",
                    &options.split_whitespace().collect(),
                ),
                (
                    "hashferry lookup",
                    "lookup",
                    &vec!["--table", "sha256", "--progress", "none"],
                ),
            ] {
                let mut command = vec![text(&binary)?, verb, "s3://bench/list"];
                command.extend(max);
                command.extend(more);
                add(name, lines, 0, &command);
            }
        }
        None => println!("Without hashferry: give --binary."),
    }
    let own = std::env::current_exe()?;
    for (name, mode) in [(GENERATED, "generated"), (FLOOR, "floor")] {
        add(name, lines, 0, &[text(&own)?, "--self-client", mode]);
    }
    if let Some(python) = &arguments.python {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/baseline.py");
        let base = [text(python)?, text(&script)?, "s3://bench/list", "sha256"];
        for (name, more) in [
            ("boto3, readline", None),
            ("boto3, iter_lines", Some("--iter-lines")),
        ] {
            let command: Vec<&str> = base.into_iter().chain(more).collect();
            add(name, arguments.python_lines, 0, &command);
        }
    }
    Ok(clients)
}

fn text(path: &Path) -> Outcome<&str> {
    Ok(path.to_str().ok_or("a path that isn't UTF-8")?)
}

fn compare(arguments: &Arguments) -> Outcome {
    let mut clients = clients(arguments)?;
    let sink = Sink::start()?;
    for round in 1..=arguments.rounds {
        for client in &mut clients {
            let cost = run(client, &sink, arguments.limit)
                .map_err(|error| format!("{}: {error}", client.name))?;
            eprintln!(
                "round {round} of {}: {}, {} items in {:.2} s, {:.2} s of processor time",
                arguments.rounds, client.name, client.lines, cost.wall_s, cost.cpu_s
            );
            client.costs.push(cost);
        }
    }
    print(&clients, arguments.rounds);
    if let Some(client) = clients.iter().find(|c| c.name == HASHFERRY) {
        starts(client, &sink, arguments)?;
    }
    Ok(())
}

/// How soon the first items are acknowledged, and `--help` is told.
fn starts(client: &Client, sink: &Sink, arguments: &Arguments) -> Outcome {
    let (mut first, mut help) = (Vec::new(), Vec::new());
    for _ in 0..if arguments.bench { 11 } else { 1 } {
        let client = Client {
            lines: 1000,
            costs: Vec::new(),
            command: client.command.clone(),
            ..*client
        };
        let begun = Instant::now();
        run(&client, sink, arguments.limit)?;
        let acknowledged = sink.first().ok_or("no item was acknowledged")?;
        first.push(acknowledged.duration_since(begun).as_secs_f64() * 1e3);
        let begun = Instant::now();
        let told = Command::new(&client.command[0]).arg("--help").output()?;
        help.push(begun.elapsed().as_secs_f64() * 1e3);
        if !told.status.success() {
            return Err("--help fails".into());
        }
    }
    let show = |values| Spread::of_values(values).show(|ms| format!("{ms:.0}"));
    println!(
        "\nFrom the start of the process: first items acknowledged after {} ms, --help told after {} ms",
        show(first),
        show(help)
    );
    Ok(())
}

/// Runs a client once, and checks that each line has arrived once.
fn run(client: &Client, sink: &Sink, limit: u64) -> Outcome<Cost> {
    let state = tempfile::tempdir()?;
    let report = state.path().join("report.json");
    let command = client.command.iter().map(|word| match word.as_str() {
        REPORT => text(&report).map(str::to_owned),
        word => Ok(word.to_owned()),
    });
    sink.reset(client.lines, client.latency);
    let output = Command::new(std::env::current_exe()?)
        .args(["--limit", &limit.to_string(), "--"])
        .args(command.collect::<Outcome<Vec<_>>>()?)
        .env("AWS_ENDPOINT_URL_S3", sink.endpoint())
        .env("AWS_ENDPOINT_URL_DYNAMODB", sink.endpoint())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env(
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        )
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", state.path().join("none"))
        .env("AWS_SHARED_CREDENTIALS_FILE", state.path().join("none"))
        .env("XDG_STATE_HOME", state.path())
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_ENDPOINT_URL")
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let counts = sink.counts();
    let expected = Counts {
        items: client.lines,
        checksum: list::checksum(client.lines),
        ..counts
    };
    if counts != expected {
        return Err(format!("the server got {counts:?} instead of {expected:?}").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The median, the least and the greatest.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(client: &Client, value: impl Fn(&Cost) -> f64) -> Self {
        Self::of_values(client.costs.iter().map(value).collect())
    }

    fn of_values(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            least: values[0],
            greatest: values[values.len() - 1],
        }
    }

    fn show(&self, digits: impl Fn(f64) -> String) -> String {
        let Self {
            median,
            least,
            greatest,
        } = *self;
        match least == greatest {
            true => digits(median),
            false => format!(
                "{} ({}–{})",
                digits(median),
                digits(least),
                digits(greatest)
            ),
        }
    }
}

fn print(clients: &[Client], rounds: usize) {
    let heads = [
        "client",
        "lines",
        "items/s",
        "CPU-s per 1M items",
        "peak MiB",
        "CPU ÷ generated",
        "CPU ÷ floor",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    let cpu = |client: &Client| Spread::of(client, |cost| cost.cpu_s * 1e6 / client.lines as f64);
    let of = |name: &str| {
        let client = clients.iter().find(|c| c.name == name);
        client.filter(|c| !c.costs.is_empty()).map(cpu)
    };
    let (generated, floor) = (of(GENERATED), of(FLOOR));
    for client in clients.iter().filter(|client| !client.costs.is_empty()) {
        let rate = Spread::of(client, |cost| client.lines as f64 / cost.wall_s);
        let peak = Spread::of(client, |cost| cost.peak_mib);
        let ratio = |to: Option<Spread>| match to {
            Some(to) => format!("{:.2}", cpu(client).median / to.median),
            None => "-".to_owned(),
        };
        rows.push([
            client.name.to_owned(),
            thousands(client.lines as f64),
            rate.show(thousands),
            cpu(client).show(|seconds| format!("{seconds:.2}")),
            peak.show(|mib| format!("{mib:.1}")),
            ratio(generated),
            ratio(floor),
        ]);
    }
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    println!("\nMedian of rounds (least–greatest); rounds: {rounds}\n");
    for row in rows {
        let cells =
            row.iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                });
        println!("{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
}

/// A whole number with its thousands set apart.
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
