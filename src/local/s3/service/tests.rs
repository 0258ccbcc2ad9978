//! Tests of the S3 server with an SDK client.

use std::fs;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, Delete,
    ObjectIdentifier,
};
use tempfile::TempDir;

use crate::local::servers::LocalServers;
use crate::local::servers::tests::{raw, s3_client, s3_client_as, start};

const HELLO_MD5: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

struct Setup {
    dir: TempDir,
    servers: LocalServers,
    client: Client,
}

impl Setup {
    /// Servers with one bucket.
    async fn new() -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let servers = start(dir.path());
        let client = s3_client(&servers);
        client.create_bucket().bucket("lists").send().await.unwrap();
        Setup {
            dir,
            servers,
            client,
        }
    }

    fn file(&self, key: &str) -> std::path::PathBuf {
        self.dir.path().join("s3").join("lists").join(key)
    }

    fn drop_in(&self, key: &str, contents: &str) {
        fs::create_dir_all(self.file(key).parent().unwrap()).unwrap();
        fs::write(self.file(key), contents).unwrap();
    }

    async fn put(&self, key: &str, contents: &'static str) -> String {
        let body = ByteStream::from_static(contents.as_bytes());
        let put = self.client.put_object().bucket("lists").key(key).body(body);
        put.send().await.unwrap().e_tag.unwrap()
    }

    async fn etag(&self, key: &str) -> String {
        let head = self.client.head_object().bucket("lists").key(key);
        head.send().await.unwrap().e_tag.unwrap()
    }

    async fn get(&self, key: &str) -> String {
        let get = self.client.get_object().bucket("lists").key(key);
        let body = get.send().await.unwrap().body;
        String::from_utf8(body.collect().await.unwrap().to_vec()).unwrap()
    }

    fn raw(&self, head: &str) -> String {
        let request = format!("{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        raw(self.servers.s3_endpoint(), &request)
    }
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<String> {
    error.as_service_error()?.code().map(str::to_owned)
}

fn status<E>(error: &SdkError<E>) -> u16 {
    error.raw_response().unwrap().status().as_u16()
}

#[tokio::test]
async fn an_object_is_a_file_and_is_read_back_unchanged() {
    let s = Setup::new().await;
    let body = ByteStream::from_static(b"hello");
    let put = s.client.put_object().bucket("lists").key("a/b c+ä.txt");
    let put = put
        .body(body)
        .content_type("text/csv")
        .content_encoding("gzip")
        .metadata("source", "nsrl");
    assert_eq!(put.send().await.unwrap().e_tag.unwrap(), HELLO_MD5);
    assert_eq!(fs::read(s.file("a/b c+ä.txt")).unwrap(), b"hello");

    let head = s.client.head_object().bucket("lists").key("a/b c+ä.txt");
    let head = head.send().await.unwrap();
    assert_eq!(head.e_tag.as_deref(), Some(HELLO_MD5));
    assert_eq!(head.content_length, Some(5));
    assert_eq!(head.content_type.as_deref(), Some("text/csv"));
    assert_eq!(head.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(head.metadata.unwrap()["source"], "nsrl");
    let modified = fs::metadata(s.file("a/b c+ä.txt"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(
        head.last_modified.unwrap().secs(),
        DateTime::from(modified).secs()
    );
    assert_eq!(s.get("a/b c+ä.txt").await, "hello");

    // The bucket's folder contains only the object.
    let entries: Vec<_> = fs::read_dir(s.file("")).unwrap().collect();
    assert_eq!(entries.len(), 1);
    s.servers.stop();
}

#[tokio::test]
async fn a_large_object_is_read_back_unchanged() {
    let s = Setup::new().await;
    let large: Vec<u8> = (0..3_000_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let path = s.dir.path().join("large");
    fs::write(&path, &large).unwrap();
    // From a file: the client sends it in chunks with a trailing checksum.
    let body = ByteStream::from_path(&path).await.unwrap();
    let put = s.client.put_object().bucket("lists").key("large");
    put.body(body).send().await.unwrap();
    let get = s.client.get_object().bucket("lists").key("large");
    let got = get
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert!(got.checksum_crc32().is_some());
    assert!(got.body.collect().await.unwrap().to_vec() == large);
    assert!(fs::read(s.file("large")).unwrap() == large);
    s.servers.stop();
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    let s = Setup::new().await;
    s.put("empty", "").await;
    assert_eq!(s.get("empty").await, "");
    let get = s.client.get_object().bucket("lists").key("empty");
    let error = get.range("bytes=0-").send().await.unwrap_err();
    assert_eq!(status(&error), 416);
    s.servers.stop();
}

#[tokio::test]
async fn any_credentials_are_accepted() {
    let s = Setup::new().await;
    let other = s3_client_as(&s.servers, "AKIAEXAMPLE", "some other secret");
    let body = ByteStream::from_static(b"hello");
    let put = other.put_object().bucket("lists").key("k").body(body);
    put.send().await.unwrap();
    // No credentials.
    let answer = s.raw("GET /lists/k HTTP/1.1");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    // An expired presigned URL.
    let answer = s.raw(
        "GET /lists/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20200101%2F\
         us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20200101T000000Z&X-Amz-Expires=60\
         &X-Amz-SignedHeaders=host&x-id=GetObject&X-Amz-Signature=00 HTTP/1.1",
    );
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    s.servers.stop();
}

#[tokio::test]
async fn all_checksums_are_verified_and_kept() {
    let s = Setup::new().await;
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let put = s.client.put_object().bucket("lists").key("k");
        let put = put.checksum_algorithm(algorithm.clone());
        put.body(ByteStream::from_static(b"hello"))
            .send()
            .await
            .unwrap_or_else(|error| panic!("{algorithm}: {error:?}"));
        let get = s.client.get_object().bucket("lists").key("k");
        let got = get
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap();
        // The client verifies it when it reads the body.
        let any = [
            got.checksum_crc32(),
            got.checksum_crc32_c(),
            got.checksum_crc64_nvme(),
            got.checksum_sha1(),
            got.checksum_sha256(),
        ];
        assert_eq!(any.iter().flatten().count(), 1, "{algorithm}");
        assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    }
    s.servers.stop();
}

#[tokio::test]
async fn a_body_that_does_not_match_its_checksum_is_not_stored() {
    let s = Setup::new().await;
    for header in [
        "x-amz-checksum-crc32: AAAAAA==",
        "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==",
    ] {
        let answer = raw(
            s.servers.s3_endpoint(),
            &format!(
                "PUT /lists/bad HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Content-Length: 5\r\n{header}\r\n\r\nhello"
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("BadDigest"), "{answer}");
    }
    let trailer = |trailer: &str, size: usize| {
        let body = format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n");
        let len = body.len();
        raw(
            s.servers.s3_endpoint(),
            &format!(
                "PUT /lists/bad HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Content-Length: {len}\r\nContent-Encoding: aws-chunked\r\n\
                 x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\
                 x-amz-decoded-content-length: {size}\r\n\
                 x-amz-trailer: x-amz-checksum-crc32\r\n\r\n{body}"
            ),
        )
    };
    let answer = trailer("x-amz-checksum-crc32:AAAAAA==", 5);
    assert!(answer.contains("BadDigest"), "{answer}");
    let answer = trailer("x-other:1", 5);
    assert!(answer.contains("InvalidRequest"), "{answer}");
    for size in [4, 6] {
        let answer = trailer("x-amz-checksum-crc32:NhCmhg==", size);
        assert!(answer.contains("IncompleteBody"), "{answer}");
    }
    assert!(!s.file("bad").exists());
    assert!(
        fs::read_dir(s.dir.path().join("s3-meta").join("temp"))
            .unwrap()
            .next()
            .is_none()
    );

    let answer = trailer("x-amz-checksum-crc32:NhCmhg==", 5);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(fs::read(s.file("bad")).unwrap(), b"hello");
    s.servers.stop();
}

#[tokio::test]
async fn ranges() {
    let s = Setup::new().await;
    s.drop_in("k", "0123456789");
    for (range, body, content_range) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=4-", "456789", "bytes 4-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-100", "0123456789", "bytes 0-9/10"),
    ] {
        let get = s.client.get_object().bucket("lists").key("k").range(range);
        let got = get.send().await.unwrap();
        assert_eq!(got.content_range.as_deref(), Some(content_range));
        assert_eq!(got.content_length, Some(body.len() as i64));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), body.as_bytes());
        let head = s.client.head_object().bucket("lists").key("k").range(range);
        let head = head.send().await.unwrap();
        assert_eq!(head.content_range.as_deref(), Some(content_range));
        assert_eq!(head.content_length, Some(body.len() as i64));
    }
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
        let get = s.client.get_object().bucket("lists").key("k").range(range);
        let error = get.send().await.unwrap_err();
        assert_eq!(code(&error).as_deref(), Some("InvalidRange"), "{range}");
        let response = error.raw_response().unwrap();
        assert_eq!(response.status().as_u16(), 416);
        assert_eq!(response.headers().get("content-range"), Some("bytes */10"));
    }
    // An invalid range is ignored.
    for range in ["bytes=5-2", "lines=1-2", "bytes=0-1,3-4", "nonsense"] {
        let get = s.client.get_object().bucket("lists").key("k").range(range);
        let got = get.send().await.unwrap();
        assert_eq!(got.content_range, None, "{range}");
        assert_eq!(got.content_length, Some(10));
    }
    s.servers.stop();
}

#[tokio::test]
async fn conditions() {
    let s = Setup::new().await;
    s.put("k", "hello").await;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500_000_000_700);
    let file = fs::File::options().write(true).open(s.file("k")).unwrap();
    file.set_modified(time).unwrap();
    let etag = s.etag("k").await;
    let head = || s.client.head_object().bucket("lists").key("k");
    let get = || s.client.get_object().bucket("lists").key("k");

    head().if_match(&etag).send().await.unwrap();
    head().if_match("*").send().await.unwrap();
    get().if_match(etag.trim_matches('"')).send().await.unwrap();
    head().if_none_match("\"other\"").send().await.unwrap();
    for error in [
        get().if_match("\"other\"").send().await.unwrap_err(),
        get().if_match("other").send().await.unwrap_err(),
    ] {
        assert_eq!(status(&error), 412);
        assert_eq!(code(&error).as_deref(), Some("PreconditionFailed"));
    }
    let error = head().if_match("\"other\"").send().await.unwrap_err();
    assert_eq!(status(&error), 412);
    for condition in [etag.as_str(), "*", etag.trim_matches('"')] {
        let error = get().if_none_match(condition).send().await.unwrap_err();
        assert_eq!(status(&error), 304, "{condition}");
        assert_eq!(
            error.raw_response().unwrap().headers().get("etag"),
            Some(etag.as_str())
        );
        let error = head().if_none_match(condition).send().await.unwrap_err();
        assert_eq!(status(&error), 304);
    }

    // Dates are whole seconds.
    let at = |secs: i64| DateTime::from_secs(1_500_000_000 + secs);
    let error = get().if_modified_since(at(0)).send().await.unwrap_err();
    assert_eq!(status(&error), 304);
    get().if_modified_since(at(-1)).send().await.unwrap();
    get().if_unmodified_since(at(0)).send().await.unwrap();
    let error = get().if_unmodified_since(at(-1)).send().await.unwrap_err();
    assert_eq!(status(&error), 412);
    // ETags take precedence over dates.
    get()
        .if_match(&etag)
        .if_unmodified_since(at(-1))
        .send()
        .await
        .unwrap();
    get()
        .if_none_match("\"other\"")
        .if_modified_since(at(0))
        .send()
        .await
        .unwrap();
    // The connection stays usable after responses without a body.
    assert_eq!(s.get("k").await, "hello");
    s.servers.stop();
}

