//! Check that a BatchGetItem response names the requested table exactly once.
//!
//! DynamoDB responds `"Responses":{"T":[]}` when it finds nothing in table `T`. An empty
//! `Responses` says nothing of any key, so it counts only when every key is unprocessed.
//! Source: DynamoDB API reference, BatchGetItem, Response Elements.

use crate::base::printable::printable_bytes;

/// Maximum characters of a table's name in a message.
const SHOWN_CHARACTERS: usize = 100;

/// Checks that the table `found` in a response is the table `asked`, and was not `named`
/// before.
///
/// # Errors
/// A description, if it is another table, or the same table a second time.
pub(super) fn check(asked: &str, found: &str, named: bool) -> Result<(), String> {
    let show = |name: &str| printable_bytes(name.as_bytes(), SHOWN_CHARACTERS);
    match (is_table(asked, found), named) {
        (true, false) => Ok(()),
        (true, true) => Err(format!("it names table {:?} twice", show(found))),
        (false, _) => Err(format!(
            "it is of table {:?}, expected {:?}",
            show(found),
            show(asked)
        )),
    }
}

/// True if `found` names the table `asked`. Either may be the table's name or its ARN.
fn is_table(asked: &str, found: &str) -> bool {
    asked == found
        || match (name_in_arn(asked), name_in_arn(found)) {
            (Some(name), None) => name == found,
            (None, Some(name)) => name == asked,
            _ => false,
        }
}

/// The table's name in `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME`; `None` for a name.
fn name_in_arn(text: &str) -> Option<&str> {
    text.strip_prefix("arn:")?
        .rsplit_once(":table/")
        .map(|(_, name)| name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Checks how `read` takes answers of a table `t` whose partition key is a text `md5`.
    /// `read` is given the body and the number of keys; it returns the numbers of items and
    /// of unprocessed keys.
    pub(crate) fn assert_named(read: impl Fn(&str, usize) -> Result<(usize, usize), String>) {
        let item = format!(r#"{{"md5":{{"S":"{}"}}}}"#, "01".repeat(16));
        let items = format!("[{item}]");
        let left = format!(r#"{{"Keys":[{item}]}}"#);
        let arn = "arn:aws:dynamodb:us-east-1:1:table/t";
        for (body, expected) in [
            (r#"{"Responses":{"t":[]}}"#.to_owned(), (0, 0)),
            (
                format!(r#"{{"Responses":{{"t":{items}}},"UnprocessedKeys":{{}}}}"#),
                (1, 0),
            ),
            (format!(r#"{{"Responses":{{"{arn}":{items}}}}}"#), (1, 0)),
            (
                format!(r#"{{"Responses":{{"t":[]}},"UnprocessedKeys":{{"t":{left}}}}}"#),
                (0, 1),
            ),
            // Every key is unprocessed: nothing is said of any.
            (
                format!(r#"{{"Responses":{{}},"UnprocessedKeys":{{"t":{left}}}}}"#),
                (0, 1),
            ),
            (
                format!(r#"{{"UnprocessedKeys":{{"t":{left}}},"Responses":{{}}}}"#),
                (0, 1),
            ),
        ] {
            assert_eq!(read(&body, 1), Ok(expected), "{body}");
        }
        for (body, says) in [
            (r#"{"Responses":{}}"#.to_owned(), "name no table"),
            (
                r#"{"Responses":{},"UnprocessedKeys":{}}"#.to_owned(),
                "name no table",
            ),
            (format!(r#"{{"Responses":{{"u":{items}}}}}"#), "of table"),
            (r#"{"Responses":{"T":[]}}"#.to_owned(), "of table"),
            (format!(r#"{{"Responses":{{"{arn}2":[]}}}}"#), "of table"),
            (r#"{"Responses":{"t":[],"u":[]}}"#.to_owned(), "of table"),
            (
                format!(r#"{{"Responses":{{"t":{items},"t":[]}}}}"#),
                "twice",
            ),
            (format!(r#"{{"Responses":{{"t":[],"{arn}":[]}}}}"#), "twice"),
            (
                format!(r#"{{"Responses":{{"t":{items}}},"Responses":{{"t":[]}}}}"#),
                "twice",
            ),
            (
                r#"{"Responses":{"t":[]},"UnprocessedKeys":{},"UnprocessedKeys":{}}"#.to_owned(),
                "twice",
            ),
            (
                format!(r#"{{"Responses":{{"t":[]}},"UnprocessedKeys":{{"u":{left}}}}}"#),
                "of table",
            ),
            (
                format!(r#"{{"UnprocessedKeys":{{"t":{left}}}}}"#),
                "no Responses",
            ),
        ] {
            let error = read(&body, 1).expect_err(&body);
            assert!(error.contains(says), "{body}: {error}");
        }
        // One of two keys is unprocessed: an empty Responses says nothing of the other.
        let body = format!(r#"{{"Responses":{{}},"UnprocessedKeys":{{"t":{left}}}}}"#);
        let error = read(&body, 2).expect_err("one key has no answer");
        assert!(error.contains("1 of 2 keys"), "{error}");
    }

    #[test]
    fn a_table_is_named_by_its_name_or_its_arn() {
        let arn = "arn:aws:dynamodb:eu-west-1:1:table/t";
        for (asked, found) in [("t", "t"), (arn, arn), (arn, "t"), ("t", arn)] {
            assert!(is_table(asked, found), "{asked} {found}");
        }
        for (asked, found) in [
            ("t", "T"),
            ("t", ""),
            ("t", "arn:aws:dynamodb:eu-west-1:1:table/t2"),
            (arn, "t2"),
            (arn, "arn:aws:dynamodb:eu-west-1:2:table/t"),
            ("t", "arn:aws:dynamodb:eu-west-1:1:table/t/index/t"),
        ] {
            assert!(!is_table(asked, found), "{asked} {found}");
        }
    }
}
