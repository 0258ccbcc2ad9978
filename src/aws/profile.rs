//! Profiles of the shared AWS configuration: existence checks, and hints for missing
//! credentials.

use crate::aws::error::root_cause;
use crate::base::error::{Error, Result};
use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::provider::error::CredentialsError;

/// Maximum number of `source_profile` links to follow.
const MAX_SOURCES: usize = 16;

/// Settings that define the source of a profile's credentials.
const CREDENTIAL_SETTINGS: [&str; 9] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
];

/// The shared configuration files and the profile in use.
#[derive(Debug)]
pub(super) struct Profiles {
    set: ProfileSet,
    name: String,
    /// The flag or variable that names the profile; `None` for the default profile.
    origin: Option<&'static str>,
}

impl Profiles {
    /// Reads the files. The profile comes from the command line, from AWS_PROFILE, or
    /// is the default one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a file cannot be read.
    pub(super) async fn load(flag: Option<&str>) -> Result<Profiles> {
        let variable = std::env::var("AWS_PROFILE").ok();
        let (name, named_by) = match (flag, variable.filter(|v| !v.is_empty())) {
            (Some(name), _) => (name.to_owned(), Some("--profile")),
            (None, Some(name)) => (name, Some("AWS_PROFILE")),
            (None, None) => ("default".to_owned(), None),
        };
        let set = aws_config::profile::load(
            &Default::default(),
            &Default::default(),
            &Default::default(),
            Some(name.clone().into()),
        )
        .await
        .map_err(|e| {
            Error::usage("cannot read the AWS configuration")
                .with_source(e)
                .with_hint("fix ~/.aws/config and ~/.aws/credentials, or the files in AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE")
        })?;
        Ok(Profiles {
            set,
            name,
            origin: named_by,
        })
    }

    /// Checks that the profile and its source profiles exist.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), listing the existing
    /// profiles.
    pub(super) fn check(&self) -> Result<()> {
        let Profiles {
            name,
            origin: named_by,
            ..
        } = self;
        let Some(profile) = self.set.get_profile(name) else {
            let default = name == "default" && *named_by != Some("--profile");
            return match (default, named_by) {
                (false, Some(named_by)) => Err(self.missing_error(&format!("{named_by}:"), name)),
                _ => Ok(()),
            };
        };
        // Keys in the environment take precedence over all profiles except --profile.
        let keys = std::env::var("AWS_ACCESS_KEY_ID").is_ok_and(|k| !k.is_empty());
        let unused = keys && *named_by != Some("--profile");
        let base = self.base_profile(profile);
        match base.get("source_profile").filter(|s| *s != base.name()) {
            Some(source) if !unused && self.set.get_profile(source).is_none() => {
                let message = format!("source_profile of profile {}:", base.name());
                Err(self.missing_error(&message, source))
            }
            _ => Ok(()),
        }
    }

    /// True if the profile defines a source of credentials.
    pub(super) fn has_credentials(&self) -> bool {
        let profile = self.set.get_profile(&self.name);
        profile.is_some_and(|p| CREDENTIAL_SETTINGS.iter().any(|key| p.get(key).is_some()))
    }

    fn missing_error(&self, named_by: &str, name: &str) -> Error {
        let mut names: Vec<&str> = self.set.profiles().collect();
        names.sort_unstable();
        let hint = match names.is_empty() {
            true => {
                format!("there are no profiles; create this one: aws configure --profile {name}")
            }
            false => format!(
                "existing profiles: {}; give one of them, or create this one: aws configure --profile {name}",
                names.join(", ")
            ),
        };
        Error::usage(format!(
            "{named_by} there is no profile {name:?} in the AWS configuration"
        ))
        .with_hint(hint)
    }

    /// Warns that a region in the environment overrides the profile's, as in aws-cli.
    pub(super) fn warn_region_override(&self) {
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let set = variables.iter().find_map(|name| {
            let region = std::env::var(name).ok().filter(|r| !r.is_empty());
            region.map(|region| (name, region))
        });
        if let (Some((variable, region)), Some(profile_region)) = (set, self.set.get("region"))
            && region != profile_region
        {
            let name = &self.name;
            tracing::warn!(
                "using region {region} from {variable}, not {profile_region} from profile {name}; to use that, give --region {profile_region}"
            );
        }
    }