#[tokio::test]
async fn conditional_writes() {
    let s = Setup::new().await;
    let put = |contents: &'static [u8]| {
        let put = s.client.put_object().bucket("lists").key("k");
        put.body(ByteStream::from_static(contents))
    };
    let error = put(b"1").if_match("\"other\"").send().await.unwrap_err();
    assert_eq!(status(&error), 404);
    put(b"1").if_none_match("*").send().await.unwrap();
    let error = put(b"2").if_none_match("*").send().await.unwrap_err();
    assert_eq!(status(&error), 412);
    let error = put(b"2").if_match("\"other\"").send().await.unwrap_err();
    assert_eq!(status(&error), 412);
    assert_eq!(s.get("k").await, "1");
    put(b"2").if_match(s.etag("k").await).send().await.unwrap();
    assert_eq!(s.get("k").await, "2");
    s.servers.stop();
}

#[tokio::test]
async fn a_file_added_or_replaced_by_hand_gets_a_new_etag() {
    let s = Setup::new().await;
    s.drop_in("by-hand.txt", "hello");
    let first = s.etag("by-hand.txt").await;
    // Not in the format of an MD5.
    assert!(first.contains('-'), "{first}");
    assert_eq!(s.etag("by-hand.txt").await, first);

    s.drop_in("by-hand.txt", "hello, world");
    let second = s.etag("by-hand.txt").await;
    assert_ne!(first, second);
    // The same length, a later time.
    let later = fs::metadata(s.file("by-hand.txt"))
        .unwrap()
        .modified()
        .unwrap()
        + Duration::from_nanos(1);
    s.drop_in("by-hand.txt", "HELLO, WORLD");
    let file = fs::File::options()
        .write(true)
        .open(s.file("by-hand.txt"))
        .unwrap();
    file.set_modified(later).unwrap();
    assert_ne!(s.etag("by-hand.txt").await, second);
    assert_eq!(s.get("by-hand.txt").await, "HELLO, WORLD");

    // The record of an upload is ignored after its file was replaced.
    assert_eq!(s.put("put.txt", "hello").await, HELLO_MD5);
    assert_eq!(s.etag("put.txt").await, HELLO_MD5);
    s.drop_in("put.txt", "goodbye");
    let replaced = s.etag("put.txt").await;
    assert_ne!(replaced, HELLO_MD5);
    let get = s.client.get_object().bucket("lists").key("put.txt");
    let error = get.if_match(HELLO_MD5).send().await.unwrap_err();
    assert_eq!(status(&error), 412);
    // The same ETag in a listing.
    let list = s.client.list_objects_v2().bucket("lists").prefix("put");
    let listed = list.send().await.unwrap().contents.unwrap();
    assert_eq!(listed[0].e_tag.as_deref(), Some(replaced.as_str()));
    s.servers.stop();
}

