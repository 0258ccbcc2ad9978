//! One DynamoDB operation, prebuilt: the request's JSON in, the answer's out.
//!
//! The generated client turns maps of attribute values into JSON and back, which
//! for BatchWriteItem is most of what a client does. Here the body is given as
//! bytes. All else is the SDK's own, put together as the generated client puts
//! it together: the endpoint rules (regions, dual-stack, FIPS, account-based
//! endpoints), the identity cache and credential chain, SigV4, the clock-skew
//! correction, time-outs, the connection pool, and the discarding of broken
//! connections. What is left out: retries, which are the writer's, and the
//! telemetry that asks for an own header of every call.

use super::error::{CallError, Meaning};
use super::identity::Identities;
use super::{Aws, CONNECT_TIMEOUT, DYNAMODB_ATTEMPT_TIMEOUT};
use crate::error::{Error, ErrorKind, Result};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::service_clock_skew::{DisableClockSkewCorrection, ServiceClockSkewInterceptor};
use aws_runtime::user_agent::{ApiMetadata, AwsUserAgent};
use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_smithy_runtime::client::orchestrator::AuthSchemeAndEndpointOrchestrationV2;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::endpoint::EndpointResolverParams;
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Layer};
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SigningName;
use aws_types::os_shim_internal::Env;
use aws_types::region::SigningRegion;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use std::fmt;

/// A prebuilt DynamoDB operation on one table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RawOperation {
    operation: Operation<Bytes, Bytes, ServiceError>,
    identities: Identities,
}

impl RawOperation {
    /// The operation `name` (such as `BatchWriteItem`) on `table`, by the
    /// configuration of `aws`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the configuration has no credentials provider.
    pub fn new(aws: &Aws, name: &'static str, table: &str) -> Result<Self> {
        let config = &aws.config;
        let internal = |what: &'static str| Error::new(ErrorKind::Internal, what);
        let credentials = config
            .credentials_provider()
            .ok_or_else(|| Error::usage("no provider of AWS credentials is configured"))?;
        let region = config
            .region()
            .cloned()
            .ok_or_else(|| Error::usage("no AWS region is set"))?;
        let params = Params::builder()
            .region(region.as_ref().to_owned())
            .set_use_dual_stack(config.use_dual_stack())
            .set_use_fips(config.use_fips())
            .set_endpoint(aws.dynamodb_endpoint.clone())
            .account_id_endpoint_mode(
                config
                    .account_id_endpoint_mode()
                    .cloned()
                    .unwrap_or_default()
                    .to_string(),
            )
            .resource_arn_list(vec![table.to_owned()])
            .build()
            .map_err(|e| internal("cannot describe the endpoint").because(e))?;

        let mut layer = Layer::new("hashferry");
        layer.store_put(AuthSchemeAndEndpointOrchestrationV2);
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        // The builder insists on these; what counts is what the interceptor gives.
        layer.store_put(EndpointResolverParams::new(params.clone()));
        layer.store_put(SigningName::from_static("dynamodb"));
        layer.store_put(SigningRegion::from(region.clone()));
        layer.store_put(region);
        if let Some(disable) = config.disable_clock_skew_correction() {
            layer.store_put(DisableClockSkewCorrection::from(disable));
        }
        // As the generated client signs DynamoDB's requests.
        let mut signing_options = SigningOptions::default();
        signing_options.double_uri_encode = true;
        signing_options.content_sha256_header = false;
        signing_options.normalize_uri_path = true;
        signing_options.payload_override = None;
        layer.store_put(SigV4OperationSigningConfig {
            signing_options,
            ..Default::default()
        });

        let mut components = RuntimeComponentsBuilder::new("hashferry")
            .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
            .with_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(
                StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]),
            )))
            .with_endpoint_resolver(Some(DefaultResolver::new().into_shared_resolver()))
            .with_identity_cache(config.identity_cache())
            .with_time_source(config.time_source())
            .with_sleep_impl(config.sleep_impl())
            .with_http_client(config.http_client());
        components.set_identity_resolver(SCHEME_ID, identity_resolver(credentials));

        let target = HeaderValue::from_str(&format!("DynamoDB_20120810.{name}"))
            .map_err(|e| internal("an operation's name is no header value").because(e))?;
        let user_agent = user_agent()?;
        let operation = Operation::builder()
            .service_name("dynamodb")
            .operation_name(name)
            .behavior_version(BehaviorVersion::latest())
            .no_retry()
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(DYNAMODB_ATTEMPT_TIMEOUT)
                    .build(),
            )
            .interceptor(EndpointParams(params))
            .interceptor(ServiceClockSkewInterceptor::new())
            .interceptor(InvocationIdInterceptor::new())
            .with_connection_poisoning()
            .runtime_plugin(
                StaticRuntimePlugin::new()
                    .with_config(layer.freeze())
                    .with_runtime_components(components),
            );
        let operation = operation
            .serializer(move |body: Bytes| {
                let length = body.len();
                let request = http::Request::builder()
                    .method("POST")
                    .uri("/")
                    .header(
                        CONTENT_TYPE,
                        HeaderValue::from_static("application/x-amz-json-1.0"),
                    )
                    .header(HeaderName::from_static("x-amz-target"), target.clone())
                    .header(USER_AGENT, user_agent.clone())
                    .header(CONTENT_LENGTH, length)
                    .body(SdkBody::from(body))?;
                Ok(HttpRequest::try_from(request)?)
            })
            .deserializer(|response: &HttpResponse| {
                let body = response.body().bytes().unwrap_or_default();
                let status = response.status().as_u16();
                if status == 200 {
                    return Ok(Bytes::copy_from_slice(body));
                }
                let kind = response.headers().get("x-amzn-errortype");
                Err(OrchestratorError::operation(ServiceError::read(
                    status, kind, body,
                )))
            })
            .build();
        Ok(RawOperation {
            operation,
            identities: aws.identities.clone(),
        })
    }

    /// Sends `body` once and returns the body of the answer.
    ///
    /// # Errors
    /// Whatever is no answer with status 200.
    pub async fn send(&self, body: Bytes) -> Result<Bytes, CallError> {
        self.operation.invoke(body).await.map_err(|error| {
            let reasons = error
                .as_service_error()
                .map(|e| e.reasons.clone())
                .unwrap_or_default();
            let error = CallError {
                reasons,
                ..CallError::from_sdk(error)
            };
            if error.meaning == Meaning::Expired {
                self.identities.expired();
            }
            error
        })
    }
}

