//! The commands that do what a plan proposes, ready to be pasted.

use crate::base::hash::Case;
use crate::commands::plan::import_table::ImportForm;
use crate::commands::plan::options::Planning;
use crate::commands::plan::target::Target;
use crate::dynamodb::attribute::Value;
use crate::dynamodb::table::Billing;
use serde_json::json;

/// What the commands are made of: the words that were given to `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    sources: Vec<String>,
    item: Vec<String>,
    aws: Vec<String>,
    own: Vec<String>,
}

impl Words {
    /// The words that were given.
    pub(super) fn new(given: &Planning) -> Self {
        let mut item = Vec::new();
        if let Some(algorithm) = given.algorithm {
            item.extend(["--hash".to_owned(), algorithm.name().to_owned()]);
        }
        if let Some(key) = &given.key {
            item.extend(["--key".to_owned(), format!("{}:{}", key.name, key.kind)]);
        }
        if given.case == Case::Lower {
            item.extend(["--case", "lower"].map(str::to_owned));
        }
        for a in &given.attributes {
            match (a.name.as_str(), &a.value) {
                (name @ ("type" | "source" | "desc"), Value::S(text)) => {
                    item.extend([format!("--{name}"), text.clone()]);
                }
                _ => item.extend(["--attr".to_owned(), a.to_string()]),
            }
        }
        if given.attr_from_version {
            item.push("--attr-from-version".to_owned());
        }
        Words {
            sources: given.sources.clone(),
            item,
            aws: given.aws_flags.clone(),
            own: given.own_flags.clone(),
        }
    }

    /// Into a table with `capacity` write units a second, written at `rate`:
    /// made, or raised, where it is not so.
    pub(super) fn provisioned(&self, target: &Target, capacity: u64, rate: f64) -> Vec<String> {
        // Read capacity is of no use to a run: what is least, or what there is.
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

    /// Into a table that is paid per request: made, or changed, where it is not
    /// so.
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

    /// Into a new table by ImportTable.
    pub(super) fn import(&self, target: &Target, form: &ImportForm) -> String {
        // It need not be what was named: a prefix or a manifest may name it.
        let lies_at = form.as_it_lies.as_deref();
        let place = match lies_at.and_then(|uri| uri.strip_prefix("s3://")) {
            Some(place) => place.split_once('/').unwrap_or((place, "")),
            _ => ("BUCKET", "PREFIX"),
        };
        let name = match target.billing {
            // The table that is there cannot be imported into.
            Some(_) => format!("{}-imported", table_name(target)),
            None => table_name(target).to_owned(),
        };
        let mut words = self.aws_words("import-table", &[]);
        let mut say = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        say(
            "--s3-bucket-source",
            json!({"S3Bucket": place.0, "S3KeyPrefix": place.1}).to_string(),
        );
        say("--input-format", form.name.to_owned());
        if form.name == "CSV" {
            let options = json!({"Csv": {"HeaderList": form.columns}});
            say("--input-format-options", options.to_string());
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
        say("--table-creation-parameters", parameters.to_string());
        words.extend(self.aws.iter().cloned());
        line(&words)
    }

    fn ingest(&self, target: &Target, rate: Option<f64>) -> String {
        let mut words = vec!["hashferry".to_owned(), "ingest".to_owned()];
        words.extend(self.sources.iter().cloned());
        words.extend(["--table".to_owned(), table_name(target).to_owned()]);
        words.extend(self.item.iter().cloned());
        if let Some(rate) = rate {
            words.extend(["--rate".to_owned(), rate.to_string()]);
        }
        words.extend(self.aws.iter().chain(&self.own).cloned());
        line(&words)
    }

    fn create(&self, target: &Target, how: &[&str]) -> String {
        let mut words = self.aws_words("create-table", &["--table-name", table_name(target)]);
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
        words.extend(how.iter().map(|w| (*w).to_owned()));
        words.extend(self.aws.iter().cloned());
        line(&words)
    }

    fn update(&self, target: &Target, change: &[String]) -> String {
        let mut words = self.aws_words("update-table", &["--table-name", table_name(target)]);
        words.extend(change.iter().chain(&self.aws).cloned());
        line(&words)
    }

    fn aws_words(&self, command: &str, rest: &[&str]) -> Vec<String> {
        let words = ["aws", "dynamodb", command].into_iter();
        words
            .chain(rest.iter().copied())
            .map(str::to_owned)
            .collect()
    }
}

/// The table that the commands name: as it was named, or as the key is.
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

/// Words as a line for a shell.
fn line(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|w| quoted(w)).collect();
    quoted.join(" ")
}

fn quoted(word: &str) -> String {
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
    fn words_are_quoted_where_a_shell_needs_it() {
        let words = ["ingest", "a b", "", "it's", "s3://b/k", "n:N=7"].map(str::to_owned);
        assert_eq!(line(&words), r"ingest 'a b' '' 'it'\''s' s3://b/k n:N=7");
    }
}
