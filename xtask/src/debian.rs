//! Packages from a Debian-like system's own archive, without ever asking a question.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::process::Process;

/// Installs packages, or says which ones a person has to install.
pub(crate) fn install(paths: &Paths, packages: &[&str]) -> Result<()> {
    let by_hand = || format!("install by hand: {}", packages.join(" "));
    if paths.find("apt-get").is_none() {
        bail!("this system has no apt-get; {}", by_hand());
    }
    let root = Root::find(paths).with_context(by_hand)?;
    update_once(paths, root);
    apt_get(paths, root)
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages)
        .run()
        .with_context(by_hand)
}

/// Puts what is in a package below `dir` without installing it: no service that it starts, no user that it adds, and no
/// root. The package lists must be there; what it depends on is the caller's business.
pub(crate) fn unpack(paths: &Paths, package: &str, dir: &Path) -> Result<()> {
    if dir.exists() {
        // What is there did not do, or nobody would ask.
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Process::new(paths, "apt-get")
        .args(["-q", "download", package])
        .current_dir(dir)
        .run()?;
    let archive = archive_in(dir).with_context(|| format!("apt-get did not download {package}"))?;
    Process::new(paths, "dpkg-deb")
        .arg("--extract")
        .args([archive.as_path(), dir])
        .run()
}

fn archive_in(dir: &Path) -> Option<PathBuf> {
    let mut files = fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| file.extension().is_some_and(|extension| extension == "deb"))
}

/// How we may act as root.
#[derive(Clone, Copy)]
enum Root {
    /// We are.
    Already,
    /// `sudo` lets us without a password.
    Sudo,
}

impl Root {
    fn find(paths: &Paths) -> Result<Self> {
        if Process::new(paths, "id").arg("-u").capture()?.trim() == "0" {
            return Ok(Self::Already);
        }
        match paths.find("sudo") {
            Some(sudo) if Process::new(paths, &sudo).args(["-n", "true"]).capture().is_ok() => Ok(Self::Sudo),
            Some(_) | None => bail!("packages can be installed only by root, or with a sudo that asks no password"),
        }
    }
}

/// The lists of a machine may be old or absent, and one update is enough. Its failure is no reason to stop: an
/// installation that really needs newer lists fails by itself and says so.
fn update_once(paths: &Paths, root: Root) {
    static UPDATE: Once = Once::new();
    UPDATE.call_once(|| {
        if let Err(error) = apt_get(paths, root).arg("update").run() {
            println!("         {error:#}; going on with the package lists that are there");
        }
    });
}

fn apt_get(paths: &Paths, root: Root) -> Process {
    let process = match root {
        Root::Already => Process::new(paths, "apt-get"),
        // sudo starts with an environment of its own, so the setting has to be part of the command.
        Root::Sudo => Process::new(paths, "sudo").args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]),
    };
    process.env("DEBIAN_FRONTEND", "noninteractive").arg("-q")
}
