//! The destination of batches: the table, or nothing in a dry run.

use crate::aws::config::Aws;
use crate::aws::config::AwsOptions;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::hash::Case;
use crate::base::shutdown::Stop;
use crate::commands::ingest::options::Ingest;
use crate::commands::item_options::{with_release, with_rules};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute::Value;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::client::operation::{BatchWrite, RawOperation};
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::dynamodb::scaling::raise;
use crate::dynamodb::scaling::raise::Raise;
use crate::dynamodb::scaling::restore_note;
use crate::dynamodb::scaling::restore_note::Raised;
use crate::dynamodb::table;
use crate::dynamodb::table::{Billing, Table};
use crate::flow::backoff::Backoff;
use crate::flow::capacity::Capacity;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_limiter::{CAPACITY_INTERVAL, Pace};
use crate::flow::rate_setting::Rate;
use crate::list::format::kind::Form;
use crate::list::matchmeta::given::GivenRules;
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::list::opened::RELEASE;
use crate::list::prefetch::Ahead;
use crate::pipeline::contents::look;
use crate::pipeline::contents::look::Look;
use crate::pipeline::contents::settings::{Given, Told};
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::counts::{Books, Counts, Meters};
use crate::pipeline::progress::sources::Account;
use crate::pipeline::progress::watermark::{LowWater, Mark};
use crate::pipeline::reader::{Beginning, HAND_OVERS, Reader};
use crate::pipeline::rejects::MaxRejects;
use crate::pipeline::rejects::Rejects;
use crate::pipeline::report;
use crate::pipeline::report::{Outcome, RaisedReport, Report};
use crate::pipeline::useful::Listed;
use crate::pipeline::writer::{End, Writer, WriterOptions};
use crate::source::decompress::codec::Unpack;
use crate::source::sources::Globs;
use crate::source::sources::Named;
use crate::source::sources::Sources;
use bytes::Bytes;
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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
