//! The js-libp2p programmes that stories meet: their packages in the cache, their bundles in `dist/js`.
//!
//! Decides where both are and when they are made anew. Nothing of the product needs them, and nothing of them is shipped.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process::Process;

/// Where their source is.
const SOURCE: &str = "tests/js";
/// What says which packages they need.
const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
/// What runs in Node: a file each.
const PROGRAMS: [&str; 4] = [
    "tests/js/node.js",
    "tests/js/relay.js",
    "tests/js/signal.js",
    "tests/js/wide_relay.js",
];
/// What runs in a page: its scripts, and its documents as they are.
const PAGE: [&str; 4] = [
    "tests/page/peer.js",
    "tests/page/index.html",
    "tests/page/raw.js",
    "tests/page/raw.html",
];
/// Loads a library by itself, which a bundler cannot follow: it stays a package.
const NATIVE_PACKAGE: &str = "node-datachannel";

/// The packages, if they are there: what npm writes last is there only when it has come to its end.
pub(crate) fn describe(paths: &Paths) -> Option<String> {
    let complete = packages(paths).ok()?.join("node_modules/.package-lock.json").is_file();
    complete.then(|| "as in tests/js/package-lock.json".to_owned())
}

/// Gets exactly the packages that the lock file names.
pub(crate) fn install(paths: &Paths) -> Result<()> {
    let place = packages(paths)?;
    fs::create_dir_all(&place)?;
    for name in MANIFESTS {
        fs::copy(paths.root.join(SOURCE).join(name), place.join(name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    let npm = Process::new(paths, paths.find("npm").context("no npm")?).args(["ci", "--no-audit", "--no-fund"]);
    npm.arg("--prefix").arg(place).run()
}

/// Where Node finds, under the name `NODE_PATH`, the one package that is not in the bundles.
pub(crate) fn modules(paths: &Paths) -> Result<PathBuf> {
    Ok(packages(paths)?.join("node_modules"))
}

/// Where the bundles are: `node.cjs`, `relay.cjs`, `wide_relay.cjs`, `signal.cjs`, and the page in `page/`.
pub(crate) fn bundles(paths: &Paths) -> PathBuf {
    paths.root.join("dist/js")
}

/// Bundles the programmes.
pub(crate) fn build(paths: &Paths) -> Result<()> {
    let out = bundles(paths);
    let esbuild = || -> Result<Process> {
        let modules = modules(paths)?;
        let esbuild = Process::new(paths, modules.join(".bin/esbuild")).env("NODE_PATH", &modules);
        Ok(esbuild.args(["--bundle", "--log-level=warning"]))
    };
    // Node looks where `NODE_PATH` says only for modules of the older kind.
    esbuild()?
        .args(["--platform=node", "--format=cjs", "--out-extension:.js=.cjs"])
        .arg(format!("--external:{NATIVE_PACKAGE}"))
        .arg(format!("--outdir={}", out.display()))
        .args(PROGRAMS)
        .run()?;
    esbuild()?
        .args(["--format=esm", "--loader:.html=copy"])
        .arg(format!("--outdir={}", out.join("page").display()))
        .args(PAGE)
        .run()
}

/// A place of its own for each lock file: clones share the cache, and one must not replace what another tests with.
fn packages(paths: &Paths) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    for name in MANIFESTS {
        let path = paths.root.join(SOURCE).join(name);
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        content.hash(&mut hasher);
    }
    Ok(paths.tools().join(format!("js-{:016x}", hasher.finish())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_lock_file_changes_its_packages_go_elsewhere() {
        let root = std::env::temp_dir().join(format!("peerway-js-{}", std::process::id()));
        let paths = Paths {
            root: root.clone(),
            cache: "c".into(),
            native_target: "t".into(),
            wasm_target: "w".into(),
        };
        assert!(packages(&paths).is_err(), "there is no lock file");
        assert_eq!(describe(&paths), None);
        fs::create_dir_all(root.join(SOURCE)).unwrap();
        for name in MANIFESTS {
            fs::write(root.join(SOURCE).join(name), "1").unwrap();
        }
        let before = packages(&paths).unwrap();
        assert_eq!(packages(&paths).unwrap(), before);
        fs::write(root.join(SOURCE).join("package-lock.json"), "2").unwrap();
        assert_ne!(packages(&paths).unwrap(), before);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_lock_file_pins_each_package_and_names_no_registry() {
        let lock = include_str!("../../tests/js/package-lock.json");
        assert!(lock.contains("\"integrity\": \"sha512-"));
        assert!(!lock.contains("\"resolved\""), "npm was called without tests/js/.npmrc");
    }
}
