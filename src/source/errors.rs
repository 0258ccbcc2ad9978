//! Errors of opening and reading lists.

use crate::aws::config::Aws;
use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{Error, ErrorKind};
use crate::source::location::Location;

/// The error for a read that ended early.
pub(super) fn read_error(location: &Location, position: u64) -> Error {
    Error::new(
        ErrorKind::Read,
        format!("reading {location} ended at byte {position}"),
    )
}

/// The bucket's region, as S3 reports it; `None` if the response has none.
pub(super) fn redirect_region<E>(
    error: &aws_smithy_runtime_api::client::result::SdkError<
        E,
        aws_smithy_runtime_api::client::orchestrator::HttpResponse,
    >,
) -> Option<String> {
    let headers = error.raw_response()?.headers();
    headers.get("x-amz-bucket-region").map(str::to_owned)
}

/// The error for an object that could not be opened, with a hint.
pub(super) fn open_error(
    location: &Location,
    aws: &Aws,
    region: Option<String>,
    error: CallError,
) -> Error {
    if error.no_credentials {
        return crate::aws::config::no_credentials(aws, error);
    }
    let region = region.filter(|r| r != aws.region());
    match (error.class, error.code.as_deref()) {
        (_, Some("NoSuchBucket")) => Error::usage(format!("cannot read {location}: there is no such bucket"))
            .with_hint("check the name; aws s3 ls lists your buckets"),
        (_, Some("NoSuchKey")) => Error::usage(format!("cannot read {location}: there is no such object"))
            .with_hint(
                "check the key: it is case-sensitive, and a prefix must end in /; aws s3 ls lists the \
                 objects of a bucket",
            ),
        (_, Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"))
            if region.is_some() =>
        {
            let region = region.unwrap_or_default();
            Error::usage(format!(
                "cannot read {location}: the bucket is in region {region}, but the request went to {}",
                aws.region()
            ))
            .with_hint(format!(
                "give --region {region} (if the table is in another region than the bucket, copy the \
                 object first, or pipe it in: aws s3 cp {location} - | hashferry ingest - …)"
            ))
        }
        (_, Some("AccessDenied")) => Error::usage(format!("cannot read {location}: access is denied"))
            .with_source(error)
            .with_hint(format!(
                "{}; without s3:ListBucket, S3 reports the same for a missing object",
                aws.permission_hint("s3:GetObject on it")
            )),
        (_, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken")) => {
            Error::usage(format!("cannot read {location}: S3 does not accept these credentials"))
                .with_source(error)
                .with_hint("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
        }
        (ErrorClass::Expired, _) => {
            Error::usage(format!("cannot read {location}: the credentials have expired"))
                .with_source(error)
                .with_hint("renew them (for example: aws sso login), then run this again")
        }
        (ErrorClass::Permanent | ErrorClass::Invalid, _) => {
            Error::usage(format!("cannot read {location}")).with_source(error)
        }
        _ => Error::new(ErrorKind::Read, format!("cannot read {location}: S3 cannot be reached"))
            .with_source(error)
            .with_hint("check the region, the endpoint and the network, then run this again; nothing was written"),
    }
}
