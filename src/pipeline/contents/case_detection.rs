//! Detection of the key case by BatchGetItem, for a table whose inspected items show no
//! case or both.
//!
//! If the table has no hash of a batch, the batch is retried in the other case, until a
//! hash is found. A hash found in the first case confirms that case. A hash found in the
//! other case selects the other, but is an error if the user gave the first. In a table
//! with both cases, each missing hash is also looked up in the other case.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_get::plain_json::{ItemJsonTemplate, PlainResponse};
use crate::dynamodb::client::operation::BatchGet;
use crate::dynamodb::key_schema::{KeySchema, KeyType};
use crate::flow::capacity::ConsumedCapacity;
use crate::pipeline::contents::settings::{KeyCase, SettingSyntax, case_name};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Error code of a look-up in a case that the table does not have.
pub(crate) const WRONG_CASE: &str = "WrongCase";

/// Number of missing hashes after which a given case is confirmed.
const CHECKED_HASHES: usize = 1000;

/// Look-ups of whole items in the case that the table has.
#[derive(Debug)]
pub(crate) struct CaseDetector {
    /// Templates of the first and the other case.
    templates: [ItemJsonTemplate; 2],
    cases: [Case; 2],
    is_given: bool,
    table: String,
    settings: SettingSyntax,
    /// Index of the detected case, [`UNKNOWN`] or [`BOTH`].
    state: AtomicU8,
    /// Number of hashes found in neither case.
    absent_hashes: AtomicUsize,
}

/// No hash was found yet.
const UNKNOWN: u8 = 2;

/// The table holds hashes in both cases.
const BOTH: u8 = 3;

/// Response in the case that the table has.
#[derive(Debug)]
pub(crate) struct CaseResponse {
    /// Parsed response.
    pub(crate) response: PlainResponse,
    /// Bytes of the response body.
    pub(crate) bytes: usize,
    /// Number of calls.
    pub(crate) calls: u64,
}

impl CaseDetector {
    /// Look-ups in `table`, with templates of [`ItemJsonTemplate::new`]. If `case` is open,
    /// they try both cases until a hash is found.
    ///
    /// # Errors
    /// As [`ItemJsonTemplate::new`].
    pub(crate) fn new(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: KeyCase,
        sort: &[Attribute],
        settings: SettingSyntax,
    ) -> Result<CaseDetector> {
        let (first, state, is_given) = match case {
            KeyCase::Known(case) => (case, 0, true),
            KeyCase::Both => (Case::default(), BOTH, false),
            KeyCase::Unknown(given) => (given.unwrap_or_default(), UNKNOWN, given.is_some()),
        };
        let other = match first {
            Case::Upper => Case::Lower,
            Case::Lower => Case::Upper,
        };
        let template = |case| ItemJsonTemplate::new(table, schema, algorithm, case, sort);
        let is_text = schema.partition.kind == KeyType::S;
        Ok(CaseDetector {
            templates: [template(first)?, template(other)?],
            cases: [first, other],
            is_given,
            table: table.to_owned(),
            settings,
            state: AtomicU8::new(if is_text { state } else { 0 }),
            absent_hashes: AtomicUsize::new(0),
        })
    }

    /// Gets `hashes` from `table`: at most
    /// [`MAX_GET_KEYS`](crate::dynamodb::batch_get::request::MAX_GET_KEYS), without
    /// duplicates.
    ///
    /// # Errors
    /// The error of the call; code [`WRONG_CASE`] if the user gave a case that is not the
    /// table's.
    pub(crate) async fn get<T: BatchGet>(
        &self,
        table: &T,
        hashes: &[Hash],
        consistent: bool,
    ) -> Result<CaseResponse, CallError> {
        let state = self.state.load(Ordering::Relaxed);
        let index = usize::from(state == 1);
        let first = self.get_in_case(index, table, hashes, consistent).await?;
        let missing = match state {
            BOTH => missing_hashes(hashes, &first.response),
            UNKNOWN if !first.response.items.is_empty() && self.record_case(0) => return Ok(first),
            UNKNOWN => missing_hashes(hashes, &first.response),
            _ => return Ok(first),
        };
        if missing.is_empty() {
            return Ok(first);
        }
        let other = self.get_in_case(1, table, &missing, consistent).await?;
        match (state, other.response.items.is_empty()) {
            (UNKNOWN, true) => self.count_absent(missing.len()),
            (UNKNOWN, false) if self.is_given && self.state.load(Ordering::Relaxed) == UNKNOWN => {
                return Err(self.wrong_case());
            }
            (UNKNOWN, false) => {
                self.record_case(1);
            }
            _ => {}
        }
        Ok(merge_responses(first, other))
    }

