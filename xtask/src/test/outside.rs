//! Builds a programme that is none of ours against the packaged `peerway-webrtc`, as who takes it from a registry does.
//!
//! Everything else about the programme is in `tests/outside`. It lives in the target directory, so that nothing of the
//! workspace (its members, its inherited fields, files that the package lacks) can help it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;
use crate::paths::Paths;
use crate::process::Process;
use crate::wasm::{TARGET, Toolchain};

const PACKAGE: &str = "peerway-webrtc";
const SOURCE: &str = "tests/outside";
const FILES: [&str; 2] = ["Cargo.toml", "src/main.rs"];

/// Packages, unpacks, builds for this machine and for a page.
pub(super) fn build(paths: &Paths) -> Result<()> {
    let packing = cargo(
        paths,
        [
            "package",
            "--locked",
            "--allow-dirty",
            "--no-verify",
            "--quiet",
            "--package",
            PACKAGE,
        ],
    );
    packing.run()?;
    let place = paths.native_target.join("outside");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot empty {}", place.display()))?;
    }
    let program = place.join("program");
    fs::create_dir_all(program.join("src"))?;
    unpack(paths, &place)?;
    for file in FILES {
        fs::copy(paths.root.join(SOURCE).join(file), program.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    // The same versions of what both need: nothing is fetched, and little is built twice.
    fs::copy(paths.root.join("Cargo.lock"), program.join("Cargo.lock"))?;
    let check = |process: Process| process.current_dir(&program).args(["check", "--quiet", "--offline"]);
    check(cargo(paths, [] as [&str; 0])).run()?;
    let toolchain = Toolchain::require(paths)?;
    check(toolchain.bare_cargo(paths)).args(["--target", TARGET]).run()
}

/// The archive has one folder, of the package's name and version.
fn unpack(paths: &Paths, place: &Path) -> Result<()> {
    let packages = paths.native_target.join("package");
    let newest = fs::read_dir(&packages)
        .with_context(|| format!("cannot read {}", packages.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(PACKAGE) && name.ends_with(".crate")
        })
        .max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok());
    let Some(archive) = newest else {
        bail!("cargo left no package of {PACKAGE}");
    };
    let folder = archive.file_stem().context("an archive has a name")?;
    Process::new(paths, "tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(place)
        .run()?;
    fs::rename(place.join(folder), place.join(PACKAGE)).with_context(|| format!("cannot unpack {}", archive.display()))
}
