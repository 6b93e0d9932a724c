//! Log set-up: lines for people or JSON for machines, to stderr.
//!
//! **Invariant:** every line passes [`crate::redact`] before it leaves, whoever wrote it, libraries included; and one
//! event is one line, in which nothing acts on a terminal. tracing-subscriber alone does not give that: 0.3.23 escapes
//! the message, but neither line breaks nor what a field recorded with `%` holds.

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::escape::{Form, escape};
use crate::redact::redact;

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// What to log, as `tracing_subscriber::EnvFilter` reads it: `info,crier_worker=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Colours; pass false unless stderr is a terminal and `NO_COLOR` is unset.
    pub ansi: bool,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("`{filter}` is no log filter; write a level, or `info,crier_worker=debug`")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Somebody else set up logging before.
    #[error("logging is set up already in this process")]
    Twice(#[source] TryInitError),
}

/// What is logged, for as long as the process runs. Clones speak of the same log.
#[derive(Debug, Clone)]
pub struct LogControl(reload::Handle<EnvFilter, Registry>);

impl LogControl {
    /// Logs by another filter from now on.
    ///
    /// # Errors
    /// When it cannot be read; the one before stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let filter = read_filter(filter)?;
        // The log lives as long as the process: there is no other reason for it not to take a filter.
        let _ = self.0.reload(filter);
        Ok(())
    }
}

/// Whether a filter can be read.
///
/// # Errors
/// When it cannot.
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    read_filter(filter).map(drop)
}

fn read_filter(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

/// Sets logging up for the whole process.
///
/// # Errors
/// When the filter cannot be read, or logging is set up already.
pub fn init(options: &LogOptions) -> Result<LogControl, LogError> {
    let (subscriber, control) = subscriber(options, io::stderr)?;
    subscriber.try_init().map_err(LogError::Twice)?;
    Ok(control)
}

type Built = (Box<dyn Subscriber + Send + Sync>, LogControl);

/// The subscriber that writes redacted lines to where `writer` says.
fn subscriber<W>(options: &LogOptions, writer: W) -> Result<Built, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(read_filter(&options.filter)?);
    let form = if options.json {
        Form::Json
    } else {
        Form::Text { ansi: options.ansi }
    };
    let writer = Redacting { writer, form };
    let registry = tracing_subscriber::registry().with(filter);
    let subscriber: Box<dyn Subscriber + Send + Sync> = if options.json {
        let lines = fmt::layer().json().flatten_event(true);
        Box::new(registry.with(lines.with_ansi(options.ansi).with_writer(writer)))
    } else {
        Box::new(registry.with(fmt::layer().with_ansi(options.ansi).with_writer(writer)))
    };
    Ok((subscriber, LogControl(handle)))
}

/// Makes writers that redact.
struct Redacting<W> {
    writer: W,
    form: Form,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Redacting<W> {
    type Writer = RedactingWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter {
            out: self.writer.make_writer(),
            form: self.form,
            line: Vec::new(),
        }
    }
}

