//! `hashferry keepalive` as an AWS Lambda function, which a schedule invokes
//! once a minute.
//!
//! One invocation is one round: the table is described, and then one key that
//! cannot exist is deleted and read (see `keepalive`). The event names the
//! table; with `until_min` a table that is at the minimum of its auto scaling is
//! left alone. The answer, and a log line of the same, say which it was.
//!
//! ```json
//! {"table": "sha256", "until_min": true}
//! ```
//!
//! What goes wrong fails the invocation, and is over with it: the next event
//! comes in a minute. How it is built and deployed: `scripts/keepalive`.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::printable::shown;
use crate::commands::lambda::runtime;
use crate::dynamodb::describe_table;
use crate::dynamodb::scaling::{auto_scaling, keepalive};
use crate::dynamodb::table::Billing;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::process::ExitCode;

/// The event: what the schedule sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The table's name.
    pub table: String,
    /// Whether to leave the table alone at its auto scaling minimum.
    pub until_min: bool,
}

impl Event {
    /// Reads an event. One with anything that is not known is refused: a
    /// misspelt `until_min` would mean traffic for ever.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), with what was expected. Of what was sent, it shows
    /// no more than the name of a field.
    pub fn read(event: &Value) -> Result<Event> {
        let wrong = |what: String| {
            Error::usage(what).hint(
                r#"the schedule's input has to be {"table":"NAME","until_min":true}; without until_min there is traffic at the minimum too"#,
            )
        };
        let Some(fields) = event.as_object() else {
            return Err(wrong("the event is no JSON object".to_owned()));
        };
        let mut read = Event {
            table: String::new(),
            until_min: false,
        };
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("table", Value::String(table)) if !table.is_empty() => {
                    table.clone_into(&mut read.table);
                }
                ("table", _) => return Err(wrong("the event's table is no name".to_owned())),
                ("until_min", Value::Bool(until_min)) => read.until_min = *until_min,
                ("until_min", _) => {
                    return Err(wrong(
                        "the event's until_min is neither true nor false".to_owned(),
                    ));
                }
                _ => {
                    let name = shown(name.as_bytes(), 40);
                    return Err(wrong(format!("the event has an unknown field: {name}")));
                }
            }
        }
        if read.table.is_empty() {
            return Err(wrong("the event names no table".to_owned()));
        }
        Ok(read)
    }
}

/// What was done. Field names and meanings are a promise to whoever invokes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The table's name.
    pub table: String,
    /// Its provisioned write capacity units a second; nothing when it is paid
    /// per request.
    pub write_units: Option<u64>,
    /// The least that auto scaling lowers them to; nothing when that was not
    /// asked for.
    pub min: Option<u64>,
    /// Write units that were consumed: 0 when nothing was done.
    pub consumed: f64,
    /// Whether the table is at its minimum, and the schedule can be deleted;
    /// nothing when that was not asked for.
    pub at_minimum: Option<bool>,
    /// Global indexes, which are not helped by this.
    pub not_helped: Vec<String>,
}

/// One round, as `event` says.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when the event is not as it must be, or nothing can bring
/// the table down; [`ErrorKind::Write`](crate::base::error::ErrorKind::Write) when DynamoDB or auto scaling refuses.
pub async fn handle(aws: &Aws, event: &Value) -> Result<Answer> {
    let event = Event::read(event)?;
    let table = describe_table::describe(aws, &event.table, None).await?;
    let descent = match event.until_min {
        true => Some(auto_scaling::descent(aws, &table).await?),
        false => None,
    };
    let at_minimum = descent.map(|d| d.is_done());
    let consumed = match at_minimum {
        Some(true) => 0.0,
        _ => keepalive::once(aws, &table).await?,
    };
    Ok(Answer {
        write_units: match table.billing {
            Billing::Provisioned { write_units } => Some(write_units),
            Billing::OnDemand { .. } => None,
        },
        min: descent.map(|d| d.min),
        consumed,
        at_minimum,
        not_helped: keepalive::not_helped(&table)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        table: table.name,
    })
}

/// Answers the events of Lambda until it ends this process; only a failure comes
/// back.
pub fn main() -> ExitCode {
    runtime::run("hashferry keepalive --table NAME --until-min", serve())
}

async fn serve() -> Result<()> {
    // Once for all events; the credentials in the environment are as old as it.
    let aws = &Aws::load(&AwsOptions::default()).await?;
    let handler = service_fn(async |event: LambdaEvent<Value>| {
        let answer = handle(aws, &event.payload).await.map_err(Failed)?;
        tracing::info!(
            table = answer.table,
            write_units = answer.write_units,
            min = answer.min,
            consumed = answer.consumed,
            at_minimum = answer.at_minimum,
            not_helped = answer.not_helped.join(", "),
            "{}",
            match answer.at_minimum {
                Some(true) => "at its minimum: nothing was done, the schedule can be deleted",
                _ => "consumed write units; nothing was changed",
            }
        );
        Ok::<_, Failed>(answer)
    });
    let ended = lambda_runtime::run(handler).await;
    ended.map_err(runtime::runtime_error)
}

/// Why an invocation failed, as Lambda is told. Its runtime's library logs what
/// it is for debugging, so that is a sentence too.
struct Failed(Error);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)?;
        match self.0.what_to_do() {
            Some(hint) => write!(f, "; what to do: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Self {
        Diagnostic {
            error_type: format!("hashferry.{:?}", failed.0.kind()),
            error_message: format!("{failed:?}"),
        }
    }
}
