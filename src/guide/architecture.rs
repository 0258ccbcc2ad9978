//! Architecture: for who works on hashferry, not for who uses it.
//!
//! # Folders
//!
//! Each folder of `src` is a subject. Its `mod.rs` tells its story and names its files.
//! A folder imports from the rows above its own, and files import downwards only:
//! `scripts/check` proves that a topological order of all files exists.
//!
//! | row | folder | subject |
//! |---|---|---|
//! | 1 | `base` | words that all share: errors, hashes, records, numbers for people |
//! | 2 | `aws` | the connection: standard chain, credentials, classes of errors |
//! | 2 | `flow` | flow control: token bucket, rate, concurrency, backoff, retries; no SDK |
//! | 3 | `source` | bytes: objects, files and pipes; resumed, listed, decompressed |
//! | 3 | `dynamodb` | everything that knows DynamoDB: items, calls, tables, scaling, prices |
//! | 4 | `list` | text to records: framing, formats, databases, path normalisation |
//! | 5 | `pipeline` | records through the table, each line accounted for |
//! | 6 | `commands` | what hashferry does, a folder a command; none imports another |
//! | 7 | `cli`, `bin` | the command line and the binaries |
//! | – | `local` | the embedded servers: they import nothing of ours |
//!
//! `local` stands aside so that it cannot share the writer's mistakes: only `cli` and the
//! tests use it. `commands/lambda` is the one command that imports another, `serve`.
//!
//! # The way of the data
//!
//! | stage | file | from | to |
//! |---|---|---|---|
//! | open | `source/open.rs`, `list/open.rs` | an object, a file, a pipe | chunks of bytes |
//! | decompress | `source/decompress/` | chunks | text |
//! | detect | `list/detect.rs` | the first bytes | algorithm, format, case |
//! | frame | `list/lines.rs` | chunks | lines, each with its offset |
//! | parse | `list/format/` | a line | a hash, or why it is none |
//! | drop duplicates | `pipeline/dedup.rs`, `pipeline/window.rs` | a hash | new, or a duplicate |
//! | sort, compare | `list/external_sort/`, `pipeline/diff.rs` | records | in order; the difference of two lists |
//! | compose | `flow/retry_queue.rs` | records, new and unprocessed | full batches |
//! | encode | `dynamodb/item.rs`, `dynamodb/batch_write.rs` | a batch | the request's JSON |
//! | pay | `flow/token_bucket.rs`, `flow/rate_limiter.rs` | write units | when they may be spent |
//! | send | `pipeline/writer.rs`, `dynamodb/client/` | requests | acknowledged items |
//! | account | `pipeline/progress/`, `pipeline/rejects.rs` | outcomes | books, watermark, checkpoint |
//!
//! The reader drives the first half, the writer the second. A bounded channel is between
//! them: a slow table slows the reading, and nothing piles up. `commands/ingest` puts them
//! together. A verification drives the first half again and asks the table; a look-up asks
//! for the hashes of any list; a plan drives the first half alone.
//!
//! # What always holds
//!
//! * **Each line is in exactly one column of the books:** `lines = written + duplicates +
//!   rejected + skipped + failed`; a refresh adds `deleted`, `unchanged` and `kept`. Each
//!   column is counted where its event happens. The sum is checked at the end of each run.
//! * **An item is `written` when DynamoDB has acknowledged it,** and not before. A put
//!   without an answer is sent again; a put can be repeated.
//! * **No batch names a key twice,** and none is larger than DynamoDB takes.
//! * **Each request pays at the token bucket,** retries too.
//! * **Everything is bounded:** a line, the channel, a decoder's window, the retry queue,
//!   calls in flight. Memory does not grow with the list.
//! * **What decides knows no socket.** Framing, parsing, encoding, batching and the bucket
//!   are plain functions of bytes and instants.
//!
//! # Duplicates
//!
//! The last 65,536 different hashes of the input are remembered exactly. One that comes
//! again while it is remembered counts in `duplicates` and is not sent. One that comes
//! later is written again: the table does not change, and it counts as `written`.
//!
//! # Where a change goes
//!
//! | change | place |
//! |---|---|
//! | a list format | its parser in `list/format/`, its name in `list/format/kind.rs`, its signs in `list/format/sniff.rs`, its arm in `list/format/row_parser.rs` |
//! | a codec | `source/decompress/codec.rs` and `decoder.rs` |
//! | a rule about throttling | `flow/rate_controller.rs` |
//! | a call of DynamoDB | `dynamodb/client/` and a file beside `dynamodb/batch_write.rs` |
//! | a backend of look-ups | `commands/lookup/`, beside `table_backend.rs` |
//! | a metric of the API | `commands/serve/metrics.rs` |
//! | a flag | `cli/flags/` and the command's `options.rs` |
//!
//! # The checkpoint
//!
//! A run resumes at its watermark: the position before which every line is accounted for.
//! The checkpoint holds it with the identity of the list, so that a changed list is
//! refused. It is a file under a lock, or an object in S3 that one run at a time owns.
