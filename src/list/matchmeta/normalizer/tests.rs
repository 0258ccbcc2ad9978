//! Normalisation of paths, by the published rules and by examples.

use super::*;
use crate::base::hash::Case;
use proptest::prelude::*;

fn normalized(normalizer: &Normalizer, path: &str) -> String {
    let mut out = b"before ".to_vec();
    (normalizer.normalize(path.as_bytes(), &mut out)).expect("a path");
    let text = String::from_utf8(out).expect("UTF-8");
    let normalized = text.strip_prefix("before ").expect("appended").to_owned();
    // Both functions return the same hash.
    let whole = hash(normalized.as_bytes());
    assert_eq!(normalizer.hash(path.as_bytes()), Ok(whole), "{path:?}");
    normalized
}

#[test]
fn every_row_of_the_documented_tables_holds() {
    let (v2, v3) = (
        Normalizer::with_rules(Rules::V2),
        Normalizer::with_rules(Rules::V3),
    );
    // Path, result of v2, result of v3; "" means that the path stays.
    for (path, by_v2, by_v3) in [
        (
            "/home/alice/.ssh/id",
            "/home/ubuntu/.ssh/id",
            "/home/user/.ssh/id",
        ),
        ("/home/x", "/home/ubuntu", "/home/user"),
        ("/home/x/", "/home/ubuntu/", "/home/user/"),
        ("/home/x ", "/home/ubuntu", "/home/user"),
        ("/home/Shared/y", "/home/ubuntu/y", "/home/user/y"),
        (
            "/home/../etc/passwd",
            "/home/ubuntu/etc/passwd",
            "/home/user/etc/passwd",
        ),
        ("/home/x//y", "/home/ubuntu//y", "/home/user//y"),
        ("/home/na\tme/y", "/home/ubuntu/y", "/home/user/y"),
        ("/home/\u{FEFF}/y", "/home/ubuntu/y", "/home/user/y"),
        ("/home/x\\y", "/home/ubuntu", "/home/user"),
        ("/Users/alice/y", "", "/Users/user/y"),
        ("/Users/Shared/y", "", ""),
        ("/Users/Shared", "", ""),
        ("/Users/shared/y", "", "/Users/user/y"),
        ("/Users/Shared2/y", "", "/Users/user/y"),
        ("/Users", "", ""),
        ("/Users/", "", ""),
        ("/home", "", ""),
        ("/home/", "/home/ubuntu", ""),
        ("/home//", "/home/ubuntu/", ""),
        ("/home//x", "/home/ubuntu/x", ""),
        ("/home///x", "/home/ubuntu//x", ""),
        ("//home/x", "", ""),
        ("/Home/x", "", ""),
        ("/homes/x", "", ""),
        ("/var/home/x", "", ""),
        ("/:\\Users\\x", "", ""),
        ("home/x", "", ""),
        ("./home/x", "", ""),
        ("/", "", ""),
        ("a", "", ""),
        (":", "", ""),
        (" ", "", ""),
        ("é", "", ""),
        ("ab:", "", ""),
        (" D:\\x", "", ""),
        ("\u{FEFF}/home/x", "", ""),
        ("\\\\server\\share\\Users\\x", "", ""),
        ("\\\\?\\D:\\Users\\x", "", ""),
        ("d:", "C:", ""),
        ("::", "C:", ""),
        ("1:\\x", "C:\\x", ""),
        ("é:\\x", "C:\\x", ""),
        ("\u{1F4BE}:\\x", "C:\\x", ""),
        ("D:\\data\\x", "C:\\data\\x", ""),
        ("c:\\Windows\\System32\\é", "C:\\Windows\\System32\\é", ""),
        ("D:x", "C:x", ""),
        ("D:Users\\x\\y", "C:Users\\x\\y", ""),
        ("D:\\Users", "C:\\Users", ""),
        ("D:\\Users\\", "C:\\Users\\Administrator", ""),
        ("D:\\Users\\\\x", "C:\\Users\\Administrator\\x", ""),
        ("D:a\\Users\\x", "C:a\\Users\\Administrator", ""),
        ("D:/a\\Users\\x\\y", "C:/a\\Users\\Administrator\\y", ""),
        ("::\\Users\\", "C:\\Users\\Administrator", ""),
        ("D:\\\\Users\\x", "C:\\\\Users\\x", ""),
        ("D:/Users/x/y", "C:/Users/x/y", ""),
        ("D:\\Users/x\\y", "C:\\Users/x\\y", ""),
        ("D:\\USERS\\x", "C:\\USERS\\x", ""),
        ("D:\\users\\x", "C:\\users\\x", ""),
        ("D:\\Old\\Users\\x", "C:\\Old\\Users\\x", ""),
        (
            "é:\\Users\\x",
            "C:\\Users\\Administrator",
            "C:\\Users\\Administrator",
        ),
        (
            "d:\\Users\\x",
            "C:\\Users\\Administrator",
            "C:\\Users\\Administrator",
        ),
        (
            "D:\\Users\\x/y\\z",
            "C:\\Users\\Administrator\\z",
            "C:\\Users\\Administrator\\z",
        ),
        (
            "D:\\Users\\x\\",
            "C:\\Users\\Administrator\\",
            "C:\\Users\\Administrator\\",
        ),
        (
            "C:\\Users\\desktop.ini",
            "C:\\Users\\Administrator",
            "C:\\Users\\Administrator",
        ),
        (
            "D:\\Documents and Settings\\x\\y",
            "C:\\Documents and Settings\\Administrator\\y",
            "C:\\Documents and Settings\\Administrator\\y",
        ),
        ("D:\\Users\\Public\\y", "C:\\Users\\Administrator\\y", ""),
        ("D:\\Users\\Default\\y", "C:\\Users\\Administrator\\y", ""),
        (
            "D:\\Users\\Default User\\y",
            "C:\\Users\\Administrator\\y",
            "",
        ),
        ("D:\\Users\\All Users", "C:\\Users\\Administrator", ""),
        (
            "D:\\Documents and Settings\\All Users\\y",
            "C:\\Documents and Settings\\Administrator\\y",
            "",
        ),
        (
            "D:\\Users\\public\\y",
            "C:\\Users\\Administrator\\y",
            "C:\\Users\\Administrator\\y",
        ),
    ] {
        for (normalizer, expected) in [(&v2, by_v2), (&v3, by_v3)] {
            let expected = if expected.is_empty() { path } else { expected };
            let rules = normalizer.rules();
            assert_eq!(normalized(normalizer, path), expected, "{path:?} {rules}");
        }
    }
}

