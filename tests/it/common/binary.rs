//! The real binary, as a person or a script runs it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, Command, Output, Stdio};

use serde_json::Value;

use super::fake_dynamo::FakeDynamo;
use super::fake_s3::FakeS3;

/// The secret that must never be seen anywhere.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The columns of a verification's books; the first is the sum of the others.
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

/// The same of a look-up.
pub const LOOKUP_COLUMNS: [&str; 6] = [
    "lines",
    "known",
    "unknown",
    "invalid",
    "error",
    "unanswered",
];

/// How the binary is run: its arguments, environment and input.
pub struct Run {
    command: Command,
    input: Option<Vec<u8>>,
    /// Whether standard input stays open after the input.
    open: bool,
    report: PathBuf,
    dir: tempfile::TempDir,
}

/// How it ended.
pub struct Ended {
    /// Exit status; -1 when a signal ended it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    /// The report, when one was written.
    pub report: Value,
    /// The rejected lines, when a file was asked for.
    pub rejects: Vec<Value>,
}

impl Run {
    /// `hashferry ARGS…` with no AWS configuration but static credentials and a
    /// region, in an empty folder.
    pub fn new<S: AsRef<str>>(args: &[S]) -> Self {
        Self::of(env!("CARGO_BIN_EXE_hashferry"), args)
    }

    /// The same with another of the package's binaries, by its path.
    pub fn of<S: AsRef<str>>(binary: &str, args: &[S]) -> Self {
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
        Self::reported("ingest", source, args)
    }

    /// `hashferry verify SOURCE --table sha256 ARGS…` with a report.
    pub fn verify<S: AsRef<str>>(source: &str, args: &[S]) -> Self {
        Self::reported("verify", source, args)
    }

    /// `hashferry lookup LIST ARGS…` with a report; of table sha256, unless another or an
    /// API is named.
    pub fn lookup<S: AsRef<str>>(list: &str, args: &[S]) -> Self {
        match args.iter().any(|a| a.as_ref() == "--api") {
            true => {
                let mut run = Self::new(&["lookup", list, "--progress", "none"]);
                run.command.args(args.iter().map(AsRef::as_ref));
                let report = run.report.clone();
                run.command.arg("--report").arg(report);
                run
            }
            false => Self::reported("lookup", list, args),
        }
    }

    fn reported<S: AsRef<str>>(command: &str, source: &str, args: &[S]) -> Self {
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

    /// Keeps the rejected lines.
    pub fn rejects(mut self) -> Self {
        let path = self.dir.path().join("rejects.jsonl");
        self.command.arg("--rejects").arg(path);
        self
    }

    /// Puts a file into the folder it runs in.
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.dir.path().join(name), bytes).expect("a file");
        self
    }

    /// The folder it runs in.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Starts it, to be signalled or waited for.
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
                // One that stops reading early breaks the pipe: its right.
                let _ = stdin.write_all(&bytes);
                open.then_some(stdin)
            })
        });
        Started {
            child,
            feeder,
            run: self,
            said: String::new(),
            stderr: None,
            follower: None,
        }
    }

    /// Runs it to its end.
    pub fn end(self) -> Ended {
        self.start().end()
    }
}

/// A binary that is running.
pub struct Started {
    child: Child,
    feeder: Option<std::thread::JoinHandle<Option<ChildStdin>>>,
    run: Run,
    /// What was read of stderr so far, and the rest of it.
    said: String,
    stderr: Option<BufReader<ChildStderr>>,
    /// Who reads the rest, where somebody does.
    follower: Option<std::thread::JoinHandle<String>>,
}

impl Started {
    /// Sends a signal.
    #[cfg(unix)]
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }

    /// Ends it as the system does when there is no asking.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
    }

    /// Waits until it has said `text` on stderr.
    pub fn wait_for_stderr(&mut self, text: &str) {
        let stderr = self.child.stderr.take().expect("piped, and not taken yet");
        let mut stderr = BufReader::new(stderr);
        while !self.said.contains(text) {
            let n = stderr.read_line(&mut self.said).expect("UTF-8");
            assert!(n > 0, "expected {text:?} in:\n{}", self.said);
        }
        self.stderr = Some(stderr);
    }

    /// Waits until it has said `text` on stderr, and has the rest read beside, so that
    /// it never waits for a reader. What it has said so far.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    pub fn follow_stderr(&mut self, text: &str) -> String {
        self.wait_for_stderr(text);
        let mut stderr = self.stderr.take().expect("it was waited for");
        self.follower = Some(std::thread::spawn(move || {
            let mut rest = String::new();
            stderr.read_to_string(&mut rest).expect("UTF-8");
            rest
        }));
        self.said.clone()
    }

    /// Waits until it has said `text` on stderr, and closes that: nobody reads it any
    /// more. What it has said so far.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    pub fn close_stderr(&mut self, text: &str) -> String {
        self.wait_for_stderr(text);
        self.stderr = None;
        self.said.clone()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        if let Some(follower) = self.follower.take() {
            self.said += &follower.join().expect("it reads");
        }
        if let Some(stderr) = &mut self.stderr {
            stderr.read_to_string(&mut self.said).expect("UTF-8");
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
        Ended {
            status: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).expect("UTF-8"),
            stderr: self.said + &String::from_utf8(stderr).expect("UTF-8"),
            report,
            rejects,
        }
    }
}

/// The lines of `text`, each JSON.
pub fn answers(text: &str) -> Vec<Value> {
    text.lines()
        .map(|l| serde_json::from_str(l).expect("a JSON line"))
        .collect()
}

impl Ended {
    /// A number of the report.
    pub fn number(&self, field: &str) -> u64 {
        self.report[field]
            .as_f64()
            .unwrap_or_else(|| panic!("no {field} in {}\n{}", self.report, self.stderr))
            as u64
    }

    /// Asserts the exit status, and books that balance.
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

    /// Asserts what the columns of the books hold: lines, written, duplicates,
    /// rejected, skipped, failed.
    pub fn assert_books(&self, expected: [u64; 6]) {
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

    /// Asserts what the columns of a verification's books hold: as
    /// [`VERIFY_COLUMNS`].
    pub fn assert_verified(&self, expected: [u64; 8]) {
        assert_eq!(
            VERIFY_COLUMNS.map(|c| self.number(c)),
            expected,
            "{}\n{}",
            self.report,
            self.stderr
        );
    }

    /// Asserts what the columns of a look-up's books hold: as [`LOOKUP_COLUMNS`].
    pub fn assert_looked_up(&self, expected: [u64; 6]) {
        assert_eq!(
            LOOKUP_COLUMNS.map(|c| self.number(c)),
            expected,
            "{}\n{}",
            self.report,
            self.stderr
        );
    }

    /// The answers of a look-up, one a line.
    pub fn answers(&self) -> Vec<Value> {
        answers(&self.stdout)
    }

    /// Asserts that stderr says each of `parts`, and nothing of a panic.
    pub fn assert_says(&self, parts: &[&str]) {
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