#[tokio::test]
async fn etags_survive_a_restart() {
    let s = Setup::new().await;
    s.put("put", "hello").await;
    s.drop_in("by-hand", "hello");
    let before = (s.etag("put").await, s.etag("by-hand").await);
    s.servers.stop();
    let servers = start(s.dir.path());
    let s = Setup {
        client: s3_client(&servers),
        dir: s.dir,
        servers,
    };
    assert_eq!((s.etag("put").await, s.etag("by-hand").await), before);
    s.servers.stop();
}

#[tokio::test]
async fn missing_buckets_and_objects_are_reported() {
    let s = Setup::new().await;
    let get = |bucket: &str, key: &str| s.client.get_object().bucket(bucket).key(key).send();
    let error = get("lists", "none").await.unwrap_err();
    assert_eq!(
        (status(&error), code(&error).as_deref()),
        (404, Some("NoSuchKey"))
    );
    let error = get("none", "none").await.unwrap_err();
    assert_eq!(
        (status(&error), code(&error).as_deref()),
        (404, Some("NoSuchBucket"))
    );
    s.drop_in("folder/k", "hello");
    for key in ["folder", "folder/", "folder/k/deeper", &"x".repeat(400)] {
        let error = get("lists", key).await.unwrap_err();
        assert_eq!(code(&error).as_deref(), Some("NoSuchKey"), "{key}");
    }
    let head = s.client.head_object().bucket("lists").key("none");
    let error = head.send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_not_found());
    let head = s.client.head_object().bucket("none").key("none");
    assert_eq!(status(&head.send().await.unwrap_err()), 404);

    let put = s.client.put_object().bucket("none").key("k");
    let error = put
        .body(ByteStream::from_static(b"x"))
        .send()
        .await
        .unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("NoSuchBucket"));
    let error = s
        .client
        .list_objects_v2()
        .bucket("none")
        .send()
        .await
        .unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("NoSuchBucket"));
    let delete = s.client.delete_object().bucket("none").key("k");
    let error = delete.send().await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("NoSuchBucket"));
    let error = s
        .client
        .head_bucket()
        .bucket("none")
        .send()
        .await
        .unwrap_err();
    assert!(error.as_service_error().unwrap().is_not_found());
    assert!(!s.dir.path().join("s3").join("none").exists());
    s.servers.stop();
}

