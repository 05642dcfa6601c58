//! How fast two pages connect and how much goes over one stream: a bare `RTCPeerConnection`, and js-libp2p's `/webrtc`
//! at its defaults. One JSON object per line on standard output.
//!
//! The same two browser processes measure everything, in turns, so that what the machine does meanwhile hits all alike.

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use peerway_tests::{
    browser::Browser,
    js::{JsPeer, JsRoute, page_site},
    raw::RawPair,
    relay::Relay,
    samples::{report, report_in},
};

/// Rounds; each gives one sample of every number.
const ROUNDS: usize = 10;

/// What goes over a stream in one sample.
const BYTES: usize = 64 << 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (relay, site, browsers) = (Relay::start().await?, page_site()?, Browser::launch_two().await?);
    let address = relay
        .address("WebSocket", |address| {
            address.iter().any(|part| matches!(part, Protocol::Ws(_)))
        })
        .await?;
    let raw = RawPair::open((&browsers.0, &browsers.1), &site).await?;
    let (alice, bob) = futures::try_join!(
        JsPeer::open(&browsers.0, &site, &address),
        JsPeer::open(&browsers.1, &site, &address)
    )?;
    let bob_address = bob.reserved(JsRoute::Webrtc).await?;
    let (mut raw_rounds, mut js_rounds, mut tries) = (Vec::new(), Vec::new(), Vec::new());
    // The first of each is not counted: code that runs for the first time is compiled then.
    for round in 0..=ROUNDS {
        let raw_dial = raw.dial().await?;
        let raw_round = Round::new(raw_dial, raw.throughput(BYTES).await?);
        let dialled = alice.dial(&bob_address).await?;
        let js_round = Round::new(
            dialled.took()?,
            alice.throughput(bob.id(), JsRoute::Webrtc, BYTES).await?,
        );
        // So that the next dial begins without a circuit too.
        for route in [JsRoute::Webrtc, JsRoute::Circuit] {
            alice.hang_up(bob.id(), route).await?;
        }
        bob.forgets(alice.id()).await?;
        if round > 0 {
            raw_rounds.push(raw_round);
            js_rounds.push(js_round);
            tries.push(f64::from(dialled.tries));
        }
    }
    for (who, rounds) in [("RTCPeerConnection", &raw_rounds), ("js-libp2p", &js_rounds)] {
        report(
            &format!("{who}: dial to connected"),
            rounds.iter().map(|round| round.dial),
        );
        report_in(
            &format!("{who}: throughput of one stream"),
            "MiB/s",
            rounds.iter().map(|round| round.throughput),
        );
    }
    report_in("js-libp2p: tries until a dial succeeds", "tries", tries.into_iter());
    Ok(())
}

/// What one round showed.
struct Round {
    /// Milliseconds.
    dial: f64,
    /// Mebibytes a second.
    throughput: f64,
}

impl Round {
    fn new(dial: Duration, transfer: Duration) -> Self {
        Self {
            dial: dial.as_secs_f64() * 1_000.0,
            throughput: f64::from(u32::try_from(BYTES >> 20).unwrap_or(u32::MAX)) / transfer.as_secs_f64(),
        }
    }
}
