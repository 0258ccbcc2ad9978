//! Soak test: runs killed at random moments, and services with random faults.
//!
//! ```text
//! cargo bench --profile dev --bench soak -- [kills] [chaos] [--kills 200] [--seed 1]
//! ```
//!
//! `kills`: SIGKILL ends the real binary after a random number of items or
//! milliseconds, so that start-up and shutdown are hit too. It is restarted, and
//! perhaps killed again, until it finishes. Every second round the service leaves
//! items unprocessed, throttles, breaks connections before and after the write,
//! and responds out of order.
//!
//! `chaos`: the whole real list, with several faults at once. Every S3 body is cut
//! at a random offset, 2 % of the writes get status 500, 2 % a broken connection
//! (half of them after the write), and 5 % of the items stay unprocessed. A run
//! without faults is the comparison.
//!
//! The test fails on a lost hash, on line counts that differ from the list's, on
//! a rejected line that is not recorded exactly once, and on a run that cannot
//! resume. Times are printed, not judged.

#[path = "../tests/it/common/mod.rs"]
#[allow(dead_code)] // some of it is for the tests only
mod common;

use clap::Parser;
use common::binary::{Finished, Run};
use common::fake_dynamo::{Chance, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const URI: &str = "s3://lists/list.txt";

/// Maximum time until a run reaches the point at which it is killed.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Parser)]
struct Args {
    /// Parts to run [default: both]
    only: Vec<String>,
    /// Rounds of `kills`.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Lines of the list that `kills` uses.
    #[arg(long, default_value_t = 20_000)]
    lines: usize,
    /// Rate of `chaos`, in WCU/s.
    #[arg(long, default_value_t = 5000)]
    rate: u64,
    /// Seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A list and the expected outcome of its lines.
struct List {
    text: Vec<u8>,
    hashes: BTreeSet<Vec<u8>>,
    /// Lines that are hashes, duplicates included.
    hash_lines: u64,
    skipped: u64,
    /// Numbers of the lines that are no hashes.
    rejected: Vec<u64>,
}

impl List {
    /// Builds a list from the first `n` lines of the real one. Each hundred lines
    /// get a comment, a line that is no hash, and a duplicate.
    fn new(n: usize) -> Self {
        let real = &include_bytes!("../tests/data/debian-packages.sha256.txt.zst")[..];
        let real = String::from_utf8(zstd::decode_all(real).expect("a list")).expect("text");
        let mut list = List {
            text: Vec::new(),
            hashes: BTreeSet::new(),
            hash_lines: 0,
            skipped: 0,
            rejected: Vec::new(),
        };
        let mut number = 0;
        let mut before = "";
        for (i, hash) in real.lines().map(str::trim).take(n).enumerate() {
            let mut line = |list: &mut List, text: &str| {
                number += 1;
                list.text.extend_from_slice(text.as_bytes());
                list.text
                    .extend_from_slice(if number % 3 == 0 { b"\r\n" } else { b"\n" });
            };
            line(&mut list, hash);
            list.hashes.insert(hash.as_bytes().to_vec());
            list.hash_lines += 1;
            match i % 100 {
                20 => {
                    line(&mut list, "# a comment");
                    list.skipped += 1;
                }
                50 => {
                    line(&mut list, "no hash at all");
                    list.rejected
                        .push(list.hash_lines + list.skipped + list.rejected.len() as u64 + 1);
                }
                80 => {
                    line(&mut list, &before.to_lowercase());
                    list.hash_lines += 1;
                }
                _ => {}
            }
            before = hash;
        }
        list
    }

    fn lines(&self) -> u64 {
        self.hash_lines + self.skipped + self.rejected.len() as u64
    }

    /// Describes each deviation of a finished run; empty if there is none.
    fn deviations(&self, ended: &Finished, dynamo: &FakeDynamo, rejects: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expect = |what: &str, got: u64, wanted: u64| {
            if got != wanted {
                wrong.push(format!("{what}: {got}, expected {wanted}"));
            }
        };
        let there: BTreeSet<Vec<u8>> = dynamo.items().into_keys().collect();
        expect(
            "hashes lost",
            self.hashes.difference(&there).count() as u64,
            0,
        );
        expect(
            "items that are not in the list",
            there.difference(&self.hashes).count() as u64,
            0,
        );
        expect("exit status", ended.status as u64, 3);
        expect("lines", ended.number("lines"), self.lines());
        expect("skipped", ended.number("skipped"), self.skipped);
        expect(
            "rejected",
            ended.number("rejected"),
            self.rejected.len() as u64,
        );
        expect("failed", ended.number("failed"), 0);
        expect(
            "written and duplicates",
            ended.number("written") + ended.number("duplicates"),
            self.hash_lines,
        );
        let named: Vec<u64> = rejects
            .lines()
            .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()?["line"].as_u64())
            .collect();
        if named != self.rejected {
            wrong.push(format!(
                "{} rejected lines are recorded, expected {}",
                named.len(),
                self.rejected.len()
            ));
        }
        wrong
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|o| o == name);
    let mut wrong = 0;
    if wanted("kills") {
        wrong += kills(&args);
    }
    if wanted("chaos") {
        wrong += chaos(&args);
    }
    ExitCode::from(u8::from(wrong > 0))
}

fn table() -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::S))
}

/// Faults of the service in a round of `kills`.
fn faults(random: &mut fastrand::Rng) -> FaultPlan {
    let plan = FaultPlan::default().chance(Chance {
        seed: random.u64(..),
        unprocessed: 0.05,
        throttled: 0.02,
        drop_before: 0.01,
        drop_after: 0.01,
        server_error: 0.01,
    });
    // Some responses are held back until dozens of later calls have arrived.
    (0..20).fold(plan, |plan, _| {
        let k = random.u64(1..600);
        plan.at(k, Fault::HoldUntil(k + random.u64(1..40)))
    })
}

