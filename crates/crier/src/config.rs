//! Configuration: a YAML file, then the environment.
//!
//! **Invariant:** unknown keys are errors, in the file and under `CRIER__`; a secret is a value or a file, not both, and
//! never printed. Nothing else reads the environment.

mod check;
mod sections;
mod webhooks;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::SecretString;
use serde_yaml::{Mapping, Value};

pub(crate) use sections::{App, Config};
pub(crate) use words::{example, markdown, schema};

use crate::exit::{Refusal, Refuse};

/// What the environment says beside settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `NO_COLOR` is set.
    pub(crate) no_color: bool,
    /// `CRIER_PG_BIN`: folder of Postgres' server programs.
    pub(crate) pg_bin: Option<PathBuf>,
    /// `PATH`.
    pub(crate) path: OsString,
    /// `DISPLAY` or `WAYLAND_DISPLAY` is set: a browser has somewhere to open.
    pub(crate) display: bool,
}

/// Reads the file, if one is given, and the environment over it.
pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    // What is no text names no setting of ours.
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut config = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).refused(format!(
                "cannot read the configuration `{}`",
                path.display()
            ))?;
            read(&text, &variables)
                .with_context(|| format!("the configuration `{}` cannot be used", path.display()))?
        }
        None => read("", &variables).context("the configuration cannot be used")?,
    };
    config.environment = Environment {
        no_color: named(&variables, "NO_COLOR").is_some(),
        pg_bin: named(&variables, "CRIER_PG_BIN").map(PathBuf::from),
        path: std::env::vars_os()
            .find(|(name, _)| name == "PATH")
            .map(|(_, value)| value)
            .unwrap_or_default(),
        display: ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| named(&variables, name).is_some()),
    };
    Ok(config)
}

/// The value of a variable; an empty one counts as absent, as compose files pass them.
fn named<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    variables
        .iter()
        .find(|(known, value)| known == name && !value.is_empty())
        .map(|(_, value)| value.as_str())
}

fn read(text: &str, variables: &[(String, String)]) -> anyhow::Result<Config> {
    let mut tree = match serde_yaml::from_str::<Value>(text).refused("it is not YAML")? {
        Value::Null => Mapping::new(),
        Value::Mapping(tree) => tree,
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Sequence(_)
        | Value::Tagged(_) => {
            return Refusal::new("it must be a mapping of sections such as `database:`").fail();
        }
    };
    if !tree.is_empty() {
        // By itself first: only so are line and column those of the file.
        serde_yaml::from_str::<Config>(text).refused("a setting of the file is wrong")?;
    }
    let schema = schema();
    for (section, key, value) in settings(variables)? {
        let variable = format!("CRIER__{}__{}", section.to_uppercase(), key.to_uppercase());
        // Numbers and booleans are read as YAML reads them; what must be text stays text.
        let value = if words::is_text(&schema, &section, &key) {
            Value::String(value)
        } else {
            serde_yaml::from_str(&value).unwrap_or(Value::String(value))
        };
        set(&mut tree, &section, &key, value);
        parse(&tree).refused(format!("the variable `{variable}` is wrong"))?;
    }
    let config = parse(&tree)?;
    config.check()?;
    Ok(config)
}

/// Through text once more: only so does an error name the key it is about.
fn parse(tree: &Mapping) -> anyhow::Result<Config> {
    Ok(serde_yaml::from_str(&serde_yaml::to_string(tree)?)?)
}

/// Section, key and value of every variable that is a setting.
fn settings(variables: &[(String, String)]) -> anyhow::Result<Vec<(String, String, String)>> {
    let mut found = Vec::new();
    if let Some(url) = named(variables, "DATABASE_URL")
        && named(variables, "CRIER__DATABASE__URL").is_none()
    {
        found.push(("database".to_owned(), "url".to_owned(), url.to_owned()));
    }
    for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(path) = name.strip_prefix("CRIER__") else {
            continue;
        };
        let Some((section, key)) = path.split_once("__") else {
            return Refusal::new(format!("the variable `{name}` names no setting"))
                .hint("a setting is CRIER__SECTION__KEY, such as CRIER__WORKER__CONCURRENCY")
                .fail();
        };
        found.push((section.to_lowercase(), key.to_lowercase(), value.clone()));
    }
    Ok(found)
}

fn set(tree: &mut Mapping, section: &str, key: &str, value: Value) {
    let section = tree
        .entry(Value::String(section.to_owned()))
        .or_insert_with(|| Value::Mapping(Mapping::new()));
    // An empty section of a file is null.
    if section.is_null() {
        *section = Value::Mapping(Mapping::new());
    }
    if let Value::Mapping(section) = section {
        section.insert(Value::String(key.to_owned()), value);
    }
}

/// The value itself or what its file holds.
pub(crate) fn secret(
    name: &str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> anyhow::Result<Option<SecretString>> {
    match (value, file) {
        (Some(_), Some(_)) => Refusal::new(format!("`{name}` and `{name}_file` are both set"))
            .hint("leave one of them out, also in the environment")
            .fail(),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .refused(format!("cannot read `{name}_file` at `{}`", path.display()))?;
            Ok(Some(text.trim().to_owned().into()))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
