//! `cargo xtask dist`: what one copies to a server.

use anyhow::Result;

use crate::page;
use crate::paths::Paths;
use crate::relay::{self, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};

pub(crate) fn main(paths: &Paths) -> Result<()> {
    let mut todo = setup::steps(paths, Purpose::Run);
    todo.push(Step::new("build the page", || page::build(paths).map(|_| ())));
    todo.push(Step::new("build the relay", || {
        relay::build(paths, Profile::Release).map(|_| ())
    }));
    steps::run_all(todo)?;
    println!("dist/ holds the relay and dist/page/. Copy both, then:");
    println!("  ./native-relay --public --page page --data-dir data");
    println!("docs/operating.md says what else a public relay needs.");
    Ok(())
}
