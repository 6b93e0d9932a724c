//! The settings in other forms: JSON schema, an annotated file, a page.
//!
//! **Invariant:** all three are made from the same types, so that none can say what the program does not do.

use std::fmt::Write;

use serde_json::Value;

use super::{Config, Obeyed, obeyed};

/// One setting as people read it.
struct Setting {
    key: String,
    about: String,
    kind: String,
    default: Value,
}

/// One section as people read it.
struct Section {
    name: String,
    about: String,
    settings: Vec<Setting>,
}

/// The JSON schema of the configuration file.
pub(crate) fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
}

/// Whether a setting is text: then `true` or `12` from the environment is text too.
pub(super) fn is_text(schema: &Value, section: &str, key: &str) -> bool {
    kinds(&schema["properties"][section]["properties"][key]).contains(&"string".to_owned())
}

fn kinds(property: &Value) -> Vec<String> {
    let word = |kind: &Value| kind.as_str().map(str::to_owned);
    match &property["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(word).collect(),
        kind @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)) => {
            // An enumeration with a comment for each word.
            word(kind).map_or_else(|| vec!["string".to_owned()], |kind| vec![kind])
        }
    }
}

/// In the order in which the types list them, which JSON does not keep.
fn sections() -> Vec<Section> {
    let schema = schema();
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ");
    let defaults = serde_yaml::to_value(Config::default()).unwrap_or_default();
    let pairs = |value: &serde_yaml::Value| -> Vec<(String, serde_yaml::Value)> {
        let mapping = value.as_mapping().cloned().unwrap_or_default();
        mapping
            .into_iter()
            .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)))
            .collect()
    };
    pairs(&defaults)
        .into_iter()
        .map(|(name, defaults)| {
            let section = &schema["properties"][&name];
            let settings = pairs(&defaults)
                .into_iter()
                .map(|(key, default)| Setting {
                    about: text(&section["properties"][&key]["description"]),
                    kind: kind(&section["properties"][&key]),
                    default: serde_json::to_value(default).unwrap_or_default(),
                    key,
                })
                .collect();
            Section {
                about: text(&section["description"]),
                name,
                settings,
            }
        })
        .collect()
}

fn kind(property: &Value) -> String {
    let words: Vec<String> = property["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| Some(format!("`{}`", one["const"].as_str()?)))
        .collect();
    if !words.is_empty() {
        return words.join(" or ");
    }
    let kinds = kinds(property);
    let kind = kinds.iter().find(|kind| *kind != "null");
    match kind.map(String::as_str) {
        Some("integer") => "whole number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") => "list".to_owned(),
        _ => "text".to_owned(),
    }
}

/// An annotated file with every setting at its default.
pub(crate) fn example() -> String {
    let mut file = String::from(
        "# Settings of crier, each at its default. Give the file with `crier --config FILE`; a variable of the\n\
         # environment goes before it: worker.concurrency is CRIER__WORKER__CONCURRENCY. On SIGHUP the roles read it anew.\n",
    );
    for section in sections() {
        let _ = writeln!(file, "\n# {}", section.about);
        let _ = writeln!(file, "{}:", section.name);
        for setting in section.settings {
            let restart = match obeyed(&section.name, &setting.key) {
                Obeyed::AtRestart => " A change takes a restart.",
                Obeyed::AtOnce | Obeyed::ByCommands => "",
            };
            for line in wrapped(&format!("{}{restart}", setting.about), 110) {
                let _ = writeln!(file, "  # {line}");
            }
            let _ = if setting.default.is_null() {
                writeln!(file, "  # {}:", setting.key)
            } else {
                writeln!(file, "  {}: {}", setting.key, setting.default)
            };
        }
    }
    file
}

/// Lines of at most so many characters, broken between words.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last].push_str(word);
        } else if lines[last].chars().count() + 1 + word.chars().count() <= most {
            lines[last].push(' ');
            lines[last].push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The page docs/CONFIG.md.
pub(crate) fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Made by `crier config schema --markdown`. A YAML file is given with `--config FILE`; `config/crier.yaml` is one\n\
         with every setting at its default. The environment goes before the file: `worker.concurrency` is\n\
         `CRIER__WORKER__CONCURRENCY`. `DATABASE_URL` is the short form of `CRIER__DATABASE__URL`. An empty variable\n\
         counts as absent. Unknown keys are errors. `crier config check` looks at all of it, `crier config dump` shows what\n\
         holds in the end, without secrets.\n\n\
         On SIGHUP, `crier run`, `scheduler`, `worker` and `exporter` read the file anew. What is marked *at once* then holds\n\
         from the next piece of work on; what is in hand goes on as it began. What is marked *restart* stays as it is, and the\n\
         log names it. A file that cannot be used changes nothing, and the log says why and in which line. Variables of the\n\
         environment are those that the process was started with, and still go before the file. Commands always read it.\n\n\
         Beside these: `NO_COLOR` turns colours off, `CRIER_PG_BIN` names the folder of Postgres' server programs for\n\
         `crier demo` and `crier run --embedded`.\n",
    );
    for section in sections() {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n| setting | kind | default | a change | |\n|---|---|---|---|---|\n",
            section.name, section.about
        );
        for setting in section.settings {
            let default = match &setting.default {
                Value::Null => "none".to_owned(),
                Value::String(text) => format!("`{text}`"),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    format!("`{}`", setting.default)
                }
            };
            let _ = writeln!(
                page,
                "| `{}` | {} | {default} | {} | {} |",
                setting.key,
                setting.kind,
                match obeyed(&section.name, &setting.key) {
                    Obeyed::AtOnce => "at once",
                    Obeyed::AtRestart => "restart",
                    Obeyed::ByCommands => "next command",
                },
                setting.about
            );
        }
    }
    page
}
