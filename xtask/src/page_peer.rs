//! The page of `tests/page-peer`: our node in a browser, for stories that do what no user of the product does.
//!
//! Built as the product's page is, and beside it: in one call of cargo, whose set of features is then the page's, so that
//! nothing that the two share is compiled twice.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::page::PROFILE;
use crate::paths::Paths;
use crate::process::Process;
use crate::wasm::{TARGET, Toolchain};

/// The package, and its program.
const NAME: &str = "page-peer";
const DOCUMENT: &str = "tests/page-peer/index.html";

/// Builds it; build the product's page before.
pub(crate) fn build(paths: &Paths) -> Result<()> {
    let cargo = Toolchain::require(paths)?.cargo(paths, "build");
    cargo
        .args([
            "--profile",
            PROFILE,
            "--package",
            "web-peer",
            "--package",
            NAME,
            "--bin",
            NAME,
        ])
        .run()?;
    let out = place(paths);
    let bindgen = paths
        .find("wasm-bindgen")
        .context("no wasm-bindgen: run `cargo xtask setup`")?;
    Process::new(paths, bindgen)
        .args(["--target", "web", "--no-typescript", "--out-dir"])
        .arg(&out)
        .arg(
            paths
                .wasm_target
                .join(TARGET)
                .join(PROFILE)
                .join(NAME)
                .with_extension("wasm"),
        )
        .run()?;
    fs::copy(paths.root.join(DOCUMENT), out.join("index.html")).with_context(|| format!("cannot copy {DOCUMENT}"))?;
    Ok(())
}

/// Where it is.
pub(crate) fn place(paths: &Paths) -> PathBuf {
    paths.root.join("dist").join(NAME)
}
