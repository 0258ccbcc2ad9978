//! Profiles of the shared AWS configuration: whether the one that was named exists, and
//! what to do when it gives no credentials.

use crate::aws::error::innermost;
use crate::base::error::{Error, Result};
use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::provider::error::CredentialsError;

/// The most profiles that are followed from one `source_profile` to the next.
const MAX_SOURCES: usize = 16;

/// Settings that say where a profile's credentials come from.
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

/// The shared configuration files, and the profile in use.
#[derive(Debug)]
pub(super) struct Profiles {
    set: ProfileSet,
    name: String,
    /// What names the profile; `None` if it is the default one.
    named_by: Option<&'static str>,
}

impl Profiles {
    /// Reads the files, for the profile of the command line, of AWS_PROFILE, or the
    /// default one.
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
                .because(e)
                .hint("correct ~/.aws/config and ~/.aws/credentials, or what AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name")
        })?;
        Ok(Profiles {
            set,
            name,
            named_by,
        })
    }

    /// Checks that the profile exists, and those that it takes its keys from.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) with the profiles there are.
    pub(super) fn check(&self) -> Result<()> {
        let Profiles { name, named_by, .. } = self;
        let Some(profile) = self.set.get_profile(name) else {
            let default = name == "default" && *named_by != Some("--profile");
            return match (default, named_by) {
                (false, Some(named_by)) => Err(self.missing(&format!("{named_by}:"), name)),
                _ => Ok(()),
            };
        };
        // Keys in the environment stand above all profiles but the flag's.
        let keys = std::env::var("AWS_ACCESS_KEY_ID").is_ok_and(|k| !k.is_empty());
        let unused = keys && *named_by != Some("--profile");
        let base = self.base(profile);
        match base.get("source_profile").filter(|s| *s != base.name()) {
            Some(source) if !unused && self.set.get_profile(source).is_none() => {
                let what = format!("source_profile of profile {}:", base.name());
                Err(self.missing(&what, source))
            }
            _ => Ok(()),
        }
    }

    /// Whether the profile says where its credentials come from.
    pub(super) fn has_credentials(&self) -> bool {
        let profile = self.set.get_profile(&self.name);
        profile.is_some_and(|p| CREDENTIAL_SETTINGS.iter().any(|key| p.get(key).is_some()))
    }

    fn missing(&self, named_by: &str, name: &str) -> Error {
        let mut names: Vec<&str> = self.set.profiles().collect();
        names.sort_unstable();
        let hint = match names.is_empty() {
            true => format!("there are none at all; make it: aws configure --profile {name}"),
            false => format!(
                "profiles there are: {}; name one of them, or make this one: aws configure --profile {name}",
                names.join(", ")
            ),
        };
        Error::usage(format!(
            "{named_by} there is no profile {name:?} in the AWS configuration"
        ))
        .hint(hint)
    }

    /// Warns of a region in the environment that stands above the profile's, as it does
    /// for aws-cli.
    pub(super) fn say_other_region(&self) {
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let set = variables.iter().find_map(|name| {
            let region = std::env::var(name).ok().filter(|r| !r.is_empty());
            region.map(|region| (name, region))
        });
        if let (Some((variable, region)), Some(own)) = (set, self.set.get("region"))
            && region != own
        {
            let name = &self.name;
            tracing::warn!(
                "region {region} of {variable} is used, not {own} of profile {name}: --region {own} uses that"
            );
        }
    }

    /// Says what of the profile failed, and what to do; `None` if no profile was to give
    /// the credentials.
    pub(super) fn explain(&self, error: &CredentialsError) -> Option<(String, String)> {
        let profile = self.set.get_profile(&self.name)?;
        let absent = matches!(error, CredentialsError::CredentialsNotLoaded(_));
        if self.named_by.is_none() && absent {
            return None;
        }
        let (how, advice) = self.advice(profile);
        let name = &self.name;
        let why = match absent && !self.has_credentials() {
            true => "a container or an instance gives none either".to_owned(),
            false => reason(error),
        };
        let what = format!("profile {name} ({how}): {why}");
        Some((what, advice))
    }

    /// How `profile` gives credentials, and what to do when it does not.
    fn advice(&self, profile: &Profile) -> (String, String) {
        let name = &self.name;
        let base = self.base(profile);
        let role = profile.get("role_arn");
        if let (Some(role), Some(file)) = (role, profile.get("web_identity_token_file")) {
            let advice = format!(
                "check that {file} holds a token that is valid now, and that the trust policy of {role} allows its issuer"
            );
            return (format!("web identity, role {role}"), advice);
        }
        let (how, advice) = Self::own_advice(base);
        let Some(role) = role else {
            return (how, advice);
        };
        if profile.get("mfa_serial").is_some() {
            let advice = format!(
                "no code of an MFA device is asked for here; sign in with aws-cli first: \
                 eval \"$(aws configure export-credentials --profile {name} --format env)\", then run this without --profile"
            );
            return (format!("role {role} with MFA"), advice);
        }
        let from = match profile.get("credential_source") {
            Some(source) => format!("credential_source {source}"),
            None => format!("source_profile {}", base.name()),
        };
        let advice = format!(
            "check that {from} may call sts:AssumeRole on {role}, and that the role's trust policy allows it; {advice}"
        );
        (format!("role {role} by {from}, {how}"), advice)
    }

    /// The profile at the end of the `source_profile` settings.
    fn base<'a>(&'a self, profile: &'a Profile) -> &'a Profile {
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

    /// The same of a profile by itself.
    fn own_advice(profile: &Profile) -> (String, String) {
        let name = profile.name();
        let has = |key: &str| profile.get(key).is_some();
        let (how, advice) = if has("sso_session") || has("sso_start_url") {
            let advice = match cfg!(feature = "sso") {
                true => format!("sign in: aws sso login --profile {name}"),
                false => {
                    "this build has no IAM Identity Center: build it with its default features"
                        .to_owned()
                }
            };
            ("IAM Identity Center", advice)
        } else if has("login_session") {
            let advice = format!(
                "sessions of aws login are not read here: eval \"$(aws configure export-credentials \
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
                "add an access key, role_arn, sso_session or credential_process to it: aws configure --profile {name}"
            );
            ("no credentials of its own", advice)
        };
        (how.to_owned(), advice)
    }
}

/// What lies under the errors that only say that credentials were not loaded.
fn reason(error: &CredentialsError) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause.filter(|e| e.is::<CredentialsError>()) {
        cause = e.source();
    }
    let text = cause.map_or_else(|| error.to_string(), innermost);
    text.trim_end().to_owned()
}
