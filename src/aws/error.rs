//! Errors of AWS calls, classified by what the caller should do.
//!
//! The SDK has about fifteen error types; a writer needs five classes. A [`CallError`]
//! holds the class and, for the user, the service's error code and message.

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::error::Error as StdError;
use std::fmt;

/// The class of a failed call: it says how to react.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// Throttled: wait, then retry.
    Throttled,
    /// Probably temporary: a reset, a timeout, a 5xx status, an invalid response.
    /// Retry.
    Transient,
    /// Expired credentials: retry with new ones from the chain.
    Expired,
    /// Invalid request: one of its items may be invalid.
    Invalid,
    /// Permanent: a retry cannot succeed.
    Permanent,
}

/// A failed call: its class, and the service's code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallError {
    /// Class of the error.
    pub class: ErrorClass,
    /// The service's error code, such as `ResourceNotFoundException`.
    pub code: Option<String>,
    /// Message of the service, or of the transport.
    pub message: String,
    /// Throttling reasons from DynamoDB, each with its resource:
    /// `IndexWriteProvisionedThroughputExceeded` and an ARN.
    pub reasons: Vec<(String, String)>,
    /// True if the call was not sent because there are no credentials.
    pub no_credentials: bool,
}

/// Error codes of throttling. Source:
/// `aws_runtime::retries::classifiers::THROTTLING_ERRORS`, and DynamoDB's own in its
/// API model.
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

/// Error codes of temporary failures.
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

/// Common prefix of the codes for an expired token: S3 uses `ExpiredToken`, DynamoDB
/// `ExpiredTokenException`.
pub(super) const EXPIRED_TOKEN: &str = "ExpiredToken";

/// Error codes of credentials, or of a clock, that may be valid on the next attempt.
/// The SDK learns the clock skew from each response and corrects the next signature.
const EXPIRED_CODES: [&str; 7] = [
    EXPIRED_TOKEN,
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "RequestInTheFuture",
    "AuthFailure",
];

/// Error codes of an invalid item or request.
const INVALID_CODES: [&str; 2] = [
    "ValidationException",
    "ItemCollectionSizeLimitExceededException",
];

impl CallError {
    /// The error for a complete response that cannot be parsed.
    pub(crate) fn unrecognised_response(why: impl Into<String>) -> Self {
        CallError {
            class: ErrorClass::Transient,
            code: None,
            message: format!("unexpected response from DynamoDB: {}", why.into()),
            reasons: Vec::new(),
            no_credentials: false,
        }
    }

    /// Classifies a response by HTTP status, error code and message.
    pub(crate) fn classify(status: u16, code: Option<&str>, message: &str) -> ErrorClass {
        match code {
            Some(c) if THROTTLING_CODES.contains(&c) => ErrorClass::Throttled,
            Some(c) if TRANSIENT_CODES.contains(&c) => ErrorClass::Transient,
            Some(c) if EXPIRED_CODES.contains(&c) => ErrorClass::Expired,
            // The signature's time is outside the accepted window.
            Some("InvalidSignatureException" | "SignatureDoesNotMatch")
                if message.contains("expired") || message.contains("not yet current") =>
            {
                ErrorClass::Expired
            }
            Some(c) if INVALID_CODES.contains(&c) => ErrorClass::Invalid,
            _ if status == 429 => ErrorClass::Throttled,
            _ if status >= 500 || status == 408 => ErrorClass::Transient,
            // An error page without a service error code: a proxy's.
            None if status != 403 && status != 401 => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        }
    }

