//! Builds the page with Trunk, unless nothing that it is made of has changed.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process::Process;
use crate::wasm::{self, Toolchain};

/// The only profile in which the page is ever built: what is tested and measured is what users get.
pub(crate) const PROFILE: &str = "release-page";

/// What a compressed file's name ends in; the relay knows it by that.
pub(crate) const COMPRESSED: &str = ".br";
const QUALITY: u32 = 11;
/// The base-2 logarithm of the window.
const WINDOW: u32 = 22;
const BUFFER: usize = 4096;

/// Everything that the page is made of. Folders that are not there yet are passed over.
const INPUTS: [&str; 7] = [
    "core",
    "webrtc",
    "web-peer",
    "www",
    "Cargo.toml",
    "Cargo.lock",
    "Trunk.toml",
];

/// Builds the page and returns where it is.
pub(crate) fn build(paths: &Paths) -> Result<PathBuf> {
    let page = paths.page();
    let stamp = page.with_file_name("page.stamp");
    let now = fingerprint(paths)?;
    if page.join("index.html").is_file() && fs::read_to_string(&stamp).is_ok_and(|then| then == now) {
        println!("         unchanged");
        return Ok(page);
    }
    fs::create_dir_all(&page)?;
    let build = trunk(paths, "build")?.args(["--release", "--locked", "--cargo-profile", PROFILE, "--dist"]);
    build.arg(&page).run()?;
    compress(&page)?;
    fs::write(&stamp, now).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(page)
}

/// Puts beside each file what brotli makes of it, for the relay to serve: better than there is time for when it starts.
fn compress(dir: &Path) -> Result<()> {
    // All names before the first new one is there.
    let entries: io::Result<Vec<_>> = fs::read_dir(dir).and_then(Iterator::collect);
    for entry in entries.with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry.path();
        if path.is_dir() {
            compress(&path)?;
            continue;
        }
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let compressed = brotli(&content)?;
        if compressed.len() < content.len() {
            let mut name = path.into_os_string();
            name.push(COMPRESSED);
            fs::write(&name, compressed).with_context(|| format!("cannot write {}", name.display()))?;
        }
    }
    Ok(())
}

/// The best that brotli does, in the widest window that every browser takes.
pub(crate) fn brotli(content: &[u8]) -> Result<Vec<u8>> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), BUFFER, QUALITY, WINDOW);
    writer.write_all(content)?;
    Ok(writer.into_inner())
}

/// Trunk, in the environment of the compiler for wasm.
pub(crate) fn trunk(paths: &Paths, subcommand: &str) -> Result<Process> {
    let trunk = paths.find("trunk").context("no trunk: run `cargo xtask setup`")?;
    let process = Toolchain::require(paths)?
        .process(paths, trunk)
        .env("TRUNK_SKIP_VERSION_CHECK", "true");
    // Trunk reads NO_COLOR as a boolean and refuses the values that the convention gives it.
    Ok(process.env_remove("NO_COLOR").arg(subcommand))
}

/// Changes when the page would: the contents of every input, and the compiler.
fn fingerprint(paths: &Paths) -> Result<String> {
    let mut files = BTreeMap::new();
    for input in INPUTS {
        collect(&paths.root.join(input), &mut files).with_context(|| format!("cannot read {input}"))?;
    }
    let mut hasher = DefaultHasher::new();
    for (path, content) in &files {
        path.strip_prefix(&paths.root).unwrap_or(path).hash(&mut hasher);
        content.hash(&mut hasher);
    }
    wasm::describe(paths).hash(&mut hasher);
    Ok(format!("{:016x}\n", hasher.finish()))
}

fn collect(path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.is_file() {
        files.insert(path.to_path_buf(), fs::read(path)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_file_moves_changes_or_appears_the_fingerprint_changes() {
        let root = std::env::temp_dir().join(format!("peerway-page-{}", std::process::id()));
        let paths = Paths {
            root: root.clone(),
            cache: "c".into(),
            native_target: "t".into(),
            wasm_target: "w".into(),
        };
        fs::create_dir_all(root.join("www/sub")).unwrap();
        let mut seen = vec![fingerprint(&paths).unwrap()];
        let mut step = |work: &dyn Fn()| {
            work();
            seen.push(fingerprint(&paths).unwrap());
        };
        step(&|| fs::write(root.join("www/a"), "1").unwrap());
        step(&|| fs::write(root.join("www/a"), "2").unwrap());
        step(&|| fs::rename(root.join("www/a"), root.join("www/sub/a")).unwrap());
        assert_eq!(seen.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_eq!(fingerprint(&paths).unwrap(), seen[3], "nothing changed since");
        fs::remove_dir_all(root).unwrap();
    }
}
