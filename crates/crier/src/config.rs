//! Configuration: a YAML file, then the environment.
//!
//! **Invariant:** unknown keys are errors, in the file and under `CRIER__`; a secret is a value or a file, not both, and
//! never printed.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use secrecy::SecretString;
use serde::Deserialize;
use serde_yaml::{Mapping, Value};

/// Everything that can be set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The database.
    pub(crate) database: Database,
    /// X.
    pub(crate) x: X,
    /// Keys.
    pub(crate) secrets: Secrets,
    /// The worker.
    pub(crate) worker: Worker,
    /// The exporter.
    pub(crate) exporter: Exporter,
    /// Logs.
    pub(crate) log: Log,
    /// `NO_COLOR` is set.
    #[serde(skip)]
    pub(crate) no_color: bool,
}

/// The database.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Database {
    /// Address.
    pub(crate) url: Option<SecretString>,
    /// File that holds the address.
    pub(crate) url_file: Option<PathBuf>,
    /// Connections of this process.
    pub(crate) max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            max_connections: 10,
        }
    }
}

/// X.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct X {
    /// Base of API and token endpoint.
    pub(crate) base_url: String,
    /// Base of the token endpoint, if it is another.
    pub(crate) token_base_url: Option<String>,
}

impl Default for X {
    fn default() -> Self {
        Self {
            base_url: "https://api.x.com".into(),
            token_base_url: None,
        }
    }
}

impl X {
    /// Base of the API.
    pub(crate) fn base_url(&self) -> anyhow::Result<url::Url> {
        url::Url::parse(&self.base_url)
            .with_context(|| format!("`x.base_url` is `{}`, which is no address", self.base_url))
    }

    /// Base of the token endpoint.
    pub(crate) fn token_base_url(&self) -> anyhow::Result<url::Url> {
        let text = self.token_base_url.as_ref().unwrap_or(&self.base_url);
        url::Url::parse(text)
            .with_context(|| format!("`x.token_base_url` is `{text}`, which is no address"))
    }
}

/// Keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Secrets {
    /// 32 bytes in base64 that seal tokens.
    pub(crate) key: Option<SecretString>,
    /// File that holds them.
    pub(crate) key_file: Option<PathBuf>,
}

/// The worker.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Worker {
    /// Attempts at once.
    pub(crate) concurrency: u16,
}

impl Default for Worker {
    fn default() -> Self {
        Self { concurrency: 16 }
    }
}

/// The exporter.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Exporter {
    /// Address of `/metrics`.
    pub(crate) listen: std::net::SocketAddr,
}

impl Default for Exporter {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 9187).into(),
        }
    }
}

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// What is logged.
    pub(crate) filter: String,
    /// JSON lines.
    pub(crate) json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".into(),
            json: false,
        }
    }
}

/// Reads the file, if one is given, and the environment over it.
pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration `{}`", path.display()))?,
        None => String::new(),
    };
    let variables: Vec<(String, String)> = std::env::vars().collect();
    read(&text, &variables)
}

fn read(text: &str, variables: &[(String, String)]) -> anyhow::Result<Config> {
    let mut tree =
        match serde_yaml::from_str::<Value>(text).context("the configuration is not YAML")? {
            Value::Null => Mapping::new(),
            Value::Mapping(tree) => tree,
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Tagged(_) => {
                bail!("the configuration must be a mapping of sections such as `database:`")
            }
        };
    for (name, value) in variables {
        if name == "DATABASE_URL" && !variables.iter().any(|(n, _)| n == "CRIER__DATABASE__URL") {
            set(&mut tree, "database", "url", Value::String(value.clone()));
        }
        if let Some(path) = name.strip_prefix("CRIER__") {
            let Some((section, key)) = path.split_once("__") else {
                bail!("the variable `{name}` is not of the form CRIER__SECTION__KEY");
            };
            // Numbers and booleans are read as YAML reads them; what must be text is asked for as text.
            let text_key = matches!(
                key,
                "URL"
                    | "KEY"
                    | "FILTER"
                    | "LISTEN"
                    | "BASE_URL"
                    | "TOKEN_BASE_URL"
                    | "URL_FILE"
                    | "KEY_FILE"
            );
            let value = if text_key {
                Value::String(value.clone())
            } else {
                serde_yaml::from_str(value).unwrap_or_else(|_| Value::String(value.clone()))
            };
            set(
                &mut tree,
                &section.to_lowercase(),
                &key.to_lowercase(),
                value,
            );
        }
    }
    // Through text once more: only so does an error name the key it is about.
    let merged = serde_yaml::to_string(&tree)?;
    let mut config: Config =
        serde_yaml::from_str(&merged).context("the configuration cannot be used")?;
    config.no_color = variables
        .iter()
        .any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    Ok(config)
}

fn set(tree: &mut Mapping, section: &str, key: &str, value: Value) {
    let section = tree
        .entry(Value::String(section.to_owned()))
        .or_insert_with(|| Value::Mapping(Mapping::new()));
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
        (Some(_), Some(_)) => bail!("`{name}` and `{name}_file` are both set: leave one out"),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read `{name}_file` at `{}`", path.display()))?;
            Ok(Some(text.trim().to_owned().into()))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let config = read(
            "worker:\n  concurrency: 3\n",
            &vars(&[
                ("CRIER__WORKER__CONCURRENCY", "7"),
                ("DATABASE_URL", "postgres://u:pw@h/d"),
                ("NO_COLOR", "1"),
            ]),
        )
        .unwrap();
        assert_eq!(config.worker.concurrency, 7);
        assert!(config.no_color);
        assert_eq!(
            config.database.url.as_ref().unwrap().expose_secret(),
            "postgres://u:pw@h/d"
        );
        assert!(!format!("{config:?}").contains("pw"));
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named() {
        for (text, name) in [
            ("colour: red", "colour"),
            ("worker:\n  concurrency: ten", "concurrency"),
            ("- a", "sections"),
        ] {
            let error = format!("{:#}", read(text, &[]).unwrap_err());
            assert!(error.contains(name), "{error}");
        }
        assert!(read("", &vars(&[("CRIER__WORKER__COLOUR", "1")])).is_err());
        assert!(read("", &vars(&[("CRIER__ODD", "1")])).is_err());
    }

    #[test]
    fn a_secret_is_a_value_or_a_file() {
        let value: SecretString = "x".to_owned().into();
        assert!(secret("key", Some(&value), Some(Path::new("/nowhere"))).is_err());
        assert!(secret("key", None, Some(Path::new("/nowhere"))).is_err());
        assert!(secret("key", None, None).unwrap().is_none());
    }
}
