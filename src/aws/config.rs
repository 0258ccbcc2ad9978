//! The connection to AWS: configuration and clients.
//!
//! [`Aws`] is one configured connection to S3 and DynamoDB. It uses the standard chain
//! of `aws-config`: environment, profile, web identity, ECS, IMDS. Occasional calls use
//! the two generated clients. The calls of the hot path use
//! [`PreparedOperation`](crate::dynamodb::client::operation::PreparedOperation): bytes in, bytes
//! out. It is built once from the SDK's endpoint rules, credentials, signing and HTTP
//! client. [`error`](crate::aws::error) sorts the errors of both into a few classes.

use crate::aws::credential_chain::CredentialChain;
use crate::aws::credentials::CredentialCache;
use crate::aws::error::CallError;
use crate::aws::profile::Profiles;
use crate::base::error::{Error, Result};
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use std::time::Duration;

/// Maximum idle time of a pooled connection. S3 closes one after about 20 s, and the
/// client's default is 90 s. A request sent on a connection that is being closed is
/// lost. Source: aws-sdk-rust issues 1106 and 440.
pub(crate) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Timeout for connecting: the SDK's own default.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// Timeout of one attempt of a DynamoDB call, response included. DynamoDB responds
/// within tens of milliseconds. The SDK has no timeout by default, so a dead connection
/// would hold its batch permanently.
pub(crate) const DYNAMODB_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for the first byte of an S3 response.
pub(crate) const S3_READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Attempts of the SDK for an occasional call (DescribeTable, the first GetObject).
/// BatchWriteItem is attempted once, because the writer retries it.
pub(crate) const ATTEMPTS: u32 = 5;

/// Folder with the IAM policies of all commands.
const POLICIES_FOLDER: &str = "scripts/iam";

/// Connection settings that override the standard chain.
#[derive(Debug, Clone, Default)]
pub struct AwsOptions {
    /// Region, instead of the chain's.
    pub region: Option<String>,
    /// Profile of the shared configuration files, instead of credentials in the
    /// environment.
    pub profile: Option<String>,
    /// Endpoint of both services.
    pub endpoint_url: Option<String>,
    /// File with the minimal IAM policy of the command, for the hint when access is
    /// denied.
    pub policy: Option<&'static str>,
    /// Servers on this machine. With them, nothing comes from the standard chain.
    pub local: Option<LocalEndpoints>,
}

/// Servers on this machine that stand in for AWS.
#[derive(Debug, Clone)]
pub struct LocalEndpoints {
    /// Folder that the servers serve.
    pub folder: String,
    /// Endpoint of S3.
    pub s3: String,
    /// Endpoint of DynamoDB.
    pub dynamodb: String,
    /// Region in the signatures.
    pub region: String,
    /// Access key id; not confidential.
    pub access_key_id: String,
    /// Secret access key; not confidential, because the servers do not check it.
    pub secret_access_key: String,
}

/// A configured connection to S3 and DynamoDB. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Aws {
    pub(crate) config: SdkConfig,
    pub(crate) credential_cache: CredentialCache,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) dynamodb_endpoint: Option<String>,
    pub(crate) policy: &'static str,
    pub(crate) is_local: bool,
    /// Folder that the servers on this machine serve; `None` if AWS is remote.
    pub(crate) local_folder: Option<String>,
}

impl Aws {
    /// Loads the configuration. Makes no call, except those of the chain that find the
    /// region.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if no region is set,
    /// or an endpoint is not a server URL.
    pub async fn load(options: &AwsOptions) -> Result<Aws> {
        let identities = CredentialCache::new();
        let mut config = loader(options, &identities).await?.load().await;
        if config.region().is_none() {
            if options.local.is_none() {
                Profiles::load(options.profile.as_deref()).await?.check()?;
            }
            return Err(Error::usage("no AWS region is set").with_hint(
                "give --region REGION, set AWS_REGION, or set a region in the profile (aws configure)",
            ));
        }

        let local = options.local.as_ref();
        if local.is_none() {
            let chain = CredentialChain::provider(
                identities.clone(),
                config.clone(),
                options.profile.clone(),
            );
            config = config.into_builder().credentials_provider(chain).build();
        }
        let s3_endpoint = match local {
            Some(l) => Some(l.s3.clone()),
            None => service_endpoint(&config, "S3")?,
        };
        let dynamodb_endpoint = match local {
            Some(l) => Some(l.dynamodb.clone()),
            None => service_endpoint(&config, "DynamoDB")?,
        };
        Ok(Aws {
            s3: s3_client(&config, &identities, s3_endpoint),
            dynamodb: dynamodb_client(&config, &identities, dynamodb_endpoint.clone()),
            dynamodb_endpoint,
            policy: options.policy.unwrap_or(POLICIES_FOLDER),
            is_local: local.is_some(),
            local_folder: local.map(|l| l.folder.clone()),
            credential_cache: identities,
            config,
        })
    }

    /// The S3 client.
    pub fn s3(&self) -> &aws_sdk_s3::Client {
        &self.s3
    }