#[tokio::test]
async fn no_key_leads_out_of_its_bucket() {
    let s = Setup::new().await;
    let secret = s.dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let absolute = secret.display().to_string();
    s.client
        .create_bucket()
        .bucket("other")
        .send()
        .await
        .unwrap();
    let body = ByteStream::from_static(b"secret");
    let put = s.client.put_object().bucket("other").key("k").body(body);
    put.send().await.unwrap();

    for key in [
        "../other/k",
        "../../secret",
        "a/../../other/k",
        "./../other/k",
        "..",
        ".",
        "a/..",
        "/",
        "a//b",
        "./k",
        absolute.as_str(),
        "nul\0byte",
    ] {
        let get = s.client.get_object().bucket("lists").key(key);
        let error = get.send().await.unwrap_err();
        assert!((400..500).contains(&status(&error)), "GET {key:?}");
        let head = s.client.head_object().bucket("lists").key(key);
        assert!(head.send().await.is_err(), "HEAD {key:?}");
        let put = s.client.put_object().bucket("lists").key(key);
        let put = put.body(ByteStream::from_static(b"overwritten"));
        let error = put.send().await.unwrap_err();
        assert!((400..500).contains(&status(&error)), "PUT {key:?}");
        let copy = s.client.copy_object().bucket("lists").key("copy");
        let from = format!("lists/{}", crate::local::s3::listing::url_encode(key));
        assert!(copy.copy_source(from).send().await.is_err(), "COPY {key:?}");
        let delete = s.client.delete_object().bucket("lists").key(key);
        let _ = delete.send().await;
        let start = s.client.create_multipart_upload().bucket("lists").key(key);
        assert!(start.send().await.is_err(), "UPLOAD {key:?}");
    }
    for path in [
        "/lists/../other/k",
        "/lists/%2e%2e/other/k",
        "/lists/..%2fother%2fk",
        "/lists/%2e%2e%2f%2e%2e%2fsecret",
        "/../secret",
        "/%2e%2e/secret",
        "/..%2f/secret",
        "/lists/%00",
        "/lists/%ff",
    ] {
        let answer = s.raw(&format!("GET {path} HTTP/1.1"));
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
        let answer = s.raw(&format!("PUT {path} HTTP/1.1\r\nContent-Length: 0"));
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    assert_eq!(
        fs::read(s.dir.path().join("s3/other/k")).unwrap(),
        b"secret"
    );
    assert!(fs::read_dir(s.file("")).unwrap().next().is_none());
    s.servers.stop();
}

#[tokio::test]
async fn a_name_is_a_file_or_a_folder() {
    let s = Setup::new().await;
    s.put("a/b", "hello").await;
    for key in ["a", "a/b/c"] {
        let put = s.client.put_object().bucket("lists").key(key);
        let error = put
            .body(ByteStream::from_static(b"x"))
            .send()
            .await
            .unwrap_err();
        assert_eq!(code(&error).as_deref(), Some("InvalidRequest"), "{key}");
    }
    assert_eq!(s.get("a/b").await, "hello");
    // The folder is removed with its last object.
    let delete = s.client.delete_object().bucket("lists").key("a/b");
    delete.send().await.unwrap();
    assert!(!s.file("a").exists());
    s.put("a", "now a file").await;
    // An empty folder can be created, but is not an object.
    s.put("folder/", "").await;
    assert!(s.file("folder").is_dir());
    s.put("folder/k", "hello").await;
    s.servers.stop();
}

async fn pages(s: &Setup, prefix: &str, delimiter: Option<&str>, max: i32) -> Vec<String> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let list = s.client.list_objects_v2().bucket("lists").prefix(prefix);
        let list = list
            .max_keys(max)
            .set_delimiter(delimiter.map(str::to_owned));
        let page = list.set_continuation_token(token).send().await.unwrap();
        let mut of_page: Vec<String> = Vec::new();
        for object in page.contents() {
            assert!(object.e_tag().is_some());
            assert_eq!(object.size(), Some(object.key().unwrap().len() as i64));
            of_page.push(object.key().unwrap().to_owned());
        }
        let prefixes = page.common_prefixes().iter();
        of_page.extend(prefixes.map(|p| p.prefix().unwrap().to_owned()));
        of_page.sort();
        assert!(of_page.len() <= max as usize);
        assert_eq!(page.key_count(), Some(of_page.len() as i32));
        found.extend(of_page);
        token = page.next_continuation_token().map(str::to_owned);
        assert_eq!(page.is_truncated(), Some(token.is_some()));
        if token.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn listings_are_in_the_order_of_the_bytes() {
    let s = Setup::new().await;
    let mut keys = [
        "a", "a-b", "a.txt", "a0", "b/1", "b/2/x", "b/2/y", "b-1", "b.1", "b0", "c d", "c%20d",
        "c+d", "Z", "ä", "z/z/z/z", "z/z/z-z", "&<>\"'",
    ];
    for key in keys {
        s.drop_in(key, key);
    }
    // An empty folder does not appear in listings.
    fs::create_dir_all(s.file("empty/empty")).unwrap();
    keys.sort_unstable();
    for max in [1, 2, 3, 1000] {
        assert_eq!(pages(&s, "", None, max).await, keys, "{max} a page");
        let expected: Vec<_> = keys.into_iter().filter(|k| k.starts_with("b")).collect();
        assert_eq!(pages(&s, "b", None, max).await, expected);
        assert_eq!(pages(&s, "b/", None, max).await, ["b/1", "b/2/x", "b/2/y"]);
        assert_eq!(pages(&s, "b/2/x", None, max).await, ["b/2/x"]);
        assert_eq!(pages(&s, "b/", Some("/"), max).await, ["b/1", "b/2/"]);
        let top = [
            "&<>\"'", "Z", "a", "a-b", "a.txt", "a0", "b-1", "b.1", "b/", "b0", "c d", "c%20d",
            "c+d", "z/", "ä",
        ];
        assert_eq!(pages(&s, "", Some("/"), max).await, top);
        assert_eq!(pages(&s, "z", Some("-"), max).await, ["z/z/z-", "z/z/z/z"]);
        assert_eq!(pages(&s, "z/z/", Some("z"), max).await, ["z/z/z"]);
        assert_eq!(pages(&s, "nothing", None, max).await, Vec::<String>::new());
        assert_eq!(pages(&s, "../", None, max).await, Vec::<String>::new());
    }
    s.servers.stop();
}

#[tokio::test]
async fn start_after_encoding_and_the_older_listing() {
    let s = Setup::new().await;
    for key in ["a", "b/1", "b/2", "c d+e"] {
        s.drop_in(key, key);
    }
    let keys = |objects: &[aws_sdk_s3::types::Object]| -> Vec<String> {
        objects
            .iter()
            .map(|o| o.key().unwrap().to_owned())
            .collect()
    };
    for (after, expected) in [
        ("a", &["b/1", "b/2", "c d+e"][..]),
        ("b", &["b/1", "b/2", "c d+e"]),
        ("b/", &["b/1", "b/2", "c d+e"]),
        ("b/1", &["b/2", "c d+e"]),
        ("b/1x", &["b/2", "c d+e"]),
        ("bb", &["c d+e"]),
        ("d", &[]),
    ] {
        let list = s
            .client
            .list_objects_v2()
            .bucket("lists")
            .start_after(after);
        let page = list.send().await.unwrap();
        assert_eq!(keys(page.contents()), expected, "after {after}");
    }
    let list = s.client.list_objects_v2().bucket("lists").prefix("c d");
    let list = list.encoding_type(aws_sdk_s3::types::EncodingType::Url);
    let page = list.send().await.unwrap();
    assert_eq!(keys(page.contents()), ["c%20d%2Be"]);
    assert_eq!(page.prefix(), Some("c%20d"));

    let (mut found, mut marker) = (Vec::new(), None);
    loop {
        let list = s.client.list_objects().bucket("lists").delimiter("/");
        let page = list.max_keys(1).set_marker(marker).send().await.unwrap();
        found.extend(keys(page.contents()));
        let prefixes = page.common_prefixes().iter();
        found.extend(prefixes.map(|p| p.prefix().unwrap().to_owned()));
        marker = page.next_marker().map(str::to_owned);
        if page.is_truncated() != Some(true) {
            break;
        }
    }
    assert_eq!(found, ["a", "b/", "c d+e"]);

    let list = s.client.list_objects_v2().bucket("lists").max_keys(0);
    let page = list.send().await.unwrap();
    assert_eq!(
        (page.key_count(), page.is_truncated()),
        (Some(0), Some(false))
    );
    for token in ["nonsense", "k0", "kzz", "ä", "x00", "kff"] {
        let list = s.client.list_objects_v2().bucket("lists");
        let error = list.continuation_token(token).send().await.unwrap_err();
        assert_eq!(code(&error).as_deref(), Some("InvalidArgument"), "{token}");
    }
    s.servers.stop();
}

#[tokio::test]
async fn buckets_are_folders() {
    let s = Setup::new().await;
    fs::create_dir(s.dir.path().join("s3").join("by-hand")).unwrap();
    fs::create_dir(s.dir.path().join("s3").join("No Bucket")).unwrap();
    fs::write(s.dir.path().join("s3").join("a-file"), "").unwrap();
    let listed = s.client.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().map(|b| b.name().unwrap()).collect();
    assert_eq!(names, ["by-hand", "lists"]);
    let head = s
        .client
        .head_bucket()
        .bucket("by-hand")
        .send()
        .await
        .unwrap();
    assert_eq!(head.bucket_region(), Some("us-east-1"));
    let error = s
        .client
        .create_bucket()
        .bucket("lists")
        .send()
        .await
        .unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("BucketAlreadyOwnedByYou"));

    s.put("a/b", "hello").await;
    let delete = || s.client.delete_bucket().bucket("lists").send();
    let error = delete().await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("BucketNotEmpty"));
    assert_eq!(s.get("a/b").await, "hello");
    let identifier = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let objects = Delete::builder()
        .objects(identifier("a/b"))
        .objects(identifier("never/was"))
        .build()
        .unwrap();
    let deleted = s.client.delete_objects().bucket("lists").delete(objects);
    let deleted = deleted.send().await.unwrap();
    assert_eq!(deleted.deleted().len(), 2);
    assert!(deleted.errors().is_empty());
    fs::create_dir_all(s.file("empty/empty")).unwrap();
    delete().await.unwrap();
    assert!(!s.file("").exists());
    s.servers.stop();
}

