//! Builds the relay's program.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

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

/// Where the program has its page from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page<'a> {
    /// From a directory, when it starts.
    Apart,
    /// It carries the one that is in this directory now.
    Inside(&'a Path),
}

/// Builds the relay alone, with the features that users get, and returns where the program is: in `dist/`, because
/// clones share a target directory, and one that builds would replace the program that another is testing.
pub(crate) fn build(paths: &Paths, profile: Profile, page: Page<'_>) -> Result<PathBuf> {
    let (flags, target, dist): (&[&str], _, _) = match (profile, page) {
        (Profile::Dev, Page::Apart) => (&[], "debug", "dist/dev"),
        (Profile::Dev, Page::Inside(_)) => (&[], "debug", "dist/dev/with-page"),
        (Profile::Release, Page::Apart | Page::Inside(_)) => (&["--release"], "release", "dist"),
    };
    let build = [
        "build",
        "--locked",
        "--package",
        "native-relay",
        "--bin",
        "native-relay",
    ];
    let build = cargo(paths, build).args(flags);
    match page {
        Page::Apart => build.run()?,
        Page::Inside(dir) => {
            let build = build.args(["--features", "embedded-page"]);
            build.env("PEERWAY_EMBEDDED_PAGE", dir).run()?;
        }
    }
    let name = format!("native-relay{}", std::env::consts::EXE_SUFFIX);
    let place = paths.root.join(dist).join(&name);
    replace(&paths.native_target.join(target).join(name), &place)
        .with_context(|| format!("cannot write {}", place.display()))?;
    Ok(place)
}

/// By way of a new file: a program that runs cannot be written to.
fn replace(built: &Path, place: &Path) -> io::Result<()> {
    if let Some(dir) = place.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = place.with_extension("new");
    fs::copy(built, &new)?;
    fs::rename(new, place)
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn when_the_program_runs_it_can_still_be_replaced() {
        let dir = std::env::temp_dir().join(format!("peerway-relay-{}", std::process::id()));
        let place = dir.join("dist/sleep");
        replace(Path::new("/bin/sleep"), &place).unwrap();
        let mut running = Command::new(&place).arg("60").spawn().unwrap();
        let replaced = replace(Path::new("/bin/echo"), &place);
        running.kill().unwrap();
        running.wait().unwrap();
        replaced.unwrap();
        assert_eq!(Command::new(&place).arg("new").output().unwrap().stdout, b"new\n");
        fs::remove_dir_all(dir).unwrap();
    }
}
