//! Cargo for this machine, as opposed to cargo for wasm ([`crate::wasm`]).

use std::ffi::OsStr;

use crate::paths::Paths;
use crate::process::Process;

/// Every package that is for this machine: all but the pages.
pub(crate) const NATIVE: [&str; 6] = [
    "--workspace",
    "--exclude",
    "web-peer",
    "--exclude",
    "page-peer",
    "--all-features",
];

/// `cargo` with the target directory that all our tasks share.
pub(crate) fn cargo<A: AsRef<OsStr>>(paths: &Paths, args: impl IntoIterator<Item = A>) -> Process {
    Process::new(paths, "cargo")
        .env("CARGO_TARGET_DIR", &paths.native_target)
        .args(args)
}