#[cfg(unix)]
#[tokio::test]
async fn a_bucket_may_be_a_link_and_a_loop_does_no_harm() {
    let s = Setup::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let link = s.dir.path().join("s3").join("linked");
    std::os::unix::fs::symlink(elsewhere.path(), link).unwrap();
    fs::write(elsewhere.path().join("k"), "hello").unwrap();
    let listed = s.client.list_buckets().send().await.unwrap();
    assert_eq!(listed.buckets().len(), 2);
    let get = s.client.get_object().bucket("linked").key("k");
    let got = get.send().await.unwrap().body.collect().await.unwrap();
    assert_eq!(got.to_vec(), b"hello");

    s.drop_in("sub/k", "sub/k");
    std::os::unix::fs::symlink(s.file("sub"), s.file("sub/loop")).unwrap();
    std::os::unix::fs::symlink("nowhere", s.file("dangling")).unwrap();
    let keys = pages(&s, "", Some("/"), 1000).await;
    assert_eq!(keys, ["sub/"]);
    let list = s.client.list_objects_v2().bucket("lists").send();
    assert_eq!(list.await.unwrap().contents()[0].key(), Some("sub/k"));
    s.servers.stop();
}

#[tokio::test]
async fn copies() {
    let s = Setup::new().await;
    let put = s.client.put_object().bucket("lists").key("from");
    let put = put
        .body(ByteStream::from_static(b"hello"))
        .content_type("text/csv");
    put.send().await.unwrap();
    let copy = |to: &str| {
        let copy = s.client.copy_object().bucket("lists").key(to);
        copy.copy_source("lists/from")
    };
    let copied = copy("to/there").send().await.unwrap();
    assert_eq!(
        copied.copy_object_result.unwrap().e_tag.as_deref(),
        Some(HELLO_MD5)
    );
    let head = s.client.head_object().bucket("lists").key("to/there");
    let head = head.send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/csv"));
    copy("from").send().await.unwrap();
    assert_eq!(s.get("from").await, "hello");
    let failed = copy("no").copy_source_if_match("\"other\"").send().await;
    assert_eq!(status(&failed.unwrap_err()), 412);
    s.servers.stop();
}

