//! Many slots and circuits for a long time: whether any of them ends, and whether the relay grows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{AsyncReadExt, AsyncWriteExt, future::try_join_all};
use libp2p::{Stream, swarm::NetworkBehaviour};
use peerway_tests::samples::{Aim, report_against, report_in};

use crate::{
    client::{Node, Raw},
    contestants::{Carrier, Maker},
    host,
    memory::come,
};

const RESERVATIONS: usize = 2_000;
const CIRCUITS: usize = 200;
/// What each circuit carries there and back, and how often.
const BYTES: usize = 1_024;
const EVERY: Duration = Duration::from_secs(1);
/// How long everything is given to become as it will be.
const WARM_UP: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// All that for so long.
pub(crate) async fn measure(duration: Duration) -> anyhow::Result<()> {
    host::ensure_descriptors(RESERVATIONS as u64 + CIRCUITS as u64 + 1_000)?;
    let relay = Maker::Ours.start().await?;
    let address = relay.address(Carrier::WebSocket)?;
    let holders = come(&address, RESERVATIONS, async |relay| {
        let holder = Node::<Raw>::reserved(relay).await?;
        holder.serve(echo).await?;
        Ok(holder)
    })
    .await?;
    let sources = come(&address, CIRCUITS, Node::<Raw>::connected).await?;
    let streams = try_join_all(
        sources
            .iter()
            .zip(&holders)
            .map(|(source, holder)| source.reach(&address, holder.id)),
    )
    .await?;
    let ended = Arc::new(AtomicU64::new(0));
    for stream in streams {
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            // It goes on for as long as it can.
            let _ = ask_for_ever(stream).await;
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }

    tokio::time::sleep(WARM_UP.min(duration / 4)).await;
    let began = Instant::now();
    let mut looks = Vec::new();
    while began.elapsed() < duration {
        looks.push((began.elapsed().as_secs_f64(), relay.resident()? as f64));
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let closed = count_closed(&holders) + count_closed(&sources);
    let ended = ended.load(Ordering::Relaxed);
    let first = looks.first().context("it was looked at")?.1;
    let growth = slope(&looks) * duration.as_secs_f64() / first * 100.0;
    let minutes = duration.as_secs_f64() / 60.0;
    report_in(
        "2 000 slots and 200 circuits were held for",
        "min",
        std::iter::once(minutes),
    );
    let unexpected = closed as f64 + ended as f64;
    report_against(
        "Connections and circuits that ended meanwhile",
        "",
        std::iter::once(unexpected),
        Aim::AtMost(0.0),
    );
    report_against(
        "Slope of the relay's memory",
        "%",
        std::iter::once(growth),
        Aim::AtMost(1.0),
    );
    Ok(())
}

fn count_closed<B>(nodes: &[Node<B>]) -> usize
where
    B: NetworkBehaviour + Send,
    B::ToSwarm: Send,
{
    nodes.iter().map(Node::closed).sum()
}

async fn ask_for_ever(mut stream: Stream) -> std::io::Result<()> {
    let mut bytes = vec![0x5a; BYTES];
    loop {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        stream.read_exact(&mut bytes).await?;
        tokio::time::sleep(EVERY).await;
    }
}

async fn echo(mut stream: Stream) {
    let mut bytes = vec![0; BYTES];
    while stream.read_exact(&mut bytes).await.is_ok() {
        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Of the line that lies nearest to these points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let across: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    if along > 0.0 { across / along } else { 0.0 }
}
