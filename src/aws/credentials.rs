//! The credentials in use, and their renewal.
//!
//! The SDK caches credentials until their expiry time, or for 15 minutes, even if a
//! service rejects them meanwhile. A revoked token would be sent over and over. The
//! chain in turn caches the shared files. Here, an "expired" response clears both
//! caches, so the next call loads credentials from their source.

use crate::aws::error::EXPIRED_TOKEN;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::{
    IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Minimum time between two renewals: hundreds of calls in flight notice the expiry of
/// their token together.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// The identity cache of all clients of one connection. Cheap to clone; clones share
/// it.
#[derive(Debug, Clone)]
pub(crate) struct CredentialCache(Arc<Mutex<CacheState>>);

#[derive(Debug)]
struct CacheState {
    cache: SharedIdentityCache,
    chain: Option<SharedCredentialsProvider>,
    /// Time of the last renewal.
    cleared_at: Option<Instant>,
    /// Hint for a profile that provided no credentials at the last attempt.
    hint: Option<String>,
}

impl CredentialCache {
    pub(crate) fn new() -> Self {
        CredentialCache(Arc::new(Mutex::new(CacheState {
            cache: IdentityCache::lazy().build(),
            chain: None,
            cleared_at: None,
            hint: None,
        })))
    }

    /// The chain in use; `None` if it must be built.
    pub(super) fn chain(&self) -> Option<SharedCredentialsProvider> {
        self.state().chain.clone()
    }

    /// Sets the chain in use.
    pub(super) fn use_chain(&self, chain: SharedCredentialsProvider) {
        self.state().chain = Some(chain);
    }

    /// The hint for a profile that provided no credentials.
    pub(super) fn hint(&self) -> Option<String> {
        self.state().hint.clone()
    }

    /// Stores the hint; `None` if the profile provided credentials.
    pub(super) fn set_hint(&self, advice: Option<String>) {
        self.state().hint = advice;
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears the caches after a service reported expired credentials.
    pub(crate) fn record_expired(&self) {
        let mut kept = self.state();
        if kept
            .cleared_at
            .is_none_or(|at| at.elapsed() >= RENEWAL_INTERVAL)
        {
            tracing::debug!("the credentials have expired: loading new ones");
            kept.cache = IdentityCache::lazy().build();
            kept.chain = None;
            kept.cleared_at = Some(Instant::now());
        }
    }
}

impl ResolveCachedIdentity for CredentialCache {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let cache = self.state().cache.clone();
        IdentityFuture::new(async move {
            cache
                .resolve_cached_identity(resolver, components, config)
                .await
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        let cache = self.state().cache.clone();
        cache.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        let cache = self.state().cache.clone();
        cache.validate_final_config(components, config)
    }
}

/// Lets the generated clients retry an "expired" response with new credentials. It
/// searches the response text, because each operation has a different error type.
impl ClassifyRetry for CredentialCache {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refusal = context.response().filter(|r| r.status().is_client_error());
        let body = refusal.and_then(|r| r.body().bytes()).unwrap_or_default();
        if memchr::memmem::find(body, EXPIRED_TOKEN.as_bytes()).is_none() {
            return RetryAction::NoActionIndicated;
        }
        self.record_expired();
        RetryAction::transient_error()
    }

    fn name(&self) -> &'static str {
        "hashferry::Identities"
    }
}