#[tokio::test]
async fn uploads_in_parts() {
    let s = Setup::new().await;
    // Longer in total than a file name may be.
    let key = format!("{}/{}", "deep".repeat(50), "k".repeat(200));
    let start = s.client.create_multipart_upload().bucket("lists").key(&key);
    let start = start.content_type("text/csv").send().await.unwrap();
    let id = start.upload_id.unwrap();
    let part = |number: i32, len: usize| {
        let part = s.client.upload_part().bucket("lists").key(&key);
        let body = ByteStream::from(vec![b'0' + number as u8; len]);
        part.upload_id(&id).part_number(number).body(body).send()
    };
    let complete = |etags: &[&str]| {
        let mut upload = CompletedMultipartUpload::builder();
        for (index, etag) in etags.iter().enumerate() {
            let part = CompletedPart::builder().e_tag(*etag);
            upload = upload.parts(part.part_number(index as i32 + 1).build());
        }
        let complete = s.client.complete_multipart_upload().bucket("lists");
        let complete = complete.key(&key).upload_id(&id);
        complete.multipart_upload(upload.build()).send()
    };
    let first = part(1, 5 << 20).await.unwrap().e_tag.unwrap();
    let error = complete(&[&first, "\"missing\""]).await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("InvalidPart"));
    let second = part(2, 3).await.unwrap().e_tag.unwrap();
    let parts = s
        .client
        .list_parts()
        .bucket("lists")
        .key(&key)
        .upload_id(&id);
    let parts = parts.send().await.unwrap();
    let sizes: Vec<_> = parts.parts().iter().map(|p| p.size().unwrap()).collect();
    assert_eq!(sizes, [5 << 20, 3]);
    assert!(!s.file(&key).exists());

    let completed = complete(&[&first, &second]).await.unwrap();
    let etag = completed.e_tag.unwrap();
    assert!(etag.ends_with("-2\""), "{etag}");
    assert_eq!(s.etag(&key).await, etag);
    let head = s.client.head_object().bucket("lists").key(&key);
    assert_eq!(head.send().await.unwrap().content_type(), Some("text/csv"));
    let contents = fs::read(s.file(&key)).unwrap();
    assert_eq!(contents.len(), (5 << 20) + 3);
    assert!(contents.ends_with(b"1222"));
    let error = complete(&[&first, &second]).await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("NoSuchUpload"));

    // Copied in parts, then aborted.
    let start = s
        .client
        .create_multipart_upload()
        .bucket("lists")
        .key("copy");
    let id = start.send().await.unwrap().upload_id.unwrap();
    let copy = s.client.upload_part_copy().bucket("lists").key("copy");
    let copy = copy.upload_id(&id).part_number(1);
    let copied = copy
        .copy_source(format!("lists/{key}"))
        .copy_source_range("bytes=5242880-5242882")
        .send()
        .await
        .unwrap();
    // MD5 of "222".
    assert_eq!(
        copied.copy_part_result.unwrap().e_tag.as_deref(),
        Some("\"bcbe3365e6ac95ea2c0343a2395834dd\"")
    );
    let abort = || {
        let abort = s.client.abort_multipart_upload().bucket("lists");
        abort.key("copy").upload_id(&id).send()
    };
    abort().await.unwrap();
    assert_eq!(
        code(&abort().await.unwrap_err()).as_deref(),
        Some("NoSuchUpload")
    );
    let abort = s.client.abort_multipart_upload().bucket("lists").key("k");
    let error = abort.upload_id("../../secret").send().await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("NoSuchUpload"));
    s.servers.stop();
}

