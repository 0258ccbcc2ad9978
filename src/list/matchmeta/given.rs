//! Rules and users as far as a person gives them; a table shows the rest.

use crate::base::error::Result;
use crate::list::matchmeta::normalizer::{Normalizer, Rules, Users};

/// Rules and users for paths, each of them given or left open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenRules {
    /// The rules.
    pub rules: Option<Rules>,
    /// The user of Unix paths.
    pub unix_user: Option<String>,
    /// The user of Windows paths.
    pub windows_user: Option<String>,
}

impl GivenRules {
    /// The normalizer of these rules. What is left open has its default.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when a name cannot be a user's.
    pub fn normalizer(&self) -> Result<Normalizer> {
        self.completed(Rules::default(), &Users::of(self.rules.unwrap_or_default()))
    }

    /// The normalizer of these rules. What is left open is taken from `rules` and `users`.
    ///
    /// # Errors
    /// As [`normalizer`](Self::normalizer).
    pub(crate) fn completed(&self, rules: Rules, users: &Users) -> Result<Normalizer> {
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
