//! Puts the page into the program: with the feature `embedded-page`, every file below the directory that
//! `PEERWAY_EMBEDDED_PAGE` names, as a table of names and contents.
//!
//! Without the feature or without the variable the table is empty, so that checks need no page. Which of the files are
//! served, and how, is the server's business (`src/http/page.rs`).

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

const VARIABLE: &str = "PEERWAY_EMBEDDED_PAGE";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let mut table = String::from("&[\n");
    let wanted = env::var_os("CARGO_FEATURE_EMBEDDED_PAGE").and_then(|_| env::var_os(VARIABLE));
    if let Some(dir) = wanted.map(PathBuf::from) {
        println!("cargo::rerun-if-changed={}", dir.display());
        for file in files_below(&dir)? {
            let name = file.strip_prefix(&dir).map_err(io::Error::other)?;
            let name: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
            let _ = writeln!(
                table,
                "    ({:?}, include_bytes!({file:?})),",
                format!("/{}", name.join("/"))
            );
        }
    }
    table.push(']');
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("page.rs"), table)
}

/// Everything in `dir`, sorted; hidden files and symbolic links are left out.
fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
