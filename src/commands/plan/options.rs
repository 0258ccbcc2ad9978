//! Options of a plan.

use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::dynamodb::prices::Prices;
use crate::list::format::kind::ListOptions;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::sources::Globs;

/// Options of a plan.
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
pub struct PlanOptions {
    /// The sources: `s3://bucket/key`, `s3://bucket/prefix/`, a local path, or `-`.
    pub sources: Vec<String>,
    /// Files or objects that list further sources, read after `sources`.
    pub manifests: Vec<String>,
    /// Filter for the objects under a prefix or in a manifest.
    pub globs: Globs,
    /// Compression of the sources.
    pub unpack: DecompressOptions,
    /// Format of the lists.
    pub form: ListOptions,
    /// Name of the table. `None` plans for a new table, with a text key named after the
    /// algorithm.
    pub table: Option<String>,
    /// The hash algorithm. `None` detects it from the table or the list.
    pub algorithm: Option<Algorithm>,
    /// The partition key. `None` reads it from the table.
    pub key: Option<KeyAttribute>,
    /// Case of text keys.
    pub case: Case,
    /// Attributes of every item.
    pub attributes: Vec<Attribute>,
    /// Attributes that each item has from the columns of its row.
    pub attributes_from: Vec<AttributeFrom>,
    /// True if every item has the release of the NSRL database.
    pub attr_from_version: bool,
    /// True to read all of every source instead of a sample.
    pub exact: bool,
    /// Write rate of the forecast in WCU/s. `None` uses the table's capacity, or proposes one.
    pub rate: Option<f64>,
    /// Number of Regions with the table. `None` takes it from DescribeTable.
    pub replicas: Option<u64>,
    /// Number of global indexes with the items. `None` takes it from DescribeTable.
    pub indexes: Option<u64>,
    /// The prices.
    pub prices: Prices,
    /// Connection flags for the proposed commands, valid for hashferry and for the AWS CLI.
    pub aws_flags: Vec<String>,
    /// Further flags for the proposed commands, valid for hashferry only.
    pub hashferry_flags: Vec<String>,
}
