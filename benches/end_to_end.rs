//! Cost of a client, from the list's first byte to the last response.
//!
//! ```text
//! cargo bench --bench end_to_end -- --lines 2000000 --rounds 5 --binary target/dist/hashferry
//! ```
//!
//! One server in this process plays S3 and DynamoDB on the loopback interface
//! and responds without delay. Each client is a separate process that reads the
//! same list by GetObject and writes every line by BatchWriteItem. The operating
//! system reports its wall time, CPU time (user and system) and peak memory. The
//! server keeps a checksum of the items: the bench fails if a client loses an
//! item or sends one twice.
//!
//! The clients: **hashferry**; a good program on the generated SDK client; the
//! floor, written by hand for this list and this server (see `clients.rs`);
//! and with `--python` the well-known boto3 script, on fewer lines because it is
//! slow. The rounds are interleaved, so that all clients see the same noise of
//! the machine. Two cores are enough, one for the server.
//!
//! CPU time says more than items per second: the latter holds for a server
//! without latency, where all work is the client's, and includes the start of
//! the process. The rows «away» use a server that responds after so many
//! milliseconds and has 40,000 provisioned WCU: once with the default flags only,
//! once with `--rate max`.
//!
//! The rows «TLS» use an authority of this run, TLS 1.3 and AES-128-GCM, the
//! first choice of AWS's TLS policies. Each stands beside its plain row.
//!
//! «verify» and «lookup» read every item back, a hundred keys a call; «lookup»
//! prints a line of JSON for each, which is discarded.
//!
//! The last lines are start times: from the start of the process to the first
//! acknowledged item, and to the end of `--help`.
//!
//! Without `--bench` (`cargo test`) it runs one short round.

#[path = "end_to_end/clients.rs"]
mod clients;
#[path = "end_to_end/list.rs"]
mod list;
#[path = "end_to_end/sink.rs"]
mod sink;
#[path = "../tests/it/common/tls.rs"]
#[allow(unreachable_pub)]
mod tls;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde::{Deserialize, Serialize};

use sink::{Counts, Sink};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs clients against a server without latency and compares their cost.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// Lines of the list [default: 50,000; 2,000 as a test].
    #[arg(long)]
    lines: Option<u64>,
    /// Runs of each client.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// hashferry binary to measure [default: the one cargo has built].
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Lines of the list for a server with latency [default: 400,000; 500 as a test].
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
    /// Maximum time for one run, in seconds.
    #[arg(long, default_value_t = 1800)]
    limit: u64,
    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
    /// Runs this client, instead of measuring it.
    #[arg(long, hide = true)]
    self_client: Option<SelfClient>,
    /// Runs this command and prints its cost.
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
        (Some(client), _) => run_as_client(client),
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

fn run_as_client(client: SelfClient) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match client {
        SelfClient::Generated => runtime.block_on(clients::generated()),
        SelfClient::Floor => runtime.block_on(clients::floor()),
    }
}

/// Cost of one run of one client.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Cost {
    wall_s: f64,
    cpu_s: f64,
    peak_mib: f64,
}

/// Runs one command as the only child of this process, so that the usage of
/// this process's children is the usage of that command.
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
            return Err(format!(
                "the command took longer than {} s; give more with --limit",
                arguments.limit
            )
            .into());
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let wall_s = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err(status.to_string().into());
    }
    let (cpu_s, peak_mib) = children_usage()?;
    let cost = Cost {
        wall_s,
        cpu_s,
        peak_mib,
    };
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

#[cfg(unix)]
fn children_usage() -> Outcome<(f64, f64)> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;

    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    // `ru_maxrss` is in KiB, but in bytes on macOS.
    let unit = if cfg!(target_os = "macos") {
        1.0
    } else {
        1024.0
    };
    let peak = usage.max_rss() as f64 * unit / (1024.0 * 1024.0);
    Ok((cpu.num_microseconds() as f64 / 1e6, peak))
}

