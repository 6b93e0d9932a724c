//! Embeds a new migration although no Rust file changed.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
