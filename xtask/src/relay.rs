//! Builds the relay's program.

use std::path::PathBuf;

use anyhow::Result;

use crate::cargo::cargo;
use crate::paths::Paths;

/// How the relay is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build; its dependencies are optimised enough for any load that one machine makes.
    Dev,
    /// For measuring and for use.
    Release,
}

/// Builds the relay alone, with the features that users get, and returns where the program is.
pub(crate) fn build(paths: &Paths, profile: Profile) -> Result<PathBuf> {
    let (flags, dir): (&[&str], _) = match profile {
        Profile::Dev => (&[], "debug"),
        Profile::Release => (&["--release"], "release"),
    };
    cargo(
        paths,
        [
            "build",
            "--locked",
            "--package",
            "native-relay",
            "--bin",
            "native-relay",
        ],
    )
    .args(flags)
    .run()?;
    Ok(paths
        .native_target
        .join(dir)
        .join(format!("native-relay{}", std::env::consts::EXE_SUFFIX)))
}