#[cfg(not(unix))]
fn children_usage() -> Outcome<(f64, f64)> {
    Ok((f64::NAN, f64::NAN))
}

/// A client, its command, and the cost of its runs.
struct Client {
    name: &'static str,
    command: Vec<String>,
    lines: u64,
    latency: Duration,
    with_tls: bool,
    /// Connections of the last run.
    connections: u64,
    costs: Vec<Cost>,
}

/// The client under test, and the two it is compared with.
const HASHFERRY: &str = "hashferry";
const GENERATED: &str = "generated SDK client";
const FLOOR: &str = "floor, by hand";

/// Placeholder for the report's path, which differs from run to run.
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
                with_tls: name.ends_with("TLS"),
                connections: 0,
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
            for (name, lines, latency, extra) in [
                (HASHFERRY, lines, 0, &max[..]),
                ("hashferry, TLS", lines, 0, &max),
                ("hashferry, default flags", lines, 0, &[]),
                ("hashferry, default flags, TLS", lines, 0, &[]),
                ("hashferry, 256 calls", lines, 0, &many),
                ("hashferry, 5 ms away", far_lines, 5, &[]),
                ("hashferry, 50 ms away", far_lines, 50, &[]),
                ("hashferry, 5 ms away, max", far_lines, 5, &max),
                ("hashferry, 50 ms away, max", far_lines, 50, &max),
            ] {
                let mut command = vec![text(&binary)?, "ingest", "s3://bench/list"];
                command.extend(options.split_whitespace());
                command.extend(extra);
                add(name, lines, latency, &command);
            }
            for (name, verb, extra) in [
                (
                    "hashferry verify",
                    "verify",
                    &options.split_whitespace().collect(),
                ),
                (
                    "hashferry verify, TLS",
                    "verify",
                    &options.split_whitespace().collect(),
                ),
                (
                    "hashferry lookup",
                    "lookup",
                    &vec!["--table", "sha256", "--progress", "none"],
                ),
                (
                    "hashferry lookup, TLS",
                    "lookup",
                    &vec!["--table", "sha256", "--progress", "none"],
                ),
            ] {
                let mut command = vec![text(&binary)?, verb, "s3://bench/list"];
                command.extend(max);
                command.extend(extra);
                add(name, lines, 0, &command);
            }
        }
        None => println!("hashferry is left out: no binary found. Give --binary."),
    }
    let own = std::env::current_exe()?;
    for (name, mode) in [(GENERATED, "generated"), (FLOOR, "floor")] {
        add(name, lines, 0, &[text(&own)?, "--self-client", mode]);
    }
    if let Some(python) = &arguments.python {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/baseline.py");
        let base = [text(python)?, text(&script)?, "s3://bench/list", "sha256"];
        for (name, extra) in [
            ("boto3, readline", None),
            ("boto3, iter_lines", Some("--iter-lines")),
        ] {
            let command: Vec<&str> = base.into_iter().chain(extra).collect();
            add(name, arguments.python_lines, 0, &command);
        }
    }
    Ok(clients)
}

fn text(path: &Path) -> Outcome<&str> {
    Ok(path
        .to_str()
        .ok_or_else(|| format!("the path {} is not valid UTF-8", path.display()))?)
}

fn compare(arguments: &Arguments) -> Outcome {
    let mut clients = clients(arguments)?;
    let sink = Sink::start()?;
    for round in 1..=arguments.rounds {
        for client in &mut clients {
            let cost = run(client, &sink, arguments.limit)
                .map_err(|error| format!("{}: {error}", client.name))?;
            client.connections = sink.connections();
            eprintln!(
                "round {round} of {}: {}, {} items in {:.2} s, {:.2} s of CPU time",
                arguments.rounds, client.name, client.lines, cost.wall_s, cost.cpu_s
            );
            client.costs.push(cost);
        }
    }
    print(&clients, arguments.rounds);
    if let Some(client) = clients.iter().find(|c| c.name == HASHFERRY) {
        measure_start(client, &sink, arguments)?;
    }
    Ok(())
}

