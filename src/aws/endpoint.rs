//! Server URLs: validated, and without secrets.

use crate::base::error::{Error, Result};

/// `url` without user name, password, query and fragment. Calls do not use them, since
/// calls are signed, and they may be secret. `None` if `url` is not a server URL.
pub(crate) fn without_secrets(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let scheme = uri
        .scheme_str()
        .filter(|s| matches!(*s, "http" | "https"))?;
    let authority = uri.authority()?;
    let server = authority.as_str().rsplit('@').next()?;
    // The parser's port may be the beginning of a password.
    let port = server.strip_prefix(authority.host())?;
    let has_port = port.is_empty() || authority.port_u16().is_some();
    let rest = url.get(scheme.len() + "://".len() + authority.as_str().len()..)?;
    if authority.host().is_empty() || !has_port || rest.contains('@') {
        return None;
    }
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    Some(format!("{scheme}://{server}{path}"))
}

/// The usable part of `url`; `origin` names the setting in messages.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if it is not a server
/// URL. The error shows the URL only if it cannot hold a secret.
pub(super) fn check_url(origin: &str, url: &str) -> Result<String> {
    if let Some(used) = without_secrets(url) {
        if used.len() < url.len() {
            tracing::debug!("{origin}: ignoring its user name, password and query");
        }
        return Ok(used);
    }
    let message = match url.contains(['@', '?', '#']) {
        true => format!("{origin} is not a server URL (not shown: it may hold a password)"),
        false => format!("{origin}: {url:?} is not a server URL"),
    };
    Err(Error::usage(message).with_hint(
        "give a URL such as http://127.0.0.1:8000 or https://dynamodb.eu-west-1.amazonaws.com",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_removed_from_urls() {
        for (url, shown) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("https://[::1]:8000/a/", "https://[::1]:8000/a/"),
            ("http://u:p@h:1", "http://h:1"),
            ("http://u:p@h", "http://h"),
            ("http://h?X-Amz-Signature=s", "http://h"),
            ("https://u@h:1/a?s#f", "https://h:1/a"),
            ("http://h/#f", "http://h/"),
        ] {
            assert_eq!(without_secrets(url).as_deref(), Some(shown), "{url}");
        }
    }

    #[test]
    fn invalid_urls_are_shown_only_without_secrets() {
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
            assert_eq!(without_secrets(url), None, "{url}");
            let error = check_url("--endpoint-url", url).expect_err("no URL");
            assert!(!format!("{error:#}").contains("PASSWORD"), "{error}");
        }
        let error = check_url("--endpoint-url", "localhost").expect_err("no URL");
        assert!(format!("{error:#}").contains("\"localhost\""), "{error}");
    }
}
