//! URLs of servers, and what of them may be used and shown.

use crate::base::error::{Error, Result};

/// `url` without user name, password, query and fragment: no call uses them, for
/// calls are signed by the credentials, and they may be secret. Nothing when it is
/// no URL of a server.
pub(crate) fn plain(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let scheme = uri
        .scheme_str()
        .filter(|s| matches!(*s, "http" | "https"))?;
    let authority = uri.authority()?;
    let server = authority.as_str().rsplit('@').next()?;
    // What is a port to the parser may be the beginning of a password.
    let port = server.strip_prefix(authority.host())?;
    let has_port = port.is_empty() || authority.port_u16().is_some();
    let rest = url.get(scheme.len() + "://".len() + authority.as_str().len()..)?;
    if authority.host().is_empty() || !has_port || rest.contains('@') {
        return None;
    }
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    Some(format!("{scheme}://{server}{path}"))
}

/// What is used of `url`, which `origin` names.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when it is no URL of a
/// server. It is shown only where it can hold nothing secret.
pub(super) fn check(origin: &str, url: &str) -> Result<String> {
    if let Some(used) = plain(url) {
        if used.len() < url.len() {
            tracing::debug!("{origin}: user name, password and query of it are left out");
        }
        return Ok(used);
    }
    let what = match url.contains(['@', '?', '#']) {
        true => format!("{origin} is no URL of a server (not shown: it may hold a password)"),
        false => format!("{origin}: {url:?} is no URL of a server"),
    };
    Err(Error::usage(what).hint(
        "expected something like http://127.0.0.1:8000 or https://dynamodb.eu-west-1.amazonaws.com",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_left_out() {
        for (url, shown) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("https://[::1]:8000/a/", "https://[::1]:8000/a/"),
            ("http://u:p@h:1", "http://h:1"),
            ("http://u:p@h", "http://h"),
            ("http://h?X-Amz-Signature=s", "http://h"),
            ("https://u@h:1/a?s#f", "https://h:1/a"),
            ("http://h/#f", "http://h/"),
        ] {
            assert_eq!(plain(url).as_deref(), Some(shown), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_shown_only_without_a_password() {
        for url in [
            "user:PASSWORD@host",
            "ftp://user:PASSWORD@host",
            "http://user:PASSWORD/x@host",
            "http://user:12/PASSWORD@host",
            "http://user:12?PASSWORD@host",
            "http://user:PASSWORD@",
            "//user:PASSWORD@host",
            "?PASSWORD",
        ] {
            assert_eq!(plain(url), None, "{url}");
            let error = check("--endpoint-url", url).expect_err("no URL");
            assert!(!format!("{error:#}").contains("PASSWORD"), "{error}");
        }
        let error = check("--endpoint-url", "localhost").expect_err("no URL");
        assert!(format!("{error:#}").contains("\"localhost\""), "{error}");
    }
}
