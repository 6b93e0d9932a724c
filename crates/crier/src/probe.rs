//! The media folder as the scheduler's checks see it: as the worker will.
//!
//! **Invariant:** what a file is and where it may lie is decided in one place, in `crier-worker`.

use std::path::PathBuf;

use crier_core::fault::Fault;
use crier_scheduler::{MediaProbe, ProbedFile};

/// The folder that rows' paths are relative to.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl MediaProbe for Folder {
    fn probe(&self, path: &str) -> Result<ProbedFile, Fault> {
        let seen = crier_worker::look_at_file(&self.0, path)?;
        Ok(ProbedFile {
            kind: seen.kind,
            bytes: seen.bytes,
            measure: seen.measure,
        })
    }
}
