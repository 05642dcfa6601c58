//! Holds the source against [`rules`](super::rules). Reads files; decides nothing by itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::rules::{RULES, Source};

/// Folders that are not source.
const NOT_SOURCE: [&str; 8] = [
    ".git",
    ".peerway",
    "dist",
    "node_modules",
    "target",
    "target-wasm",
    "test-results",
    "playwright-report",
];

/// What the rules read.
const EXTENSIONS: [&str; 10] = ["rs", "toml", "md", "html", "css", "js", "json", "sh", "txt", "yml"];

/// Files that a visitor looks for first.
const EXPECTED: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "deny.toml",
    "docs/operating.md",
];

/// Fails with every place where a rule is broken.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut complaints = missing(root);
    for source in sources(root)? {
        complaints.extend(complaints_about(&source));
    }
    if complaints.is_empty() {
        return Ok(());
    }
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    bail!(
        "{} of the project's conventions broken (CONTRIBUTING.md says them)",
        complaints.len()
    )
}

/// What each rule has to say about one file.
pub(super) fn complaints_about(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for rule in RULES.iter().filter(|rule| (rule.applies)(&source.path)) {
        for (line, found) in (rule.find)(source) {
            complaints.push(format!("{}:{line}: {found} [{}: {}]", source.path, rule.name, rule.why));
        }
    }
    complaints
}

fn missing(root: &Path) -> Vec<String> {
    let empty = |name: &&str| fs::read_to_string(root.join(name)).map_or(true, |text| text.trim().is_empty());
    EXPECTED
        .iter()
        .filter(|name| empty(name))
        .map(|name| format!("{name}: missing or empty"))
        .collect()
}

fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    collect(root, root, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(root: &Path, dir: &Path, found: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A folder with a `.git` of its own is another work tree.
        if path.is_dir() {
            if !NOT_SOURCE.contains(&name.as_ref()) && !path.join(".git").exists() {
                collect(root, &path, found)?;
            }
        } else if path
            .extension()
            .is_some_and(|ext| EXTENSIONS.iter().any(|known| ext == *known))
        {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let relative = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .replace('\\', "/");
            found.push(Source { path: relative, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn when_a_file_that_visitors_look_for_is_missing_it_is_named() {
        let complaints = missing(Path::new("no/such/folder"));
        assert_eq!(complaints.len(), EXPECTED.len());
        assert!(complaints[0].starts_with("README.md"), "{complaints:?}");
    }

    #[test]
    fn the_walk_finds_sources_and_leaves_out_what_is_built() {
        let paths: Vec<_> = sources(repository())
            .unwrap()
            .into_iter()
            .map(|source| source.path)
            .collect();
        assert!(paths.contains(&"xtask/src/check/tidy.rs".to_owned()));
        assert!(
            !paths
                .iter()
                .any(|path| path.starts_with("target/") || path.starts_with("dist/"))
        );
    }

    #[test]
    fn a_complaint_says_where_what_and_why() {
        let source = Source {
            path: "core/src/x.rs".into(),
            text: "fn f() {}\n".into(),
        };
        let complaints = complaints_about(&source);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].starts_with("core/src/x.rs:1: ") && complaints[0].contains("module-doc"));
    }
}
