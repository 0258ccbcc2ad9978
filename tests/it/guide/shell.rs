//! Commands as a user types them: in bash, with the binary on the PATH and the AWS
//! settings of the embedded servers in the environment.

use super::fixture::Fixture;
use hashferry::embedded::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Output of a server once it listens.
const LISTENING: [&str; 2] = ["listening on http://", "export AWS_ENDPOINT_URL_DYNAMODB="];

/// Result of a command.
pub(super) struct Ended {
    pub(super) status: i32,
    /// Standard output and standard error, as a terminal shows them.
    pub(super) output: String,
}

pub(super) struct Shell<'a> {
    fixture: &'a Fixture,
    /// Servers in the background, stopped with the shell.
    servers: RefCell<Vec<Server>>,
}

/// A server that listens.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Stops the server and its child processes.
    fn stop(mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        killpg(group, Signal::SIGTERM).expect("it runs");
        let mut rest = String::new();
        let _ = self.output.read_to_string(&mut rest);
        self.child.wait().expect("it ends");
    }
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        self.servers.take().into_iter().for_each(Server::stop);
    }
}

impl<'a> Shell<'a> {
    pub(super) fn new(fixture: &'a Fixture) -> Self {
        Self {
            fixture,
            servers: RefCell::default(),
        }
    }

    fn command(&self, text: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_hashferry"));
        let mut path = binary.parent().expect("a folder").as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("exec 2>&1; {text}")])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.fixture.home())
            .env("LC_ALL", "C.UTF-8")
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL_S3", self.fixture.servers.s3_endpoint())
            .env(
                "AWS_ENDPOINT_URL_DYNAMODB",
                self.fixture.servers.dynamodb_endpoint(),
            )
            .current_dir(self.fixture.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A signal to the group also stops the children.
            .process_group(0);
        command
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, text: &str) -> Ended {
        let output = self.command(text).output().expect("bash starts");
        Ended {
            status: output.status.code().unwrap_or(-1),
            output: String::from_utf8(output.stdout).expect("UTF-8"),
        }
    }

    /// Starts a server in the background, and returns once it listens.
    pub(super) fn start(&self, text: &str, at: &str) {
        let server = self.listening(text, at);
        self.servers.borrow_mut().push(server);
    }

    /// Runs a server until it listens, and stops it.
    pub(super) fn run_until_it_listens(&self, text: &str, at: &str) {
        self.listening(text, at).stop();
    }

    fn listening(&self, text: &str, at: &str) -> Server {
        let mut child = self.command(text).spawn().expect("bash starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut said = String::new();
        while !LISTENING.iter().any(|text| said.contains(text)) {
            let n = output.read_line(&mut said).expect("UTF-8");
            assert!(
                n > 0,
                "{at}: the server ended before it listened:\n{text}\n{said}"
            );
        }
        Server { child, output }
    }
}
