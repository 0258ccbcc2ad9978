//! Expired credentials, profiles and roles.

use std::path::Path;
use std::time::Duration;

use crate::common::binary::Run;
use crate::common::fake_credentials::{FakeCredentials, Keys};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, FaultPlan, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use crate::common::fake_sign_in::FakeSignIn;

const URI: &str = "s3://lists/a/list.txt";

const LIMIT: Duration = Duration::from_secs(60);

/// `n` different MD5 hashes.
fn list(n: u64) -> Vec<u8> {
    let lines = (0..n).map(|i| format!("{i:032x}\n"));
    lines.collect::<String>().into_bytes()
}

fn s3(n: u64, plan: S3Plan) -> FakeS3 {
    FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", list(n))
            .plan(plan),
    )
}

fn dynamo(plan: FaultPlan) -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new("md5", "md5", KeyType::S).plan(plan))
}

/// A run with credentials only from the container endpoint.
fn ingest(args: &[&str], credentials: &FakeCredentials) -> Run {
    Run::ingest(URI, &[&["--table", "md5", "--rate", "max"], args].concat())
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &credentials.uri())
}

#[test]
fn credentials_that_expire_during_writes_are_renewed() {
    let (old, new) = (Keys::named("OLD"), Keys::named("NEW"));
    let dynamo = dynamo(FaultPlan::default().expire(40, &old.access_key_id));
    let s3 = s3(5000, S3Plan::default());
    // By their expiry time they are valid for another hour.
    let credentials = FakeCredentials::start(old);
    let started = ingest(&[], &credentials).s3(&s3).dynamo(&dynamo).start();
    let expired = dynamo.wait_until(LIMIT, |s| s.expired >= 1);
    assert!(expired.is_some(), "the credentials expire");
    credentials.renew(new);
    let ended = started.wait();
    ended.assert_status(0);
    ended.assert_line_counts([5000, 5000, 0, 0, 0, 0]);
    assert!(ended.number("requests") > 200);
    assert_eq!(dynamo.stop().distinct, 5000);
}

#[test]
fn credentials_that_expire_during_reads_are_renewed() {
    let (old, new) = (Keys::named("OLD"), Keys::named("NEW"));
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(10_000))
        .expire(2, &old.access_key_id);
    let (s3, dynamo) = (s3(5000, plan), dynamo(FaultPlan::default()));
    let credentials = FakeCredentials::start(old);
    let started = ingest(&[], &credentials).s3(&s3).dynamo(&dynamo).start();
    let expired = s3.wait_until(LIMIT, |s| s.get_count >= 2);
    assert!(expired.is_some(), "the credentials expire");
    credentials.renew(new);
    let ended = started.wait();
    ended.assert_status(0);
    ended.assert_line_counts([5000, 5000, 0, 0, 0, 0]);
    assert_eq!(dynamo.stop().distinct, 5000);
}

#[test]
fn credentials_renewed_in_the_shared_file_are_loaded() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join(".aws/credentials");
    std::fs::create_dir(home.path().join(".aws")).expect("a folder");
    // Replaced atomically, as tools that renew credentials do.
    let write = |keys: &Keys| {
        let text = format!(
            "[work]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n",
            keys.access_key_id, keys.secret, keys.token
        );
        let new = home.path().join("new");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(&new, &file).expect("a file");
    };
    let (old, new) = (Keys::named("OLD"), Keys::named("NEW"));
    write(&old);
    let dynamo = dynamo(FaultPlan::default().expire(40, &old.access_key_id));
    let s3 = s3(5000, S3Plan::default());
    let args = ["--table", "md5", "--rate", "max", "--profile", "work"];
    let started = Run::ingest(URI, &args)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("HOME", home.path().to_str().expect("text"))
        .s3(&s3)
        .dynamo(&dynamo)
        .start();
    let expired = dynamo.wait_until(LIMIT, |s| s.expired >= 1);
    assert!(expired.is_some(), "the credentials expire");
    write(&new);
    let ended = started.wait();
    ended.assert_status(0);
    ended.assert_line_counts([5000, 5000, 0, 0, 0, 0]);
}

