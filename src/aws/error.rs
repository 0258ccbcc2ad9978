//! What a failed call means to the one who made it.
//!
//! The SDK has some fifteen ways to fail; to a writer there are five. A
//! [`CallError`] is one of them, with the service's own code and words kept for
//! the person who reads the message.

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::error::Error as StdError;
use std::fmt;

/// What to do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Refused whole for want of capacity: wait, then send it again.
    Throttled,
    /// May well work the next time: a reset, a time-out, a 5xx, a broken answer.
    Transient,
    /// The credentials have expired; the chain may have newer ones.
    Expired,
    /// The service finds the request invalid: one of its items may be bad.
    Invalid,
    /// Will not work however often it is sent.
    Permanent,
}

/// A failed call: what it means, and what the service said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallError {
    /// What to do about it.
    pub meaning: Meaning,
    /// The service's error code, such as `ResourceNotFoundException`.
    pub code: Option<String>,
    /// What the service, or the way to it, said.
    pub message: String,
    /// Why it was throttled and by which resource, where DynamoDB says so:
    /// `IndexWriteProvisionedThroughputExceeded` and an ARN.
    pub reasons: Vec<(String, String)>,
    /// It was not even sent, for want of credentials.
    pub no_credentials: bool,
}

/// Codes that mean «not now, there is too much».
/// Source: `aws_runtime::retries::classifiers::THROTTLING_ERRORS`, and
/// DynamoDB's own in its API model.
const THROTTLING_CODES: [&str; 15] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "503 SlowDown",
];

/// Codes of passing faults.
const TRANSIENT_CODES: [&str; 9] = [
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalServerError",
    "InternalFailure",
    "InternalError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ReplicatedWriteConflictException",
    "IDPCommunicationError",
];

/// How the code of an expired token begins: S3's is this, DynamoDB's goes on with
/// `Exception`.
pub(super) const EXPIRED_TOKEN: &str = "ExpiredToken";

/// Codes of credentials, or of a clock, that are not valid now and may be soon.
/// The clock: the SDK learns its error from each answer and signs the next
/// request by the corrected time.
const EXPIRED_CODES: [&str; 7] = [
    EXPIRED_TOKEN,
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "RequestInTheFuture",
    "AuthFailure",
];

/// Codes of an item, or a request, that is not as it must be.
const INVALID_CODES: [&str; 2] = [
    "ValidationException",
    "ItemCollectionSizeLimitExceededException",
];

impl CallError {
    /// An answer that came whole and cannot be understood.
    pub(crate) fn strange_answer(why: impl Into<String>) -> Self {
        CallError {
            meaning: Meaning::Transient,
            code: None,
            message: format!("the answer is not what DynamoDB answers: {}", why.into()),
            reasons: Vec::new(),
            no_credentials: false,
        }
    }

    /// What an answer with this HTTP status and error code means.
    pub(crate) fn meaning_of(status: u16, code: Option<&str>, message: &str) -> Meaning {
        match code {
            Some(c) if THROTTLING_CODES.contains(&c) => Meaning::Throttled,
            Some(c) if TRANSIENT_CODES.contains(&c) => Meaning::Transient,
            Some(c) if EXPIRED_CODES.contains(&c) => Meaning::Expired,
            // The signature's time is outside what the service accepts.
            Some("InvalidSignatureException" | "SignatureDoesNotMatch")
                if message.contains("expired") || message.contains("not yet current") =>
            {
                Meaning::Expired
            }
            Some(c) if INVALID_CODES.contains(&c) => Meaning::Invalid,
            _ if status == 429 => Meaning::Throttled,
            _ if status >= 500 || status == 408 => Meaning::Transient,
            // An error page that is no error of the service: a proxy's.
            None if status != 403 && status != 401 => Meaning::Transient,
            _ => Meaning::Permanent,
        }
    }

