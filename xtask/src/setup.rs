//! `cargo xtask setup`: installs what is missing, says so, asks nothing. Every other task begins with it.

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::paths::Paths;
use crate::steps::{self, Step};
use crate::tools::{Audience, TOOLS, Tool};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The task to get ready for.
    #[arg(long = "for", value_enum, default_value_t = Purpose::Test)]
    purpose: Purpose,
}

/// What a machine is made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Building and running.
    Run,
    /// Checking the source.
    Check,
    /// Everything.
    Test,
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    steps::run_all(steps(paths, args.purpose)).map(|_| ())
}

/// One step for each tool that `purpose` needs.
pub(crate) fn steps(paths: &Paths, purpose: Purpose) -> Vec<Step<'_>> {
    let wanted = TOOLS.iter().filter(|tool| purpose.needs(tool.for_whom));
    wanted
        .map(|tool| Step::saying(tool.name, || ensure(paths, tool)))
        .collect()
}

fn ensure(paths: &Paths, tool: &Tool) -> Result<String> {
    if let Some(found) = (tool.find)(paths) {
        return Ok(found);
    }
    (tool.install)(paths)?;
    (tool.find)(paths).with_context(|| format!("{} was installed but does not work", tool.name))
}

impl Purpose {
    fn needs(self, audience: Audience) -> bool {
        match (self, audience) {
            (_, Audience::Builders) | (Self::Check | Self::Test, Audience::Checkers) | (Self::Test, _) => true,
            (Self::Run, Audience::Checkers) | (Self::Run | Self::Check, Audience::Testers) => false,
        }
    }
}
