//! Rules and users from the options; the table or defaults complete them.

use crate::base::error::Result;
use crate::list::matchmeta::normalizer::{Normalizer, Rules, Users};

/// Rules and users for paths, each optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenRules {
    /// The rules. `None` to use those of the table, or the default.
    pub rules: Option<Rules>,
    /// User of Unix paths. `None` to use that of the table, or the default.
    pub unix_user: Option<String>,
    /// User of Windows paths. `None` to use that of the table, or the default.
    pub windows_user: Option<String>,
}

impl GivenRules {
    /// Returns a normalizer with these rules, completed by the defaults.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a name is not a valid user.
    pub fn normalizer(&self) -> Result<Normalizer> {
        self.normalizer_with_defaults(
            Rules::default(),
            &Users::for_rules(self.rules.unwrap_or_default()),
        )
    }

    /// Returns a normalizer with these rules, completed by `rules` and `users`.
    ///
    /// # Errors
    /// Same as [`normalizer`](Self::normalizer).
    pub(crate) fn normalizer_with_defaults(
        &self,
        rules: Rules,
        users: &Users,
    ) -> Result<Normalizer> {
        let or = |given: &Option<String>, other: &String| given.as_ref().unwrap_or(other).clone();
        Normalizer::new(
            self.rules.unwrap_or(rules),
            Users {
                unix: or(&self.unix_user, &users.unix),
                windows: or(&self.windows_user, &users.windows),
            },
        )
    }
}

impl From<Normalizer> for GivenRules {
    fn from(normalizer: Normalizer) -> Self {
        let users = normalizer.users();
        GivenRules {
            rules: Some(normalizer.rules()),
            unix_user: Some(users.unix.clone()),
            windows_user: Some(users.windows.clone()),
        }
    }
}
