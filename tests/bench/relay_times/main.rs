//! What a relay costs and how fast it is, ours beside others: one JSON object a line on standard output.
//!
//! The relay that is measured runs alone on one core; this programme, which keeps it busy, is on the other. Relays that
//! are compared take turns within each round, so that what the machine does meanwhile hits all alike, and the ratio of
//! each round is what counts. `cargo xtask bench relay` builds what is measured, runs this, and writes docs/benchmarks.md.

mod carry;
mod client;
mod contestants;
mod host;
mod iroh;
mod memory;
mod rooms;
mod slots;
mod soak;
mod speed;
mod turn;

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};

/// Measures relays.
#[derive(Parser)]
struct Args {
    /// Measure only these; everything but the soak without it.
    #[arg(long = "only", value_enum)]
    only: Vec<Row>,
    /// Samples of whatever is measured several times.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Hold slots and circuits for ten minutes, and do nothing else.
    #[arg(long)]
    soak: bool,
    /// For that long instead, in seconds.
    #[arg(long, default_value_t = 600)]
    soak_seconds: u64,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// Processor time for each GiB.
    Carry,
    /// Circuits against direct connections, and many against one.
    Throughput,
    /// A quiet circuit beside greedy ones.
    Fairness,
    /// Circuits set up a second.
    Circuits,
    /// Memory of idle peers.
    Memory,
    /// Refused reservations.
    Refusals,
    /// Peers that come and go.
    Cycles,
    /// A room of a hundred.
    Rooms,
    /// Thousands of pages.
    Pages,
}

impl Row {
    async fn measure(self, rounds: usize) -> anyhow::Result<()> {
        match self {
            Self::Carry => carry::measure(rounds).await,
            Self::Throughput => speed::measure(rounds).await,
            Self::Fairness => speed::fairness(rounds).await,
            Self::Circuits => slots::circuits(rounds).await,
            Self::Memory => memory::idle(rounds).await,
            Self::Refusals => slots::refusals(rounds).await,
            Self::Cycles => slots::cycles(rounds).await,
            Self::Rooms => rooms::measure(rounds).await,
            Self::Pages => memory::pages().await,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // libp2p's WebRTC asks the process which one it is to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    host::Core::Load.enter()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if args.soak {
            return soak::measure(Duration::from_secs(args.soak_seconds)).await;
        }
        let rows = if args.only.is_empty() {
            Row::value_variants()
        } else {
            &args.only
        };
        for row in rows {
            let measured = Box::pin(row.measure(args.rounds)).await;
            measured.with_context(|| format!("while measuring {row:?}"))?;
        }
        Ok(())
    })
}
