//! The credentials provider: the standard chain, or the profile that was named.
//!
//! The chain of aws-config asks the environment first, whatever profile it was given.
//! aws-cli does not: a profile that is named on its command line stands above keys in
//! the environment. The same holds here.

use crate::aws::credentials::Identities;
use crate::aws::profile::Profiles;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::SdkConfig;

/// The chain that is kept as long as its credentials are valid.
#[derive(Debug)]
pub(super) struct Chain {
    identities: Identities,
    config: SdkConfig,
    /// The profile of the command line.
    profile: Option<String>,
}

impl Chain {
    /// A chain with the region, HTTP client, retries and timeouts of `config`.
    pub(super) fn provider(
        identities: Identities,
        config: SdkConfig,
        profile: Option<String>,
    ) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Chain {
            identities,
            config,
            profile,
        })
    }

    /// The chain; `own` says whether the profile has credentials of its own.
    async fn current(&self, own: bool) -> SharedCredentialsProvider {
        if let Some(chain) = self.identities.chain() {
            return chain;
        }
        let provider = self.provider_config();
        let chain = match &self.profile {
            Some(profile) => named(profile, &provider, own),
            None => {
                let builder = DefaultCredentialsChain::builder()
                    .configure(provider)
                    .region(self.config.region().cloned());
                SharedCredentialsProvider::new(builder.build().await)
            }
        };
        self.identities.use_chain(chain.clone());
        chain
    }

    fn provider_config(&self) -> ProviderConfig {
        let config = &self.config;
        let mut provider = ProviderConfig::without_region()
            .with_region(config.region().cloned())
            .with_use_fips(config.use_fips())
            .with_use_dual_stack(config.use_dual_stack());
        if let Some(client) = config.http_client() {
            provider = provider.with_http_client(client);
        }
        if let Some(retries) = config.retry_config() {
            provider = provider.with_retry_config(retries.clone());
        }
        if let Some(timeouts) = config.timeout_config() {
            provider = provider.with_timeout_config(timeouts.clone());
        }
        provider
    }

    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let profiles = Profiles::load(self.profile.as_deref()).await;
        if let Ok(profiles) = &profiles
            && let Err(missing) = profiles.check()
        {
            let hint = missing.what_to_do().map(str::to_owned);
            self.identities.advise(hint);
            return Err(CredentialsError::invalid_configuration(missing));
        }
        let own = profiles.as_ref().is_ok_and(Profiles::has_credentials);
        let loaded = self.current(own).await.provide_credentials().await;
        let explained = loaded.map_err(|e| match profiles.map(|p| p.explain(&e)) {
            Ok(Some((what, advice))) => (again(&e, what), Some(advice)),
            _ => (e, None),
        });
        match explained {
            Ok(credentials) => {
                self.identities.advise(None);
                Ok(credentials)
            }
            Err((e, advice)) => {
                self.identities.advise(advice);
                Err(e)
            }
        }
    }
}

/// The profile, and nothing else if it has credentials of its `own`. If not, it asks as
/// aws-cli does: the container and the instance.
fn named(profile: &str, provider: &ProviderConfig, own: bool) -> SharedCredentialsProvider {
    let of_profile = ProfileFileCredentialsProvider::builder()
        .configure(provider)
        .profile_name(profile)
        .build();
    if own {
        return SharedCredentialsProvider::new(of_profile);
    }
    let container = EcsCredentialsProvider::builder()
        .configure(provider)
        .build();
    let instance = ImdsCredentialsProvider::builder()
        .configure(provider)
        .build();
    let chain = CredentialsProviderChain::first_try("Profile", of_profile)
        .or_else("EcsContainer", container)
        .or_else("Ec2InstanceMetadata", instance);
    SharedCredentialsProvider::new(chain)
}

/// An error of the same kind as `e`, which decides whether it may pass.
fn again(e: &CredentialsError, what: String) -> CredentialsError {
    match e {
        CredentialsError::CredentialsNotLoaded(_) => CredentialsError::not_loaded(what),
        CredentialsError::InvalidConfiguration(_) => CredentialsError::invalid_configuration(what),
        _ => CredentialsError::provider_error(what),
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.identities.chain()?.fallback_on_interrupt()
    }
}
