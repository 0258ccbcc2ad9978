//! Flags for path normalisation, shared by every command that reads paths.

use crate::base::error::Result;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::{Normalizer, Rules};
use clap::Args;

/// Description of the rules, for `--help`.
pub(crate) const RULES_HELP: &str = "Rules:\n  \
    v2  /home/NAME becomes /home/ubuntu; the drive of a Windows path becomes C, and the name below\n      \
    Users or Documents and Settings becomes Administrator\n  \
    v3  /home/NAME and /Users/NAME become …/user (but for /Users/Shared); C: and Administrator only\n      \
    below Users and Documents and Settings, but for Default, Public, All Users, Default User\n  \
    v2 is exactly the published rule: it also replaces an empty name (/home//x, D:\\Users\\); v3 leaves\n      \
    an empty name, and a path such as D:a\\Users\\NAME, unchanged";

/// Rules for path normalisation.
#[derive(Debug, Clone, Args)]
pub(crate) struct RulesArgs {
    /// Rules that the table's paths were normalised with: v2 or v3 [default: detected from the
    /// table's items, else v2]
    #[arg(long, value_name = "RULES", help_heading = "Paths")]
    rules: Option<Rules>,
    /// Name that replaces every Unix user: the user of the gold build's image, such as ubuntu
    /// (Ubuntu), admin (Debian), centos, ec2-user (Amazon Linux) [default: ubuntu; with v3: user]
    #[arg(long, value_name = "NAME", help_heading = "Paths")]
    unix_user: Option<String>,
    /// Name that replaces every Windows user [default: Administrator]
    #[arg(long, value_name = "NAME", help_heading = "Paths")]
    windows_user: Option<String>,
}

impl RulesArgs {
    /// The given rules; `None` for each flag that is not set.
    pub(crate) fn given_rules(&self) -> GivenRules {
        GivenRules {
            rules: self.rules,
            unix_user: self.unix_user.clone(),
            windows_user: self.windows_user.clone(),
        }
    }

    /// The normalizer of these rules, with defaults for flags that are not set.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a name is not a valid user
    /// name.
    pub(crate) fn normalizer(&self) -> Result<Normalizer> {
        self.given_rules().normalizer()
    }

    /// The first of these flags that is set; `None` if none is.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--rules", self.rules.is_some()),
            ("--unix-user", self.unix_user.is_some()),
            ("--windows-user", self.windows_user.is_some()),
        ];
        given.into_iter().find_map(|(flag, is)| is.then_some(flag))
    }

    /// The given flags as command-line arguments.
    pub(super) fn to_args(&self) -> impl Iterator<Item = String> {
        let flags = [
            ("--rules", self.rules.map(|r| r.name().to_owned())),
            ("--unix-user", self.unix_user.clone()),
            ("--windows-user", self.windows_user.clone()),
        ];
        let given = flags.into_iter();
        given
            .filter_map(|(flag, value)| Some([flag.to_owned(), value?]))
            .flatten()
    }
}
