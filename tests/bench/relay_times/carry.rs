//! What it costs a relay to carry bytes: processor time for each GiB, ours beside the others', in turns.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{AsyncReadExt, AsyncWriteExt, future::try_join_all};
use libp2p::Stream;
use peerway_tests::samples::{Aim, report_against, report_in};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    client::{Node, PATIENCE, Raw},
    contestants::{Carrier, Contestant, Maker},
    iroh::Iroh,
    turn::Turn,
};

/// What goes through in one sample.
const BYTES: u64 = 512 << 20;
/// And through coturn, which takes it in much smaller pieces.
const TURN_BYTES: u64 = 128 << 20;
/// What is written and read at once.
const CHUNK: usize = 64 << 10;
const GIB: f64 = (1_u64 << 30) as f64;

/// Two peers of a relay, one of which counts what arrives at it.
pub(crate) struct Pair {
    source: Node<Raw>,
    destination: Node<Raw>,
    relay: libp2p::Multiaddr,
    arrived: mpsc::Receiver<u64>,
}

impl Pair {
    pub(crate) async fn join(relay: &Contestant, carrier: Carrier) -> anyhow::Result<Self> {
        let relay = relay.address(carrier)?;
        let destination = Node::reserved(&relay).await?;
        let (counted, arrived) = mpsc::channel(1);
        destination
            .serve(move |stream| {
                let counted = counted.clone();
                async move {
                    // Whoever waits for it sees what is missing.
                    let _ = counted.send(count(stream).await).await;
                }
            })
            .await?;
        Ok(Self {
            source: Node::connected(&relay).await?,
            destination,
            relay,
            arrived,
        })
    }

    /// Sends that much over a circuit of its own, and waits until it has arrived.
    pub(crate) async fn carry(&mut self, bytes: u64) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let stream = self.source.reach(&self.relay, self.destination.id).await?;
        let carried = async {
            send(stream, bytes).await?;
            self.arrived.recv().await.context("nobody counts")
        };
        let arrived = timeout(PATIENCE, carried).await.context("it takes too long")??;
        ensure!(arrived == bytes, "{arrived} of {bytes} bytes arrived");
        Ok(began.elapsed())
    }

    /// Sends as much as goes until the other end of `stop` is dropped, and returns how much arrived.
    pub(crate) async fn carry_until(&mut self, mut stop: watch::Receiver<()>) -> anyhow::Result<u64> {
        let mut stream = self.source.reach(&self.relay, self.destination.id).await?;
        let chunk = vec![0x5a; CHUNK];
        while stop.has_changed().is_ok() {
            tokio::select! {
                written = stream.write_all(&chunk) => written?,
                // Part of a chunk may be under way: what arrived is counted at the other end.
                _ = stop.changed() => break,
            }
        }
        stream.close().await?;
        let arrived = timeout(PATIENCE, self.arrived.recv()).await;
        arrived.context("it takes too long")?.context("nobody counts")
    }
}

/// Writes that much, and ends.
pub(crate) async fn send(mut stream: Stream, bytes: u64) -> anyhow::Result<()> {
    let chunk = vec![0x5a; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&chunk[..part]).await?;
        left -= part as u64;
    }
    Ok(stream.close().await?)
}

/// Reads to the end, and ends too.
pub(crate) async fn count(mut stream: Stream) -> u64 {
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    while let Ok(read) = stream.read(&mut chunk).await
        && read > 0
    {
        bytes += read as u64;
    }
    let _ = stream.close().await;
    bytes
}

/// Processor seconds for each GiB.
async fn cost(relay: &Contestant, pair: &mut Pair, bytes: u64) -> anyhow::Result<f64> {
    let before = relay.processor_time()?;
    pair.carry(bytes).await?;
    let spent = relay.processor_time()? - before;
    Ok(spent.as_secs_f64() * GIB / bytes as f64)
}

/// One relay and whoever talks through it.
struct Turns {
    maker: Maker,
    carrier: Carrier,
    relay: usize,
    pair: Pair,
    costs: Vec<f64>,
}

pub(crate) async fn measure(rounds: usize) -> anyhow::Result<()> {
    let makers = [Maker::Ours, Maker::Stock, Maker::Js];
    let relays = try_join_all(makers.map(Maker::start)).await?;
    let mut all = Vec::new();
    for carrier in [Carrier::Tcp, Carrier::WebSocket] {
        for (relay, maker) in makers.into_iter().enumerate() {
            all.push(Turns {
                maker,
                carrier,
                relay,
                pair: Pair::join(&relays[relay], carrier).await?,
                costs: Vec::new(),
            });
        }
    }
    let mut turn = Turn::start()?;
    let iroh = Iroh::start().await?;
    let (mut turn_costs, mut iroh_costs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        for one in &mut all {
            let cost = cost(&relays[one.relay], &mut one.pair, BYTES).await?;
            // The first is not counted: code that runs for the first time is compiled then, at js-libp2p's.
            if round > 0 {
                one.costs.push(cost);
            }
        }
        let costs = (turn.cost(TURN_BYTES)?, iroh.cost(BYTES).await?);
        if round > 0 {
            turn_costs.push(costs.0);
            iroh_costs.push(costs.1);
        }
    }
    for one in &all {
        let name = format!("CPU for a GiB over {}: {}", one.carrier.name(), one.maker.name());
        report_in(&name, "s", one.costs.iter().copied());
    }
    report_in("CPU for a GiB over TLS: coturn", "s", turn_costs.iter().copied());
    let name = "CPU for a GiB over WebSocket, and nothing encrypted by the relay: iroh-relay";
    report_in(name, "s", iroh_costs.iter().copied());
    for carrier in [Carrier::Tcp, Carrier::WebSocket] {
        let of = |maker: Maker| {
            let found = all.iter().find(|one| one.maker == maker && one.carrier == carrier);
            found.map_or(&[][..], |one| &one.costs)
        };
        let ours = of(Maker::Ours);
        let against = |whose: &str, theirs: &[f64], aim| {
            let name = format!("CPU for a GiB over {}, Peerway / {whose}", carrier.name());
            let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
            report_against(&name, "×", ratios, Aim::AtMost(aim));
        };
        against(Maker::Stock.name(), of(Maker::Stock), 0.8);
        against(Maker::Js.name(), of(Maker::Js), 0.5);
        against("coturn over TLS", &turn_costs, 1.0);
        let ratios = ours.iter().zip(&iroh_costs).map(|(ours, theirs)| ours / theirs);
        let name = format!("CPU for a GiB over {}, Peerway / iroh-relay", carrier.name());
        report_in(&name, "×", ratios);
    }
    Ok(())
}
