//! Runs the real binary, as a user or a script does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, Command, Output, Stdio};

use serde_json::Value;

use super::fake_dynamo::FakeDynamo;
use super::fake_s3::FakeS3;

/// The secret that must never appear in any output.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The line counts of a verification; the first is the sum of the others.
pub const VERIFY_COLUMNS: [&str; 8] = [
    "lines",
    "found",
    "missing",
    "different",
    "duplicates",
    "rejected",
    "skipped",
    "unchecked",
];

/// The line counts of a look-up.
pub const LOOKUP_COLUMNS: [&str; 6] = [
    "lines",
    "known",
    "unknown",
    "invalid",
    "error",
    "unanswered",
];

/// A run of the binary: arguments, environment and input.
pub struct Run {
    command: Command,
    input: Option<Vec<u8>>,
    /// True if standard input stays open after the input.
    open: bool,
    report: PathBuf,
    dir: tempfile::TempDir,
}

/// Result of a run.
pub struct Finished {
    /// Exit status; -1 if a signal ended it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    /// The report; null if none was written.
    pub report: Value,
    /// The rejected lines; empty without --rejects.
    pub rejects: Vec<Value>,
}

impl Run {
    /// `hashferry ARGS…` in an empty folder. The AWS configuration consists of static
    /// credentials and a region.
    pub fn new<S: AsRef<str>>(args: &[S]) -> Self {
        Self::with_binary(env!("CARGO_BIN_EXE_hashferry"), args)
    }

    /// As [`new`](Self::new), with the path of another binary of the package.
    pub fn with_binary<S: AsRef<str>>(binary: &str, args: &[S]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(binary);
        command
            .args(args.iter().map(AsRef::as_ref))
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", dir.path())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(dir.path());
        let report = dir.path().join("report.json");
        Self {
            command,
            input: None,
            open: false,
            report,
            dir,
        }
    }

    /// `hashferry ingest SOURCE --table sha256 ARGS…` with a report.
    pub fn ingest<S: AsRef<str>>(source: &str, args: &[S]) -> Self {
        Self::with_report("ingest", source, args)
    }

    /// `hashferry verify SOURCE --table sha256 ARGS…` with a report.
    pub fn verify<S: AsRef<str>>(source: &str, args: &[S]) -> Self {
        Self::with_report("verify", source, args)
    }

    /// `hashferry lookup LIST ARGS…` with a report, in table sha256 unless ARGS name a
    /// table or an API.
    pub fn lookup<S: AsRef<str>>(list: &str, args: &[S]) -> Self {
        match args.iter().any(|a| a.as_ref() == "--api") {
            true => {
                let mut run = Self::new(&["lookup", list, "--progress", "none"]);
                run.command.args(args.iter().map(AsRef::as_ref));
                let report = run.report.clone();
                run.command.arg("--report").arg(report);
                run
            }
            false => Self::with_report("lookup", list, args),
        }
    }

    fn with_report<S: AsRef<str>>(command: &str, source: &str, args: &[S]) -> Self {
        let mut run = Self::new(&[command, source]);
        run.command.args(["--progress", "none"]);
        if !args.iter().any(|a| a.as_ref() == "--table") {
            run.command.args(["--table", "sha256"]);
        }
        run.command.args(args.iter().map(AsRef::as_ref));
        let report = run.report.clone();
        run.command.arg("--report").arg(report);
        run
    }

    /// Uses this DynamoDB.
    pub fn dynamo(mut self, server: &FakeDynamo) -> Self {
        self.command
            .env("AWS_ENDPOINT_URL_DYNAMODB", server.endpoint());
        self
    }

    /// Uses this S3.
    pub fn s3(mut self, server: &FakeS3) -> Self {
        self.command.env("AWS_ENDPOINT_URL_S3", server.endpoint());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Bytes for standard input.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Bytes for standard input, which then stays open as a terminal does.
    pub fn open_input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.open = true;
        self.input(bytes)
    }

    /// Adds --rejects.
    pub fn rejects(mut self) -> Self {
        let path = self.dir.path().join("rejects.jsonl");
        self.command.arg("--rejects").arg(path);
        self
    }

    /// Writes a file to the run's folder.
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.dir.path().join(name), bytes).expect("a file");
        self
    }

    /// The run's folder.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Starts the binary.
    pub fn start(mut self) -> Started {
        self.command
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary starts");
        let open = self.open;
        let feeder = self.input.take().map(|bytes| {
            let mut stdin = child.stdin.take().expect("piped");
            std::thread::spawn(move || {
                // A program that stops reading early breaks the pipe, which is allowed.
                let _ = stdin.write_all(&bytes);
                open.then_some(stdin)
            })
        });
        Started {
            child,
            feeder,
            run: self,
            stderr_text: String::new(),
            stderr: None,
            follower: None,
        }
    }

    /// Runs the binary to its end.
    pub fn run(self) -> Finished {
        self.start().wait()
    }
}

/// A running binary.
pub struct Started {
    child: Child,
    feeder: Option<std::thread::JoinHandle<Option<ChildStdin>>>,
    run: Run,
    /// Text read from stderr so far, and its reader.
    stderr_text: String,
    stderr: Option<BufReader<ChildStderr>>,
    /// Thread that reads the rest of stderr, if started.
    follower: Option<std::thread::JoinHandle<String>>,
}

