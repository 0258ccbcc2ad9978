//! hashferry streams lists of file hashes from S3 into DynamoDB, as fast as the
//! table can take them and no faster, and proves at the end that every line is
//! accounted for.
//!
//! # The way of the data
//!
//! One module a stage, in the order in which a list passes through them:
//!
//! | stage | from | to |
//! |---|---|---|
//! | [`source`] | an S3 object, a file, standard input | chunks of bytes |
//! | [`decode`] | chunks, compressed or not | text, and what kind it is |
//! | [`lines`] | chunks | lines, each with its place |
//! | [`format`](mod@format) | lines | rows, and where in each the hash stands |
//! | [`record`] | a line | a hash, or why it is none |
//! | [`window`], [`distinct`] | a hash | whether it was taken before |
//! | [`arranging`], [`sorter`] | records | the same in order, or the difference of two lists |
//! | [`item`] | hashes | the request's JSON, and the answer read back |
//! | [`batch`] | records, fresh or handed back | what the next call carries |
//! | [`limiter`], [`pace`] | write capacity units | when they may be spent |
//! | [`writer`] | batches | acknowledged items |
//! | [`books`], [`rejects`], [`report`] | what became of each line | the account |
//!
//! [`reader`] drives the first half, [`writer`] the second; a bounded channel is
//! between them, so that a slow table slows the reading and nothing piles up.
//! [`ingest`] puts them together: it is what `hashferry ingest` runs and what a
//! program of your own embeds, as [`Ingest`]. Beside the way stand [`aws`], the
//! seam to the SDK; [`capacity`], [`control`] and [`rate`], which decide how fast, and
//! [`concurrency`], by how many calls at a time; [`backoff`], how soon again;
//! [`readback`], which reads items; [`scaling`] and [`keepalive`], by which a table's capacity goes up and comes down by itself;
//! [`raise`], which raises it for a run and brings it back; [`lowwater`], below which
//! every line is settled, and [`checkpoint`], from where a run can be taken up;
//! `contents`, a look at the table before the first write or question;
//! [`durable`], the small files that outlive a run that is killed; [`workdir`], where
//! large ones go, and `rds`, NIST's databases of hashes, which are read as lists.
//! [`plan`] drives the first half without the second, to say before a run what it
//! will take; [`prices`] is what that and the report reckon with. [`verify`] drives
//! it again after a run, all of it or a [`sample`], and [`ask`]s the table for each
//! hash: it is what `hashferry verify` runs, and [`Verify`] for programs. [`lookup`] asks
//! for the hashes of any list, a table or an API, and answers line by line: it is what
//! `hashferry lookup` runs, and [`Lookup`] for programs; what both of them have to ask is
//! [`waiting`] for its call. `serve` is that API over HTTP. `local` is
//! an S3 and a DynamoDB on this machine, [`cli`] the command line, and `lambda` the
//! keep-alive as an AWS Lambda function. [`matchmeta`] makes paths comparable, whose
//! hashes are a list like any other.
//!
//! # What always holds
//!
//! * **Each line is in exactly one column of the books:** `lines = written +
//!   duplicates + rejected + skipped + failed`. The columns are counted where
//!   each thing happens, and the sum is checked at the end of every run.
//! * **An item is `written` when DynamoDB has said so,** and not before. What was
//!   sent and not acknowledged is sent again; a put can be repeated.
//! * **No batch names a key twice,** and none is larger than DynamoDB takes.
//! * **Whatever is sent has paid at the token bucket,** retries too.
//! * **Everything is bounded:** a line, the channel, a decoder's window, the queue of what must be
//!   sent again, calls in flight. Memory does not grow with the list.
//! * **What decides knows no socket.** Framing, parsing, encoding, batching and
//!   the bucket are plain functions of bytes and instants.
//!
//! # Duplicates
//!
//! The last 65,536 different hashes of the input are remembered exactly (see
//! [`window`]). One that comes again while it is remembered is counted in
//! `duplicates` and not sent. One that comes again later is written again, which
//! changes nothing in the table, and counts as `written`.
//!
//! # Who may import whom
//!
//! Each layer only those before it; `scripts/check` sees to it.
//!
//! 1. `printable`; then `error`, `algorithm`, `attribute`, `backoff`, `durable`, `prices`
//! 2. `lines`, `extra`, `matchmeta`, `workdir`; then `record`, `books`; then `format`, `shape`; then
//!    `decode`, `window`, `item`, `batch`, `limiter`, `rejects`, `sample`, `sorter`; then `distinct`;
//!    then `capacity`, `ask`, `columns`, `concurrency`, `identity`, `rds`; then `accounts`, `waiting`; then
//!    `lowwater`; then `control`: no SDK, no sockets
//! 3. `aws`
//! 4. `bootstrap`, `stop`, `source`, `report`, `readback`, `scaling`; then `contents`
//! 5. `pace`, `keepalive`, `raise`, `checkpoint`, `useful`; then `rate`
//! 6. `reader`, `writer`, `arranging`: never each other
//! 7. `ingest`, `lookup`, `plan`, `serve`, `verify`: never each other
//! 8. `cli`, and the binary; `lambda`, and its own
//!
//! `local` imports nothing of the rest, so that it cannot share the writer's
//! mistakes; only `cli` and tests use it.

// In the order of the data's way; what stands beside it comes after.
pub mod source;

pub mod decode;

pub mod lines;

pub mod format;

pub mod record;

pub mod window;

pub mod distinct;

pub mod arranging;

pub mod item;

pub mod batch;

pub mod limiter;

pub mod pace;

pub mod reader;

pub mod writer;

pub mod books;

pub mod rejects;

pub mod report;

pub mod ingest;

pub mod plan;

pub mod verify;

pub mod lookup;

pub mod accounts;
pub mod algorithm;
pub mod ask;
pub mod attribute;
pub mod aws;
pub mod backoff;
pub mod capacity;
pub mod checkpoint;
pub mod columns;
pub mod concurrency;
mod contents;
pub mod control;
pub mod durable;
pub mod error;
pub mod extra;
pub mod identity;
pub mod keepalive;
pub mod lowwater;
pub mod matchmeta;
pub mod prices;
mod printable;
pub(crate) mod probe;
pub mod raise;
pub mod rate;
#[cfg(feature = "rds")]
pub mod rds;
pub mod readback;
pub(crate) mod run_lock;
pub mod sample;
pub mod scaling;
#[cfg(feature = "serve")]
pub mod serve;
pub(crate) mod shape;
pub mod sorter;
pub mod stop;
pub(crate) mod useful;
pub mod waiting;
pub mod workdir;

#[cfg(feature = "local")]
pub mod local;

pub mod cli;

#[cfg(feature = "lambda")]
mod bootstrap;

#[cfg(test)]
mod outage;

#[cfg(feature = "lambda")]
pub mod lambda;

pub use error::{Error, Result};
pub use ingest::{Ingest, IngestBuilder};
pub use lookup::{Lookup, LookupBuilder, LookupReport};
pub use report::Report;
pub use stop::Stop;
pub use verify::{Verify, VerifyBuilder, VerifyReport};

/// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
