//! Shell commands that carry out a plan, ready to paste.

use crate::base::hash::Case;
use crate::commands::plan::import_table::ImportFormat;
use crate::commands::plan::options::PlanOptions;
use crate::commands::plan::target::Target;
use crate::dynamodb::attribute::Value;
use crate::dynamodb::table::Billing;
use serde_json::json;

/// Builder of the commands, from the options of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShellCommands {
    sources: Vec<String>,
    item_flags: Vec<String>,
    aws_flags: Vec<String>,
    hashferry_flags: Vec<String>,
}

impl ShellCommands {
    /// A builder with the flags of `options`.
    pub(super) fn new(options: &PlanOptions) -> Self {
        let mut item_flags = Vec::new();
        if let Some(algorithm) = options.algorithm {
            item_flags.extend(["--hash".to_owned(), algorithm.name().to_owned()]);
        }
        if let Some(key) = &options.key {
            item_flags.extend(["--key".to_owned(), format!("{}:{}", key.name, key.kind)]);
        }
        if options.case == Case::Lower {
            item_flags.extend(["--case", "lower"].map(str::to_owned));
        }
        for a in &options.attributes {
            match (a.name.as_str(), &a.value) {
                (name @ ("type" | "source" | "desc"), Value::S(text)) => {
                    item_flags.extend([format!("--{name}"), text.clone()]);
                }
                _ => item_flags.extend(["--attr".to_owned(), a.to_string()]),
            }
        }
        if options.attr_from_version {
            item_flags.push("--attr-from-version".to_owned());
        }
        ShellCommands {
            sources: options.sources.clone(),
            item_flags,
            aws_flags: options.aws_flags.clone(),
            hashferry_flags: options.hashferry_flags.clone(),
        }
    }

    /// An ingest at `rate` into a table with a provisioned `capacity` in WCU. The commands
    /// create the table or raise its capacity if necessary.
    pub(super) fn provisioned(&self, target: &Target, capacity: u64, rate: f64) -> Vec<String> {
        // An ingest needs no read capacity.
        let throughput =
            |read: &str| format!("ReadCapacityUnits={read},WriteCapacityUnits={capacity}");
        match target.billing {
            None => vec![
                self.create(target, &["--provisioned-throughput", &throughput("1")]),
                self.ingest(target, None),
            ],
            Some(Billing::Provisioned { write_units }) if write_units >= capacity => {
                let below = rate < write_units as f64;
                vec![self.ingest(target, below.then_some(rate))]
            }
            Some(Billing::Provisioned { .. }) => {
                vec![format!(
                    "{} --raise-to {capacity}",
                    self.ingest(target, None)
                )]
            }
            Some(Billing::OnDemand { .. }) => {
                let change = [
                    "--provisioned-throughput".to_owned(),
                    throughput("READ"),
                    "--billing-mode".to_owned(),
                    "PROVISIONED".to_owned(),
                ];
                vec![self.update(target, &change), self.ingest(target, None)]
            }
        }
    }

    /// An ingest into an on-demand table. The commands create the table or change its billing
    /// mode if necessary.
    pub(super) fn on_demand(&self, target: &Target) -> Vec<String> {
        let mode = ["--billing-mode", "PAY_PER_REQUEST"];
        let ingest = self.ingest(target, None);
        match target.billing {
            None => vec![self.create(target, &mode), ingest],
            Some(Billing::OnDemand { .. }) => vec![ingest],
            Some(Billing::Provisioned { .. }) => {
                vec![self.update(target, &mode.map(str::to_owned)), ingest]
            }
        }
    }

