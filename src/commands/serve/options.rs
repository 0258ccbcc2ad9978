//! The options of an [`App`](crate::commands::serve::app::App), and the limits of a request.

use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::list::matchmeta::given::GivenRules;
use std::time::Duration;

/// Default timeout of a request.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of hashes or paths in one request.
pub(crate) const MAX_BATCH: usize = 1000;

/// Default time that answers are cached.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(60);

/// Default maximum number of cached answers.
pub(crate) const CACHE_ENTRIES: u64 = 100_000;

/// Options of an [`App`](crate::commands::serve::app::App).
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The table's name.
    pub table: String,
    /// The algorithm of the table's hashes; `None` to read it from the key's name or contents.
    pub algorithm: Option<Algorithm>,
    /// The table's partition key; `None` to read it from DescribeTable.
    pub key: Option<KeyAttribute>,
    /// Case of text keys; `None` to detect it from the table's items, else upper.
    pub case: Option<Case>,
    /// Attributes that include the value of the table's sort key, if it has one.
    pub sort_key: Vec<Attribute>,
    /// Rules of path normalisation; rules that are not set are detected from the table's items.
    pub rules: GivenRules,
    /// Target rate, in RCU/s.
    pub rate: RateSetting,
    /// Maximum number of BatchGetItem calls in flight.
    pub concurrency: Concurrency,
    /// True for strongly consistent reads.
    pub consistent: bool,
    /// Time that answers are cached; zero turns the cache off.
    pub cache_ttl: Duration,
    /// Maximum number of cached answers; an item larger than 1 KiB counts as several.
    pub cache_entries: u64,
    /// Timeout of a request, without reading its body.
    pub request_timeout: Duration,
}

impl Options {
    /// The default options for `table`.
    pub(crate) fn new(table: impl Into<String>) -> Options {
        Options {
            table: table.into(),
            algorithm: None,
            key: None,
            case: None,
            sort_key: Vec::new(),
            rules: GivenRules::default(),
            rate: RateSetting::Auto,
            concurrency: Concurrency::Auto,
            consistent: false,
            cache_ttl: CACHE_TTL,
            cache_entries: CACHE_ENTRIES,
            request_timeout: REQUEST_TIMEOUT,
        }
    }
}