/// Measures the time to the first acknowledged items and the time of `--help`.
fn measure_start(client: &Client, sink: &Sink, arguments: &Arguments) -> Outcome {
    let (mut first, mut help) = (Vec::new(), Vec::new());
    for _ in 0..if arguments.bench { 11 } else { 1 } {
        let client = Client {
            lines: 1000,
            costs: Vec::new(),
            command: client.command.clone(),
            ..*client
        };
        let started = Instant::now();
        run(&client, sink, arguments.limit)?;
        let acknowledged = sink.first().ok_or("no item was acknowledged")?;
        first.push(acknowledged.duration_since(started).as_secs_f64() * 1e3);
        let started = Instant::now();
        let output = Command::new(&client.command[0]).arg("--help").output()?;
        help.push(started.elapsed().as_secs_f64() * 1e3);
        if !output.status.success() {
            return Err(format!("--help failed: {}", output.status).into());
        }
    }
    let show = |values| Spread::from_values(values).show(|ms| format!("{ms:.0}"));
    println!(
        "\nFrom the start of the process: first items acknowledged after {} ms, --help printed after {} ms",
        show(first),
        show(help)
    );
    Ok(())
}

/// Runs a client once and checks that each line has arrived exactly once.
fn run(client: &Client, sink: &Sink, limit: u64) -> Outcome<Cost> {
    let state = tempfile::tempdir()?;
    let report = state.path().join("report.json");
    let command = client.command.iter().map(|word| match word.as_str() {
        REPORT => text(&report).map(str::to_owned),
        word => Ok(word.to_owned()),
    });
    let authority = state.path().join("authority.pem");
    std::fs::write(&authority, sink.authority())?;
    let endpoint = sink.endpoint(client.with_tls);
    sink.reset(client.lines, client.latency);
    let output = Command::new(std::env::current_exe()?)
        .args(["--limit", &limit.to_string(), "--"])
        .args(command.collect::<Outcome<Vec<_>>>()?)
        .env("AWS_ENDPOINT_URL_S3", &endpoint)
        .env("AWS_ENDPOINT_URL_DYNAMODB", &endpoint)
        .env("SSL_CERT_FILE", &authority)
        .env_remove("SSL_CERT_DIR")
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

/// Median, minimum and maximum.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    minimum: f64,
    maximum: f64,
}

impl Spread {
    fn from_costs(client: &Client, value: impl Fn(&Cost) -> f64) -> Self {
        Self::from_values(client.costs.iter().map(value).collect())
    }

    fn from_values(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            minimum: values[0],
            maximum: values[values.len() - 1],
        }
    }

    fn show(&self, digits: impl Fn(f64) -> String) -> String {
        let Self {
            median,
            minimum,
            maximum,
        } = *self;
        match minimum == maximum {
            true => digits(median),
            false => format!(
                "{} ({}–{})",
                digits(median),
                digits(minimum),
                digits(maximum)
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
        "connections",
        "CPU ÷ generated",
        "CPU ÷ floor",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    let cpu =
        |client: &Client| Spread::from_costs(client, |cost| cost.cpu_s * 1e6 / client.lines as f64);
    let cpu_by_name = |name: &str| {
        let client = clients.iter().find(|c| c.name == name);
        client.filter(|c| !c.costs.is_empty()).map(cpu)
    };
    let (generated, floor) = (cpu_by_name(GENERATED), cpu_by_name(FLOOR));
    for client in clients.iter().filter(|client| !client.costs.is_empty()) {
        let rate = Spread::from_costs(client, |cost| client.lines as f64 / cost.wall_s);
        let peak = Spread::from_costs(client, |cost| cost.peak_mib);
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
            client.connections.to_string(),
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
    println!("\nMedian of rounds (minimum–maximum); rounds: {rounds}\n");
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
