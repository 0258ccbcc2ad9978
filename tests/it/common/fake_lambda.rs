//! The Lambda Runtime API: hands a function its events, one at a time, and
//! takes its answers. When there is no event, the function waits, as it does in
//! Lambda.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use super::wire::{Answer, Request, Server};

/// The version of the API, which is its path.
const API: &str = "/2018-06-01/runtime";

/// How long a function may take before it is taken for dead.
const LIMIT: Duration = Duration::from_secs(60);

/// What a function sent back.
#[derive(Debug, PartialEq)]
pub struct Sent {
    /// What follows the version in the path: `invocation/ID/response`, …
    pub path: String,
    /// The body.
    pub body: Value,
}

/// The running server.
pub struct FakeLambda {
    server: Server,
    events: mpsc::UnboundedSender<String>,
    sent: Receiver<Sent>,
}

impl FakeLambda {
    pub fn start() -> Self {
        let (events, waiting) = mpsc::unbounded_channel();
        let (answers, sent) = channel();
        let waiting = Arc::new(Mutex::new((0, waiting)));
        let server = Server::start(move |mut connection| {
            let (waiting, answers) = (Arc::clone(&waiting), answers.clone());
            async move {
                while let Some(request) = connection.read_request().await? {
                    let path = request.path.strip_prefix(API).unwrap_or_default();
                    let answer = match (request.method.as_str(), path) {
                        ("GET", "/invocation/next") => next(&waiting).await,
                        _ => taken(&request, path, &answers),
                    };
                    connection.answer(&answer).await?;
                }
                Ok(())
            }
        });
        Self {
            server,
            events,
            sent,
        }
    }

    /// Host and port, for AWS_LAMBDA_RUNTIME_API.
    pub fn host(&self) -> String {
        self.server.endpoint().replace("http://", "")
    }

    /// Hands over an event, as it goes over the wire, and waits for what comes
    /// of it.
    pub fn invoke(&self, event: &str) -> Sent {
        self.events.send(event.to_owned()).expect("it runs");
        let sent = self.sent.recv_timeout(LIMIT);
        sent.expect("the function answers")
    }
}

/// The next event, with a number of its own from 1.
async fn next(waiting: &Mutex<(u64, mpsc::UnboundedReceiver<String>)>) -> Answer {
    let mut waiting = waiting.lock().await;
    let Some(event) = waiting.1.recv().await else {
        return std::future::pending().await;
    };
    waiting.0 += 1;
    Answer::new(200, event)
        .header("Content-Type", "application/json")
        .header(
            "Lambda-Runtime-Aws-Request-Id",
            format!("request-{}", waiting.0),
        )
        .header("Lambda-Runtime-Deadline-Ms", "4102444800000")
        .header(
            "Lambda-Runtime-Invoked-Function-Arn",
            "arn:aws:lambda:us-east-1:123456789012:function:keepalive",
        )
}

fn taken(request: &Request, path: &str, answers: &Sender<Sent>) -> Answer {
    // A test that has ended takes no more answers.
    let _ = answers.send(Sent {
        path: path.trim_start_matches('/').to_owned(),
        body: serde_json::from_slice(&request.body).unwrap_or_default(),
    });
    Answer::new(202, r#"{"status":"OK"}"#).header("Content-Type", "application/json")
}