    /// The DynamoDB client.
    pub fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        &self.dynamodb
    }

    /// An Application Auto Scaling client. `None` if DynamoDB has a custom endpoint and
    /// auto scaling has none, because AWS's auto scaling does not know that server.
    pub fn autoscaling(&self) -> Option<aws_sdk_applicationautoscaling::Client> {
        let custom_endpoint = service_endpoint(&self.config, "Application Auto Scaling")
            .ok()
            .flatten();
        if self.is_local || (self.dynamodb_endpoint.is_some() && custom_endpoint.is_none()) {
            return None;
        }
        let mut config = aws_sdk_applicationautoscaling::config::Builder::from(&self.config)
            .retry_classifier(self.credential_cache.clone());
        config.set_endpoint_url(custom_endpoint);
        Some(aws_sdk_applicationautoscaling::Client::from_conf(
            config.build(),
        ))
    }

    /// A DynamoDB client for another region; it keeps a custom endpoint.
    pub fn dynamodb_in_region(&self, region: &str) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config)
            .region(Region::new(region.to_owned()))
            .retry_classifier(self.credential_cache.clone())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(DYNAMODB_ATTEMPT_TIMEOUT)
                    .build(),
            );
        config.set_endpoint_url(self.dynamodb_endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// The region's name; empty if none is set.
    pub fn region(&self) -> &str {
        self.config.region().map_or("", |r| r.as_ref())
    }

    /// Describes the location of DynamoDB for messages: the custom endpoint, or the
    /// region.
    pub fn describe_dynamodb(&self) -> String {
        match &self.dynamodb_endpoint {
            Some(url) => format!("at {url} (region {})", self.region()),
            None => format!("in region {}", self.region()),
        }
    }

    /// Identifies this DynamoDB, to distinguish tables of the same name. Stable from
    /// run to run, although the embedded server has a different port each time.
    pub fn dynamodb_identity(&self) -> String {
        match (&self.local_folder, &self.dynamodb_endpoint) {
            (Some(home), _) => home.clone(),
            (None, Some(url)) => format!("{url} {}", self.region()),
            (None, None) => self.region().to_owned(),
        }
    }

    /// The same connection with another policy file in its hints.
    #[must_use]
    pub fn with_policy(&self, policy: &'static str) -> Aws {
        Aws {
            policy,
            ..self.clone()
        }
    }

    /// The hint for credentials that the profile did not provide; `None` if there is
    /// none.
    pub(crate) fn credentials_hint(&self) -> Option<String> {
        self.credential_cache.hint()
    }

    /// The hint for a missing permission `action`, such as `dynamodb:PutItem`.
    pub fn permission_hint(&self, action: &str) -> String {
        format!(
            "the credentials need {action}; {} lists every permission for this",
            self.policy
        )
    }

    /// True if the servers are the embedded ones, which may create a missing table.
    pub fn is_local(&self) -> bool {
        self.is_local
    }
}

/// A configuration loader with the HTTP client and the options' region, credentials and
/// endpoint.
async fn loader(options: &AwsOptions, identities: &CredentialCache) -> Result<ConfigLoader> {
    let http = aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .identity_cache(identities.clone())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        );
    if let Some(local) = &options.local {
        let credentials = Credentials::new(
            &local.access_key_id,
            &local.secret_access_key,
            None,
            None,
            "local",
        );
        return Ok(loader
            .empty_test_environment()
            .region(Region::new(local.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials)));
    }
    if let Some(profile) = &options.profile {
        let profiles = Profiles::load(Some(profile)).await?;
        profiles.check()?;
        if options.region.is_none() {
            profiles.warn_region_override();
        }
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(crate::aws::endpoint::check_url("--endpoint-url", url)?);
    }
    Ok(loader)
}

/// The S3 client of `config`; `endpoint` is `None` for AWS.
fn s3_client(
    config: &SdkConfig,
    identities: &CredentialCache,
    endpoint: Option<String>,
) -> aws_sdk_s3::Client {
    let mut s3 = aws_sdk_s3::config::Builder::from(config)
        // A bucket name in the host name needs DNS, which a custom endpoint seldom has.
        .force_path_style(endpoint.is_some())
        // A range of an object has no checksum.
        .response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired)
        .retry_classifier(identities.clone())
        .timeout_config(
            TimeoutConfig::builder()
                .read_timeout(S3_READ_TIMEOUT)
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        );
    s3.set_endpoint_url(endpoint);
    aws_sdk_s3::Client::from_conf(s3.build())
}

/// The DynamoDB client of `config`; `endpoint` is `None` for AWS.
fn dynamodb_client(
    config: &SdkConfig,
    identities: &CredentialCache,
    endpoint: Option<String>,
) -> aws_sdk_dynamodb::Client {
    let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(config)
        .retry_classifier(identities.clone())
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(DYNAMODB_ATTEMPT_TIMEOUT)
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        );
    dynamodb.set_endpoint_url(endpoint);
    aws_sdk_dynamodb::Client::from_conf(dynamodb.build())
}

/// The configured endpoint of `service`, or else the general one; `None` for AWS's own.
fn service_endpoint(config: &SdkConfig, service: &str) -> Result<Option<String>> {
    if config.get_origin("endpoint_url").is_client_config() {
        return Ok(config.endpoint_url().map(str::to_owned));
    }
    let key = aws_types::service_config::ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .map_err(|e| {
            Error::new(
                crate::base::error::ErrorKind::Internal,
                "cannot read the configured endpoints",
            )
            .with_source(e)
        })?;
    let service_url = config.service_config().and_then(|c| c.load_config(key));
    let variable = format!(
        "AWS_ENDPOINT_URL_{}",
        service.to_uppercase().replace(' ', "_")
    );
    service_url
        .or_else(|| config.endpoint_url().map(str::to_owned))
        .map(|url| crate::aws::endpoint::check_url(&variable, &url))
        .transpose()
}

/// The error for missing credentials: none at all, or none from the named profile.
pub(crate) fn no_credentials(aws: &Aws, error: CallError) -> Error {
    if let Some(advice) = aws.credentials_hint() {
        return Error::usage("the profile provides no AWS credentials")
            .with_source(error)
            .with_hint(advice);
    }
    Error::usage("no AWS credentials found").with_source(error).with_hint(
        "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is \
         attached (EC2, ECS, EKS); to try hashferry without AWS, give --local DIR",
    )
}