impl Started {
    /// Sends a signal.
    #[cfg(unix)]
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
    }

    /// Waits until stderr contains `text`.
    pub fn wait_for_stderr(&mut self, text: &str) {
        let stderr = self.child.stderr.take().expect("piped, and not taken yet");
        let mut stderr = BufReader::new(stderr);
        while !self.stderr_text.contains(text) {
            let n = stderr.read_line(&mut self.stderr_text).expect("UTF-8");
            assert!(n > 0, "expected {text:?} in:\n{}", self.stderr_text);
        }
        self.stderr = Some(stderr);
    }

    /// Waits until stderr contains `text`, then reads the rest in a thread, so that the
    /// process never blocks. Returns the text so far.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    pub fn follow_stderr(&mut self, text: &str) -> String {
        self.wait_for_stderr(text);
        let mut stderr = self.stderr.take().expect("it was waited for");
        self.follower = Some(std::thread::spawn(move || {
            let mut rest = String::new();
            stderr.read_to_string(&mut rest).expect("UTF-8");
            rest
        }));
        self.stderr_text.clone()
    }

    /// Waits until stderr contains `text`, then closes it. Returns the text so far.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    pub fn close_stderr(&mut self, text: &str) -> String {
        self.wait_for_stderr(text);
        self.stderr = None;
        self.stderr_text.clone()
    }

    /// Waits until the process ends.
    pub fn wait(mut self) -> Finished {
        if let Some(follower) = self.follower.take() {
            self.stderr_text += &follower.join().expect("it reads");
        }
        if let Some(stderr) = &mut self.stderr {
            stderr.read_to_string(&mut self.stderr_text).expect("UTF-8");
        }
        let Output {
            status,
            stdout,
            stderr,
        } = self.child.wait_with_output().expect("it ends");
        if let Some(feeder) = self.feeder {
            feeder.join().expect("the feeder ends");
        }
        let report = std::fs::read(&self.run.report)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let rejects = std::fs::read_to_string(self.run.dir.path().join("rejects.jsonl"))
            .unwrap_or_default()
            .lines()
            .map(|l| serde_json::from_str(l).expect("a JSON line"))
            .collect();
        Finished {
            status: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).expect("UTF-8"),
            stderr: self.stderr_text + &String::from_utf8(stderr).expect("UTF-8"),
            report,
            rejects,
        }
    }
}

/// Parses each line of `text` as JSON.
pub fn answers(text: &str) -> Vec<Value> {
    text.lines()
        .map(|l| serde_json::from_str(l).expect("a JSON line"))
        .collect()
}

impl Finished {
    /// A number in the report.
    pub fn number(&self, field: &str) -> u64 {
        self.report[field]
            .as_f64()
            .unwrap_or_else(|| panic!("no {field} in {}\n{}", self.report, self.stderr))
            as u64
    }

    /// Asserts the exit status, and that every line is accounted for.
    pub fn assert_status(&self, status: i32) {
        assert_eq!(
            self.status, status,
            "stderr:\n{}\nreport: {}",
            self.stderr, self.report
        );
        if !self.report.is_null() {
            assert_eq!(self.report["exit"], status, "{}", self.report);
            let columns: &[_] = match self.report["command"].as_str() {
                Some("verify") => &VERIFY_COLUMNS[1..],
                Some("lookup") => &LOOKUP_COLUMNS[1..],
                _ => &["written", "duplicates", "rejected", "skipped", "failed"],
            };
            let sum: u64 = columns.iter().map(|c| self.number(c)).sum();
            assert_eq!(self.number("lines"), sum, "{}", self.report);
        }
    }

    /// Asserts the line counts: lines, written, duplicates, rejected, skipped, failed.
    pub fn assert_line_counts(&self, expected: [u64; 6]) {
        let columns = [
            "lines",
            "written",
            "duplicates",
            "rejected",
            "skipped",
            "failed",
        ];
        assert_eq!(
            columns.map(|c| self.number(c)),
            expected,
            "{}\n{}",
            self.report,
            self.stderr
        );
    }

    /// Asserts the line counts of a verification, in the order of [`VERIFY_COLUMNS`].
    pub fn assert_verified(&self, expected: [u64; 8]) {
        assert_eq!(
            VERIFY_COLUMNS.map(|c| self.number(c)),
            expected,
            "{}\n{}",
            self.report,
            self.stderr
        );
    }

    /// Asserts the line counts of a look-up, in the order of [`LOOKUP_COLUMNS`].
    pub fn assert_looked_up(&self, expected: [u64; 6]) {
        assert_eq!(
            LOOKUP_COLUMNS.map(|c| self.number(c)),
            expected,
            "{}\n{}",
            self.report,
            self.stderr
        );
    }

    /// The answers of a look-up, one per line.
    pub fn answers(&self) -> Vec<Value> {
        answers(&self.stdout)
    }

    /// Asserts that stderr contains each of `parts`, and no panic.
    pub fn assert_stderr(&self, parts: &[&str]) {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "expected {part:?} in:\n{}",
                self.stderr
            );
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}
