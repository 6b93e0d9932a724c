//! What can stop the simulator itself, as opposed to the errors it answers with.

use std::io;

/// Why the simulator could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The script or the options are not what the simulator understands.
    #[error("the simulator's script is not usable: {0}")]
    Script(String),
    /// The socket broke.
    #[error("the simulator cannot accept connections")]
    Accept(#[source] io::Error),
    /// The folder for upload bytes cannot be used.
    #[error("the simulator cannot keep upload bytes in `{folder}`")]
    Spool {
        /// The folder that was tried.
        folder: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