    async fn get_in_case<T: BatchGet>(
        &self,
        index: usize,
        table: &T,
        hashes: &[Hash],
        consistent: bool,
    ) -> Result<CaseResponse, CallError> {
        let template = &self.templates[index];
        // A request of 100 SHA-256 keys has some 9 KB.
        let mut body = Vec::with_capacity(12 * 1024);
        template.write_request(hashes, consistent, &mut body);
        let body = table.batch_get(Bytes::from(body)).await?;
        let answer = template.parse_response(&body, hashes.len());
        Ok(CaseResponse {
            response: answer.map_err(CallError::unrecognised_response)?,
            bytes: body.len(),
            calls: 1,
        })
    }

    /// Records that a hash was found in the case `index`. Returns true if it is the only
    /// case. If a hash was found in the other case meanwhile, the table has both.
    pub(super) fn record_case(&self, index: u8) -> bool {
        let (before, after) = (Ordering::Relaxed, Ordering::Relaxed);
        match self.state.compare_exchange(UNKNOWN, index, before, after) {
            Ok(_) if index == 1 => tracing::info!(
                "the keys of table {} are in {} case: using it",
                self.table,
                case_name(self.cases[1])
            ),
            Err(BOTH) => return false,
            Err(other) if other != index => {
                self.state.store(BOTH, Ordering::Relaxed);
                tracing::warn!("table {} has hashes in both cases", self.table);
                return false;
            }
            _ => {}
        }
        true
    }

    /// Stops the look-ups in the other case after enough missing hashes, if the user gave
    /// the case.
    fn count_absent(&self, hashes: usize) {
        let absent = self.absent_hashes.fetch_add(hashes, Ordering::Relaxed) + hashes;
        if self.is_given && absent >= CHECKED_HASHES {
            let (before, after) = (Ordering::Relaxed, Ordering::Relaxed);
            // An error means that the case is detected already.
            let _ = self.state.compare_exchange(UNKNOWN, 0, before, after);
        }
    }

    /// Error for a given case that is not the table's.
    pub(crate) fn wrong_case_error(&self) -> Error {
        let flag = [("--case", case_name(self.cases[1]))];
        Error::usage(self.wrong_case().message)
            .with_hint(format!("give {}", self.settings.with_values(&flag)))
    }

    fn wrong_case(&self) -> CallError {
        let other = case_name(self.cases[1]);
        CallError {
            class: ErrorClass::Permanent,
            code: Some(WRONG_CASE.to_owned()),
            message: format!(
                "table {} has hashes in {other} case, but they were looked up in {} case: give {}",
                self.table,
                case_name(self.cases[0]),
                self.settings.with_values(&[("--case", other)])
            ),
            reasons: Vec::new(),
            no_credentials: false,
        }
    }
}

/// Hashes that are neither found nor unprocessed in `answer`.
fn missing_hashes(hashes: &[Hash], answer: &PlainResponse) -> Vec<Hash> {
    let found = answer.items.iter().map(|item| item.hash);
    let present: HashSet<Hash> = found.chain(answer.unprocessed.iter().copied()).collect();
    let missing = hashes.iter().filter(|hash| !present.contains(hash));
    missing.copied().collect()
}

/// Merges the responses of both cases.
fn merge_responses(first: CaseResponse, other: CaseResponse) -> CaseResponse {
    let mut answer = first.response;
    answer.consumed = sum_consumed(answer.consumed.as_ref(), other.response.consumed.as_ref());
    answer.items.extend(other.response.items);
    answer.unprocessed.extend(other.response.unprocessed);
    CaseResponse {
        response: answer,
        bytes: first.bytes.max(other.bytes),
        calls: first.calls + other.calls,
    }
}

/// Detects the case in which `table` has one of `hashes`; `None` if it has none of them.
/// Also returns the RCU consumed.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the table has one in the
/// other case than the user gave.
pub(crate) async fn detect_case<T: BatchGet>(
    either: &CaseDetector,
    table: &T,
    hashes: &[Hash],
) -> Result<(Option<Case>, f64)> {
    if hashes.is_empty() {
        return Ok((None, 0.0));
    }
    match either.get(table, hashes, false).await {
        Ok(answered) => {
            let index = either.state.load(Ordering::Relaxed);
            let case = either.cases.get(usize::from(index)).copied();
            let consumed = answered.response.consumed;
            Ok((case, consumed.map_or(0.0, |c| c.total)))
        }
        Err(error) if error.code.as_deref() == Some(WRONG_CASE) => Err(either.wrong_case_error()),
        Err(error) => {
            if !either.is_given {
                tracing::warn!(
                    "cannot detect the case of the keys of table {}, using {} case (--case sets it): {error}",
                    either.table,
                    case_name(either.cases[0])
                );
            }
            Ok((None, 0.0))
        }
    }
}

/// Total capacity consumed by two calls; `None` if one is unknown.
fn sum_consumed(
    one: Option<&ConsumedCapacity>,
    other: Option<&ConsumedCapacity>,
) -> Option<ConsumedCapacity> {
    let total = one?.total + other?.total;
    Some(ConsumedCapacity {
        total,
        ..ConsumedCapacity::default()
    })
}
