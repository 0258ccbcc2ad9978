//! The options of an [`App`](crate::commands::serve::app::App), and the limits of a request.

use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::Rate;
use crate::list::matchmeta::given::GivenRules;
use std::time::Duration;

/// How long a request may take.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Hashes or paths of one request, at most.
pub(crate) const MAX_ASKED: usize = 1000;

/// How long answers of the table are remembered, unless that is said.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(60);

/// How many of them.
pub(crate) const CACHE_ENTRIES: u64 = 100_000;

/// What an [`App`](crate::commands::serve::app::App) is told.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The table's name.
    pub table: String,
    /// The algorithm of its hashes; without one, what its key's name says.
    pub algorithm: Option<Algorithm>,
    /// Its key, where it may not be described.
    pub key: Option<KeyAttribute>,
    /// Case of text keys. Default: as a look at the table shows, else upper.
    pub case: Option<Case>,
    /// Among these the value of its sort key, where it has one.
    pub sort: Vec<Attribute>,
    /// How paths are normalised. What is left open, the table's items show.
    pub rules: GivenRules,
    /// Read capacity units a second.
    pub rate: Rate,
    /// BatchGetItem calls in flight.
    pub concurrency: Concurrency,
    /// Whether reads are strongly consistent.
    pub consistent: bool,
    /// How long answers of the table are remembered; zero: not at all.
    pub cache_ttl: Duration,
    /// How many, an item of more than 1 KiB counting as several.
    pub cache_entries: u64,
    /// How long a request may take, its body not counted.
    pub request_limit: Duration,
}

impl Options {
    /// What is usual, for `table`.
    pub(crate) fn new(table: impl Into<String>) -> Options {
        Options {
            table: table.into(),
            algorithm: None,
            key: None,
            case: None,
            sort: Vec::new(),
            rules: GivenRules::default(),
            rate: Rate::Auto,
            concurrency: Concurrency::Auto,
            consistent: false,
            cache_ttl: CACHE_TTL,
            cache_entries: CACHE_ENTRIES,
            request_limit: REQUEST_LIMIT,
        }
    }
}
