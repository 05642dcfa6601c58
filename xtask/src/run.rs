//! `cargo xtask run`: from a fresh clone to a page that one can open.

use std::cell::OnceCell;

use anyhow::{Context, Result};

use crate::page;
use crate::paths::Paths;
use crate::process::Process;
use crate::relay::{self, Page, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build the relay for speed; slower to build, and on loopback the difference does not show.
    #[arg(long)]
    release: bool,
    /// Flags for the relay itself, after `--`: for example `-- --http 127.0.0.1:8081`.
    #[arg(last = true)]
    relay_args: Vec<String>,
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    let program = OnceCell::new();
    let mut todo = setup::steps(paths, Purpose::Run);
    todo.push(Step::new("build the page", || page::build(paths).map(|_| ())));
    todo.push(Step::new("build the relay", || {
        let _ = program.set(relay::build(paths, profile, Page::Apart)?);
        Ok(())
    }));
    steps::run_all(todo)?;
    Process::new(paths, program.get().context("the relay was built")?)
        .args(relay_args(paths, &args.relay_args))
        .become_it()
}

/// What the relay is started with: the user's own flags win over ours.
fn relay_args(paths: &Paths, given: &[String]) -> Vec<String> {
    let ours = [("--page", paths.page()), ("--data-dir", paths.relay_data())];
    let is_given = |flag: &str| {
        given
            .iter()
            .any(|arg| arg == flag || arg.starts_with(&format!("{flag}=")))
    };
    let ours = ours.into_iter().filter(|(flag, _)| !is_given(flag));
    let ours = ours.flat_map(|(flag, dir)| [flag.to_owned(), dir.to_string_lossy().into_owned()]);
    ours.chain(given.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started_with(given: &[&str]) -> String {
        let paths = Paths {
            root: "/r".into(),
            cache: "c".into(),
            native_target: "t".into(),
            wasm_target: "w".into(),
        };
        relay_args(&paths, &given.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn without_flags_the_relay_serves_our_page_and_keeps_its_identity() {
        assert_eq!(started_with(&[]), "--page /r/dist/page --data-dir /r/.peerway/relay");
    }

    #[test]
    fn when_the_user_gives_a_flag_of_ours_it_is_not_given_twice() {
        assert_eq!(
            started_with(&["--data-dir=/d", "--lan"]),
            "--page /r/dist/page --data-dir=/d --lan"
        );
        assert_eq!(
            started_with(&["--page", "/p"]),
            "--data-dir /r/.peerway/relay --page /p"
        );
    }
}
