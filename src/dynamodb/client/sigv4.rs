//! Signature version 4 for calls that differ only in body and time.
//!
//! The SDK's signer sorts the headers and derives the key of the day for each request,
//! which is half the cost of a call. This one prepares the constant part once per set of
//! credentials and once per day. A call then costs the hash of its body and two short
//! ones.
//!
//! The cryptography is that of `aws-sigv4`. For an endpoint with a path, so is the whole
//! signature, because its escaping rules are not worth a second implementation. A test
//! compares both signers for any credentials, bodies and times.

use crate::base::hash::{Case, Hash};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::Identity;
use http::Uri;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Content type of all calls.
pub(super) const JSON_CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Signer of POST calls of one operation to one endpoint with one set of credentials.
pub(super) struct Signer {
    identity: Identity,
    credentials: Credentials,
    region: String,
    service: String,
    target: String,
    uri: Uri,
    /// The canonical request before and after the time; `None` if the endpoint has a
    /// path.
    canonical_parts: Option<(Vec<u8>, Vec<u8>)>,
    signed_headers: &'static str,
    day_key: Mutex<Option<DayKey>>,
}

/// Signing key and scope of one day.
#[derive(Clone)]
struct DayKey {
    /// `20261124`.
    date: String,
    scope: String,
    key: Vec<u8>,
    /// The header before the signature.
    authorization: String,
}

/// Headers of a signature.
#[derive(Debug)]
pub(super) struct SignedHeaders {
    /// `x-amz-date`.
    pub(super) date: String,
    pub(super) authorization: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("uri", &self.uri)
            .field("region", &self.region)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Creates a signer of calls of `target` (`DynamoDB_20120810.BatchWriteItem`) to `uri`.
    pub(super) fn new(
        credentials: Credentials,
        uri: Uri,
        region: String,
        service: String,
        target: String,
    ) -> Signer {
        let token = credentials.session_token();
        let signed_headers = match token {
            Some(_) => "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
            None => "content-type;host;x-amz-date;x-amz-target",
        };
        let canonical_parts = host_header(&uri).filter(|_| uri.path() == "/").map(|host| {
            let before =
                format!("POST\n/\n\ncontent-type:{JSON_CONTENT_TYPE}\nhost:{host}\nx-amz-date:");
            let token = token
                .map(|t| format!("\nx-amz-security-token:{t}"))
                .unwrap_or_default();
            let after = format!("{token}\nx-amz-target:{target}\n\n{signed_headers}\n");
            (before.into_bytes(), after.into_bytes())
        });
        Signer {
            identity: Identity::from(credentials.clone()),
            credentials,
            region,
            service,
            target,
            uri,
            canonical_parts,
            signed_headers,
            day_key: Mutex::new(None),
        }
    }

    /// True if it signs with `credentials`.
    pub(super) fn uses_credentials(&self, credentials: &Credentials) -> bool {
        let own = &self.credentials;
        own.access_key_id() == credentials.access_key_id()
            && own.secret_access_key() == credentials.secret_access_key()
            && own.session_token() == credentials.session_token()
            && own.account_id() == credentials.account_id()
    }

    /// Value of the session token's header.
    pub(super) fn session_token(&self) -> Option<&str> {
        self.credentials.session_token()
    }

    /// Signs `body` as sent at `time`.
    pub(super) fn sign(&self, body: &[u8], time: SystemTime) -> Result<SignedHeaders, BoxError> {
        let Some((before, after)) = &self.canonical_parts else {
            return self.sign_with_sdk(body, time);
        };
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let moment = format_time(seconds)?;
        let date = &moment[..DATE_LENGTH];
        let mut canonical = Vec::with_capacity(before.len() + moment.len() + after.len() + 64);
        canonical.extend_from_slice(before);
        canonical.extend_from_slice(moment.as_bytes());
        canonical.extend_from_slice(after);
        write_sha256(body, &mut canonical);

        let mut kept = self.day_key.lock().unwrap_or_else(PoisonError::into_inner);
        let day = match &mut *kept {
            Some(day) if day.date == date => day,
            other => other.insert(self.derive_day_key(date, time)),
        };
        let mut to_sign = Vec::with_capacity(160);
        for part in [ALGORITHM, "\n", &moment, "\n", &day.scope, "\n"] {
            to_sign.extend_from_slice(part.as_bytes());
        }
        write_sha256(&canonical, &mut to_sign);
        let signature = v4::calculate_signature(&day.key, &to_sign);
        let authorization = [day.authorization.as_str(), &signature].concat();
        drop(kept);
        Ok(SignedHeaders {
            date: moment,
            authorization,
        })
    }

    fn derive_day_key(&self, date: &str, time: SystemTime) -> DayKey {
        let (region, service) = (&self.region, &self.service);
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let secret = self.credentials.secret_access_key();
        let key = v4::generate_signing_key(secret, time, region, service);
        DayKey {
            date: date.to_owned(),
            authorization: format!(
                "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature=",
                self.credentials.access_key_id(),
                self.signed_headers
            ),
            scope,
            key: key.as_ref().to_vec(),
        }
    }

