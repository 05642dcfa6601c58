//! The project's tasks: `cargo xtask setup | run | serve | test | check | bench | dist`.
//!
//! A task is a list of steps ([`steps`]); each task has one module that says which. Nothing here decides how Peerway
//! behaves: whatever the product does is in the crates beside this one.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::paths::Paths;

mod bench;
mod cargo;
mod check;
mod debian;
mod dist;
mod js;
mod page;
mod page_peer;
mod paths;
mod process;
mod relay;
mod run;
mod serve;
mod setup;
mod steps;
mod test;
mod tools;
mod wasm;

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing for every other task. Quick when nothing is.
    Setup(setup::Args),
    /// Build the page and the relay and start the relay on loopback.
    Run(run::Args),
    /// Rebuild the page at every change and serve it, beside a relay that `run` started.
    Serve(serve::Args),
    /// Run everything: the checks, then every test there is.
    Test(test::Args),
    /// Formatting, lints (native and wasm), dependencies, documentation, the project's own conventions.
    Check(check::Args),
    /// Measure the page, or the relay, and write that part of docs/benchmarks.md.
    Bench(bench::Args),
    /// Put a release build of the relay and the page into dist/.
    Dist,
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let outcome = Paths::from_environment().and_then(|paths| match task {
        Task::Setup(args) => setup::main(&paths, &args),
        Task::Run(args) => run::main(&paths, &args),
        Task::Serve(args) => serve::main(&paths, &args),
        Task::Test(args) => test::main(&paths, &args),
        Task::Check(args) => check::main(&paths, &args),
        Task::Bench(args) => bench::main(&paths, &args),
        Task::Dist => dist::main(&paths),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To stdout, after whatever the failed command printed: the two streams may be read in any order.
            println!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
