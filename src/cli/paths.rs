//! The flags that say how paths are made comparable, alike for every command that takes
//! paths.

use crate::error::Result;
use crate::matchmeta::{Normalizer, Rules, Users};
use clap::Args;

#[derive(Debug, Clone, Args)]
pub(super) struct PathArgs {
    /// The rules, as the table was built with: v2 or v3 [default: v2]
    #[arg(long, value_name = "RULES")]
    rules: Option<Rules>,
    /// What stands for every user on Unix: the one of the gold build's image, such as ubuntu
    /// (Ubuntu), admin (Debian), centos, ec2-user (Amazon Linux) [default: ubuntu; with v3: user]
    #[arg(long, value_name = "NAME")]
    unix_user: Option<String>,
    /// What stands for every user on Windows [default: Administrator]
    #[arg(long, value_name = "NAME")]
    windows_user: Option<String>,
}

impl PathArgs {
    /// Whether any of them was given.
    pub(super) fn any(&self) -> bool {
        self.rules.is_some() || self.unix_user.is_some() || self.windows_user.is_some()
    }

    /// What normalises as they say.
    pub(super) fn normalizer(&self) -> Result<Normalizer> {
        let rules = self.rules.unwrap_or_default();
        let own = Users::of(rules);
        Normalizer::new(
            rules,
            Users {
                unix: self.unix_user.clone().unwrap_or(own.unix),
                windows: self.windows_user.clone().unwrap_or(own.windows),
            },
        )
    }
}
