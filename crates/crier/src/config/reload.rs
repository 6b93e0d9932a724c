//! Which settings may change while a role runs, and which of them did.
//!
//! **Invariant:** what says where something is, or is laid down when a role starts, stays until a restart; how much, how long
//! and how often changes at once. No value is told: only keys.

use secrecy::{ExposeSecret, SecretString};

use super::sections::{Log, Media, Scheduler, Worker, X};
use super::{Config, secret};

/// When a change of a setting is obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obeyed {
    /// On SIGHUP.
    AtOnce,
    /// By a process that was started anew.
    AtRestart,
    /// By the next command; no role reads it.
    ByCommands,
}

/// Settings that take a restart. A section alone stands for all of its settings.
const AT_RESTART: [&str; 15] = [
    "database",
    "secrets",
    "otlp",
    "exporter",
    "x.base_url",
    "x.token_base_url",
    "media.root",
    "media.spool_dir",
    "worker.notify",
    "worker.stop_grace_s",
    "scheduler.notify",
    "scheduler.retention_cron",
    "scheduler.sweep_cron",
    "log.json",
    "x.authorize_base_url",
];

/// When a change of this setting is obeyed.
pub(crate) fn obeyed(section: &str, key: &str) -> Obeyed {
    let name = format!("{section}.{key}");
    if section == "app" {
        Obeyed::ByCommands
    } else if AT_RESTART.contains(&section) || AT_RESTART.contains(&name.as_str()) {
        Obeyed::AtRestart
    } else {
        Obeyed::AtOnce
    }
}

impl Config {
    /// These settings, with those that take a restart as the process began with them.
    pub(crate) fn over(self, began: &Self) -> Self {
        let began = began.clone();
        Self {
            database: began.database,
            secrets: began.secrets,
            otlp: began.otlp,
            exporter: began.exporter,
            environment: began.environment,
            x: X {
                base_url: began.x.base_url,
                token_base_url: began.x.token_base_url,
                authorize_base_url: began.x.authorize_base_url,
                ..self.x
            },
            media: Media {
                root: began.media.root,
                spool_dir: began.media.spool_dir,
                ..self.media
            },
            worker: Worker {
                notify: began.worker.notify,
                stop_grace_s: began.worker.stop_grace_s,
                ..self.worker
            },
            scheduler: Scheduler {
                notify: began.scheduler.notify,
                retention_cron: began.scheduler.retention_cron,
                sweep_cron: began.scheduler.sweep_cron,
                ..self.scheduler
            },
            log: Log {
                json: began.log.json,
                ..self.log
            },
            ..self
        }
    }

    /// The keys in which two settings differ, in order, of roles' settings alone.
    pub(crate) fn differing(&self, other: &Self) -> anyhow::Result<Vec<String>> {
        let (ours, theirs) = (serde_json::to_value(self)?, serde_json::to_value(other)?);
        let mut keys = Vec::new();
        for (section, settings) in ours.as_object().into_iter().flatten() {
            for (key, value) in settings.as_object().into_iter().flatten() {
                let name = format!("{section}.{key}");
                let same =
                    *value == theirs[section][key] && self.hidden(&name) == other.hidden(&name);
                if !same && obeyed(section, key) != Obeyed::ByCommands {
                    keys.push(name);
                }
            }
        }
        Ok(keys)
    }

    /// A value that is not shown.
    fn hidden(&self, name: &str) -> Option<&str> {
        let value = match name {
            "database.url" => &self.database.url,
            "database.direct_url" => &self.database.direct_url,
            "secrets.key" => &self.secrets.key,
            "secrets.other_keys" => &self.secrets.other_keys,
            _ => &None,
        };
        value.as_ref().map(SecretString::expose_secret)
    }

    /// What the files hold that settings of roles name, by the keys that name them.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<(&'static str, SecretString)>> {
        let (database, secrets) = (&self.database, &self.secrets);
        let mut files = Vec::new();
        for (key, file) in [
            ("database.url", &database.url_file),
            ("database.direct_url", &database.direct_url_file),
            ("secrets.key", &secrets.key_file),
            ("secrets.other_keys", &secrets.other_keys_file),
        ] {
            if let Some(held) = secret(key, None, file.as_deref())? {
                files.push((key, held));
            }
        }
        Ok(files)
    }
}

