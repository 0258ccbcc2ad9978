//! Further attributes of items: MatchMeta rules of paths, and the NSRL release of a
//! database.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::list::format::kind::ListOptions;
use crate::list::open_list::OpenList;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::sources::{SourceSpec, Sources};

/// Adds the attributes with the rules of a list of paths. A list of hashes gets none.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if one of them is among
/// `attributes` or `from` already.
pub(crate) fn with_rule_attributes(
    form: &ListOptions,
    attributes: &[Attribute],
    from: &[AttributeFrom],
) -> Result<Vec<Attribute>> {
    let rules: Vec<Attribute> = form.rules().map(text_attribute).collect();
    let given = attributes.iter().map(|a| &a.name);
    let mut given = given.chain(from.iter().map(|a| &a.name));
    if let Some(name) = given.find(|name| rules.iter().any(|rule| rule.name == **name)) {
        return Err(Error::usage(format!(
            "the attribute {name} is given twice: --paths gives it, too"
        ))
        .with_hint("leave it out: it stores the rules of the paths"));
    }
    Ok([attributes, &rules].concat())
}

fn text_attribute((name, text): (&str, impl Into<String>)) -> Attribute {
    Attribute {
        name: name.to_owned(),
        value: Value::S(text.into()),
    }
}

/// The NSRL release of `opened`, as attributes.
fn release_attributes(opened: &OpenList) -> Result<Vec<Attribute>> {
    let release = opened.release()?;
    Ok(release.into_iter().map(text_attribute).collect())
}

/// Adds the attributes with the NSRL release of `opened`, the first of `sources`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the release is unknown, if
/// the sources have several, or if one of the attributes is given already. If a source
/// cannot be opened, as [`OpenList::open`].
pub(crate) async fn with_release_attributes(
    attributes: &[Attribute],
    from: &[AttributeFrom],
    opened: &OpenList,
    sources: &Sources,
    aws: &Aws,
    unpack: &DecompressOptions,
) -> Result<Vec<Attribute>> {
    let release = release_attributes(opened)?;
    let given = attributes.iter().map(|a| a.name.as_str());
    let given: Vec<&str> = given.chain(from.iter().map(|a| a.name.as_str())).collect();
    check_one_release(&release, sources, &given, aws, unpack).await?;
    Ok([attributes, &release].concat())
}

/// Checks that all `sources` have the release `first` of the first source, and that no
/// attribute of it is `given` by another flag.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a check fails. If a source
/// cannot be opened, as [`OpenList::open`].
async fn check_one_release(
    first: &[Attribute],
    sources: &Sources,
    given: &[&str],
    aws: &Aws,
    unpack: &DecompressOptions,
) -> Result<()> {
    if let Some(a) = first.iter().find(|a| given.contains(&a.name.as_str())) {
        return Err(Error::usage(format!(
            "the attribute {} is given twice: --attr-from-version gives it, too",
            a.name
        ))
        .with_hint("leave one of them out"));
    }
    let mut name = String::new();
    for (n, named) in sources.specs.iter().enumerate() {
        let SourceSpec::Single(location) = named else {
            return Err(Error::usage(format!(
                "--attr-from-version gives all items of a run the release of one database, but {named} may hold \
                 several"
            ))
            .with_hint("give the databases one by one"));
        };
        if n == 0 {
            // The first source is open already.
            name = location.to_string();
            continue;
        }
        let opened = OpenList::open(location, aws, unpack, &ListOptions::default()).await?;
        let release = release_attributes(&opened)?;
        if let Some((was, is)) = first.iter().zip(&release).find(|(was, is)| was != is) {
            return Err(Error::usage(format!(
                "--attr-from-version gives all items of a run one release, but that of {name} is {was}, that of \
                 {location} is {is}"
            ))
            .with_hint("ingest each in a separate run"));
        }
    }
    Ok(())
}
