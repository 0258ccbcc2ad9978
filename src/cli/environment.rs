//! The environment of this process: an empty AWS variable is an unset one.
//!
//! aws-config takes an empty AWS_PROFILE for a profile without a name, and an empty
//! AWS_ENDPOINT_URL for an address. Its view of the environment cannot be set from
//! outside, and a process cannot safely change its own. So the program starts again
//! in its place, without those variables.

use std::ffi::{OsStr, OsString};

/// Starts the program again without empty `AWS_*` variables, if there are any. Returns
/// if there are none, or if that cannot be done.
pub(super) fn leave_out_empty_variables() {
    let empty = empty_variables(std::env::vars_os());
    if empty.is_empty() {
        return;
    }
    if let Err(e) = start_again(&empty) {
        let names: Vec<_> = empty.iter().map(|n| n.to_string_lossy()).collect();
        let names = names.join(", ");
        eprintln!("warning: {names}: empty, and cannot be ignored ({e}); unset what is empty");
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
fn start_again(without: &[OsString]) -> std::io::Result<()> {
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
    // It returns only if that failed.
    Err(command.exec())
}

#[cfg(not(unix))]
fn start_again(_without: &[OsString]) -> std::io::Result<()> {
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
