//! One prebuilt DynamoDB operation: request JSON in, response JSON out.
//!
//! The generated client converts attribute maps to JSON and back. Its orchestrator
//! assembles configuration, components and interceptors for each call. With 25 short
//! items a call, that is most of the client's work.
//!
//! Here the body is given as bytes. Everything that stays the same from call to call is
//! prepared once per set of credentials. It consists of the SDK's own parts:
//!
//! - the credential chain, and the identity cache that renews credentials;
//! - the endpoint rules (regions, dual-stack, FIPS, account-based endpoints);
//! - the signature;
//! - the HTTP client with its pool, TLS and connect timeout.
//!
//! Like the orchestrator, an operation has a timeout for each call, a user agent, an
//! invocation id and a clock correction. It closes connections after a server error or a
//! missing response. It does not retry: the dispatcher does.

use crate::aws::config::{Aws, CONNECT_TIMEOUT, DYNAMODB_ATTEMPT_TIMEOUT};
use crate::aws::credentials::CredentialCache;
use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{Error, ErrorKind, Result};
use crate::dynamodb::client::clock_skew::SkewCorrectedClock;
use crate::dynamodb::client::service_error::ServiceError;
use crate::dynamodb::client::sigv4::{JSON_CONTENT_TYPE, Signer};
use aws_credential_types::Credentials;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::user_agent::{ApiMetadata, AwsUserAgent};
use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime::client::retries::strategy::NeverRetryStrategy;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::SharedAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_runtime_api::client::endpoint::{
    EndpointResolverParams, ResolveEndpoint as _, SharedEndpointResolver,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnector as _, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::identity::{
    Identity, ResolveCachedIdentity as _, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::endpoint::Endpoint;
use aws_types::os_shim_internal::Env;
use bytes::Bytes;
use http::Uri;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http_body_util::BodyExt as _;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// A prebuilt DynamoDB operation on one table. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PreparedOperation(Arc<Inner>);

struct Inner {
    /// `DynamoDB_20120810.BatchWriteItem`.
    target: String,
    region: String,
    user_agent: HeaderValue,
    endpoint_params: Params,
    endpoint_resolver: SharedEndpointResolver,
    credential_cache: CredentialCache,
    identity_cache: SharedIdentityCache,
    identity_resolver: SharedIdentityResolver,
    components: RuntimeComponents,
    config: ConfigBag,
    connector: SharedHttpConnector,
    time_source: SharedTimeSource,
    clock: SkewCorrectedClock,
    /// Signed endpoint for the credentials of the last call.
    signed_endpoint: Mutex<Option<Arc<SignedEndpoint>>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawOperation")
            .field("target", &self.target)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Endpoint, signer and prepared request for one set of credentials.
#[derive(Debug)]
struct SignedEndpoint {
    /// Request without body, signature and id.
    request: HttpRequest,
    signer: Signer,
}

/// Error of a call without a response, with the SDK's class.
type OperationError = SdkError<ServiceError, HttpResponse>;

impl PreparedOperation {
    /// Prepares the operation `name` (such as `BatchWriteItem`) on `table` with the
    /// configuration of `aws`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the configuration has no credentials provider.
    pub(crate) fn new(aws: &Aws, name: &'static str, table: &str) -> Result<Self> {
        let config = &aws.config;
        let internal = |what: &'static str| Error::new(ErrorKind::Internal, what);
        let credentials = config
            .credentials_provider()
            .ok_or_else(|| Error::usage("no provider of AWS credentials is configured"))?;
        let region = config
            .region()
            .ok_or_else(|| Error::usage("no AWS region is set"))?;
        let endpoint = Params::builder()
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
            .map_err(|e| internal("cannot describe the endpoint").with_source(e))?;
        let endpoints = DefaultResolver::new().into_shared_resolver();
        let cache = config
            .identity_cache()
            .ok_or_else(|| internal("no identity cache is configured"))?;
        let provider = SharedIdentityResolver::new(credentials);
        // The identity cache needs these components to load credentials.
        let components = RuntimeComponentsBuilder::new("hashferry")
            .with_auth_scheme(SigV4AuthScheme::new())
            .with_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(
                StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]),
            )))
            .with_endpoint_resolver(Some(endpoints.clone()))
            .with_identity_cache(Some(cache.clone()))
            .with_identity_resolver(SCHEME_ID, provider.clone())
            .with_retry_strategy(Some(NeverRetryStrategy::new()))
            .with_time_source(config.time_source())
            .with_sleep_impl(config.sleep_impl())
            .with_http_client(config.http_client())
            .build()
            .map_err(|e| internal("the SDK's parts do not fit").with_source(e))?;
        let http = components
            .http_client()
            .ok_or_else(|| internal("no HTTP client is configured"))?;
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build();
        Ok(PreparedOperation(Arc::new(Inner {
            target: format!("DynamoDB_20120810.{name}"),
            region: region.to_string(),
            user_agent: user_agent()?,
            endpoint_params: endpoint,
            endpoint_resolver: endpoints,
            credential_cache: aws.credential_cache.clone(),
            identity_cache: cache,
            identity_resolver: provider,
            connector: http.http_connector(&settings, &components),
            time_source: components.time_source().unwrap_or_default(),
            clock: SkewCorrectedClock::new(config.disable_clock_skew_correction().unwrap_or(false)),
            components,
            config: ConfigBag::base(),
            signed_endpoint: Mutex::new(None),
        })))
    }

    /// Sends `body` once and returns the body of the response.
    ///
    /// # Errors
    /// Any response without status 200, and no response.
    pub(crate) async fn send(&self, body: Bytes) -> Result<Bytes, CallError> {
        let failure = match self.0.call(body).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let reasons = failure
            .as_service_error()
            .map(|e| e.throttling_reasons.clone())
            .unwrap_or_default();
        let error = CallError {
            reasons,
            ..CallError::from_sdk(failure)
        };
        if error.class == ErrorClass::Expired {
            self.0.credential_cache.record_expired();
        }
        Err(error)
    }
}

