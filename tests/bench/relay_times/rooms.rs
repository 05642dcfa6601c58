//! A room with a hundred peers in it that reach each other through one relay alone: who hears what, and how late.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use libp2p::Multiaddr;
use peerway_core::chat::RoomName;
use peerway_tests::samples::{Aim, report_against, report_in};

use crate::{
    client::{Node, Page},
    contestants::{Carrier, Contestant, Maker},
    memory::come,
    speed::percentile,
};

const PEERS: usize = 100;
/// Messages in one sample.
const MESSAGES: usize = 500;
/// From one to the next: fifty a second.
const EVERY: Duration = Duration::from_millis(20);
/// Bytes of a message.
const LENGTH: usize = 1_000;
/// A few heartbeats, in which everybody finds a place in the mesh.
const GATHERING: Duration = Duration::from_secs(5);
/// How long the last messages are waited for.
const LATE: Duration = Duration::from_secs(5);

/// The same room on our relay and on libp2p's own with gossipsub's defaults, in turns.
pub(crate) async fn measure(rounds: usize) -> anyhow::Result<()> {
    let topic = RoomName::parse("bench")?.topic();
    let makers = [Maker::Ours, Maker::Stock];
    let mut all = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (maker, heard) in makers.into_iter().zip(&mut all) {
            let relay = match maker {
                Maker::Ours => Contestant::ours("").await?,
                Maker::Stock | Maker::Js => Contestant::stock(std::slice::from_ref(&topic)).await?,
            };
            heard.push(talk(&relay.address(Carrier::WebSocket)?, &topic).await?);
        }
    }
    for (maker, heard) in makers.into_iter().zip(&all) {
        let delivered = format!("Delivered of 50 messages a second among 100 peers: {}", maker.name());
        let late = format!("p99 of their delivery: {}", maker.name());
        let shares = heard.iter().map(|heard| heard.share);
        let times = heard.iter().map(|heard| heard.slowest);
        match maker {
            Maker::Ours => {
                report_against(&delivered, "%", shares, Aim::AtLeast(100.0));
                report_against(&late, "ms", times, Aim::AtMost(250.0));
            }
            Maker::Stock | Maker::Js => {
                report_in(&delivered, "%", shares);
                report_in(&late, "ms", times);
            }
        }
    }
    Ok(())
}

/// What came of what was said.
struct Heard {
    /// Of all deliveries that there should have been, in hundredths.
    share: f64,
    /// The p99 of those that there were, in milliseconds.
    slowest: f64,
}

async fn talk(relay: &Multiaddr, topic: &str) -> anyhow::Result<Heard> {
    let began = Instant::now();
    let times = Arc::new(Mutex::new(Vec::with_capacity(MESSAGES * PEERS)));
    let peers: Vec<Node<Page>> = come(relay, PEERS, async |relay| {
        let times = Arc::clone(&times);
        let peer = Node::page(move |message| {
            // It begins with when it was said.
            if let Some(said) = message.data.first_chunk() {
                let taken = began
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(u64::from_le_bytes(*said)));
                times.lock().unwrap_or_else(PoisonError::into_inner).push(taken);
            }
        })?;
        peer.connect(relay).await?;
        peer.subscribe(topic).await?;
        Ok(peer)
    })
    .await?;
    tokio::time::sleep(GATHERING).await;

    let mut clock = tokio::time::interval(EVERY);
    for peer in peers.iter().cycle().take(MESSAGES) {
        clock.tick().await;
        let mut message = vec![0x5a; LENGTH];
        let said = u64::try_from(began.elapsed().as_nanos())?;
        message[..8].copy_from_slice(&said.to_le_bytes());
        peer.publish(topic, message).await?;
    }
    let count = || times.lock().unwrap_or_else(PoisonError::into_inner).len();
    let expected = MESSAGES * (PEERS - 1);
    let ended = Instant::now();
    while count() < expected && ended.elapsed() < LATE {
        tokio::time::sleep(EVERY).await;
    }
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Heard {
        share: times.len() as f64 / expected as f64 * 100.0,
        slowest: percentile(&mut times, 99).as_secs_f64() * 1_000.0,
    })
}
