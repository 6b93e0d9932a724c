//! Shows the address of the page of consent, and waits for the answer: of the browser, or of a person who brings it.
//!
//! **Invariant:** a login waits so long and no longer; a signal ends it; neither changes anything. A browser is opened only
//! on a desktop, and is told the address alone, with no secret of the app; others on the machine may see that address among
//! the processes, hence `--no-browser`.

use std::io::IsTerminal as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::oneshot;
use url::Url;

use super::Options;
use super::callback::{Callback, Decision, Expected, Stray, Visitor, fields};
use crate::commands::Context;
use crate::config::SECRETS;
use crate::exit::{Refusal, Refuse};
use crate::lifecycle::{Stop, stop_on_signals};
use crate::screen::{ask, note};

/// Variables that hold secrets of ours.
fn private() -> impl Iterator<Item = String> {
    let settings = SECRETS
        .iter()
        .map(|(section, key)| format!("CRIER__{}__{}", section.to_uppercase(), key.to_uppercase()));
    settings.chain(["DATABASE_URL".to_owned()])
}

/// How the answer comes.
#[derive(Debug)]
pub(super) enum Way {
    /// To a server on this machine.
    Callback(Callback),
    /// A person brings the address that X redirected to.
    Paste,
    /// A person brings the number that X shows.
    Pin,
}

/// Shows the page and waits; the code or verifier, and the browser that brought it.
pub(super) async fn answer(
    options: &Options,
    context: &Context,
    page: &Url,
    way: Way,
    expected: Expected,
) -> anyhow::Result<(Result<SecretString, anyhow::Error>, Option<Visitor>)> {
    // Whoever reads the address may give up from then on.
    let stop = stop_on_signals()?;
    ask("Open this address in a browser and grant access:\n");
    ask(&format!("  {page}\n"));
    let within = Duration::from_secs(options.wait_s);
    match way {
        Way::Callback(callback) => {
            if wants_browser(options, context) {
                open_browser(page);
            }
            note("waiting for X's answer; Ctrl-C gives up");
            let heard = callback.answer(expected);
            let (decision, visitor) = patiently(heard, stop, within).await??;
            Ok((decided(decision), Some(visitor)))
        }
        Way::Paste => {
            ask(
                "X then sends the browser to an address that need not open. Copy it from the address bar\n\
                 and paste it here within 30 seconds:",
            );
            let line = patiently(line(), stop, within).await??;
            Ok((pasted(&line, &expected).and_then(decided), None))
        }
        Way::Pin => {
            if wants_browser(options, context) {
                open_browser(page);
            }
            ask("X then shows a number. Type it here:");
            let line = patiently(line(), stop, within).await??;
            let pin: String = line.chars().filter(|c| !c.is_whitespace()).collect();
            if pin.is_empty() {
                return Err(nothing());
            }
            Ok((Ok(pin.into()), None))
        }
    }
}

async fn patiently<T>(
    waiting: impl Future<Output = T>,
    stop: Stop,
    within: Duration,
) -> anyhow::Result<T> {
    tokio::select! {
        heard = waiting => Ok(heard),
        () = stop.soft.cancelled() => Refusal::new("the login was given up: nothing was changed").fail(),
        () = tokio::time::sleep(within) => Refusal::new(format!(
            "no answer came within {} seconds: nothing was changed",
            within.as_secs()
        ))
        .hint("log in again; --wait-s waits longer, --paste brings the answer of a browser on another machine")
        .fail(),
    }
}

fn decided(decision: Decision) -> anyhow::Result<SecretString> {
    match decision {
        Decision::Granted(code) => Ok(code),
        Decision::Refused(words) if words.starts_with("access_denied") => {
            Refusal::new("access was not granted: nothing was changed")
                .hint("log in again and choose to authorize the app on X's page")
                .fail()
        }
        Decision::Refused(words) => Refusal::new(format!("X did not ask for consent: {words}"))
            .hint("look whether the scopes and the callback are those of the app in X's developer console")
            .fail(),
    }
}

/// The address that X redirected to, the part after its `?`, or the bare code.
fn pasted(line: &str, expected: &Expected) -> anyhow::Result<Decision> {
    let line = line.trim();
    if line.is_empty() {
        return Err(nothing());
    }
    let query = match (Url::parse(line), line.split_once('?')) {
        (Ok(url), _) => url.query().unwrap_or_default().to_owned(),
        (Err(_), Some((_, query))) => query.to_owned(),
        (Err(_), None) if line.contains('=') => line.to_owned(),
        // A code alone proves nothing of its way here; the proof key ties it to this login all the same.
        (Err(_), None) if !line.contains(char::is_whitespace) => {
            return Ok(Decision::Granted(line.to_owned().into()));
        }
        (Err(_), None) => String::new(),
    };
    let error = match expected.read(&fields(&query)) {
        Ok(decision) => return Ok(decision),
        Err(Stray::Foreign) => Refusal::new("this is the answer to another login"),
        Err(Stray::Empty) => Refusal::new("this is not what X answers with"),
    };
    error
        .hint("log in again, open the address that is printed then, and paste the whole address that X sends the browser to")
        .fail()
}

fn nothing() -> anyhow::Error {
    Refusal::new("nothing was given: the login was given up").into()
}

/// A line of standard input. The thread that reads it does not keep the process from ending.
async fn line() -> anyhow::Result<String> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        // Nobody may be waiting any more.
        let _ = tell.send(std::io::stdin().read_line(&mut text).map(|_| text));
    });
    told.await
        .refused("cannot read standard input")?
        .refused("cannot read standard input")
}

fn wants_browser(options: &Options, context: &Context) -> bool {
    let desktop = context.config.environment.display || cfg!(target_os = "macos");
    !options.no_browser && desktop && std::io::stderr().is_terminal()
}

/// Opens the page, if there is a way to; it is printed in any case.
fn open_browser(page: &Url) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let mut command = Command::new(program);
    command
        .arg(page.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for name in private() {
        command.env_remove(name);
    }
    if let Err(error) = command.spawn() {
        tracing::debug!("no browser could be opened: {error}");
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn said(line: &str) -> String {
        match pasted(line, &Expected::State("st".into())) {
            Ok(Decision::Granted(code)) => format!("yes {}", code.expose_secret()),
            Ok(Decision::Refused(words)) => format!("no {words}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_address_its_end_or_the_code_can_be_pasted() {
        for (line, means) in [
            ("http://127.0.0.1:8723/callback?state=st&code=c\n", "yes c"),
            ("  acme://cb?code=c&state=st ", "yes c"),
            ("127.0.0.1:8723/callback?state=st&code=c", "yes c"),
            ("?state=st&code=c", "yes c"),
            ("state=st&code=c", "yes c"),
            ("c0de-alone", "yes c0de-alone"),
            (
                "https://a.example/?state=st&error=access_denied",
                "no access_denied",
            ),
            (
                "http://127.0.0.1:8723/callback?state=other&code=c",
                "this is the answer to another login",
            ),
            (
                "http://127.0.0.1:8723/callback",
                "this is not what X answers with",
            ),
            ("I do not know", "this is not what X answers with"),
            ("", "nothing was given: the login was given up"),
        ] {
            assert_eq!(said(line), means, "{line}");
        }
    }
}
