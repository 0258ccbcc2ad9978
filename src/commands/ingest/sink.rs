//! The destination of batches: the table, or nothing in a dry run.

use crate::aws::error::CallError;
use crate::base::error::Result;
use crate::commands::ingest::options::Ingest;
use crate::dynamodb::client::operation::{BatchWrite, RawOperation};
use crate::dynamodb::item::ItemTemplate;
use bytes::Bytes;

/// Where batches go.
#[derive(Debug)]
pub(super) enum Sink {
    Table {
        batches: RawOperation,
        /// Of a refresh that deletes items of one source alone.
        deletes: Option<RawOperation>,
    },
    /// A dry run.
    Nowhere,
}

impl Sink {
    /// Where batches of items made by `template` go.
    pub(super) fn of(ingest: &Ingest, template: &ItemTemplate) -> Result<Sink> {
        let with = &ingest.with;
        Ok(match with.dry_run {
            true => Sink::Nowhere,
            false => Sink::Table {
                batches: RawOperation::new(&ingest.aws, "BatchWriteItem", &with.table)?,
                deletes: match template.deletes_alone() {
                    true => Some(RawOperation::new(&ingest.aws, "DeleteItem", &with.table)?),
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
            Sink::Nowhere => Ok(Bytes::from_static(br#"{"UnprocessedItems":{}}"#)),
        }
    }

    async fn delete_item(&self, body: Bytes) -> Result<Bytes, CallError> {
        match self {
            Sink::Table {
                deletes: Some(operation),
                ..
            } => operation.send(body).await,
            Sink::Table { .. } => Err(CallError::strange_answer("no DeleteItem was prepared")),
            Sink::Nowhere => Ok(Bytes::from_static(b"{}")),
        }
    }
}
