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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn getting_ready_to_test_includes_everything_and_to_run_the_least() {
        let count = |purpose: Purpose| TOOLS.iter().filter(|tool| purpose.needs(tool.for_whom)).count();
        assert_eq!(count(Purpose::Test), TOOLS.len());
        assert!(count(Purpose::Run) < count(Purpose::Check) && count(Purpose::Check) < count(Purpose::Test));
    }

    #[test]
    fn when_an_installation_changes_nothing_it_is_said() {
        let paths = Paths {
            root: "r".into(),
            cache: "c".into(),
            native_target: "t".into(),
            wasm_target: "w".into(),
        };
        let tool = Tool {
            name: "x",
            find: |_| None,
            install: |_| Ok(()),
            for_whom: Audience::Builders,
        };
        assert_eq!(
            ensure(&paths, &tool).unwrap_err().to_string(),
            "x was installed but does not work"
        );
    }
}