    /// An import into a new table by ImportTable.
    pub(super) fn import(&self, target: &Target, format: &ImportFormat) -> String {
        // The object may differ from the given source, which may be a prefix or a manifest.
        let object = format.existing_object.as_deref();
        let (bucket, prefix) = match object.and_then(|uri| uri.strip_prefix("s3://")) {
            Some(path) => path.split_once('/').unwrap_or((path, "")),
            _ => ("BUCKET", "PREFIX"),
        };
        let name = match target.billing {
            // An import into an existing table is not possible.
            Some(_) => format!("{}-imported", table_name(target)),
            None => table_name(target).to_owned(),
        };
        let mut words = self.aws_command("import-table", &[]);
        let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        add(
            "--s3-bucket-source",
            json!({"S3Bucket": bucket, "S3KeyPrefix": prefix}).to_string(),
        );
        add("--input-format", format.name.to_owned());
        if format.name == "CSV" {
            let options = json!({"Csv": {"HeaderList": format.columns}});
            add("--input-format-options", options.to_string());
        }
        let keys = keys(target);
        let parameters = json!({
            "TableName": name,
            "AttributeDefinitions": keys.iter().map(|(name, kind, _)|
                json!({"AttributeName": name, "AttributeType": kind})).collect::<Vec<_>>(),
            "KeySchema": keys.iter().map(|(name, _, role)|
                json!({"AttributeName": name, "KeyType": role})).collect::<Vec<_>>(),
            "BillingMode": "PAY_PER_REQUEST",
        });
        add("--table-creation-parameters", parameters.to_string());
        words.extend(self.aws_flags.iter().cloned());
        shell_line(&words)
    }

    fn ingest(&self, target: &Target, rate: Option<f64>) -> String {
        let mut words = vec!["hashferry".to_owned(), "ingest".to_owned()];
        words.extend(self.sources.iter().cloned());
        words.extend(["--table".to_owned(), table_name(target).to_owned()]);
        words.extend(self.item_flags.iter().cloned());
        if let Some(rate) = rate {
            words.extend(["--rate".to_owned(), rate.to_string()]);
        }
        words.extend(self.aws_flags.iter().chain(&self.hashferry_flags).cloned());
        shell_line(&words)
    }

    fn create(&self, target: &Target, billing: &[&str]) -> String {
        let mut words = self.aws_command("create-table", &["--table-name", table_name(target)]);
        let keys = keys(target);
        words.push("--attribute-definitions".to_owned());
        let define = |(name, kind, _): &(&str, String, &str)| {
            format!("AttributeName={name},AttributeType={kind}")
        };
        words.extend(keys.iter().map(define));
        words.push("--key-schema".to_owned());
        let role =
            |(name, _, role): &(&str, String, &str)| format!("AttributeName={name},KeyType={role}");
        words.extend(keys.iter().map(role));
        words.extend(billing.iter().map(|w| (*w).to_owned()));
        words.extend(self.aws_flags.iter().cloned());
        shell_line(&words)
    }

    fn update(&self, target: &Target, change: &[String]) -> String {
        let mut words = self.aws_command("update-table", &["--table-name", table_name(target)]);
        words.extend(change.iter().chain(&self.aws_flags).cloned());
        shell_line(&words)
    }

    fn aws_command(&self, command: &str, rest: &[&str]) -> Vec<String> {
        let words = ["aws", "dynamodb", command].into_iter();
        words
            .chain(rest.iter().copied())
            .map(str::to_owned)
            .collect()
    }
}

/// Name of the table in the commands: as given, or the name of its partition key.
fn table_name(target: &Target) -> &str {
    target
        .table
        .as_deref()
        .unwrap_or(&target.schema.partition.name)
}

/// Name, type and role of the table's keys.
fn keys(target: &Target) -> Vec<(&str, String, &'static str)> {
    let schema = &target.schema;
    let sort = schema.sort.as_ref().map(|k| (k, "RANGE"));
    [(&schema.partition, "HASH")]
        .into_iter()
        .chain(sort)
        .map(|(k, role)| (k.name.as_str(), k.kind.to_string(), role))
        .collect()
}

/// Joins words to a shell command.
fn shell_line(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|w| shell_quoted(w)).collect();
    quoted.join(" ")
}

fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_special_characters_are_quoted() {
        let words = ["ingest", "a b", "", "it's", "s3://b/k", "n:N=7"].map(str::to_owned);
        assert_eq!(
            shell_line(&words),
            r"ingest 'a b' '' 'it'\''s' s3://b/k n:N=7"
        );
    }
}