    /// Converts an SDK error.
    pub(crate) fn from_sdk<E, R>(error: SdkError<E, R>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
        R: HttpStatus + fmt::Debug,
        SdkError<E, R>: StdError,
    {
        let credentials = error.source().and_then(find_credentials_error);
        let no_credentials = credentials.is_some();
        let (class, code, message) = match &error {
            SdkError::ServiceError(e) => {
                let code = e.err().code().map(str::to_owned);
                let message = e.err().message().unwrap_or_default().to_owned();
                (
                    CallError::classify(e.raw().status(), code.as_deref(), &message),
                    code,
                    message,
                )
            }
            _ if no_credentials => {
                // A provider without credentials now may have some later. A missing
                // provider stays missing.
                let meaning = match credentials {
                    Some(
                        CredentialsError::CredentialsNotLoaded(_)
                        | CredentialsError::InvalidConfiguration(_),
                    ) => ErrorClass::Permanent,
                    _ => ErrorClass::Expired,
                };
                (meaning, None, root_cause(&error))
            }
            SdkError::ConstructionFailure(_) => (
                ErrorClass::Permanent,
                None,
                DisplayErrorContext(&error).to_string(),
            ),
            SdkError::DispatchFailure(e) if e.is_user() => (
                ErrorClass::Permanent,
                None,
                DisplayErrorContext(&error).to_string(),
            ),
            _ => (ErrorClass::Transient, None, root_cause(&error)),
        };
        let message = match code.as_deref() {
            _ if message.is_empty() => root_cause(&error),
            // The further lines hold the canonical request, including its session
            // token.
            Some("InvalidSignatureException" | "SignatureDoesNotMatch") => {
                message.lines().next().unwrap_or_default().to_owned()
            }
            _ => message,
        };
        CallError {
            class,
            code,
            message,
            reasons: Vec::new(),
            no_credentials,
        }
    }
}

/// A response with an HTTP status, from either HTTP client.
pub(crate) trait HttpStatus {
    /// The HTTP status code.
    fn status(&self) -> u16;
}

impl HttpStatus for aws_smithy_runtime_api::client::orchestrator::HttpResponse {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }
}

/// The credentials error in the cause chain; `None` if there is none.
fn find_credentials_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(c) = e.downcast_ref::<CredentialsError>() {
            return Some(c);
        }
        next = e.source();
    }
    None
}

/// The last two causes of a chain: "connection refused" helps the user, "dispatch
/// failure" does not.
pub(crate) fn root_cause(error: &dyn StdError) -> String {
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
            _ if self.message.is_empty() => f.write_str("a response without an error message"),
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
    fn codes_and_statuses_are_classified() {
        for (status, code, message, meaning) in [
            (
                400,
                Some("ProvisionedThroughputExceededException"),
                "",
                ErrorClass::Throttled,
            ),
            (400, Some("ThrottlingException"), "", ErrorClass::Throttled),
            (400, Some("RequestLimitExceeded"), "", ErrorClass::Throttled),
            (429, None, "", ErrorClass::Throttled),
            (500, Some("InternalServerError"), "", ErrorClass::Transient),
            (503, None, "", ErrorClass::Transient),
            (
                400,
                Some("ReplicatedWriteConflictException"),
                "",
                ErrorClass::Transient,
            ),
            (502, Some("SomethingNew"), "", ErrorClass::Transient),
            (404, None, "<html>proxy</html>", ErrorClass::Transient),
            (400, Some("ExpiredTokenException"), "", ErrorClass::Expired),
            (
                400,
                Some("InvalidSignatureException"),
                "Signature expired: 2026…",
                ErrorClass::Expired,
            ),
            (
                400,
                Some("InvalidSignatureException"),
                "does not match",
                ErrorClass::Permanent,
            ),
            (400, Some("ValidationException"), "", ErrorClass::Invalid),
            (
                400,
                Some("AccessDeniedException"),
                "",
                ErrorClass::Permanent,
            ),
            (
                400,
                Some("ResourceNotFoundException"),
                "",
                ErrorClass::Permanent,
            ),
            (
                400,
                Some("UnrecognizedClientException"),
                "",
                ErrorClass::Permanent,
            ),
            (403, None, "", ErrorClass::Permanent),
        ] {
            assert_eq!(
                CallError::classify(status, code, message),
                meaning,
                "{status} {code:?}"
            );
        }
    }

    #[test]
    fn the_message_holds_code_text_and_resource() {
        let error = CallError {
            class: ErrorClass::Throttled,
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
        fn every_error_response_has_a_class(status in any::<u16>(), code in proptest::option::of("[A-Za-z:#. ]{0,30}"), message in ".{0,30}") {
            let meaning = CallError::classify(status, code.as_deref(), &message);
            // A 5xx status without a code is never an item's fault.
            prop_assert!(status < 500 || meaning != ErrorClass::Invalid || code.is_some());
        }
    }
}
