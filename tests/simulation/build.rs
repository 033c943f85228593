//! The host's sources ask for the commit that they are built from, which nobody asks a simulator for.
#![allow(
    clippy::print_stdout,
    reason = "it is how a build script speaks to cargo"
)]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=BUILT_FROM=");
}
