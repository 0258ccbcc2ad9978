//! Environment of this process: empty AWS variables are treated as unset.
//!
//! aws-config reads an empty AWS_PROFILE as a profile without a name, and an empty
//! AWS_ENDPOINT_URL as an address. Its view of the environment cannot be replaced, and
//! a process cannot safely change its own environment. So the program re-executes itself
//! without those variables.

use std::ffi::{OsStr, OsString};

/// Re-executes the program without empty `AWS_*` variables. Returns if there are none, or
/// if the execution fails.
pub(super) fn restart_without_empty_variables() {
    let empty = empty_variables(std::env::vars_os());
    if empty.is_empty() {
        return;
    }
    if let Err(e) = restart(&empty) {
        let names: Vec<_> = empty.iter().map(|n| n.to_string_lossy()).collect();
        let names = names.join(", ");
        eprintln!("warning: cannot ignore empty variables ({e}); unset {names}");
    }
}

/// The names of AWS variables without a value.
fn empty_variables(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<OsString> {
    let is_aws = |name: &OsStr| name.as_encoded_bytes().starts_with(b"AWS_");
    all.filter(|(name, value)| value.is_empty() && is_aws(name))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(unix)]
fn restart(without: &[OsString]) -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let mut args = std::env::args_os();
    let mut command = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args);
    for name in without {
        command.env_remove(name);
    }
    // `exec` returns only on failure.
    Err(command.exec())
}

#[cfg(not(unix))]
fn restart(_without: &[OsString]) -> std::io::Result<()> {
    // On Windows setting a variable to nothing removes it.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_variables_of_aws_are_left_out() {
        let all = [
            ("AWS_PROFILE", ""),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL_S3", ""),
            ("HTTPS_PROXY", ""),
            ("MY_AWS_PROFILE", ""),
        ];
        let all = all.map(|(n, v)| (OsString::from(n), OsString::from(v)));
        let empty = empty_variables(all.into_iter());
        assert_eq!(empty, ["AWS_PROFILE", "AWS_ENDPOINT_URL_S3"]);
    }
}