fn kills(args: &Args) -> u64 {
    let list = List::new(args.lines);
    let mut random = fastrand::Rng::with_seed(args.seed);
    let (mut killed, mut resumed, mut from_start, mut rewritten, mut wrong) = (0, 0, 0, 0, 0);
    let started_at = Instant::now();
    println!(
        "kills: {} rounds on a list of {} lines, {} different hashes; seed {}",
        args.kills,
        list.lines(),
        list.hashes.len(),
        args.seed
    );
    for round in 1..=args.kills {
        let (s3, dynamo) = (
            FakeS3::start(S3Config::default().object("lists", "list.txt", list.text.clone())),
            table(),
        );
        let keep = tempfile::tempdir().expect("a folder");
        let path = |name: &str| keep.path().join(name).to_str().expect("text").to_owned();
        let (checkpoint, rejects) = (path("checkpoint"), path("rejects"));
        let options = [
            "--rate",
            "max",
            "--checkpoint",
            &checkpoint,
            // Short enough that even these short runs resume in the middle.
            "--checkpoint-interval",
            "20ms",
            "--rejects",
            &rejects,
        ];
        let run = || Run::ingest(URI, &options).s3(&s3).dynamo(&dynamo);
        let mut done = None;
        for _ in 0..random.u64(1..4) {
            if random.bool() && round % 2 == 0 {
                dynamo.set_plan(faults(&mut random));
            }
            let mut started = run().start();
            if random.f64() < 0.7 {
                let items = dynamo.stats().items_written + random.u64(0..list.hash_lines);
                dynamo.wait_until(
                    RUN_TIMEOUT.min(Duration::from_millis(random.u64(50..1200))),
                    |s| s.items_written >= items,
                );
            } else {
                std::thread::sleep(Duration::from_millis(random.u64(0..800)));
            }
            started.kill();
            let ended = started.wait();
            if ended.status == -1 {
                killed += 1;
            } else {
                done = Some(ended);
                break;
            }
        }
        let ended = done.unwrap_or_else(|| {
            let last = run().run();
            match last.report["resumed_from"].as_u64() {
                Some(0) | None => from_start += 1,
                Some(_) => resumed += 1,
            }
            last
        });
        let named = std::fs::read_to_string(&rejects).unwrap_or_default();
        for what in list.deviations(&ended, &dynamo, &named) {
            wrong += 1;
            println!("round {round}: {what}\n{}", ended.stderr);
        }
        let stats = dynamo.stop();
        rewritten += stats.items_stored - stats.distinct;
        if round % 10 == 0 || round == args.kills {
            println!(
                "  {round} rounds: {killed} kills; last runs: {resumed} resumed in the middle, {from_start} at the \
                 start; {rewritten} items rewritten; {wrong} deviations; {:.0} s",
                started_at.elapsed().as_secs_f64()
            );
        }
    }
    wrong
}

fn chaos(args: &Args) -> u64 {
    let list = List::new(usize::MAX);
    let mut random = fastrand::Rng::with_seed(args.seed);
    println!(
        "chaos: the real list, {} lines, at {} WCU/s; seed {}",
        list.lines(),
        args.rate,
        args.seed
    );
    let cuts = (1..2000).fold(S3Plan::default(), |plan, k| {
        plan.get(k, S3Fault::EndAfter(random.u64(1..200_000)))
    });
    let faults = FaultPlan::default().chance(Chance {
        seed: args.seed,
        unprocessed: 0.05,
        throttled: 0.0,
        drop_before: 0.01,
        drop_after: 0.01,
        server_error: 0.02,
    });
    let mut wrong = 0;
    let mut times = Vec::new();
    for (name, s3_plan, plan) in [
        ("without faults", S3Plan::default(), FaultPlan::default()),
        ("with faults", cuts, faults),
    ] {
        let s3 = FakeS3::start(
            S3Config::default()
                .object("lists", "list.txt", list.text.clone())
                .plan(s3_plan),
        );
        let dynamo = table();
        dynamo.set_plan(plan);
        let keep = tempfile::tempdir().expect("a folder");
        let rejects = keep.path().join("rejects");
        let rate = args.rate.to_string();
        let options = [
            "--rate",
            &rate,
            "--rejects",
            rejects.to_str().expect("text"),
        ];
        let started_at = Instant::now();
        let ended = Run::ingest(URI, &options).s3(&s3).dynamo(&dynamo).run();
        times.push(started_at.elapsed().as_secs_f64());
        let named = std::fs::read_to_string(&rejects).unwrap_or_default();
        let found = list.deviations(&ended, &dynamo, &named);
        wrong += found.len() as u64;
        for what in found {
            println!("{name}: {what}\n{}", ended.stderr);
        }
        let stats = dynamo.stop();
        println!(
            "  {name}: {:.1} s; {} GETs, {} calls, {} items unprocessed, {} connections broken, {} responses with status 500; \
             {} of {} hashes in the table, {} items rewritten",
            times[times.len() - 1],
            s3.stop().get_count,
            stats.calls,
            stats.unprocessed,
            stats.dropped,
            stats.failed,
            stats.distinct,
            list.hashes.len(),
            stats.items_stored - stats.distinct,
        );
    }
    println!(
        "  time with faults, relative to the time without: {:.2}",
        times[1] / times[0]
    );
    wrong
}
