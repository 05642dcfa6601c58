//! `cargo xtask bench`: measures the page and writes docs/benchmarks.md.
//!
//! Sizes are counted here. Times come from programs of the tests' that drive real browsers; they print one JSON
//! object a line, and whatever they measure gets a row.

use std::cell::OnceCell;
use std::fs;
use std::thread;

use anyhow::{Context, Result};

use crate::cargo::{NATIVE, cargo};
use crate::paths::Paths;
use crate::process::Process;
use crate::relay::{self, Page, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};
use crate::{js, page, page_peer};

use self::report::{Machine, Report, Section, Time};

mod report;
mod sizes;

/// Where the numbers are written.
const WHERE: &str = "docs/benchmarks.md";
/// What measures times: programs of the package `peerway-tests`.
const HARNESSES: [Harness; 2] = [
    Harness {
        program: "page-times",
        title: "How long things take",
        about: "The page in two headless browser processes, over loopback.",
    },
    Harness {
        program: "webrtc-times",
        title: "Two pages connected directly",
        about: "Nodes in pages without a screen, in the same two headless browser processes and in turns, over loopback, signalled \
                through our relay. `RTCPeerConnection` is the browser's own, signalled over one WebSocket; js-libp2p is at its \
                defaults. Of what is compared, the ratio within each turn counts. 64 MiB go over a stream.",
    },
];

struct Harness {
    program: &'static str,
    title: &'static str,
    about: &'static str,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only count sizes, and print them instead of writing the file.
    #[arg(long)]
    sizes: bool,
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    let sizes = OnceCell::new();
    let sections = OnceCell::new();
    let mut todo = setup::steps(paths, if args.sizes { Purpose::Run } else { Purpose::Test });
    todo.push(Step::new("build the page", || page::build(paths).map(|_| ())));
    todo.push(Step::new("count sizes", || {
        let _ = sizes.set(sizes::of_page(&paths.page())?);
        Ok(())
    }));
    if !args.sizes {
        todo.push(Step::new("build the page of the stories", || page_peer::build(paths)));
        todo.push(Step::new("bundle the peers that are not ours", || js::build(paths)));
        todo.push(Step::new("measure times in real browsers", || {
            let measured: Result<Vec<Section>> = HARNESSES.iter().map(|harness| measure(paths, harness)).collect();
            let _ = sections.set(measured?);
            Ok(())
        }));
    }
    steps::run_all(todo)?;
    let sizes = sizes.into_inner().context("sizes were counted")?;
    match sections.into_inner() {
        None => println!("\n{}", report::size_table(&sizes)),
        Some(sections) => {
            let report = Report {
                machine: machine(),
                sizes,
                sections,
            }
            .to_string();
            fs::write(paths.root.join(WHERE), &report).with_context(|| format!("cannot write {WHERE}"))?;
            println!("\n{report}\nwritten to {WHERE}");
        }
    }
    Ok(())
}

fn measure(paths: &Paths, harness: &Harness) -> Result<Section> {
    let Harness { program, title, about } = *harness;
    let relay = relay::build(paths, Profile::Release, Page::Apart)?;
    // What is measured is optimised; who only looks at the clock need not be, and is built already for the tests.
    cargo(paths, ["build", "--locked"])
        .args(NATIVE)
        .args(["--bin", program])
        .run()?;
    let built = paths
        .native_target
        .join("debug")
        .join(format!("{program}{}", std::env::consts::EXE_SUFFIX));
    let printed = Process::new(paths, built)
        .env("PEERWAY_TEST_RELAY", relay)
        .env("PEERWAY_TEST_PAGE", paths.page())
        .env("PEERWAY_TEST_JS", js::bundles(paths))
        .env("PEERWAY_TEST_PAGE_PEER", page_peer::place(paths))
        .env("NODE_PATH", js::modules(paths)?)
        .run_and_capture()?;
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    Ok(Section {
        title,
        about,
        times: lines.map(Time::parse).collect::<Result<_>>()?,
    })
}

fn machine() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Machine::describe(cores, &cpuinfo, &meminfo)
}
