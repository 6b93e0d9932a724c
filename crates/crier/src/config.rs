//! Configuration: a YAML file, then the environment.
//!
//! **Invariant:** unknown keys are errors, in the file and under `CRIER__`; a secret is a value or a file, not both, and
//! never printed; whatever a file is, little of it is read. Nothing else reads the environment.

mod check;
mod otlp;
mod prices;
mod reload;
mod sections;
mod webhooks;
mod words;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::SecretString;
use serde_yaml::{Mapping, Value};

pub(crate) use reload::{Obeyed, differing_files, obeyed};
pub(crate) use sections::{App, Config, Pooler};
pub(crate) use words::{example, markdown, schema};

use crate::exit::{Refusal, Refuse};

/// Most bytes of a configuration file; ours has some thousands.
const MOST_CONFIG: u64 = 1024 * 1024;
/// Most bytes of a file with a secret.
const MOST_SECRET: u64 = 16 * 1024;

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
    /// `CRIER_FAILPOINT`: where a test has this process die.
    #[cfg(debug_assertions)]
    pub(crate) failpoint: Option<String>,
    /// `CRIER_FAILPOINT_LOG`: the file that gets each point reached.
    #[cfg(debug_assertions)]
    pub(crate) failpoint_log: Option<String>,
}

/// Reads the file, if one is given, and the environment over it.
pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, value) in std::env::vars_os() {
        // What is no text names no setting of ours.
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) if name.starts_with("CRIER__") || name == "DATABASE_URL" => {
                return Refusal::new(format!("the variable `{name}` is not text in UTF-8"))
                    .hint("set it anew, or unset it")
                    .fail();
            }
            Err(_) => {}
        }
    }
    let mut config = match file {
        Some(path) => {
            let text = little(path, MOST_CONFIG).refused(format!(
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
        #[cfg(debug_assertions)]
        failpoint: named(&variables, "CRIER_FAILPOINT").map(str::to_owned),
        #[cfg(debug_assertions)]
        failpoint_log: named(&variables, "CRIER_FAILPOINT_LOG").map(str::to_owned),
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
    let schema = schema();
    keep_quiet(&tree, &schema)?;
    if !tree.is_empty() {
        // By itself first: only so are line and column those of the file.
        serde_yaml::from_str::<Config>(text).refused("a setting of the file is wrong")?;
    }
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

/// Settings that are secrets.
pub(crate) const SECRETS: [(&str, &str); 6] = [
    ("database", "url"),
    ("database", "direct_url"),
    ("app", "client_secret"),
    ("app", "consumer_secret"),
    ("secrets", "key"),
    ("secrets", "other_keys"),
];

/// Refuses what would be repeated, word for word, by the complaint that it is of the wrong kind, and may be a secret.
fn keep_quiet(tree: &Mapping, schema: &serde_json::Value) -> anyhow::Result<()> {
    for (section, settings) in tree {
        let section = section.as_str().unwrap_or_default();
        // The complaint of an unknown name repeats only that.
        if schema["properties"].get(section).is_none() {
            continue;
        }
        match settings {
            Value::Null => {}
            Value::Mapping(settings) => {
                for (_, key) in SECRETS.iter().filter(|(known, _)| *known == section) {
                    if !matches!(
                        settings.get(*key),
                        None | Some(Value::Null | Value::String(_))
                    ) {
                        return Refusal::new(format!("`{section}.{key}` must be text"))
                            .hint("write it in quotes")
                            .fail();
                    }
                }
            }
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Tagged(_) => {
                return Refusal::new(format!("the section `{section}` must hold settings"))
                    .hint("a setting is a line below its section, indented, such as `worker:` and then `  concurrency: 8`")
                    .fail();
            }
        }
    }
    Ok(())
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
            let text = little(path, MOST_SECRET)
                .refused(format!("cannot read `{name}_file` at `{}`", path.display()))?;
            if text.trim().is_empty() {
                return Refusal::new(format!("`{name}_file` at `{}` is empty", path.display()))
                    .hint("write the secret into the file, or leave the setting out")
                    .fail();
            }
            Ok(Some(text.trim().to_owned().into()))
        }
        (None, None) => Ok(None),
    }
}

/// The text of a file, whatever it is: a device, or one without an end, must not fill the memory.
fn little(path: &Path, most: u64) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(most + 1).read_to_end(&mut bytes)?;
    let wrong = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        return Err(wrong(format!("it has more than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not text in UTF-8".to_owned()))
}

#[cfg(test)]
mod tests;