    /// Describes the failure of the profile, with a hint; `None` if the credentials
    /// were not to come from a profile.
    pub(super) fn explain(&self, error: &CredentialsError) -> Option<(String, String)> {
        let profile = self.set.get_profile(&self.name)?;
        let absent = matches!(error, CredentialsError::CredentialsNotLoaded(_));
        if self.origin.is_none() && absent {
            return None;
        }
        let (method, advice) = self.credentials_hint(profile);
        let name = &self.name;
        let why = match absent && !self.has_credentials() {
            true => "the container and the instance provide none either".to_owned(),
            false => describe_cause(error),
        };
        let message = format!("profile {name} ({method}): {why}");
        Some((message, advice))
    }

    /// Describes the credentials source of `profile`, with a hint for its failure.
    fn credentials_hint(&self, profile: &Profile) -> (String, String) {
        let name = &self.name;
        let base = self.base_profile(profile);
        let role = profile.get("role_arn");
        if let (Some(role), Some(file)) = (role, profile.get("web_identity_token_file")) {
            let advice = format!(
                "check that {file} holds a token that is valid now, and that the trust policy of {role} allows its issuer"
            );
            return (format!("web identity, role {role}"), advice);
        }
        let (method, advice) = Self::own_credentials_hint(base);
        let Some(role) = role else {
            return (method, advice);
        };
        if profile.get("mfa_serial").is_some() {
            let advice = format!(
                "hashferry cannot ask for an MFA code; sign in with aws-cli first: \
                 eval \"$(aws configure export-credentials --profile {name} --format env)\", then run this without --profile"
            );
            return (format!("role {role} with MFA"), advice);
        }
        let from = match profile.get("credential_source") {
            Some(source) => format!("credential_source {source}"),
            None => format!("source_profile {}", base.name()),
        };
        let advice = format!(
            "check that {from} may call sts:AssumeRole on {role}, and that the role's trust policy allows that; {advice}"
        );
        (format!("role {role} from {from}, {method}"), advice)
    }

    /// The last profile in the chain of `source_profile` settings.
    fn base_profile<'a>(&'a self, profile: &'a Profile) -> &'a Profile {
        let mut base = profile;
        for _ in 0..MAX_SOURCES {
            let source = base.get("source_profile").filter(|s| *s != base.name());
            match source.and_then(|s| self.set.get_profile(s)) {
                Some(next) => base = next,
                None => break,
            }
        }
        base
    }

    /// As [`credentials_hint`](Self::credentials_hint), for the profile's own settings without its role.
    fn own_credentials_hint(profile: &Profile) -> (String, String) {
        let name = profile.name();
        let has = |key: &str| profile.get(key).is_some();
        let (method, advice) = if has("sso_session") || has("sso_start_url") {
            let advice = match cfg!(feature = "sso") {
                true => format!("sign in: aws sso login --profile {name}"),
                false => {
                    "this build lacks IAM Identity Center; build hashferry with its default features"
                        .to_owned()
                }
            };
            ("IAM Identity Center", advice)
        } else if has("login_session") {
            let advice = format!(
                "hashferry cannot read sessions of aws login; export the credentials: eval \"$(aws configure export-credentials \
                 --profile {name} --format env)\", then run this without --profile"
            );
            ("aws login", advice)
        } else if has("credential_process") {
            let advice = format!(
                "run the credential_process of profile {name} by hand: it must print JSON with \"Version\": 1 and exit with 0"
            );
            ("credential_process", advice)
        } else if has("aws_access_key_id") || has("aws_secret_access_key") {
            let advice = match has("aws_access_key_id") && has("aws_secret_access_key") {
                true => format!("check that the access key of profile {name} is still active"),
                false => format!("set both parts of the key: aws configure --profile {name}"),
            };
            ("access key", advice)
        } else {
            let advice = format!(
                "add an access key, role_arn, sso_session or credential_process to the profile: aws configure --profile {name}"
            );
            ("no credentials in the profile", advice)
        };
        (method.to_owned(), advice)
    }
}

/// The cause below the errors that only report missing credentials.
fn describe_cause(error: &CredentialsError) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause.filter(|e| e.is::<CredentialsError>()) {
        cause = e.source();
    }
    let text = cause.map_or_else(|| error.to_string(), root_cause);
    text.trim_end().to_owned()
}