    /// Sorts what an SDK call returned.
    pub(crate) fn from_sdk<E, R>(error: SdkError<E, R>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
        R: HttpStatus + fmt::Debug,
        SdkError<E, R>: StdError,
    {
        let credentials = error.source().and_then(credentials_error);
        let no_credentials = credentials.is_some();
        let (meaning, code, message) = match &error {
            SdkError::ServiceError(e) => {
                let code = e.err().code().map(str::to_owned);
                let message = e.err().message().unwrap_or_default().to_owned();
                (
                    CallError::meaning_of(e.raw().status(), code.as_deref(), &message),
                    code,
                    message,
                )
            }
            _ if no_credentials => {
                // A provider that has none now may have some later; one that
                // is not there will not come.
                let meaning = match credentials {
                    Some(
                        CredentialsError::CredentialsNotLoaded(_)
                        | CredentialsError::InvalidConfiguration(_),
                    ) => Meaning::Permanent,
                    _ => Meaning::Expired,
                };
                (meaning, None, innermost(&error))
            }
            SdkError::ConstructionFailure(_) => (
                Meaning::Permanent,
                None,
                DisplayErrorContext(&error).to_string(),
            ),
            SdkError::DispatchFailure(e) if e.is_user() => (
                Meaning::Permanent,
                None,
                DisplayErrorContext(&error).to_string(),
            ),
            _ => (Meaning::Transient, None, innermost(&error)),
        };
        let message = match code.as_deref() {
            _ if message.is_empty() => innermost(&error),
            // What follows is the request as the service would have signed it, its
            // session token included.
            Some("InvalidSignatureException" | "SignatureDoesNotMatch") => {
                message.lines().next().unwrap_or_default().to_owned()
            }
            _ => message,
        };
        CallError {
            meaning,
            code,
            message,
            reasons: Vec::new(),
            no_credentials,
        }
    }
}

/// What can be asked of a raw answer, whichever client it came from.
pub(crate) trait HttpStatus {
    /// The HTTP status code.
    fn status(&self) -> u16;
}

impl HttpStatus for aws_smithy_runtime_api::client::orchestrator::HttpResponse {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }
}

/// The credentials error underneath, where there is one.
fn credentials_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(c) = e.downcast_ref::<CredentialsError>() {
            return Some(c);
        }
        next = e.source();
    }
    None
}

/// The last two links of a chain of causes: «dispatch failure» helps nobody,
/// «connection refused» does.
pub(crate) fn innermost(error: &dyn StdError) -> String {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(e) = next {
        let text = e.to_string();
        if chain.last() != Some(&text) {
            chain.push(text);
        }
        next = e.source();
    }
    let from = chain.len().saturating_sub(2);
    chain[from..].join(": ")
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) if self.message.is_empty() && !code.is_empty() => f.write_str(code),
            _ if self.message.is_empty() => f.write_str("an answer that does not say why"),
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }?;
        for (reason, resource) in &self.reasons {
            write!(f, " ({reason}, {resource})")?;
        }
        Ok(())
    }
}

impl StdError for CallError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_and_statuses_are_sorted() {
        for (status, code, message, meaning) in [
            (
                400,
                Some("ProvisionedThroughputExceededException"),
                "",
                Meaning::Throttled,
            ),
            (400, Some("ThrottlingException"), "", Meaning::Throttled),
            (400, Some("RequestLimitExceeded"), "", Meaning::Throttled),
            (429, None, "", Meaning::Throttled),
            (500, Some("InternalServerError"), "", Meaning::Transient),
            (503, None, "", Meaning::Transient),
            (
                400,
                Some("ReplicatedWriteConflictException"),
                "",
                Meaning::Transient,
            ),
            (502, Some("SomethingNew"), "", Meaning::Transient),
            (404, None, "<html>proxy</html>", Meaning::Transient),
            (400, Some("ExpiredTokenException"), "", Meaning::Expired),
            (
                400,
                Some("InvalidSignatureException"),
                "Signature expired: 2026…",
                Meaning::Expired,
            ),
            (
                400,
                Some("InvalidSignatureException"),
                "does not match",
                Meaning::Permanent,
            ),
            (400, Some("ValidationException"), "", Meaning::Invalid),
            (400, Some("AccessDeniedException"), "", Meaning::Permanent),
            (
                400,
                Some("ResourceNotFoundException"),
                "",
                Meaning::Permanent,
            ),
            (
                400,
                Some("UnrecognizedClientException"),
                "",
                Meaning::Permanent,
            ),
            (403, None, "", Meaning::Permanent),
        ] {
            assert_eq!(
                CallError::meaning_of(status, code, message),
                meaning,
                "{status} {code:?}"
            );
        }
    }

    #[test]
    fn the_message_names_code_words_and_resource() {
        let error = CallError {
            meaning: Meaning::Throttled,
            code: Some("ThrottlingException".into()),
            message: "slow down".into(),
            reasons: vec![(
                "IndexWriteProvisionedThroughputExceeded".into(),
                "arn:x".into(),
            )],
            no_credentials: false,
        };
        assert_eq!(
            error.to_string(),
            "ThrottlingException: slow down (IndexWriteProvisionedThroughputExceeded, arn:x)"
        );
    }

    proptest! {
        #[test]
        fn any_refusal_has_a_meaning(status in any::<u16>(), code in proptest::option::of("[A-Za-z:#. ]{0,30}"), message in ".{0,30}") {
            let meaning = CallError::meaning_of(status, code.as_deref(), &message);
            // What a server says of itself is never the items' fault.
            prop_assert!(status < 500 || meaning != Meaning::Invalid || code.is_some());
        }
    }
}