#[test]
fn a_run_ends_when_credentials_stay_expired_and_resumes_with_new_ones() {
    let (old, new) = (Keys::named("OLD"), Keys::named("NEW"));
    let dynamo = dynamo(FaultPlan::default().expire(40, &old.access_key_id));
    let s3 = s3(5000, S3Plan::default());
    let credentials = FakeCredentials::start(old);
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("checkpoint");
    let text = checkpoint.to_str().expect("text");
    let args = ["--checkpoint", text, "--give-up-after", "2s"];
    let run = || ingest(&args, &credentials).s3(&s3).dynamo(&dynamo);
    let started = run().start();
    let begun = dynamo.wait_until(LIMIT, |s| s.calls >= 1);
    assert!(begun.is_some(), "it writes");
    // Every client has loaded credentials by now.
    let requests_before = credentials.request_count();
    let ended = started.wait();
    ended.assert_status(1);
    ended.assert_stderr(&[
        "nothing could be written to table md5 for 2 s",
        "ExpiredTokenException",
        "renew the credentials, then run this again",
    ]);
    let written = dynamo.stats().items_written;
    assert!(written >= 25 * 30, "some items were written: {written}");
    assert_eq!(ended.number("written"), written);
    assert!(ended.number("failed") > 0);
    assert!(Path::new(text).exists() && ended.report["checkpoint"] == text);
    assert!(
        credentials.request_count() > requests_before,
        "new ones were requested"
    );

    credentials.renew(new);
    let ended = run().run();
    ended.assert_status(0);
    assert_eq!(ended.number("lines"), 5000);
    assert_eq!(dynamo.stop().distinct, 5000);
}

/// A home folder with shared AWS files, and runs that use it.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Home(tempfile::tempdir().expect("a folder"));
        home.file(".aws/config", config);
        home
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    }

    /// `hashferry ingest` of ten hashes, with AKIDEXAMPLE and us-east-1 in the environment.
    fn ingest(&self, args: &[&str]) -> Run {
        let common = ["--table", "md5", "--rate", "max", "--checkpoint", "off"];
        Run::ingest("list.txt", &[&common, args].concat())
            .file("list.txt", &list(10))
            .env("HOME", self.0.path().to_str().expect("text"))
    }
}

/// Runs to completion. Returns the keys and regions of its signatures.
fn signers(run: Run) -> Vec<(String, String)> {
    let dynamo = dynamo(FaultPlan::default());
    run.dynamo(&dynamo).run().assert_status(0);
    let stats = dynamo.stop();
    assert_eq!(stats.distinct, 10);
    stats.signers.into_iter().collect()
}

fn signed_by(key: &str, region: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), region.to_owned())]
}

const WORK: &str = "[profile work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = secret\n";

#[test]
fn a_named_profile_takes_precedence_over_keys_in_the_environment() {
    let home = Home::new(WORK);
    let by_flag = home.ingest(&["--profile", "work"]);
    assert_eq!(signers(by_flag), signed_by("AKIDWORK", "us-east-1"));
    // Without the flag, keys in the environment take precedence over AWS_PROFILE, as in
    // aws-cli.
    let by_variable = home.ingest(&[]).env("AWS_PROFILE", "work");
    assert_eq!(signers(by_variable), signed_by("AKIDEXAMPLE", "us-east-1"));
    let alone = home
        .ingest(&[])
        .env("AWS_PROFILE", "work")
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY");
    assert_eq!(signers(alone), signed_by("AKIDWORK", "us-east-1"));
    // A role of the pod does not take precedence over the profile either.
    let token = home.file("token", "TOKEN");
    let in_pod = home
        .ingest(&["--profile", "work"])
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod")
        .env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
    assert_eq!(signers(in_pod), signed_by("AKIDWORK", "us-east-1"));
}

#[test]
fn region_precedence_is_flag_environment_profile() {
    let home = Home::new(&format!("{WORK}region = eu-west-1\n"));
    let args = ["--profile", "work"];
    let own = home.ingest(&args).without_env("AWS_REGION");
    assert_eq!(signers(own), signed_by("AKIDWORK", "eu-west-1"));
    let flag = home.ingest(&["--profile", "work", "--region", "eu-north-1"]);
    assert_eq!(signers(flag), signed_by("AKIDWORK", "eu-north-1"));
    let dynamo = dynamo(FaultPlan::default());
    let ended = home.ingest(&args).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_stderr(&[
        "using region us-east-1 from AWS_REGION",
        "--region eu-west-1",
    ]);
    let signers: Vec<_> = dynamo.stop().signers.into_iter().collect();
    assert_eq!(signers, signed_by("AKIDWORK", "us-east-1"));
}

#[test]
fn endpoint_precedence_is_flag_environment_profile() {
    let [of_flag, of_variable, of_profile] = [0; 3].map(|_| dynamo(FaultPlan::default()));
    let home = Home::new(&format!("{WORK}endpoint_url = {}\n", of_profile.endpoint()));
    let calls = || [&of_flag, &of_variable, &of_profile].map(|d| d.stats().calls.min(1));
    home.ingest(&["--profile", "work"]).run().assert_status(0);
    assert_eq!(calls(), [0, 0, 1]);
    let run = home.ingest(&["--profile", "work"]).dynamo(&of_variable);
    run.run().assert_status(0);
    assert_eq!(calls(), [0, 1, 1]);
    let endpoint = of_flag.endpoint();
    let args = ["--profile", "work", "--endpoint-url", &endpoint];
    let nowhere = "http://127.0.0.1:9";
    let run = home.ingest(&args).env("AWS_ENDPOINT_URL_DYNAMODB", nowhere);
    run.env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        .run()
        .assert_status(0);
    assert_eq!(calls(), [1, 1, 1]);
}