impl Inner {
    /// Makes one call.
    async fn call(&self, body: Bytes) -> Result<Bytes, OperationError> {
        let identity = self
            .identity_cache
            .resolve_cached_identity(
                self.identity_resolver.clone(),
                &self.components,
                &self.config,
            )
            .await
            .map_err(construction_failure)?;
        let route = self.route(identity).await?;
        let sent = self.time_source.now();
        let request = self.request(&route, body, self.clock.corrected(sent));
        let mut request = request.map_err(construction_failure)?;
        let connection = CaptureSmithyConnection::new();
        request.add_extension(connection.clone());
        // Loading credentials has separate time limits.
        let answer = self.exchange(request, sent, &connection);
        match tokio::time::timeout(DYNAMODB_ATTEMPT_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                poison_connection(&connection);
                Err(SdkError::timeout_error(format!(
                    "no answer within {} s",
                    DYNAMODB_ATTEMPT_TIMEOUT.as_secs()
                )))
            }
        }
    }

    /// Sends `request` and reads the response.
    async fn exchange(
        &self,
        request: HttpRequest,
        sent: SystemTime,
        connection: &CaptureSmithyConnection,
    ) -> Result<Bytes, OperationError> {
        let mut response = self
            .connector
            .call(request)
            .await
            .map_err(SdkError::dispatch_failure)?;
        let header = |name| response.headers().get(name);
        let cached = header("age").is_some();
        self.clock
            .record_response(header("date"), cached, sent, self.time_source.now());
        let status = response.status().as_u16();
        if status >= 500 {
            poison_connection(connection);
        }
        let body = std::mem::replace(response.body_mut(), SdkBody::taken());
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(e) => return Err(SdkError::response_error(e, response)),
        };
        if status == 200 {
            return Ok(body);
        }
        let kind = response.headers().get("x-amzn-errortype");
        let refusal = ServiceError::parse(status, kind, &body);
        Err(SdkError::service_error(refusal, response))
    }

    /// The signed endpoint for `identity`: usually that of the last call.
    async fn route(&self, identity: Identity) -> Result<Arc<SignedEndpoint>, OperationError> {
        let credentials = identity
            .data::<Credentials>()
            .ok_or_else(|| SdkError::construction_failure("the identity is no AWS credentials"))?;
        let last = self.route_kept().clone();
        if let Some(route) = last.filter(|route| route.signer.uses_credentials(credentials)) {
            return Ok(route);
        }
        let mut params = EndpointResolverParams::new(self.endpoint_params.clone());
        params.set_property(identity.clone());
        self.endpoint_resolver
            .finalize_params(&mut params)
            .map_err(construction_failure)?;
        let endpoint = self
            .endpoint_resolver
            .resolve_endpoint(&params)
            .await
            .map_err(construction_failure)?;
        let route = self.prepare(&endpoint, credentials);
        let route = Arc::new(route.map_err(construction_failure)?);
        *self.route_kept() = Some(route.clone());
        Ok(route)
    }

    fn route_kept(&self) -> std::sync::MutexGuard<'_, Option<Arc<SignedEndpoint>>> {
        self.signed_endpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare(
        &self,
        endpoint: &Endpoint,
        credentials: &Credentials,
    ) -> Result<SignedEndpoint, BoxError> {
        // The path of the endpoint, with a slash at its end.
        let uri: Uri = match endpoint.url() {
            url if url.ends_with('/') => url.parse()?,
            url => format!("{url}/").parse()?,
        };
        let (region, service) = signing_scope(endpoint);
        let signer = Signer::new(
            credentials.clone(),
            uri.clone(),
            region.unwrap_or_else(|| self.region.clone()),
            service.unwrap_or_else(|| "dynamodb".to_owned()),
            self.target.clone(),
        );
        let mut request = http::Request::builder()
            .method("POST")
            .uri(uri)
            .header(CONTENT_TYPE, JSON_CONTENT_TYPE)
            .header("x-amz-target", &self.target)
            .header(USER_AGENT, &self.user_agent)
            .header("amz-sdk-request", "attempt=1; max=1");
        for (name, values) in endpoint.headers() {
            for value in values {
                request = request.header(name, value);
            }
        }
        if let Some(token) = signer.session_token() {
            let mut token = HeaderValue::try_from(token)?;
            token.set_sensitive(true);
            request = request.header("x-amz-security-token", token);
        }
        let request = HttpRequest::try_from(request.body(SdkBody::empty())?)?;
        Ok(SignedEndpoint { request, signer })
    }

    fn request(
        &self,
        route: &SignedEndpoint,
        body: Bytes,
        time: SystemTime,
    ) -> Result<HttpRequest, BoxError> {
        let signed = route.signer.sign(&body, time)?;
        let mut request = route.request.try_clone().ok_or("a body is no prototype")?;
        let headers = request.headers_mut();
        headers.try_insert("x-amz-date", signed.date)?;
        headers.try_insert("authorization", signed.authorization)?;
        headers.try_insert("content-length", body.len().to_string())?;
        headers.try_insert("amz-sdk-invocation-id", invocation_id())?;
        *request.body_mut() = SdkBody::from(body);
        Ok(request)
    }
}

