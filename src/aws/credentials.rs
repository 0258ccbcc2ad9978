//! The credentials in use, and when they are loaded anew.
//!
//! The SDK keeps what the chain gave it until the time that came with it, or for
//! a quarter of an hour, whatever the services answer meanwhile: a token that was
//! revoked, or that ends before its time, would be sent again and again. The chain
//! in its turn keeps what it has once read of the shared files. Here an answer that
//! says «expired» does away with both, and the next call reads and asks anew.

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

/// The chain is asked no more often than this: hundreds of calls in flight find
/// out together that their token has expired.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// The identity cache of all clients of one connection. Cheap to clone; all
/// clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Identities(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    cache: SharedIdentityCache,
    chain: Option<SharedCredentialsProvider>,
    /// When it was last emptied.
    emptied: Option<Instant>,
    /// What to do about a profile that gave no credentials when it was last asked.
    advice: Option<String>,
}

impl Identities {
    pub(crate) fn new() -> Self {
        Identities(Arc::new(Mutex::new(Kept {
            cache: IdentityCache::lazy().build(),
            chain: None,
            emptied: None,
            advice: None,
        })))
    }

    /// The chain in use, if one is.
    pub(super) fn chain(&self) -> Option<SharedCredentialsProvider> {
        self.kept().chain.clone()
    }

    /// Uses `chain` from now on.
    pub(super) fn use_chain(&self, chain: SharedCredentialsProvider) {
        self.kept().chain = Some(chain);
    }

    /// What to do about a profile that gave no credentials.
    pub(super) fn advice(&self) -> Option<String> {
        self.kept().advice.clone()
    }

    /// Remembers it; `None` if credentials came.
    pub(super) fn advise(&self, advice: Option<String>) {
        self.kept().advice = advice;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a service finds them expired.
    pub(crate) fn expired(&self) {
        let mut kept = self.kept();
        if kept
            .emptied
            .is_none_or(|at| at.elapsed() >= RENEWAL_INTERVAL)
        {
            tracing::debug!("the credentials have expired: loading them anew");
            kept.cache = IdentityCache::lazy().build();
            kept.chain = None;
            kept.emptied = Some(Instant::now());
        }
    }
}

impl ResolveCachedIdentity for Identities {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let cache = self.kept().cache.clone();
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
        let cache = self.kept().cache.clone();
        cache.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        let cache = self.kept().cache.clone();
        cache.validate_final_config(components, config)
    }
}

/// For the generated clients: an answer that says «expired» is worth another try,
/// with what the chain gives then. What the answer says is looked for in its text,
/// for each operation has an error type of its own.
impl ClassifyRetry for Identities {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refusal = context.response().filter(|r| r.status().is_client_error());
        let body = refusal.and_then(|r| r.body().bytes()).unwrap_or_default();
        if memchr::memmem::find(body, EXPIRED_TOKEN.as_bytes()).is_none() {
            return RetryAction::NoActionIndicated;
        }
        self.expired();
        RetryAction::transient_error()
    }

    fn name(&self) -> &'static str {
        "hashferry::Identities"
    }
}