#[tokio::test]
async fn a_page_can_neither_read_nor_write_objects() {
    let s = Setup::new().await;
    s.put("k", "hello").await;
    for (head, body) in [
        ("GET /lists/k HTTP/1.1\r\nOrigin: https://evil.example", ""),
        ("GET /lists/k HTTP/1.1\r\nSec-Fetch-Site: cross-site", ""),
        ("PUT /lists/k HTTP/1.1\r\nOrigin: null", "evil"),
        ("DELETE /lists/k HTTP/1.1\r\nOrigin: http://localhost", ""),
        (
            "OPTIONS /lists/k HTTP/1.1\r\nOrigin: https://evil.example\r\n\
             Access-Control-Request-Method: PUT",
            "",
        ),
    ] {
        let head = format!("{head}\r\nHost: localhost\r\nConnection: close");
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = raw(s.servers.s3_endpoint(), &request);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{head}: {answer}");
        assert!(answer.contains("<Code>AccessDenied</Code>"), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("\naccess-control-"));
        assert!(!answer.contains("hello"), "{answer}");
    }
    let rebound = "GET /lists/k HTTP/1.1\r\nHost: evil.example:80<&\r\nConnection: close\r\n\r\n";
    let answer = raw(s.servers.s3_endpoint(), rebound);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("evil.example:80&lt;&amp;"), "{answer}");
    assert_eq!(s.get("k").await, "hello");
    s.servers.stop();
}
