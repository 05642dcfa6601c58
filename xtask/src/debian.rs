//! Packages from a Debian-like system's own archive, without ever asking a question.

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
