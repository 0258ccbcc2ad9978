//! Attributes that items get beside the given ones: the rules of MatchMeta by which paths
//! were made comparable, and the release of the NSRL that a database is of.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::list::format::kind::Form;
use crate::list::opened::Opened;
use crate::source::decompress::codec::Unpack;
use crate::source::sources::{Named, Sources};

/// `attributes`, and those that tell the rules by which paths of `form` are made
/// comparable, beside which items take others `from` their rows. Of a list of hashes, the
/// attributes as they are.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when one of them is given
/// otherwise, too.
pub(crate) fn with_rules(
    form: &Form,
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
        .hint("leave it out: it tells by which rules the hashes were made"));
    }
    Ok([attributes, &rules].concat())
}

/// The attribute of type S with this name and text.
fn text_attribute((name, text): (&str, impl Into<String>)) -> Attribute {
    Attribute {
        name: name.to_owned(),
        value: Value::S(text.into()),
    }
}

/// The release that `opened` is of, as attributes.
fn release_of(opened: &Opened) -> Result<Vec<Attribute>> {
    let release = opened.release()?;
    Ok(release.into_iter().map(text_attribute).collect())
}

/// `attributes`, and those of the release that `opened`, the first of `sources`, is of,
/// beside which items take others `from` their rows.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when it says no release, when the
/// sources are of several, or when one of these attributes is given otherwise, too; as
/// [`Opened::open`], when they cannot be opened.
pub(crate) async fn with_release(
    attributes: &[Attribute],
    from: &[AttributeFrom],
    opened: &Opened,
    sources: &Sources,
    aws: &Aws,
    unpack: &Unpack,
) -> Result<Vec<Attribute>> {
    let release = release_of(opened)?;
    let given = attributes.iter().map(|a| a.name.as_str());
    let given: Vec<&str> = given.chain(from.iter().map(|a| a.name.as_str())).collect();
    of_one_release(&release, sources, &given, aws, unpack).await?;
    Ok([attributes, &release].concat())
}

/// Checks that all of `sources` are of the release `first`, that of the first of them,
/// and that no attribute of it is `given` by another flag.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when it is not so; as
/// [`Opened::open`], when they cannot be opened.
async fn of_one_release(
    first: &[Attribute],
    sources: &Sources,
    given: &[&str],
    aws: &Aws,
    unpack: &Unpack,
) -> Result<()> {
    if let Some(a) = first.iter().find(|a| given.contains(&a.name.as_str())) {
        return Err(Error::usage(format!(
            "the attribute {} is given twice: --attr-from-version gives it, too",
            a.name
        ))
        .hint("leave one of them out"));
    }
    let mut name = String::new();
    for (n, named) in sources.named.iter().enumerate() {
        let Named::One(location) = named else {
            return Err(Error::usage(format!(
                "--attr-from-version gives all items of a run the release of one database, and {named} may hold \
                 several"
            ))
            .hint("name the databases one by one"));
        };
        if n == 0 {
            // It is open already.
            name = location.to_string();
            continue;
        }
        let opened = Opened::open(location, aws, unpack, &Form::default()).await?;
        let release = release_of(&opened)?;
        if let Some((was, is)) = first.iter().zip(&release).find(|(was, is)| was != is) {
            return Err(Error::usage(format!(
                "--attr-from-version gives all items of a run one release, and of {name} it is {was}, of \
                 {location} {is}"
            ))
            .hint("ingest each by itself"));
        }
    }
    Ok(())
}