/// The keys of files whose content differs, as a person names them.
pub(crate) fn differing_files(
    ours: &[(&'static str, SecretString)],
    theirs: &[(&'static str, SecretString)],
) -> Vec<String> {
    ours.iter()
        .filter(|(key, held)| {
            theirs
                .iter()
                .any(|(known, was)| known == key && was.expose_secret() != held.expose_secret())
        })
        .map(|(key, _)| format!("{key}_file"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Another value of the same kind.
    fn other(value: &Value, kind: &Value) -> Value {
        match value {
            Value::Bool(is) => json!(!is),
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            Value::Array(list) => list.iter().map(|one| other(one, &Value::Null)).collect(),
            Value::String(_) | Value::Null => {
                if let Some(words) = kind["oneOf"].as_array() {
                    words.last().unwrap()["const"].clone()
                } else if kind["type"].to_string().contains("integer") {
                    json!(17)
                } else if value == "127.0.0.1:9187" {
                    json!("127.0.0.1:1")
                } else {
                    json!("another")
                }
            }
            // No setting is one.
            Value::Object(_) => Value::Null,
        }
    }

    #[test]
    fn each_setting_is_obeyed_when_the_page_says() {
        let (schema, began) = (super::super::schema(), Config::default());
        let tree = serde_json::to_value(&began).unwrap();
        let mut seen = 0;
        for (section, settings) in tree.as_object().unwrap() {
            for (key, value) in settings.as_object().unwrap() {
                let kind = &schema["properties"][section]["properties"][key];
                let mut tree = tree.clone();
                tree[section][key] = other(value, kind);
                assert_ne!(tree[section][key], *value, "{section}.{key}");
                let changed: Config = serde_json::from_value(tree).unwrap();
                let name = format!("{section}.{key}");
                let differ = changed.differing(&began).unwrap();
                let holds = changed.over(&began).differing(&began).unwrap();
                match obeyed(section, key) {
                    Obeyed::AtOnce => assert_eq!((differ, holds), (vec![name.clone()], vec![name])),
                    Obeyed::AtRestart => assert_eq!((differ, holds), (vec![name], vec![])),
                    Obeyed::ByCommands => assert_eq!((differ, holds), (vec![], vec![])),
                }
                seen += 1;
            }
        }
        assert!(seen > 50, "{seen}");
    }

    /// What roles are given, as text. It holds no secret.
    fn given(config: &Config) -> String {
        format!(
            "{:?} {:?} {:?} {}",
            config
                .worker
                .options(&config.media, &config.x, &config.prices, &config.webhooks),
            config.scheduler.options(&config.media, &config.webhooks),
            config.x.config().unwrap(),
            config.log.filter
        )
    }

    #[test]
    fn what_is_obeyed_at_once_is_what_roles_are_given() {
        let (schema, began) = (super::super::schema(), Config::default());
        let tree = serde_json::to_value(&began).unwrap();
        for (section, settings) in tree.as_object().unwrap() {
            for (key, value) in settings.as_object().unwrap() {
                if obeyed(section, key) != Obeyed::AtOnce {
                    continue;
                }
                let mut tree = tree.clone();
                let kind = &schema["properties"][section]["properties"][key];
                tree[section][key] = other(value, kind);
                let changed: Config = serde_json::from_value(tree).unwrap();
                assert_ne!(given(&changed), given(&began), "{section}.{key}");
            }
        }
    }

    #[test]
    fn a_secret_that_differs_is_named_and_not_told() {
        let with = |key: &str| {
            let mut config = Config::default();
            config.secrets.key = Some(key.to_owned().into());
            config
        };
        let differ = with("one").differing(&with("two")).unwrap();
        assert_eq!(differ, ["secrets.key"]);
        let held = |text: &str| vec![("secrets.key", SecretString::from(text.to_owned()))];
        assert_eq!(
            differing_files(&held("one"), &held("two")),
            ["secrets.key_file"]
        );
        assert!(differing_files(&held("one"), &held("one")).is_empty());
    }
}