#[test]
fn the_hash_equals_that_of_sha256sum() {
    // printf '%s' '/home/ubuntu/.bashrc' | sha256sum, in capitals; the others likewise.
    for (path, sha256) in [
        (
            &b"/home/alice/.bashrc"[..],
            "DF87D2309A59EE551AE2D8381C47C03DE9B1DD7B24D517E5CE039D7D85F8D57A",
        ),
        (
            b"e:\\Users\\B\xC3\xB6b\\Ntuser.dat",
            "B02636265005D3CB5CA37344B3328E7094F7B7C40359313C9F11AE09CDEE853F",
        ),
        (
            "/srv/\u{65E5}\u{672C}.txt".as_bytes(),
            "61AE15C47CD746D906C36DD395A0865CE71DAF2964586A9A44D2650F1C8BDB75",
        ),
    ] {
        let hash = Normalizer::default().hash(path).expect("a path");
        assert_eq!(hash.to_hex(Case::Upper), sha256);
    }
}

#[test]
fn an_invalid_path_is_an_error_and_appends_nothing() {
    for (bytes, why) in [
        (&b""[..], InvalidPath::Empty),
        (b"\0", InvalidPath::Nul),
        (b"/home/a\0b", InvalidPath::Nul),
        (b"/home/\xFF\0", InvalidPath::Nul),
        (b"/home/\xED\xA0\x80/x", InvalidPath::Surrogate),
        (b"D:\\\xED\xBF\xBF", InvalidPath::Surrogate),
        (b"/\xED\xA0\xBD\xED\xB2\xBE", InvalidPath::Surrogate),
        (b"/srv/caf\xE9", InvalidPath::Utf8),
        (b"/srv/caf\xE9/\xED\xA0\x80", InvalidPath::Utf8),
        (b"/\xED\xA0", InvalidPath::Utf8),
        (b"/\xED\xA0\x20", InvalidPath::Utf8),
        (b"/\xC0\xAF", InvalidPath::Utf8),
        (b"/\xF4\x90\x80\x80", InvalidPath::Utf8),
    ] {
        let mut out = b"x".to_vec();
        for normalizer in Rules::ALL.map(Normalizer::with_rules) {
            assert_eq!(normalizer.normalize(bytes, &mut out), Err(why), "{bytes:?}");
            assert_eq!(normalizer.hash(bytes), Err(why), "{bytes:?}");
        }
        assert_eq!(out, b"x");
    }
}

