//! The connection to AWS: configuration and clients.
//!
//! [`Aws`] is one configured connection to S3 and DynamoDB by the standard
//! chain of `aws-config`: environment, profile, web identity, ECS, IMDS. The two
//! generated clients serve everything that is asked now and then. What is asked
//! a thousand times a second goes by [`RawOperation`](crate::dynamodb::client::operation::RawOperation): bytes in and
//! bytes out, put together once from the SDK's own endpoint rules, credentials,
//! signing and HTTP client. [`error`](crate::aws::error) sorts whatever either of them returns into
//! the few cases that matter to a writer.

use crate::aws::credential_chain::Chain;
use crate::aws::credentials::Identities;
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

/// How long an unused connection is kept. S3 closes one after about 20 s, and
/// the client's own default is 90 s: a request sent into a connection that is
/// being closed is lost.
/// Source: aws-sdk-rust issues 1106 and 440.
pub(crate) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long to wait for a connection to be made. The SDK's own default.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// How long one try of a DynamoDB call may take, answer included. DynamoDB
/// answers within tens of milliseconds; the SDK has no limit by default, and a
/// connection that died silently would hold its batch for ever.
pub(crate) const DYNAMODB_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long S3 may take to begin its answer.
pub(crate) const S3_READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Tries that the SDK makes of a call that is asked now and then (DescribeTable,
/// the opening GetObject). BatchWriteItem is tried once: that loop is ours.
pub(crate) const ATTEMPTS: u32 = 5;

/// Where the policies of all commands are.
const POLICIES: &str = "scripts/iam";

/// Where AWS is, when it is not where the standard chain says.
#[derive(Debug, Clone, Default)]
pub struct AwsOptions {
    /// Region, instead of the chain's.
    pub region: Option<String>,
    /// Profile of the shared configuration files, instead of credentials in the
    /// environment.
    pub profile: Option<String>,
    /// Endpoint of both services.
    pub endpoint_url: Option<String>,
    /// The file with the least IAM policy of what is going to be done, for what to
    /// do when access is denied.
    pub policy: Option<&'static str>,
    /// Servers on this machine: endpoints and credentials of their own, and
    /// nothing is taken from the chain.
    pub local: Option<LocalEndpoints>,
}

/// Servers on this machine that stand in for AWS.
#[derive(Debug, Clone)]
pub struct LocalEndpoints {
    /// What they serve: the folder.
    pub home: String,
    /// Endpoint of S3.
    pub s3: String,
    /// Endpoint of DynamoDB.
    pub dynamodb: String,
    /// Region to sign for.
    pub region: String,
    /// Access key id; no secret.
    pub access_key_id: String,
    /// Its counterpart; no secret either, for the servers do not check it.
    pub secret_access_key: String,
}

/// A configured connection to S3 and DynamoDB. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Aws {
    pub(crate) config: SdkConfig,
    pub(crate) identities: Identities,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) dynamodb_endpoint: Option<String>,
    pub(crate) policy: &'static str,
    pub(crate) local: bool,
    /// Of servers on this machine: what they serve.
    pub(crate) home: Option<String>,
}

impl Aws {
    /// Loads the configuration. No call is made yet, but for those that the
    /// chain makes to find its region.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when there is no
    /// region, or an endpoint is no URL.
    pub async fn load(options: &AwsOptions) -> Result<Aws> {
        let identities = Identities::new();
        let mut config = loader(options, &identities).await?.load().await;
        if config.region().is_none() {
            if options.local.is_none() {
                Profiles::load(options.profile.as_deref()).await?.check()?;
            }
            return Err(Error::usage("no AWS region is set").hint(
                "give --region REGION, or set AWS_REGION, or a region in the profile (aws configure)",
            ));
        }

        let local = options.local.as_ref();
        if local.is_none() {
            let chain =
                Chain::provider(identities.clone(), config.clone(), options.profile.clone());
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
            policy: options.policy.unwrap_or(POLICIES),
            local: local.is_some(),
            home: local.map(|l| l.home.clone()),
            identities,
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

    /// An Application Auto Scaling client; nothing where DynamoDB is a server of
    /// one's own, which auto scaling knows nothing of, unless it has one too.
    pub fn autoscaling(&self) -> Option<aws_sdk_applicationautoscaling::Client> {
        let own = service_endpoint(&self.config, "Application Auto Scaling")
            .ok()
            .flatten();
        if self.local || (self.dynamodb_endpoint.is_some() && own.is_none()) {
            return None;
        }
        let mut config = aws_sdk_applicationautoscaling::config::Builder::from(&self.config)
            .retry_classifier(self.identities.clone());
        config.set_endpoint_url(own);
        Some(aws_sdk_applicationautoscaling::Client::from_conf(
            config.build(),
        ))
    }

    /// A DynamoDB client for another region; where an endpoint was given, for
    /// the same one.
    pub fn dynamodb_in(&self, region: &str) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config)
            .region(Region::new(region.to_owned()))
            .retry_classifier(self.identities.clone())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(DYNAMODB_ATTEMPT_TIMEOUT)
                    .build(),
            );
        config.set_endpoint_url(self.dynamodb_endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        self.config.region().map_or("", |r| r.as_ref())
    }

