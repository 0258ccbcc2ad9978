//! Errors of a list that cannot be opened or read to its end.

use crate::aws::config::Aws;
use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, ErrorKind};
use crate::source::location::Location;

/// The beginning of an error about a list whose reading ended early.
pub(super) fn broken(location: &Location, position: u64) -> Error {
    Error::new(
        ErrorKind::Read,
        format!("reading {location} ended at byte {position}"),
    )
}

/// The region that S3 says the bucket is in, when it is not the one asked.
pub(super) fn redirect_region<E>(
    error: &aws_smithy_runtime_api::client::result::SdkError<
        E,
        aws_smithy_runtime_api::client::orchestrator::HttpResponse,
    >,
) -> Option<String> {
    let headers = error.raw_response()?.headers();
    headers.get("x-amz-bucket-region").map(str::to_owned)
}

/// Says why an object could not be opened, and what to do.
pub(super) fn cannot_open(
    location: &Location,
    aws: &Aws,
    region: Option<String>,
    error: CallError,
) -> Error {
    if error.no_credentials {
        return crate::aws::config::no_credentials(aws, error);
    }
    let region = region.filter(|r| r != aws.region());
    match (error.meaning, error.code.as_deref()) {
        (_, Some("NoSuchBucket")) => Error::usage(format!("cannot read {location}: there is no such bucket"))
            .hint("check the name; aws s3 ls shows your buckets"),
        (_, Some("NoSuchKey")) => Error::usage(format!("cannot read {location}: there is no such object"))
            .hint(
                "check the key, which is case-sensitive, and ends in / where all objects under it are \
                 meant; aws s3 ls shows what a bucket holds",
            ),
        (_, Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"))
            if region.is_some() =>
        {
            let region = region.unwrap_or_default();
            Error::usage(format!(
                "cannot read {location}: the bucket is in region {region}, and {} was asked",
                aws.region()
            ))
            .hint(format!(
                "give --region {region} (if the table is in another region than the bucket, copy the \
                 object first, or pipe it in: aws s3 cp {location} - | hashferry ingest - …)"
            ))
        }
        (_, Some("AccessDenied")) => Error::usage(format!("cannot read {location}: access is denied"))
            .because(error)
            .hint(format!(
                "{}; without s3:ListBucket, S3 says so of a missing object too",
                aws.needs("s3:GetObject on it")
            )),
        (_, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken")) => {
            Error::usage(format!("cannot read {location}: S3 does not accept these credentials"))
                .because(error)
                .hint("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
        }
        (Meaning::Expired, _) => {
            Error::usage(format!("cannot read {location}: the credentials have expired"))
                .because(error)
                .hint("renew them (for example: aws sso login), then run this again")
        }
        (Meaning::Permanent | Meaning::Invalid, _) => {
            Error::usage(format!("cannot read {location}")).because(error)
        }
        _ => Error::new(ErrorKind::Read, format!("cannot read {location}: S3 cannot be reached"))
            .because(error)
            .hint("check the region, the endpoint and the network, then run this again; nothing was written"),
    }
}