#[test]
fn users_must_be_single_path_components() {
    let users = |unix: &str, windows: &str| Users {
        unix: unix.into(),
        windows: windows.into(),
    };
    let custom = Normalizer::new(Rules::V2, users("ec2-user", "Jürgen M")).expect("names");
    assert_eq!(normalized(&custom, "/home/x/y"), "/home/ec2-user/y");
    assert_eq!(
        normalized(&custom, "C:\\Users\\x\\y"),
        "C:\\Users\\Jürgen M\\y"
    );
    for bad in ["", "a/b", "a\\b", "a\tb", "a\nb", "a\0b"] {
        for users in [users(bad, "x"), users("x", bad)] {
            let error = Normalizer::new(Rules::V3, users).expect_err("invalid");
            assert_eq!(error.exit_status(), 2, "{bad:?}");
            assert!(error.hint().is_some());
        }
    }
}

#[test]
fn rules_are_parsed_from_their_exact_names() {
    for rules in Rules::ALL {
        assert_eq!(rules.to_string().parse(), Ok(rules));
    }
    assert_eq!(Rules::default().name(), "v2");
    for bad in ["", "2", "V2", "v1", "v4"] {
        assert!(bad.parse::<Rules>().is_err(), "{bad}");
    }
}

#[test]
fn line_ends_and_the_byte_order_mark_are_stripped() {
    for (line, first, path) in [
        (&b"/a b "[..], true, &b"/a b "[..]),
        (b"/a\r", false, b"/a"),
        (b"/a\r\r", false, b"/a\r"),
        (b"\r", false, b""),
        (b"\xEF\xBB\xBF/a\r", true, b"/a"),
        (b"\xEF\xBB\xBF\r", true, b""),
        (b"\xEF\xBB\xBF\xEF\xBB\xBF/a", true, b"\xEF\xBB\xBF/a"),
        (b"\xEF\xBB\xBF/a", false, b"\xEF\xBB\xBF/a"),
    ] {
        assert_eq!(path_from_line(line, first), path, "{line:?}");
    }
}

/// Paths of random parts that the rules treat specially.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"/"[..]),
        Just(&b"\\"[..]),
        Just(&b":"[..]),
        Just(&b"C"[..]),
        Just(&b"d"[..]),
        Just("é".as_bytes()),
        Just(&b"home"[..]),
        Just(&b"Users"[..]),
        Just(&b"Documents and Settings"[..]),
        Just(&b"Public"[..]),
        Just(&b"Shared"[..]),
        Just(&b"Administrator"[..]),
        Just(&b"ubuntu"[..]),
        Just(&b"\xED\xA0\x80"[..]),
        Just(&b"\0"[..]),
    ];
    proptest::collection::vec(piece, 0..9).prop_map(|p| p.concat())
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing_and_no_bytes_panic(
        path in prop_oneof![pieces(), proptest::collection::vec(any::<u8>(), 0..40)],
    ) {
        for normalizer in Rules::ALL.map(Normalizer::with_rules) {
            let mut once = Vec::new();
            match normalizer.normalize(&path, &mut once) {
                Ok(()) => {
                    prop_assert!(std::str::from_utf8(&path).is_ok_and(|p| !p.contains('\0')));
                    prop_assert_eq!(normalizer.hash(&path), Ok(hash(&once)));
                    let mut twice = Vec::new();
                    prop_assert_eq!(normalizer.normalize(&once, &mut twice), Ok(()));
                    prop_assert_eq!(twice, once);
                }
                Err(why) => {
                    let text = std::str::from_utf8(&path);
                    prop_assert!(text.is_err() || path.is_empty() || path.contains(&0));
                    prop_assert_eq!(normalizer.hash(&path), Err(why));
                    prop_assert!(once.is_empty());
                }
            }
        }
    }
}
