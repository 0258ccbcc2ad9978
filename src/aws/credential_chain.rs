//! The credentials provider: the standard chain, or a named profile.
//!
//! The chain of aws-config asks the environment first, even if a profile is named. In
//! aws-cli, a profile on the command line takes precedence over keys in the
//! environment. hashferry does the same.

use crate::aws::credentials::CredentialCache;
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

/// A credentials chain, kept while its credentials are valid.
#[derive(Debug)]
pub(super) struct CredentialChain {
    cache: CredentialCache,
    config: SdkConfig,
    /// Profile from the command line.
    profile: Option<String>,
}

impl CredentialChain {
    /// A provider with the region, HTTP client, retries and timeouts of `config`.
    pub(super) fn provider(
        identities: CredentialCache,
        config: SdkConfig,
        profile: Option<String>,
    ) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(CredentialChain {
            cache: identities,
            config,
            profile,
        })
    }

    /// Returns the chain in use, or builds one. `has_credentials` is true if the profile
    /// itself has credentials.
    async fn current_chain(&self, has_credentials: bool) -> SharedCredentialsProvider {
        if let Some(chain) = self.cache.chain() {
            return chain;
        }
        let provider = self.provider_config();
        let chain = match &self.profile {
            Some(profile) => profile_chain(profile, &provider, has_credentials),
            None => {
                let builder = DefaultCredentialsChain::builder()
                    .configure(provider)
                    .region(self.config.region().cloned());
                SharedCredentialsProvider::new(builder.build().await)
            }
        };
        self.cache.use_chain(chain.clone());
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
            let hint = missing.hint().map(str::to_owned);
            self.cache.set_hint(hint);
            return Err(CredentialsError::invalid_configuration(missing));
        }
        let has_credentials = profiles.as_ref().is_ok_and(Profiles::has_credentials);
        let loaded = self
            .current_chain(has_credentials)
            .await
            .provide_credentials()
            .await;
        let explained = loaded.map_err(|e| match profiles.map(|p| p.explain(&e)) {
            Ok(Some((message, advice))) => (with_message(&e, message), Some(advice)),
            _ => (e, None),
        });
        match explained {
            Ok(credentials) => {
                self.cache.set_hint(None);
                Ok(credentials)
            }
            Err((e, advice)) => {
                self.cache.set_hint(advice);
                Err(e)
            }
        }
    }
}

/// The provider of a profile. If the profile itself has no credentials, it then asks the
/// container and the instance, as aws-cli does.
fn profile_chain(
    profile: &str,
    provider: &ProviderConfig,
    has_credentials: bool,
) -> SharedCredentialsProvider {
    let of_profile = ProfileFileCredentialsProvider::builder()
        .configure(provider)
        .profile_name(profile)
        .build();
    if has_credentials {
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

/// An error of the kind of `e`, because the kind decides whether to retry.
fn with_message(e: &CredentialsError, message: String) -> CredentialsError {
    match e {
        CredentialsError::CredentialsNotLoaded(_) => CredentialsError::not_loaded(message),
        CredentialsError::InvalidConfiguration(_) => {
            CredentialsError::invalid_configuration(message)
        }
        _ => CredentialsError::provider_error(message),
    }
}

impl ProvideCredentials for CredentialChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.cache.chain()?.fallback_on_interrupt()
    }
}
