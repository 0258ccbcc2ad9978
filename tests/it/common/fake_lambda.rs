//! A fake Lambda Runtime API: it passes events to a function, one at a time, and
//! records its responses. Without an event the function waits, as in Lambda.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use super::wire::{Answer, Request, Server};

/// API version, as a path.
const API: &str = "/2018-06-01/runtime";

/// Timeout of an invocation.
const INVOKE_TIMEOUT: Duration = Duration::from_secs(60);

/// Response of a function.
#[derive(Debug, PartialEq)]
pub struct FunctionOutput {
    /// Path after the version: `invocation/ID/response`, …
    pub path: String,
    /// The body.
    pub body: Value,
}

/// The running server.
pub struct FakeLambda {
    server: Server,
    events: mpsc::UnboundedSender<String>,
    sent: Receiver<FunctionOutput>,
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
                        _ => record_output(&request, path, &answers),
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

    /// Sends an event as raw text, and waits for the function's response.
    pub fn invoke(&self, event: &str) -> FunctionOutput {
        self.events.send(event.to_owned()).expect("it runs");
        let sent = self.sent.recv_timeout(INVOKE_TIMEOUT);
        sent.expect("the function answers")
    }
}

/// The next event, numbered from 1.
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

fn record_output(request: &Request, path: &str, answers: &Sender<FunctionOutput>) -> Answer {
    // The test may have ended.
    let _ = answers.send(FunctionOutput {
        path: path.trim_start_matches('/').to_owned(),
        body: serde_json::from_slice(&request.body).unwrap_or_default(),
    });
    Answer::new(202, r#"{"status":"OK"}"#).header("Content-Type", "application/json")
}
