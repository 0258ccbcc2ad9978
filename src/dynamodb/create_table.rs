//! CreateTable: creates a table with one text key for hashes.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::dynamodb::table::Billing;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType as SchemaRole, ScalarAttributeType,
};

/// Creates the table `name` with one text key, named after `algorithm`.
///
/// # Errors
/// [`ErrorKind::Write`] if the call fails.
pub(crate) async fn create_table(
    aws: &Aws,
    name: &str,
    algorithm: Algorithm,
    billing: Billing,
) -> Result<()> {
    let internal =
        |e| Error::new(ErrorKind::Internal, "cannot build a table definition").with_source(e);
    let key = algorithm.name();
    let mut call = aws
        .dynamodb()
        .create_table()
        .table_name(name)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(key)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(internal)?,
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name(key)
                .key_type(SchemaRole::Hash)
                .build()
                .map_err(internal)?,
        );
    call = match billing {
        Billing::OnDemand { .. } => call.billing_mode(BillingMode::PayPerRequest),
        Billing::Provisioned { write_units } => {
            let units = i64::try_from(write_units).unwrap_or(i64::MAX);
            call.billing_mode(BillingMode::Provisioned)
                .provisioned_throughput(
                    aws_sdk_dynamodb::types::ProvisionedThroughput::builder()
                        .read_capacity_units(units)
                        .write_capacity_units(units)
                        .build()
                        .map_err(internal)?,
                )
        }
    };
    call.send().await.map_err(|e| {
        Error::new(ErrorKind::Write, format!("cannot create table {name}"))
            .with_source(CallError::from_sdk(e))
    })?;
    tracing::info!("created table {name} with partition key {key} (S)");
    Ok(())
}
