//! `cargo xtask dist`: what one copies to a server, one file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::page;
use crate::paths::Paths;
use crate::relay::{self, Page, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};

pub(crate) fn main(paths: &Paths) -> Result<()> {
    let page = paths.page();
    let mut todo = setup::steps(paths, Purpose::Run);
    todo.push(Step::new("build the page", || page::build(paths).map(|_| ())));
    todo.push(Step::new("build the relay with the page in it", || {
        let program = relay::build(paths, Profile::Release, Page::Inside(&page))?;
        require_inside(&page.join("index.html"), &program)
    }));
    steps::run_all(todo)?;
    println!("dist/native-relay is a whole deployment. Copy it, then:");
    println!("  ./native-relay --public --data-dir data");
    println!("docs/operating.md says what else a public relay needs.");
    Ok(())
}

/// A program without its page starts all the same, and only a visitor would notice.
fn require_inside(file: &Path, program: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (part, whole) = (read(file)?, read(program)?);
    let is_inside = whole.windows(part.len()).any(|window| window == part);
    ensure!(
        !part.is_empty() && is_inside,
        "{} is not in {}",
        file.display(),
        program.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_program_has_not_got_the_page_in_it_that_is_an_error() {
        let dir = std::env::temp_dir().join(format!("peerway-dist-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (page, program) = (dir.join("index.html"), dir.join("program"));
        fs::write(&page, "<html>").unwrap();
        for (content, is_inside) in [("ELF <html> ELF", true), ("ELF <htm ELF", false), ("", false)] {
            fs::write(&program, content).unwrap();
            assert_eq!(require_inside(&page, &program).is_ok(), is_inside, "{content}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