    /// Where DynamoDB is asked, for messages: the endpoint given, or the region.
    pub fn dynamodb_place(&self) -> String {
        match &self.dynamodb_endpoint {
            Some(url) => format!("at {url} (region {})", self.region()),
            None => format!("in region {}", self.region()),
        }
    }

    /// Where DynamoDB is, to tell one table from another of the same name: alike
    /// from run to run, though a server of this program's own has another port
    /// each time.
    pub fn dynamodb_home(&self) -> String {
        match (&self.home, &self.dynamodb_endpoint) {
            (Some(home), _) => home.clone(),
            (None, Some(url)) => format!("{url} {}", self.region()),
            (None, None) => self.region().to_owned(),
        }
    }

    /// The same connection, for what another policy is about.
    #[must_use]
    pub fn with_policy(&self, policy: &'static str) -> Aws {
        Aws {
            policy,
            ..self.clone()
        }
    }

    /// What to do about credentials that could not be loaded, where a profile was to
    /// give them.
    pub(crate) fn credentials_advice(&self) -> Option<String> {
        self.identities.advice()
    }

    /// What to do when the permission for `action` (`dynamodb:PutItem`) is
    /// missing.
    pub fn needs(&self, action: &str) -> String {
        format!(
            "the credentials need {action}: {} has all that this takes",
            self.policy
        )
    }

    /// Whether the servers are this program's own, where a missing table may be
    /// made.
    pub fn is_local(&self) -> bool {
        self.local
    }
}

/// The loader of the configuration: the HTTP client, and what the options say of
/// region, credentials and endpoint.
async fn loader(options: &AwsOptions, identities: &Identities) -> Result<ConfigLoader> {
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
            profiles.say_other_region();
        }
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(crate::aws::endpoint::check("--endpoint-url", url)?);
    }
    Ok(loader)
}

/// The S3 client of `config`; `endpoint` is where S3 is, if not at AWS.
fn s3_client(
    config: &SdkConfig,
    identities: &Identities,
    endpoint: Option<String>,
) -> aws_sdk_s3::Client {
    let mut s3 = aws_sdk_s3::config::Builder::from(config)
        // A bucket's name in the host name needs DNS that a server given by
        // its URL seldom has.
        .force_path_style(endpoint.is_some())
        // A range of an object has no checksum of its own.
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

/// The DynamoDB client of `config`; `endpoint` is where DynamoDB is, if not at AWS.
fn dynamodb_client(
    config: &SdkConfig,
    identities: &Identities,
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

/// The endpoint that the configuration names for `service`: its own, else the
/// general one; none means the service's real one.
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
                "cannot look up endpoints",
            )
            .because(e)
        })?;
    let own = config.service_config().and_then(|c| c.load_config(key));
    let variable = format!(
        "AWS_ENDPOINT_URL_{}",
        service.to_uppercase().replace(' ', "_")
    );
    own.or_else(|| config.endpoint_url().map(str::to_owned))
        .map(|url| crate::aws::endpoint::check(&variable, &url))
        .transpose()
}

/// No credentials anywhere, or none by the profile that was named.
pub(crate) fn no_credentials(aws: &Aws, error: CallError) -> Error {
    if let Some(advice) = aws.credentials_advice() {
        return Error::usage("no AWS credentials by the profile")
            .because(error)
            .hint(advice);
    }
    Error::usage("no AWS credentials were found").because(error).hint(
        "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is \
         attached (EC2, ECS, EKS); to try without an account: --local DIR",
    )
}
