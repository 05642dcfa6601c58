//! `cargo xtask dist`: what one copies to a server.

use std::fs;

use anyhow::{Context, Result};

use crate::page;
use crate::paths::Paths;
use crate::relay::{self, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};

pub(crate) fn main(paths: &Paths) -> Result<()> {
    let mut todo = setup::steps(paths, Purpose::Run);
    todo.push(Step::new("build the page", || page::build(paths).map(|_| ())));
    todo.push(Step::new("build the relay", || {
        let built = relay::build(paths, Profile::Release)?;
        let name = built.file_name().context("a program has a name")?;
        let place = paths.root.join("dist").join(name);
        fs::copy(&built, &place).with_context(|| format!("cannot write {}", place.display()))?;
        Ok(())
    }));
    steps::run_all(todo)?;
    println!("dist/ holds the relay and dist/page/. Copy both, then:");
    println!("  ./native-relay --public --page page --data-dir data");
    println!("docs/operating.md says what else a public relay needs.");
    Ok(())
}
