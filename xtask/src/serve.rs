//! `cargo xtask serve`: `trunk serve` with the tools and the compiler that this machine has, for work on the page
//! beside a running relay.

use anyhow::{Context, Result};

use crate::page;
use crate::paths::Paths;
use crate::setup::{self, Purpose};
use crate::steps;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Flags for `trunk serve`, after `--`: for example `-- --port 8090`.
    #[arg(last = true)]
    trunk_args: Vec<String>,
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    steps::run_all(setup::steps(paths, Purpose::Run))?;
    let dist = paths.page().with_file_name("serve");
    std::fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    page::trunk(paths, "serve")?
        .arg("--dist")
        .arg(dist)
        .args(&args.trunk_args)
        .become_it()
}
