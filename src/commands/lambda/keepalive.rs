//! `hashferry keepalive` as an AWS Lambda function, invoked once a minute by a schedule.
//!
//! Each invocation is one round: it describes the table, then deletes and reads one key
//! that cannot exist (see `keepalive`). The event names the table. With `until_min`, a
//! table at its auto scaling minimum gets no traffic. The answer and a log line report
//! the result.
//!
//! ```json
//! {"table": "sha256", "until_min": true}
//! ```
//!
//! An error fails only its invocation, since the next event follows in a minute.
//! `scripts/keepalive` builds and deploys the function.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::printable::printable_bytes;
use crate::commands::lambda::runtime;
use crate::dynamodb::describe_table;
use crate::dynamodb::scaling::{auto_scaling, keepalive};
use crate::dynamodb::table::Billing;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::process::ExitCode;

/// The event that the schedule sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The table's name.
    pub table: String,
    /// True to send no traffic while the table is at its auto scaling minimum.
    pub until_min: bool,
}

impl Event {
    /// Parses an event. Unknown fields are errors, because a misspelt `until_min` would
    /// cause traffic without end.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the event is invalid. The
    /// message shows field names of the event, but no values.
    pub fn parse(event: &Value) -> Result<Event> {
        let wrong = |what: String| {
            Error::usage(what).with_hint(
                r#"set the schedule's input to {"table":"NAME","until_min":true}; without until_min, traffic continues at the minimum"#,
            )
        };
        let Some(fields) = event.as_object() else {
            return Err(wrong("the event is not a JSON object".to_owned()));
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
                ("table", _) => return Err(wrong("the event's table is not a name".to_owned())),
                ("until_min", Value::Bool(until_min)) => read.until_min = *until_min,
                ("until_min", _) => {
                    return Err(wrong(
                        "the event's until_min is neither true nor false".to_owned(),
                    ));
                }
                _ => {
                    let name = printable_bytes(name.as_bytes(), 40);
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

/// Result of an invocation. Field names and meanings are stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The table's name.
    pub table: String,
    /// Provisioned capacity, in WCU/s; `None` if the table is on-demand.
    pub write_units: Option<u64>,
    /// Auto scaling minimum, in WCU/s; `None` without `until_min`.
    pub min: Option<u64>,
    /// Consumed WCU; 0 if no traffic was sent.
    pub consumed: f64,
    /// True if the table is at its minimum, so that the schedule can be deleted; `None`
    /// without `until_min`.
    pub at_minimum: Option<bool>,
    /// Global secondary indexes, which this traffic does not scale in.
    pub not_helped: Vec<String>,
}

/// Runs one round for `event`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the event is invalid or auto
/// scaling cannot scale the table in;
/// [`ErrorKind::Write`](crate::base::error::ErrorKind::Write) if a call to DynamoDB or auto
/// scaling fails.
pub async fn handle(aws: &Aws, event: &Value) -> Result<Answer> {
    let event = Event::parse(event)?;
    let table = describe_table::describe_table(aws, &event.table, None).await?;
    let descent = match event.until_min {
        true => Some(auto_scaling::describe_scale_in(aws, &table).await?),
        false => None,
    };
    let at_minimum = descent.map(|d| d.is_done());
    let consumed = match at_minimum {
        Some(true) => 0.0,
        _ => keepalive::delete_keepalive_item(aws, &table).await?,
    };
    Ok(Answer {
        write_units: match table.billing {
            Billing::Provisioned { write_units } => Some(write_units),
            Billing::OnDemand { .. } => None,
        },
        min: descent.map(|d| d.min),
        consumed,
        at_minimum,
        not_helped: keepalive::indexes_not_covered(&table)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        table: table.name,
    })
}

/// Handles events until Lambda ends this process. Returns only on failure.
pub fn main() -> ExitCode {
    runtime::run("hashferry keepalive --table NAME --until-min", serve())
}

async fn serve() -> Result<()> {
    // Loaded once: the credentials in the environment are valid as long as the process.
    let aws = &Aws::load(&AwsOptions::default()).await?;
    let handler = service_fn(async |event: LambdaEvent<Value>| {
        let answer = handle(aws, &event.payload).await.map_err(FunctionError)?;
        tracing::info!(
            table = answer.table,
            write_units = answer.write_units,
            min = answer.min,
            consumed = answer.consumed,
            at_minimum = answer.at_minimum,
            not_helped = answer.not_helped.join(", "),
            "{}",
            match answer.at_minimum {
                Some(true) => "the table is at its minimum; the schedule can be deleted",
                _ => "consumed WCU; no data changed",
            }
        );
        Ok::<_, FunctionError>(answer)
    });
    let ended = lambda_runtime::run(handler).await;
    ended.map_err(runtime::runtime_error)
}

/// The error of an invocation. The Lambda runtime library logs its `Debug` form, so that is
/// a readable message too.
struct FunctionError(Error);

impl fmt::Debug for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)?;
        match self.0.hint() {
            Some(hint) => write!(f, "; what to do: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<FunctionError> for Diagnostic {
    fn from(failed: FunctionError) -> Self {
        Diagnostic {
            error_type: format!("hashferry.{:?}", failed.0.kind()),
            error_message: format!("{failed:?}"),
        }
    }
}
