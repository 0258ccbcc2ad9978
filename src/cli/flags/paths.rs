//! The flags that say how paths are made comparable, alike for every command that
//! takes paths.

use crate::base::error::Result;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::{Normalizer, Rules};
use clap::Args;

/// What the rules do, for `--help`.
pub(crate) const RULES_HELP: &str = "Rules:\n  \
    v2  /home/NAME becomes /home/ubuntu; the drive of a Windows path becomes C, and the name below\n      \
    Users or Documents and Settings becomes Administrator\n  \
    v3  /home/NAME and /Users/NAME become …/user (but for /Users/Shared); C: and Administrator only\n      \
    below Users and Documents and Settings, but for Default, Public, All Users, Default User\n  \
    v2 is the published rule to the letter, and names a user where the name is empty (/home//x,\n      \
    D:\\Users\\); v3 leaves an empty name, and a path such as D:a\\Users\\NAME, as it is";

/// By which rules paths are made comparable.
#[derive(Debug, Clone, Args)]
pub(crate) struct RulesArgs {
    /// The rules for paths, as the table was built with: v2 or v3 [default: as a look at
    /// the table's items shows, else v2]
    #[arg(long, value_name = "RULES", help_heading = "Paths")]
    rules: Option<Rules>,
    /// What stands for every user on Unix: the one of the gold build's image, such as ubuntu
    /// (Ubuntu), admin (Debian), centos, ec2-user (Amazon Linux) [default: ubuntu; with v3: user]
    #[arg(long, value_name = "NAME", help_heading = "Paths")]
    unix_user: Option<String>,
    /// What stands for every user on Windows [default: Administrator]
    #[arg(long, value_name = "NAME", help_heading = "Paths")]
    windows_user: Option<String>,
}

impl RulesArgs {
    /// The rules, as far as they are given.
    pub(crate) fn given_rules(&self) -> GivenRules {
        GivenRules {
            rules: self.rules,
            unix_user: self.unix_user.clone(),
            windows_user: self.windows_user.clone(),
        }
    }

    /// The normalizer of these rules. What is left open has its default.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when a name can be no user's.
    pub(crate) fn normalizer(&self) -> Result<Normalizer> {
        self.given_rules().normalizer()
    }

    /// The first of these flags that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--rules", self.rules.is_some()),
            ("--unix-user", self.unix_user.is_some()),
            ("--windows-user", self.windows_user.is_some()),
        ];
        given.into_iter().find_map(|(flag, is)| is.then_some(flag))
    }

    /// The flags as they were given, to be given again.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
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
