//! `cargo xtask check`: everything that can be said about the source without running it.

use anyhow::Result;

use crate::cargo::{NATIVE, cargo};
use crate::paths::Paths;
use crate::process::Process;
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};
use crate::wasm::Toolchain;

mod rules;
mod tidy;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the project's own conventions, which takes no time.
    #[arg(long)]
    tidy: bool,
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    if args.tidy {
        return tidy::check(&paths.root);
    }
    let mut todo = setup::steps(paths, Purpose::Check);
    todo.extend(steps(paths));
    let summary = steps::run_all(todo)?;
    print!("{summary}");
    Ok(())
}

/// The quick ones first.
pub(crate) fn steps(paths: &Paths) -> Vec<Step<'_>> {
    vec![
        Step::new("formatting", || cargo(paths, ["fmt", "--all", "--check"]).run()),
        Step::new("conventions", || tidy::check(&paths.root)),
        Step::new("licences, bans, sources of dependencies", || {
            Process::new(paths, "cargo-deny")
                .args(["--locked", "check", "bans", "licenses", "sources"])
                .run()
        }),
        Step::new("clippy, native", || {
            let clippy = cargo(paths, ["clippy", "--locked", "--all-targets"]).args(NATIVE);
            clippy.args(["--", "-D", "warnings"]).run()
        }),
        Step::new("clippy, wasm", || {
            let clippy = Toolchain::require(paths)?.cargo(paths, "clippy").args(WASM);
            clippy.args(["--all-targets", "--", "-D", "warnings"]).run()
        }),
        Step::new("documentation", || {
            let doc = cargo(paths, ["doc", "--locked", "--no-deps", "--document-private-items"]).args(NATIVE);
            doc.env("RUSTDOCFLAGS", "-D warnings").run()
        }),
    ]
}

/// Every package that is compiled to wasm. Always together: one set of features, hence one build of what they share.
pub(crate) const WASM: [&str; 8] = [
    "--package",
    "peerway-core",
    "--package",
    "peerway-webrtc",
    "--package",
    "web-peer",
    "--package",
    "page-peer",
];
