//! An error as DynamoDB answers it, read out of its answer.

use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::fmt;

/// An error as DynamoDB answers it.
#[derive(Debug)]
pub(super) struct ServiceError {
    meta: ErrorMetadata,
    pub(super) throttling_reasons: Vec<(String, String)>,
}

impl ServiceError {
    pub(super) fn parse(status: u16, kind: Option<&str>, body: &[u8]) -> Self {
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |names: [&str; 2]| names.iter().find_map(|n| json[*n].as_str());
        // «com.amazonaws.dynamodb.v20120810#Name», or «Name:http://…» in the header.
        let code = text(["__type", "code"]).or(kind).map(|c| {
            c.rsplit('#')
                .next()
                .unwrap_or(c)
                .split(':')
                .next()
                .unwrap_or(c)
        });
        let message = match text(["message", "Message"]) {
            Some(m) => m.to_owned(),
            None if code.is_some() => String::new(),
            None => format!("HTTP status {status} without an error that DynamoDB knows"),
        };
        let throttling_reasons = ["throttlingReasons", "ThrottlingReasons"]
            .iter()
            .find_map(|n| json[*n].as_array())
            .map(|list| {
                let field =
                    |r: &serde_json::Value, n: &str| r[n].as_str().unwrap_or_default().to_owned();
                list.iter()
                    .map(|r| (field(r, "reason"), field(r, "resource")))
                    .collect()
            })
            .unwrap_or_default();
        let mut meta = ErrorMetadata::builder().message(message);
        if let Some(code) = code {
            meta = meta.code(code);
        }
        ServiceError {
            meta: meta.build(),
            throttling_reasons,
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.meta.fmt(f)
    }
}

impl std::error::Error for ServiceError {}

impl ProvideErrorMetadata for ServiceError {
    fn meta(&self) -> &ErrorMetadata {
        &self.meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::error::{CallError, ErrorClass};
    use crate::dynamodb::item::hostile;
    use proptest::prelude::*;

    #[test]
    fn errors_are_read_from_body_or_header() {
        let body = br#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow",
            "throttlingReasons":[{"reason":"TableWriteKeyRangeThroughputExceeded","resource":"arn:t"}]}"#;
        let e = ServiceError::parse(400, None, body);
        assert_eq!(e.meta.code(), Some("ThrottlingException"));
        assert_eq!(e.meta.message(), Some("slow"));
        assert_eq!(
            e.throttling_reasons,
            [(
                "TableWriteKeyRangeThroughputExceeded".into(),
                "arn:t".into()
            )]
        );
        let e = ServiceError::parse(400, Some("ValidationException:http://x"), b"{}");
        assert_eq!(e.meta.code(), Some("ValidationException"));
        let e = ServiceError::parse(502, None, b"<html>");
        assert_eq!(e.meta.code(), None);
        assert_eq!(CallError::classify(502, None, ""), ErrorClass::Transient);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever is answered has a meaning and words to show; and only a status or
        /// a code that says so stops a run for good.
        #[test]
        fn whatever_is_answered_has_a_meaning(
            status in any::<u16>(),
            kind in prop::option::of(any::<String>()),
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                hostile::json().prop_map(|json| json.to_string().into_bytes()),
                (any::<String>(), any::<String>(), hostile::json()).prop_map(|(code, text, reasons)| {
                    serde_json::json!({"__type": code, "message": text, "throttlingReasons": reasons})
                        .to_string()
                        .into_bytes()
                }),
            ],
        ) {
            let error = ServiceError::parse(status, kind.as_deref(), &body);
            let (code, message) = (error.meta.code(), error.meta.message().unwrap_or_default());
            let class = CallError::classify(status, code, message);
            let shown = CallError {
                class,
                code: code.map(str::to_owned),
                message: message.to_owned(),
                reasons: error.throttling_reasons.clone(),
                no_credentials: false,
            };
            prop_assert!(!shown.to_string().is_empty());
            if class == ErrorClass::Permanent {
                prop_assert!(code.is_some() || status == 401 || status == 403);
                prop_assert!(status < 500 && status != 408 && status != 429);
            }
        }
    }
}
