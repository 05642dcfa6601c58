//! `cargo xtask bench`: measures the page, or with `relay` the relay, and writes its sections of docs/benchmarks.md.
//!
//! Sizes are counted here. Everything else comes from programs of the tests'; they print one JSON object a line, and
//! whatever they measure gets a row. What other commands or people wrote into the file stays as it is.

use std::cell::OnceCell;
use std::fs;
use std::thread;

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::cargo::{NATIVE, cargo};
use crate::paths::Paths;
use crate::process::Process;
use crate::relay::{self, Page, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};
use crate::{js, page, page_peer};

use self::report::{Document, Machine, Section, Time};

mod of_relay;
mod report;
mod sizes;

/// Where the numbers are written.
const WHERE: &str = "docs/benchmarks.md";
/// What measures the page, as the file names it.
const COMMAND: &str = "cargo xtask bench";
/// The section of what is counted here.
const SIZES: &str = "What a visitor downloads";
/// What measures times: programs of the package `peerway-tests`.
const HARNESSES: [Harness; 2] = [
    Harness {
        program: "page-times",
        title: "How long things take",
        about: "The page in two headless browser processes, over loopback; the relay, a release build, is on the same machine.",
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
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Only count sizes, and print them instead of writing the file.
    #[arg(long)]
    sizes: bool,
    #[command(subcommand)]
    what: Option<What>,
}

/// What is measured instead of the page.
#[derive(Subcommand)]
enum What {
    /// Measure the relay beside others, which takes half an hour.
    Relay(of_relay::Args),
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    match &args.what {
        Some(What::Relay(args)) => of_relay::main(paths, args),
        None => of_page(paths, args),
    }
}

fn of_page(paths: &Paths, args: &Args) -> Result<()> {
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
    let sizes = Section::new(
        SIZES,
        "As Trunk builds the page.",
        COMMAND,
        &machine(),
        report::size_table(&sizes),
    );
    match sections.into_inner() {
        None => println!("\n{sizes}"),
        Some(measured) => write(paths, [vec![sizes], measured].concat())?,
    }
    Ok(())
}

/// Puts these sections into the file, each in the place of the one of its title.
fn write(paths: &Paths, sections: Vec<Section>) -> Result<()> {
    let file = paths.root.join(WHERE);
    let mut document = Document::parse(&fs::read_to_string(&file).unwrap_or_default());
    for section in sections {
        println!("\n{section}");
        document.put(section);
    }
    fs::write(&file, document.to_string()).with_context(|| format!("cannot write {WHERE}"))?;
    println!("\nwritten to {WHERE}");
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
    let table = report::table(&times(&printed)?);
    Ok(Section::new(title, about, COMMAND, &machine(), table))
}

/// What a program of the tests' has measured.
fn times(printed: &str) -> Result<Vec<Time>> {
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    lines.map(Time::parse).collect()
}

fn machine() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Machine::describe(cores, &cpuinfo, &meminfo)
}
