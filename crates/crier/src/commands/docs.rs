//! `crier docs`: pages about crier that are made from crier itself, for `docs/` and for packages.
//!
//! **Invariant:** each page says what the program says: the words of the command line and of the metrics stand in one place.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Subcommand};

use super::Context;
use crate::cli::Cli;
use crate::exit::Refuse;

/// Which pages.
#[derive(Debug, Subcommand)]
pub(crate) enum Docs {
    /// The command line as Markdown.
    Cli,
    /// The metrics as Markdown.
    Metrics,
    /// Man pages, one a command, into a folder.
    Man {
        /// The folder; made if it is not there.
        folder: PathBuf,
        /// Date of the pages, such as 2026-12-01.
        #[arg(long, default_value = "")]
        date: String,
    },
    /// Completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

impl Docs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Cli => context.screen.line(cli().trim_end()),
            Self::Metrics => context.screen.line(metrics().trim_end()),
            Self::Man { folder, date } => man(&folder, &date)?,
            Self::Completions { shell } => {
                let mut page = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "crier", &mut page);
                // A closed pipe means that nobody reads on.
                let _ = std::io::stdout().lock().write_all(&page);
            }
        }
        Ok(())
    }
}

/// `docs/METRICS.md`.
pub(crate) fn metrics() -> String {
    format!(
        "# Metrics\n\nMade by `crier docs metrics`. Every role serves them at `/metrics` (`exporter.listen`).\n\n{}",
        crier_metrics::markdown()
    )
}

/// `docs/CLI.md`.
pub(crate) fn cli() -> String {
    let mut page =
        String::from("# Commands\n\nMade by `crier docs cli`: what `--help` says, on one page.\n");
    let mut root = Cli::command().term_width(100);
    root.build();
    section(&mut page, "crier", &root);
    page
}

fn section(page: &mut String, name: &str, command: &clap::Command) {
    let help = command
        .clone()
        .term_width(100)
        .render_long_help()
        .to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(
        page,
        "\n## {name}\n\n```\n{}\n```\n",
        help.join("\n").trim_end()
    );
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            section(page, &format!("{name} {}", inner.get_name()), inner);
        }
    }
}

fn man(folder: &Path, date: &str) -> anyhow::Result<()> {
    let words = || format!("the man pages cannot be written to `{}`", folder.display());
    std::fs::create_dir_all(folder).refused(words())?;
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    pages(&root, folder, date).refused(words())
}

/// The page of a command, and those of the commands below it.
fn pages(command: &clap::Command, folder: &Path, date: &str) -> std::io::Result<()> {
    for inner in command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
    {
        pages(inner, folder, date)?;
    }
    let man = clap_mangen::Man::new(command.clone())
        .date(date)
        .source(concat!("crier ", env!("CARGO_PKG_VERSION")))
        .manual("crier");
    let mut page = Vec::new();
    man.render(&mut page)?;
    // The generator's own name for what comes after the help.
    let page = String::from_utf8_lossy(&page).replace("\n.SH EXTRA\n", "\n.SH NOTES\n");
    std::fs::write(folder.join(man.get_filename()), page)
}

#[cfg(test)]
mod tests {
    /// Written anew by `crier docs cli > docs/CLI.md` and `crier docs metrics > docs/METRICS.md`.
    #[test]
    fn the_pages_in_docs_say_what_the_program_says() {
        assert_eq!(
            super::cli(),
            include_str!("../../../../docs/CLI.md"),
            "docs/CLI.md"
        );
        assert_eq!(
            super::metrics(),
            include_str!("../../../../docs/METRICS.md"),
            "docs/METRICS.md"
        );
    }
}
