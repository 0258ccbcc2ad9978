//! Runs that are killed at random moments, and servers that do everything wrong.
//!
//! ```text
//! cargo bench --profile dev --bench soak -- [kills] [chaos] [--kills 200] [--seed 1]
//! ```
//!
//! `kills`: the real binary is killed by SIGKILL at a random moment, after as many
//! items as were drawn, or after as many milliseconds, so that its beginning and
//! its end are hit too; it is started again, killed again or not, until it is
//! done. Every second round the service hands items back, throttles, breaks
//! connections before and after the write, and answers out of order. `chaos`: the
//! whole real list, with every S3 body cut at a random place, 2 % of the writes
//! answered with 500, 2 % with a broken connection of which half were written,
//! and 5 % of the items handed back, all at once, beside a run that nothing
//! disturbs.
//!
//! What fails: a hash that is lost, books of the whole that are not those of the
//! list, a rejected line that is not named once, a run that cannot be taken up.
//! Times are printed, not judged.

#[path = "../tests/it/common/mod.rs"]
#[allow(dead_code)] // what only the tests take of it
mod common;

use clap::Parser;
use common::binary::{Ended, Run};
use common::fake_dynamo::{Chance, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const URI: &str = "s3://lists/list.txt";

/// How long a run may take to get as far as it is to be killed at.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Parser)]
struct Args {
    /// What to run [default: both]
    only: Vec<String>,
    /// Rounds of `kills`.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Lines of the list that `kills` uses.
    #[arg(long, default_value_t = 20_000)]
    lines: usize,
    /// Write units a second of `chaos`.
    #[arg(long, default_value_t = 5000)]
    rate: u64,
    /// Of all chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A list, and what must become of it.
struct List {
    text: Vec<u8>,
    hashes: BTreeSet<Vec<u8>>,
    /// Lines that are hashes, the repeated ones too.
    hash_lines: u64,
    skipped: u64,
    /// Numbers of the lines that are none.
    rejected: Vec<u64>,
}

impl List {
    /// The first `n` lines of the real list, and of every hundred one comment, one
    /// line that is no hash and one hash once more.
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

    /// What is wrong with a run that is done: nothing, when nothing is.
    fn against(&self, ended: &Ended, dynamo: &FakeDynamo, rejects: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expect = |what: &str, got: u64, wanted: u64| {
            if got != wanted {
                wrong.push(format!("{what}: {got}, not {wanted}"));
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
                "{} rejected lines are named, not the {} there are",
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

/// What the service does wrong in a round of `kills`.
fn faults(random: &mut fastrand::Rng) -> FaultPlan {
    let plan = FaultPlan::default().chance(Chance {
        seed: random.u64(..),
        unprocessed: 0.05,
        throttled: 0.02,
        drop_before: 0.01,
        drop_after: 0.01,
        server_error: 0.01,
    });
    // Some answers come when dozens of later calls have come in.
    (0..20).fold(plan, |plan, _| {
        let k = random.u64(1..600);
        plan.at(k, Fault::HoldUntil(k + random.u64(1..40)))
    })
}

fn kills(args: &Args) -> u64 {
    let list = List::new(args.lines);
    let mut random = fastrand::Rng::with_seed(args.seed);
    let (mut killed, mut taken_up, mut from_begin, mut again, mut wrong) = (0, 0, 0, 0, 0);
    let begun = Instant::now();
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
        let kept = [
            "--rate",
            "max",
            "--checkpoint",
            &checkpoint,
            // So often that even these short runs are taken up in the middle.
            "--checkpoint-interval",
            "20ms",
            "--rejects",
            &rejects,
        ];
        let run = || Run::ingest(URI, &kept).s3(&s3).dynamo(&dynamo);
        let mut done = None;
        for _ in 0..random.u64(1..4) {
            if random.bool() && round % 2 == 0 {
                dynamo.set_plan(faults(&mut random));
            }
            let mut started = run().start();
            if random.f64() < 0.7 {
                let items = dynamo.stats().items_written + random.u64(0..list.hash_lines);
                dynamo.wait_until(
                    LIMIT.min(Duration::from_millis(random.u64(50..1200))),
                    |s| s.items_written >= items,
                );
            } else {
                std::thread::sleep(Duration::from_millis(random.u64(0..800)));
            }
            started.kill();
            let ended = started.end();
            if ended.status == -1 {
                killed += 1;
            } else {
                done = Some(ended);
                break;
            }
        }
        let ended = done.unwrap_or_else(|| {
            let last = run().end();
            match last.report["resumed_from"].as_u64() {
                Some(0) | None => from_begin += 1,
                Some(_) => taken_up += 1,
            }
            last
        });
        let named = std::fs::read_to_string(&rejects).unwrap_or_default();
        for what in list.against(&ended, &dynamo, &named) {
            wrong += 1;
            println!("round {round}: {what}\n{}", ended.stderr);
        }
        let stats = dynamo.stop();
        again += stats.items_stored - stats.distinct;
        if round % 10 == 0 || round == args.kills {
            println!(
                "  {round} rounds: {killed} kills; last runs: {taken_up} taken up at a mark, {from_begin} at the \
                 beginning; {again} items written again; {wrong} things wrong; {:.0} s",
                begun.elapsed().as_secs_f64()
            );
        }
    }
    wrong
}

fn chaos(args: &Args) -> u64 {
    let list = List::new(usize::MAX);
    let mut random = fastrand::Rng::with_seed(args.seed);
    println!(
        "chaos: the real list, {} lines, at {} write units/s; seed {}",
        list.lines(),
        args.rate,
        args.seed
    );
    let cuts = (1..2000).fold(S3Plan::default(), |plan, k| {
        plan.get(k, S3Fault::EndAfter(random.u64(1..200_000)))
    });
    let wrongs = FaultPlan::default().chance(Chance {
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
        ("undisturbed", S3Plan::default(), FaultPlan::default()),
        ("disturbed", cuts, wrongs),
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
        let kept = [
            "--rate",
            &rate,
            "--rejects",
            rejects.to_str().expect("text"),
        ];
        let begun = Instant::now();
        let ended = Run::ingest(URI, &kept).s3(&s3).dynamo(&dynamo).end();
        times.push(begun.elapsed().as_secs_f64());
        let named = std::fs::read_to_string(&rejects).unwrap_or_default();
        let found = list.against(&ended, &dynamo, &named);
        wrong += found.len() as u64;
        for what in found {
            println!("{name}: {what}\n{}", ended.stderr);
        }
        let stats = dynamo.stop();
        println!(
            "  {name}: {:.1} s; {} GETs, {} calls, {} items handed back, {} connections broken, {} answers with 500; \
             {} of {} hashes there, {} items written again",
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
        "  time, disturbed to undisturbed: {:.2}",
        times[1] / times[0]
    );
    wrong
}
