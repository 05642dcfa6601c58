//! How long the page takes until it is of use, in real browsers: one JSON object per line on standard output.
//!
//! Every round starts a relay's two visitors from nothing: two browser processes with empty profiles, at the same time.
//! `cargo xtask bench` builds what is measured, runs this, and writes docs/benchmarks.md.

use anyhow::Context;
use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    netns::Place,
    page::{Page, READY_WITHIN},
    relay::Relay,
    samples::report,
};
use serde_json::Value;

/// Rounds; each gives one sample of every number.
const ROUNDS: usize = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    // Not counted: the first browser on a machine reads its own files from a cold disk.
    Round::measure(&relay).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(Round::measure(&relay).await?);
    }
    report("Navigation to reservation", rounds.iter().map(|round| round.reserved));
    report(
        "Navigation to first peer known",
        rounds.iter().map(|round| round.first_peer),
    );
    report(
        "First peer known after both are reserved",
        rounds.iter().map(|round| round.discovery),
    );
    report(
        "Directly connected, a ping answered, after both are reserved",
        rounds.iter().map(|round| round.direct),
    );
    report(
        "WebSocket connection, Noise included",
        rounds.iter().map(|round| round.connection),
    );
    Ok(())
}

/// What one round showed, in milliseconds. Of the two pages the slower one counts.
struct Round {
    /// Navigation start to a reservation.
    reserved: f64,
    /// Navigation start to the first peer in the list, of the page that came second.
    first_peer: f64,
    /// From the later reservation to the later first peer.
    discovery: f64,
    /// From the later reservation to the later answer to a ping over the direct connection.
    direct: f64,
    /// From the creation of the WebSocket to the first frame that follows the handshakes on it.
    connection: f64,
}

impl Round {
    async fn measure(relay: &Relay) -> anyhow::Result<Self> {
        let launch = || Browser::launch_in(Kind::Chromium, &Place::Here, ProtocolEvents::Kept);
        let (alice, bob) = futures::try_join!(launch(), launch())?;
        let url = relay.url();
        let (alice, bob) = futures::try_join!(alice.open(&url), bob.open(&url))?;
        let (alice, bob) = futures::try_join!(Visit::of(&alice), Visit::of(&bob))?;
        let later = |pick: fn(&Visit) -> f64| pick(&alice).max(pick(&bob));
        // Before the second page there is nobody to know.
        let newcomer = if alice.origin > bob.origin { &alice } else { &bob };
        let both_reserved = later(|visit| visit.origin + visit.reserved);
        let both_know = later(|visit| visit.origin + visit.first_peer);
        let both_direct = later(|visit| visit.origin + visit.direct);
        Ok(Self {
            reserved: later(|visit| visit.reserved),
            first_peer: newcomer.first_peer,
            discovery: (both_know - both_reserved).max(0.0),
            direct: both_direct - both_reserved,
            connection: later(|visit| visit.connection),
        })
    }
}

/// One page of a round, in milliseconds.
struct Visit {
    /// When its navigation began, by the wall clock that both browsers share.
    origin: f64,
    reserved: f64,
    first_peer: f64,
    direct: f64,
    connection: f64,
}

impl Visit {
    async fn of(page: &Page) -> anyhow::Result<Self> {
        Ok(Self {
            reserved: page.mark(READY_WITHIN, "peerway:reserved").await?,
            first_peer: page.mark(READY_WITHIN, "peerway:first-peer").await?,
            direct: page.mark(READY_WITHIN, "peerway:direct").await?,
            origin: page
                .run("return performance.timeOrigin;")
                .await?
                .as_f64()
                .context("a page has a time origin")?,
            connection: connection_time(&page.browser().protocol_events().await?)?,
        })
    }
}

/// From the WebSocket's handshake request to the frame with which the page ends its Noise handshake.
///
/// The page speaks first, and sends nothing more until the relay's part of the handshake has come: so its first frame
/// after the relay's first one is the last of the handshake.
fn connection_time(events: &[Value]) -> anyhow::Result<f64> {
    let began = events
        .iter()
        .find(|event| event["method"] == "Network.webSocketWillSendHandshakeRequest")
        .context("no WebSocket was opened")?;
    let socket = &began["params"]["requestId"];
    let frames = |method: &'static str| {
        events
            .iter()
            .filter(move |event| event["method"] == method && event["params"]["requestId"] == *socket)
            .filter_map(|event| event["params"]["timestamp"].as_f64())
    };
    let answered = frames("Network.webSocketFrameReceived")
        .next()
        .context("the relay sent no frame")?;
    let ended = frames("Network.webSocketFrameSent")
        .find(|at| *at > answered)
        .context("the page sent no frame after the relay's first")?;
    let began = began["params"]["timestamp"]
        .as_f64()
        .context("an event has a timestamp")?;
    Ok((ended - began) * 1_000.0)
}