/// Gives each call what the endpoint rules work from. The identity is added by
/// the orchestrator: an account's own endpoint depends on it.
#[derive(Debug)]
struct EndpointParams(Params);

#[dyn_dispatch_hint]
impl Intercept for EndpointParams {
    fn name(&self) -> &'static str {
        "hashferry::EndpointParams"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state()
            .store_put(EndpointResolverParams::new(self.0.clone()));
        Ok(())
    }
}

fn identity_resolver(credentials: SharedCredentialsProvider) -> SharedIdentityResolver {
    SharedIdentityResolver::new(credentials)
}

/// The SDK's user agent, and ours behind it. Made once: it does not change.
fn user_agent() -> Result<HeaderValue> {
    let api = ApiMetadata::new("dynamodb", aws_sdk_dynamodb::meta::PKG_VERSION);
    let sdk = AwsUserAgent::new_from_environment(Env::real(), api);
    let text = format!(
        "{} app/hashferry-{}",
        sdk.aws_ua_header(),
        env!("CARGO_PKG_VERSION")
    );
    HeaderValue::from_str(&text).map_err(|e| {
        Error::new(ErrorKind::Internal, "the user agent is no header value").because(e)
    })
}

/// An error as DynamoDB answers it.
#[derive(Debug)]
struct ServiceError {
    meta: ErrorMetadata,
    reasons: Vec<(String, String)>,
}

impl ServiceError {
    fn read(status: u16, kind: Option<&str>, body: &[u8]) -> Self {
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
        let reasons = ["throttlingReasons", "ThrottlingReasons"]
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
            reasons,
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

/// What the writer needs of a table: one BatchWriteItem call. The seam that
/// tests replace.
pub trait BatchWrite {
    /// Sends the body of a BatchWriteItem request once.
    fn batch_write(&self, body: Bytes) -> impl Future<Output = Result<Bytes, CallError>> + Send;
}

impl BatchWrite for RawOperation {
    async fn batch_write(&self, body: Bytes) -> Result<Bytes, CallError> {
        self.send(body).await
    }
}

/// What a verification needs of a table: one BatchGetItem call. The seam that
/// tests replace.
pub trait BatchGet {
    /// Sends the body of a BatchGetItem request once.
    fn batch_get(&self, body: Bytes) -> impl Future<Output = Result<Bytes, CallError>> + Send;
}

impl BatchGet for RawOperation {
    async fn batch_get(&self, body: Bytes) -> Result<Bytes, CallError> {
        self.send(body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::hostile;
    use proptest::prelude::*;

    #[test]
    fn errors_are_read_from_body_or_header() {
        let body = br#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow",
            "throttlingReasons":[{"reason":"TableWriteKeyRangeThroughputExceeded","resource":"arn:t"}]}"#;
        let e = ServiceError::read(400, None, body);
        assert_eq!(e.meta.code(), Some("ThrottlingException"));
        assert_eq!(e.meta.message(), Some("slow"));
        assert_eq!(
            e.reasons,
            [(
                "TableWriteKeyRangeThroughputExceeded".into(),
                "arn:t".into()
            )]
        );
        let e = ServiceError::read(400, Some("ValidationException:http://x"), b"{}");
        assert_eq!(e.meta.code(), Some("ValidationException"));
        let e = ServiceError::read(502, None, b"<html>");
        assert_eq!(e.meta.code(), None);
        assert_eq!(CallError::meaning_of(502, None, ""), Meaning::Transient);
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
            let error = ServiceError::read(status, kind.as_deref(), &body);
            let (code, message) = (error.meta.code(), error.meta.message().unwrap_or_default());
            let meaning = CallError::meaning_of(status, code, message);
            let shown = CallError {
                meaning,
                code: code.map(str::to_owned),
                message: message.to_owned(),
                reasons: error.reasons.clone(),
                no_credentials: false,
            };
            prop_assert!(!shown.to_string().is_empty());
            if meaning == Meaning::Permanent {
                prop_assert!(code.is_some() || status == 401 || status == 403);
                prop_assert!(status < 500 && status != 408 && status != 429);
            }
        }
    }
}
