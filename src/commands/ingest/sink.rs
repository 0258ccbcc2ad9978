//! Destination of batches: the table, or nothing in a dry run.

use crate::aws::error::CallError;
use crate::base::error::Result;
use crate::commands::ingest::options::Ingest;
use crate::dynamodb::client::operation::{BatchWrite, PreparedOperation};
use crate::dynamodb::item::ItemTemplate;
use bytes::Bytes;

/// Destination of batches.
#[derive(Debug)]
pub(super) enum Sink {
    Table {
        batches: PreparedOperation,
        /// DeleteItem, for a refresh with conditional deletes; `None` otherwise.
        deletes: Option<PreparedOperation>,
    },
    DryRun,
}

impl Sink {
    /// The destination for batches of `template`.
    pub(super) fn new(ingest: &Ingest, template: &ItemTemplate) -> Result<Sink> {
        let options = &ingest.options;
        Ok(match options.dry_run {
            true => Sink::DryRun,
            false => Sink::Table {
                batches: PreparedOperation::new(
                    &ingest.aws,
                    "BatchWriteItem",
                    &options.table.name,
                )?,
                deletes: match template.has_conditional_deletes() {
                    true => Some(PreparedOperation::new(
                        &ingest.aws,
                        "DeleteItem",
                        &options.table.name,
                    )?),
                    false => None,
                },
            },
        })
    }
}

impl BatchWrite for Sink {
    async fn batch_write(&self, body: Bytes) -> Result<Bytes, CallError> {
        match self {
            Sink::Table { batches, .. } => batches.batch_write(body).await,
            Sink::DryRun => Ok(Bytes::from_static(br#"{"UnprocessedItems":{}}"#)),
        }
    }

    async fn delete_item(&self, body: Bytes) -> Result<Bytes, CallError> {
        match self {
            Sink::Table {
                deletes: Some(operation),
                ..
            } => operation.send(body).await,
            Sink::Table { .. } => Err(CallError::unrecognised_response(
                "no DeleteItem was prepared",
            )),
            Sink::DryRun => Ok(Bytes::from_static(b"{}")),
        }
    }
}