/// Collects one event and writes it, redacted, in one piece when it is dropped: a secret split over two writes is
/// still seen whole, and the lines of two threads do not mix.
struct RedactingWriter<W: Write> {
    out: W,
    form: Form,
    line: Vec<u8>,
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for RedactingWriter<W> {
    fn drop(&mut self) {
        let event = String::from_utf8_lossy(&self.line);
        let event = redact(event.strip_suffix('\n').unwrap_or(&event));
        let line = format!("{}\n", escape(&event, self.form));
        // When stderr is gone there is nowhere left to say so.
        let _ = self
            .out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, ansi: bool, filter: &str, events: impl FnOnce()) -> String {
        let sink = Sink::default();
        let out = sink.clone();
        let options = LogOptions {
            filter: filter.to_owned(),
            json,
            ansi,
        };
        let (subscriber, _) = subscriber(&options, move || out.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn secrets() {
        tracing::info!(
            job = 7,
            body = r#"{"access_token":"s3cr3t"}"#,
            "X said refresh_token=s3cr3t"
        );
        tracing::info!(
            access_token = "s3cr3t",
            token = "s3cr3t",
            url = "postgres://crier:s3cr3t@db/crier"
        );
        tracing::info!(error = ?Some("Authorization: Bearer s3cr3t"), password = ?Some("s3cr3t"));
    }

    #[test]
    fn no_form_of_log_lets_a_secret_out() {
        for (json, ansi) in [(true, false), (false, false), (false, true)] {
            let log = logged(json, ansi, "info", secrets);
            assert!(!log.contains("s3cr3t"), "{log}");
            assert_eq!(log.lines().count(), 3, "{log}");
        }
    }

    #[test]
    fn json_stays_json() {
        let log = logged(true, false, "info", secrets);
        for line in log.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["level"], "INFO");
        }
        assert!(log.contains(r#""job":7"#), "{log}");
    }

    /// What a post or an answer of X may hold to forge a line or to steer a terminal.
    const HOSTILE: &str = "a\nINFO forged\r\u{1b}[8mhid\u{1b}[2Jgone\u{7}\u{8}\u{7f}\u{9b}2J\u{202e}txt\u{2066}\u{2028}z";

    #[test]
    fn a_value_neither_forges_a_line_nor_steers_the_terminal() {
        for (json, ansi) in [(true, false), (false, false), (false, true)] {
            let log = logged(json, ansi, "info", || {
                tracing::info_span!("job", text = %HOSTILE).in_scope(|| {
                    tracing::info!(text = %HOSTILE, debug = ?HOSTILE, str = HOSTILE, "{HOSTILE}");
                });
            });
            assert_eq!(log.matches('\n').count(), 1, "{log:?}");
            assert!(log.ends_with('\n'), "{log:?}");
            for raw in [
                "\r",
                "\u{1b}[8m",
                "\u{1b}[2J",
                "\u{7}",
                "\u{8}",
                "\u{7f}",
                "\u{9b}",
                "\u{202e}",
                "\u{2066}",
                "\u{2028}",
            ] {
                assert!(!log.contains(raw), "{raw:?} in {log:?}");
            }
            if json {
                let line: serde_json::Value = serde_json::from_str(&log).unwrap();
                assert_eq!(
                    line["message"], HOSTILE,
                    "a machine gets the very text back"
                );
            }
        }
    }

    #[test]
    fn colours_reach_the_terminal_and_only_the_terminal() {
        let events = || {
            tracing::info_span!("job", id = 7).in_scope(|| {
                tracing::error!(a = 1, "e");
                tracing::warn!(a = "s", "w");
                tracing::info!(a = %"d", "i");
                tracing::debug!("d");
                tracing::trace!("t");
            });
        };
        let log = logged(false, true, "trace", events);
        for level in [
            "\u{1b}[31mERROR",
            "\u{1b}[33m WARN",
            "\u{1b}[32m INFO",
            "\u{1b}[34mDEBUG",
            "\u{1b}[35mTRACE",
        ] {
            assert!(log.contains(level), "{log:?}");
        }
        assert!(!log.contains(r"\u{1b}"), "{log}");
        for json in [true, false] {
            let log = logged(json, false, "trace", events);
            assert!(!log.contains('\u{1b}') && !log.contains(r"\u"), "{log:?}");
        }
    }

    #[test]
    fn the_filter_decides() {
        let log = logged(false, false, "warn", || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        });
        assert!(log.contains("loud") && !log.contains("quiet"), "{log}");
        let options = LogOptions {
            filter: "info,=,".to_owned(),
            json: false,
            ansi: false,
        };
        let error = subscriber(&options, io::sink).err().unwrap();
        assert!(
            error.to_string().starts_with("`info,=,` is no log filter"),
            "{error}"
        );
    }

    #[test]
    fn the_filter_changes_while_the_process_runs_and_a_bad_one_changes_nothing() {
        let sink = Sink::default();
        let out = sink.clone();
        let options = LogOptions {
            filter: "warn".to_owned(),
            json: false,
            ansi: false,
        };
        let (subscriber, control) = subscriber(&options, move || out.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let say = |what: &str| tracing::debug!("{what}");
            say("before");
            control.set_filter("debug").unwrap();
            say("meanwhile");
            assert!(control.set_filter("info,=,").is_err());
            say("still");
            control.set_filter("warn").unwrap();
            say("after");
        });
        let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("meanwhile") && log.contains("still"), "{log}");
        assert!(!log.contains("before") && !log.contains("after"), "{log}");
    }
}
