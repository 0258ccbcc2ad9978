//! Operations on buckets.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use crate::local::access::REGION;
use crate::local::s3::listing::ListStart;
use crate::local::s3::operations::Api;

impl Api {
    /// ListBuckets.
    pub(super) async fn all_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let ListBucketsInput {
            continuation_token,
            max_buckets,
            prefix,
            ..
        } = req.input;
        let mut buckets = self.blocking(|store| store.list_buckets()).await?;
        let after = continuation_token.as_deref().map(ListStart::from_token);
        if let Some(ListStart::Key(after) | ListStart::Prefix(after)) = after.transpose()? {
            buckets.retain(|(name, _)| *name > after);
        }
        if let Some(prefix) = &prefix {
            buckets.retain(|(name, _)| name.starts_with(prefix.as_str()));
        }
        let max = max_buckets.and_then(|max| usize::try_from(max).ok());
        let more = max.is_some_and(|max| max > 0 && buckets.len() > max);
        if let Some(max) = max.filter(|_| more) {
            buckets.truncate(max);
        }
        let last = buckets.last().filter(|_| more);
        let continuation_token = last.map(|(name, _)| ListStart::Key(name.clone()).to_token());
        let buckets = buckets
            .into_iter()
            .map(|(name, created)| Bucket {
                name: Some(name),
                creation_date: Some(created),
                ..Bucket::default()
            })
            .collect();
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token,
            prefix,
            ..ListBucketsOutput::default()
        }))
    }

    /// CreateBucket.
    pub(super) async fn add_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket;
        let location = format!("/{bucket}");
        self.blocking(move |store| store.create_bucket(&bucket))
            .await?;
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(location),
        }))
    }

    /// DeleteBucket.
    pub(super) async fn remove_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.blocking(move |store| store.delete_bucket(&req.input.bucket))
            .await?;
        // `s3s` would respond with 200.
        let mut response = S3Response::new(DeleteBucketOutput::default());
        response.status = Some(StatusCode::NO_CONTENT);
        Ok(response)
    }

    /// HeadBucket.
    pub(super) async fn find_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.blocking(move |store| store.bucket_dir(&req.input.bucket))
            .await?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(REGION.to_owned()),
            ..HeadBucketOutput::default()
        }))
    }

    /// GetBucketLocation.
    pub(super) async fn locate_bucket(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.blocking(move |store| store.bucket_dir(&req.input.bucket))
            .await?;
        // No location means us-east-1.
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }
}
