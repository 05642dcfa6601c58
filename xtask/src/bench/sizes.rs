//! How much a visitor downloads: every file of the page, as it is and as a server sends it compressed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::page;

/// The files of one kind, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) kind: String,
    pub(super) raw: u64,
    pub(super) brotli: u64,
}

/// The kinds that cost a visitor something, each added up; everything else as `other`.
pub(super) fn of_page(dir: &Path) -> Result<Vec<Size>> {
    let mut sizes: Vec<Size> = ["wasm", "js", "css", "html", "other"]
        .map(|kind| Size {
            kind: kind.into(),
            raw: 0,
            brotli: 0,
        })
        .into();
    add(dir, &mut sizes)?;
    sizes.retain(|size| size.raw > 0);
    Ok(sizes)
}

fn add(dir: &Path, sizes: &mut [Size]) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            add(&path, sizes)?;
            continue;
        }
        if path
            .extension()
            .is_some_and(|extension| extension == page::COMPRESSED.trim_start_matches('.'))
        {
            continue;
        }
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let known = sizes
            .iter()
            .position(|size| size.kind == extension)
            .unwrap_or(sizes.len() - 1);
        sizes[known].raw += content.len() as u64;
        sizes[known].brotli += page::brotli(&content)?.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_added_up_by_kind_in_every_folder() {
        let dir = std::env::temp_dir().join(format!("peerway-sizes-{}", std::process::id()));
        fs::create_dir_all(dir.join("deep")).unwrap();
        fs::write(dir.join("a.js"), vec![b'x'; 1000]).unwrap();
        fs::write(dir.join("deep/b.js"), vec![b'x'; 500]).unwrap();
        fs::write(dir.join("icon.svg"), b"<svg/>").unwrap();
        let sizes = of_page(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let found: Vec<_> = sizes.iter().map(|size| (size.kind.as_str(), size.raw)).collect();
        assert_eq!(found, [("js", 1500), ("other", 6)]);
        assert!(
            sizes[0].brotli < 100,
            "1 500 equal bytes compress well: {}",
            sizes[0].brotli
        );
    }
}
