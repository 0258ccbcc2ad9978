//! Options of a plan: what its caller sets.

use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::dynamodb::prices::Prices;
use crate::list::format::kind::Form;
use crate::source::decompress::codec::Unpack;
use crate::source::sources::Globs;

/// What is to be planned.
///
/// ```no_run
/// # async fn example() -> hashferry::Result<()> {
/// let mut plan = hashferry::Plan::default();
/// plan.sources.push("s3://my-bucket/nsrl/sha256.txt".into());
/// plan.table = Some("sha256".into());
/// let aws = hashferry::Aws::load(&Default::default()).await?;
/// println!("{}", plan.run(&aws).await?.to_json());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Planning {
    /// The sources, as they were named.
    pub sources: Vec<String>,
    /// Lists of sources, after those named.
    pub manifests: Vec<String>,
    /// Which of the objects under a prefix or in a manifest.
    pub globs: Globs,
    /// How they are compressed.
    pub unpack: Unpack,
    /// Their form.
    pub form: Form,
    /// The table; without one, a text key named as the algorithm is assumed.
    pub table: Option<String>,
    /// The hash algorithm, where it was told.
    pub algorithm: Option<Algorithm>,
    /// The partition key, where it was told.
    pub key: Option<KeyAttribute>,
    /// Case of text keys.
    pub case: Case,
    /// Attributes of every item.
    pub attributes: Vec<Attribute>,
    /// Attributes that each item takes from its row.
    pub attributes_from: Vec<AttributeFrom>,
    /// Whether they include the release of the NSRL database that is read.
    pub attr_from_version: bool,
    /// Whether to read everything.
    pub exact: bool,
    /// A rate to reckon with, in write units a second.
    pub at: Option<f64>,
    /// Regions that hold the table, where that was told.
    pub replicas: Option<u64>,
    /// Global indexes that the items are in, where that was told.
    pub indexes: Option<u64>,
    /// The prices.
    pub prices: Prices,
    /// Flags for the connection, which the commands shown repeat: alike for
    /// hashferry and the AWS command line.
    pub aws_flags: Vec<String>,
    /// Further flags of hashferry alone.
    pub own_flags: Vec<String>,
}
