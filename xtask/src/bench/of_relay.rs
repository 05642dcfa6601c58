//! `cargo xtask bench relay`: builds what is measured and what measures, runs it, writes its section.
//!
//! What is measured and how is for `tests/bench/relay_times` to say.

use std::cell::OnceCell;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{machine, report, report::Section, times, write};
use crate::cargo::cargo;
use crate::js;
use crate::paths::Paths;
use crate::process::Process;
use crate::relay::{self, Page, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};

/// What measures, and what ours is measured beside: programs of the package `peerway-tests`.
const PROGRAMS: [&str; 2] = ["relay-times", "stock-relay"];

/// What iroh's relay and its load are built from, outside of the workspace, and what they are called.
const IROH: &str = "tests/bench/iroh";
const IROH_PROGRAM: &str = "iroh-times";

const TITLE: &str = "What a relay costs, and how fast it is";
const ABOUT: &str = "\
Relays take turns, each alone on one core, with everything that keeps them busy on the other, over loopback; of what is \
compared, the ratio within each turn counts. Ours is opened wide in its configuration (`[limits]`: `circuit_rate`, \
`circuit_burst`, `circuit_bytes`, `circuit_duration`, and the numbers of reservations, circuits and connections), so that \
the machine is what ends a measurement; nothing else is changed, but the log is at `warn`. The others have their limits \
raised likewise: `libp2p-relay` is libp2p's own with identify and ping, without gossip except in the room; `js-libp2p` is \
its relay on Node. coturn relays datagrams of 1 200 bytes, as browsers send them, between two allocations that are \
reached over TLS; it asks for no password, and it encrypts with AES where libp2p does with ChaCha20-Poly1305. iroh-relay \
is started as `--dev` does, over plain HTTP: it neither deciphers nor enciphers, and what it passes on, 48 datagrams of \
1 200 bytes at once, it may drop, so its number is for comparison only. The peers whose memory is counted speak identify and ping, \
and the pages gossip too; these come to a relay whose limits are the defaults and whose control group has 1 GB, which \
takes root.";

const SOAK_TITLE: &str = "The relay for ten minutes";
const SOAK_ABOUT: &str = "2 000 peers hold a slot over WebSocket, 200 circuits carry 1 KiB there and back each second.";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only this (see `relay-times --help`), and print it instead of writing the file.
    #[arg(long)]
    only: Vec<String>,
    /// Samples of whatever is measured several times.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only hold slots and circuits for ten minutes: a section of its own.
    #[arg(long, conflicts_with_all = ["only", "rounds"])]
    soak: bool,
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    let measured = OnceCell::new();
    let mut todo = setup::steps(paths, Purpose::Test);
    todo.push(Step::new("bundle the peers that are not ours", || js::build(paths)));
    todo.push(Step::new("measure the relay", || {
        let _ = measured.set(measure(paths, args)?);
        Ok(())
    }));
    steps::run_all(todo)?;
    let table = report::table(&times(measured.get().context("it was measured")?)?);
    let (title, about, command) = match args.soak {
        false => (TITLE, ABOUT, "cargo xtask bench relay"),
        true => (SOAK_TITLE, SOAK_ABOUT, "cargo xtask bench relay --soak"),
    };
    if !args.only.is_empty() {
        println!("\n{table}");
        return Ok(());
    }
    write(paths, vec![Section::new(title, about, command, &machine(), table)])
}

fn measure(paths: &Paths, args: &Args) -> Result<String> {
    let relay = relay::build(paths, Profile::Release, Page::Apart)?;
    // Optimised too: the core that makes the load has as much to do as the relay's.
    let programs = PROGRAMS.iter().flat_map(|program| ["--bin", program]);
    cargo(paths, ["build", "--locked", "--release", "--package", "peerway-tests"])
        .args(programs)
        .run()?;
    let [program, _] = PROGRAMS;
    let built = paths
        .native_target
        .join("release")
        .join(format!("{program}{}", std::env::consts::EXE_SUFFIX));
    let harness = Process::new(paths, built)
        .env("PEERWAY_TEST_RELAY", relay)
        .env("PEERWAY_TEST_IROH", build_iroh(paths)?)
        .env("PEERWAY_TEST_JS", js::bundles(paths))
        .env("NODE_PATH", js::modules(paths)?);
    let harness = match args.soak {
        true => harness.arg("--soak"),
        false => harness.args(["--rounds", &args.rounds.to_string()]),
    };
    harness
        .args(args.only.iter().flat_map(|row| ["--only", row]))
        .run_and_capture()
}

/// What it needs is as much again as everything else here; it has a target directory of its own.
fn build_iroh(paths: &Paths) -> Result<PathBuf> {
    let target = paths.native_target.join("iroh");
    Process::new(paths, "cargo")
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(&paths.root.join(IROH))
        .args(["build", "--locked", "--release"])
        .run()?;
    Ok(target
        .join("release")
        .join(format!("{IROH_PROGRAM}{}", std::env::consts::EXE_SUFFIX)))
}