#[test]
fn a_missing_profile_is_an_error_that_lists_the_others() {
    let home = Home::new("[default]\nregion = us-east-1\n[profile work]\nregion = us-east-1\n");
    let dynamo = dynamo(FaultPlan::default());
    let flag = home.ingest(&["--profile", "nope"]).dynamo(&dynamo).run();
    flag.assert_status(2);
    flag.assert_stderr(&["--profile: there is no profile \"nope\"", "default, work"]);
    for region in ["us-east-1", ""] {
        let run = home.ingest(&[]).dynamo(&dynamo).env("AWS_PROFILE", "nope");
        let ended = run.env("AWS_REGION", region).run();
        ended.assert_status(2);
        ended.assert_stderr(&["AWS_PROFILE: there is no profile \"nope\"", "default, work"]);
    }
    let none = Home::new("")
        .ingest(&["--profile", "nope"])
        .dynamo(&dynamo)
        .run();
    none.assert_status(2);
    none.assert_stderr(&["there are no profiles", "aws configure --profile nope"]);
    assert_eq!(dynamo.stop().calls, 0);
    // A command without AWS calls needs no profile.
    let paths = Run::new(&["normalize", "paths.txt"]).file("paths.txt", b"/etc/passwd\n");
    assert_eq!(paths.env("AWS_PROFILE", "nope").run().status, 0);
}

#[test]
fn a_profile_without_credentials_uses_those_of_the_container() {
    let home = Home::new("[profile bare]\nregion = eu-west-1\n");
    let machine = FakeCredentials::start(Keys::named("MACHINE"));
    let run = home.ingest(&["--profile", "bare"]);
    let run = run.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &machine.uri());
    assert_eq!(signers(run), signed_by("AKIDMACHINE", "us-east-1"));
    let dynamo = dynamo(FaultPlan::default());
    let ended = home.ingest(&["--profile", "bare"]).dynamo(&dynamo).run();
    ended.assert_status(2);
    ended.assert_stderr(&[
        "profile bare (no credentials in the profile)",
        "aws configure --profile bare",
    ]);
}

#[test]
fn a_role_is_assumed_with_the_keys_of_its_source_profile() {
    let role = "arn:aws:iam::123456789012:role/loader";
    let sts = FakeSignIn::start(Keys::named("ROLE"));
    let home = Home::new(&format!(
        "{WORK}[profile loader]\nrole_arn = {role}\nsource_profile = work\n"
    ));
    let run = home.ingest(&["--profile", "loader"]);
    let run = run.env("AWS_ENDPOINT_URL_STS", &sts.endpoint());
    assert_eq!(signers(run), signed_by("AKIDROLE", "us-east-1"));
    let requests = sts.requests();
    assert_eq!(requests[0].action, "AssumeRole");
    assert_eq!(requests[0].role, role);
    assert_eq!(requests[0].signer.as_deref(), Some("AKIDWORK"));

    // The profile may hold the endpoint of STS.
    let home = Home::new(&format!(
        "{WORK}[profile loader]\nrole_arn = {role}\nsource_profile = work\nservices = ours\n\
         [services ours]\nsts =\n  endpoint_url = {}\n",
        sts.endpoint()
    ));
    let run = home.ingest(&["--profile", "loader"]);
    assert_eq!(signers(run), signed_by("AKIDROLE", "us-east-1"));
}

#[test]
fn a_denied_role_is_an_error_with_a_hint() {
    let role = "arn:aws:iam::123456789012:role/loader";
    let sts = FakeSignIn::denying();
    let home = Home::new(&format!(
        "{WORK}[profile loader]\nrole_arn = {role}\nsource_profile = work\n"
    ));
    let dynamo = dynamo(FaultPlan::default());
    let run = home.ingest(&["--profile", "loader"]).dynamo(&dynamo);
    let ended = run.env("AWS_ENDPOINT_URL_STS", &sts.endpoint()).run();
    ended.assert_status(2);
    ended.assert_stderr(&[
        "the profile provides no AWS credentials",
        "profile loader",
        "AccessDenied",
        role,
        "source_profile work may call sts:AssumeRole",
    ]);
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn a_role_is_assumed_with_a_web_identity() {
    let role = "arn:aws:iam::123456789012:role/pod";
    let sts = FakeSignIn::start(Keys::named("POD"));
    let home = Home::new("");
    let token = home.file("token", "TOKEN");
    home.file(
        ".aws/config",
        &format!("[profile pod]\nrole_arn = {role}\nweb_identity_token_file = {token}\n"),
    );
    let of_profile = home.ingest(&["--profile", "pod"]);
    let of_environment = home
        .ingest(&[])
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("AWS_ROLE_ARN", role)
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token);
    for run in [of_profile, of_environment] {
        let run = run.env("AWS_ENDPOINT_URL_STS", &sts.endpoint());
        assert_eq!(signers(run), signed_by("AKIDPOD", "us-east-1"));
    }
    let requests = sts.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.action, "AssumeRoleWithWebIdentity");
        assert_eq!(
            (request.role.as_str(), request.token.as_deref()),
            (role, Some("TOKEN"))
        );
    }
}