/// Takes a connection out of the pool: a new one may reach another server.
fn poison_connection(connection: &CaptureSmithyConnection) {
    if let Some(connection) = connection.get() {
        connection.poison();
    }
}

/// The error of a call that was not sent.
fn construction_failure(error: BoxError) -> OperationError {
    SdkError::dispatch_failure(ConnectorError::other(error, None))
}

/// Region and service to sign for, if the endpoint rules name others.
fn signing_scope(endpoint: &Endpoint) -> (Option<String>, Option<String>) {
    let typed = endpoint.auth_schemes().iter();
    let mut typed = typed.filter(|s| s.name() == SCHEME_ID.inner());
    let listed = endpoint.properties().get("authSchemes");
    let mut listed = listed
        .and_then(|d| d.as_array())
        .into_iter()
        .flatten()
        .filter_map(|scheme| scheme.as_object())
        .filter(|s| s.get("name").and_then(|n| n.as_string()) == Some(SCHEME_ID.inner()));
    let (typed, listed) = (typed.next(), listed.next());
    let field = |name: &str| {
        let value = typed
            .and_then(|s| s.get(name))
            .or(listed.and_then(|s| s.get(name)));
        value.and_then(|v| v.as_string()).map(str::to_owned)
    };
    (field("signingRegion"), field("signingName"))
}

/// Id of a call in AWS's logs.
fn invocation_id() -> String {
    let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_le_bytes()).into_uuid();
    let mut text = uuid::Uuid::encode_buffer();
    id.hyphenated().encode_lower(&mut text).to_owned()
}

/// The SDK's user agent, followed by hashferry's. Constant, so built once.
fn user_agent() -> Result<HeaderValue> {
    let api = ApiMetadata::new("dynamodb", aws_sdk_dynamodb::meta::PKG_VERSION);
    let sdk = AwsUserAgent::new_from_environment(Env::real(), api);
    let text = format!(
        "{} app/hashferry-{}",
        sdk.aws_ua_header(),
        env!("CARGO_PKG_VERSION")
    );
    HeaderValue::from_str(&text).map_err(|e| {
        Error::new(ErrorKind::Internal, "the user agent is no header value").with_source(e)
    })
}

/// Writes to a table: BatchWriteItem, and DeleteItem for conditional deletes. Tests replace
/// it.
pub(crate) trait BatchWrite {
    /// Sends the body of a BatchWriteItem request once.
    fn batch_write(&self, body: Bytes) -> impl Future<Output = Result<Bytes, CallError>> + Send;

    /// Sends the body of a DeleteItem request once.
    fn delete_item(&self, body: Bytes) -> impl Future<Output = Result<Bytes, CallError>> + Send {
        let _ = body;
        std::future::ready(Err(CallError::unrecognised_response(
            "there is no DeleteItem",
        )))
    }
}

impl BatchWrite for PreparedOperation {
    async fn batch_write(&self, body: Bytes) -> Result<Bytes, CallError> {
        self.send(body).await
    }
}

/// Reads from a table: BatchGetItem. Tests replace it.
pub(crate) trait BatchGet {
    /// Sends the body of a BatchGetItem request once.
    fn batch_get(&self, body: Bytes) -> impl Future<Output = Result<Bytes, CallError>> + Send;
}

impl BatchGet for PreparedOperation {
    async fn batch_get(&self, body: Bytes) -> Result<Bytes, CallError> {
        self.send(body).await
    }
}

#[cfg(test)]
mod tests;
