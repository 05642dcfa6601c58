//! `cargo xtask bench`: measures the page and writes docs/benchmarks.md.
//!
//! Sizes are counted here. Times come from a program of the tests' that drives real browsers; it prints one JSON
//! object a line, and whatever it measures gets a row.

use std::cell::OnceCell;
use std::fs;
use std::thread;

use anyhow::{Context, Result};

use crate::cargo::{NATIVE, cargo};
use crate::page;
use crate::paths::Paths;
use crate::process::Process;
use crate::relay::{self, Page, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};

use self::report::{Machine, Report, Time};

mod report;
mod sizes;

/// Where the numbers are written.
const WHERE: &str = "docs/benchmarks.md";
/// The program that measures times, of the package `peerway-tests`.
const TIMES: &str = "page-times";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only count sizes, and print them instead of writing the file.
    #[arg(long)]
    sizes: bool,
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    let sizes = OnceCell::new();
    let times = OnceCell::new();
    let mut todo = setup::steps(paths, if args.sizes { Purpose::Run } else { Purpose::Test });
    todo.push(Step::new("build the page", || page::build(paths).map(|_| ())));
    todo.push(Step::new("count sizes", || {
        let _ = sizes.set(sizes::of_page(&paths.page())?);
        Ok(())
    }));
    if !args.sizes {
        todo.push(Step::new("measure times in real browsers", || {
            let _ = times.set(measure(paths)?);
            Ok(())
        }));
    }
    steps::run_all(todo)?;
    let sizes = sizes.into_inner().context("sizes were counted")?;
    match times.into_inner() {
        None => println!("\n{}", report::size_table(&sizes)),
        Some(times) => {
            let report = Report {
                machine: machine(),
                sizes,
                times,
            }
            .to_string();
            fs::write(paths.root.join(WHERE), &report).with_context(|| format!("cannot write {WHERE}"))?;
            println!("\n{report}\nwritten to {WHERE}");
        }
    }
    Ok(())
}

fn measure(paths: &Paths) -> Result<Vec<Time>> {
    let relay = relay::build(paths, Profile::Release, Page::Apart)?;
    // What is measured is optimised; who only looks at the clock need not be, and is built already for the tests.
    cargo(paths, ["build", "--locked"])
        .args(NATIVE)
        .args(["--bin", TIMES])
        .run()?;
    let harness = paths
        .native_target
        .join("debug")
        .join(format!("{TIMES}{}", std::env::consts::EXE_SUFFIX));
    let printed = Process::new(paths, harness)
        .env("PEERWAY_TEST_RELAY", relay)
        .env("PEERWAY_TEST_PAGE", paths.page())
        .run_and_capture()?;
    printed
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(Time::parse)
        .collect()
}

fn machine() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Machine::describe(cores, &cpuinfo, &meminfo)
}