    /// Signs with the SDK's signer, for any endpoint.
    fn sign_with_sdk(&self, body: &[u8], time: SystemTime) -> Result<SignedHeaders, BoxError> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::Headers;
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(&self.service)
            .time(time)
            .settings(settings)
            .build()?;
        let headers = [
            ("content-type", JSON_CONTENT_TYPE),
            ("x-amz-target", self.target.as_str()),
        ];
        let uri = self.uri.to_string();
        let request =
            SignableRequest::new("POST", &uri, headers.into_iter(), SignableBody::Bytes(body))?;
        let (instructions, _) =
            aws_sigv4::http_request::sign(request, &SigningParams::V4(params))?.into_parts();
        let header = |name: &str| {
            let mut headers = instructions.headers();
            let (_, value) = headers
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .ok_or_else(|| format!("a signature without {name}"))?;
            Ok::<_, BoxError>(value.to_owned())
        };
        Ok(SignedHeaders {
            date: header("x-amz-date")?,
            authorization: header("authorization")?,
        })
    }
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Length of the date in a time stamp.
const DATE_LENGTH: usize = "20261124".len();

/// `20261124T101500Z`.
fn format_time(seconds: u64) -> Result<String, BoxError> {
    let moment = jiff::Timestamp::from_second(i64::try_from(seconds)?)?;
    let moment = jiff::tz::TimeZone::UTC.to_datetime(moment);
    Ok(format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        moment.year(),
        moment.month(),
        moment.day(),
        moment.hour(),
        moment.minute(),
        moment.second()
    ))
}

/// Host header of the HTTP client: without the default port of the scheme.
fn host_header(uri: &Uri) -> Option<String> {
    let authority = uri.authority()?;
    let implied = match uri.scheme_str()? {
        "https" => 443,
        _ => 80,
    };
    Some(match authority.port_u16() {
        Some(port) if port != implied => format!("{}:{port}", authority.host()),
        _ => authority.host().to_owned(),
    })
}

fn write_sha256(bytes: &[u8], out: &mut Vec<u8>) {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    Hash::from(hash).write_hex(Case::Lower, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn signer(credentials: Credentials, url: &str, region: &str) -> Signer {
        let uri = url.parse().expect("a URL");
        let target = "DynamoDB_20120810.BatchWriteItem".to_owned();
        Signer::new(credentials, uri, region.into(), "dynamodb".into(), target)
    }

    fn credentials(token: Option<String>) -> Credentials {
        Credentials::new("AKID", "secret", token, None, "test")
    }

    #[test]
    fn the_key_is_of_the_day() {
        let signer = signer(credentials(None), "http://localhost:8000", "eu-west-1");
        // 2026-11-24T23:59:59Z, and a second later.
        for seconds in [1_795_564_799, 1_795_564_800, 1_795_564_799] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let signed = signer.sign(b"{}", time).expect("signs");
            let full = signer.sign_with_sdk(b"{}", time).expect("signs");
            assert_eq!(signed.date, full.date);
            assert_eq!(signed.authorization, full.authorization);
        }
    }

    #[test]
    fn credentials_are_compared_whole() {
        let signer = signer(
            credentials(Some("token".into())),
            "http://localhost",
            "eu-west-1",
        );
        assert!(signer.uses_credentials(&credentials(Some("token".into()))));
        assert!(!signer.uses_credentials(&credentials(Some("other".into()))));
        assert!(!signer.uses_credentials(&credentials(None)));
        let shown = format!("{signer:?}");
        assert!(!shown.contains("secret") && !shown.contains("token"));
    }

    proptest! {
        /// Every signature equals that of the SDK.
        #[test]
        fn it_is_the_signature_of_the_sdk(
            body in prop::collection::vec(any::<u8>(), 0..300),
            seconds in 0u64..4_102_444_800,
            token in prop::option::of("[A-Za-z0-9/+=]{1,400}"),
            key in "[A-Z0-9]{16,20}",
            secret in "[A-Za-z0-9/+]{40}",
            region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
            url in prop::sample::select(vec![
                "http://localhost:8000", "http://localhost", "https://localhost:443/", "http://h:443",
                "https://dynamodb.eu-west-1.amazonaws.com", "http://[::1]:8000", "http://h/a/",
            ]),
        ) {
            let credentials = Credentials::new(key, secret, token, None, "test");
            let signer = signer(credentials, url, &region);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            for _ in 0..2 {
                let signed = signer.sign(&body, time).expect("signs");
                let full = signer.sign_with_sdk(&body, time).expect("signs");
                prop_assert_eq!(signed.date, full.date);
                prop_assert_eq!(signed.authorization, full.authorization);
            }
        }
    }
}