#[cfg(unix)]
#[test]
fn a_profile_gets_credentials_from_a_process() {
    let home = Home::new("");
    let printed = home.file(
        "credentials.json",
        "{\"Version\": 1, \"AccessKeyId\": \"AKIDPROCESS\", \"SecretAccessKey\": \"secret\"}",
    );
    home.file(
        ".aws/config",
        &format!(
            "[profile process]\ncredential_process = cat {printed}\n\
             [profile broken]\ncredential_process = cat /nowhere\n"
        ),
    );
    let run = home.ingest(&["--profile", "process"]);
    assert_eq!(signers(run), signed_by("AKIDPROCESS", "us-east-1"));
    let dynamo = dynamo(FaultPlan::default());
    let ended = home.ingest(&["--profile", "broken"]).dynamo(&dynamo).run();
    ended.assert_status(2);
    ended.assert_stderr(&["profile broken (credential_process)", "by hand"]);
}

#[cfg(feature = "sso")]
#[test]
fn a_profile_gets_credentials_from_identity_center() {
    let portal = FakeSignIn::start(Keys::named("SSO"));
    let account = "sso_account_id = 123456789012\nsso_role_name = Loader\n";
    let start = "sso_region = us-east-1\nsso_start_url = https://d-1.awsapps.com/start\n";
    let home = Home::new(&format!(
        "[profile signed]\nsso_session = ours\n{account}[sso-session ours]\n{start}\
         [profile older]\n{account}{start}"
    ));
    let run = |profile: &str| {
        let run = home.ingest(&["--profile", profile]);
        run.env("AWS_ENDPOINT_URL_SSO", &portal.endpoint())
    };
    let dynamo = dynamo(FaultPlan::default());
    let ended = run("signed").dynamo(&dynamo).run();
    ended.assert_status(2);
    ended.assert_stderr(&[
        "profile signed (IAM Identity Center)",
        "aws sso login --profile signed",
    ]);
    // The files that `aws sso login` writes, named by the SHA-1 of the session's name
    // or of the URL.
    for name in [
        "48537f613ab85111413f2369616ae97481429bd1",
        "0c54b6c27e90660baa89eaad85ac1d5dae26cb7d",
    ] {
        let hour = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let token = format!(
            "{{\"accessToken\": \"TOKEN\", \"expiresAt\": \"{hour:.0}\", \"region\": \"us-east-1\", \
             \"startUrl\": \"https://d-1.awsapps.com/start\"}}"
        );
        home.file(&format!(".aws/sso/cache/{name}.json"), &token);
    }
    for profile in ["signed", "older"] {
        assert_eq!(signers(run(profile)), signed_by("AKIDSSO", "us-east-1"));
    }
    let requests = portal.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(
            (request.role.as_str(), request.token.as_deref()),
            ("Loader", Some("TOKEN"))
        );
    }
}

#[cfg(unix)]
#[test]
fn empty_aws_variables_count_as_unset() {
    let home = Home::new(&format!(
        "{}region = eu-west-1\n",
        WORK.replace("profile work", "default")
    ));
    let all = [
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_STS",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_MAX_ATTEMPTS",
        "AWS_RETRY_MODE",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    ];
    let run = all
        .iter()
        .fold(home.ingest(&[]), |run, name| run.env(name, ""));
    assert_eq!(signers(run), signed_by("AKIDWORK", "eu-west-1"));
    // An empty variable does not hide another one for the same setting.
    let region = home.ingest(&[]).env("AWS_REGION", "");
    let region = region.env("AWS_DEFAULT_REGION", "ap-south-1");
    assert_eq!(signers(region), signed_by("AKIDEXAMPLE", "ap-south-1"));
    let dynamo = dynamo(FaultPlan::default());
    let run = home.ingest(&[]).env("AWS_ENDPOINT_URL_DYNAMODB", "");
    let run = run.env("AWS_ENDPOINT_URL", &dynamo.endpoint());
    run.run().assert_status(0);
    assert_eq!(dynamo.stop().distinct, 10);
}
