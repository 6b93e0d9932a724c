//! crier: a durable scheduler and worker pool that publishes posts with media to X from rows in Postgres.
fn main() {}
