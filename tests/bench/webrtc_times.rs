//! How fast two pages connect, how much goes over one stream, and what a connection costs: ours, js-libp2p's at its
//! defaults, and a bare `RTCPeerConnection`. One JSON object per line on standard output.
//!
//! The same two browser processes measure everything, in turns, so that what the machine does meanwhile hits all alike;
//! what is compared are the ratios of each turn.

use std::time::Duration;

use libp2p::{Multiaddr, multiaddr::Protocol};
use peerway_tests::{
    browser::Browser,
    js::{JsPeer, JsRoute, page_site},
    page_peer::{PagePeer, Reach, page_peer_site},
    raw::RawPair,
    relay::Relay,
    samples::{report, report_in},
    site::Site,
};
use serde_json::{Value, json};

/// Rounds; each gives one sample of every number.
const ROUNDS: usize = 10;

/// What goes over a stream in one sample.
const BYTES: usize = 64 << 20;

/// Peers that one page is connected to while its memory is looked at.
const CONNECTED: usize = 12;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let address = relay
        .address("WebSocket", |address| {
            address.iter().any(|part| matches!(part, Protocol::Ws(_)))
        })
        .await?;
    let (sites, browsers) = ((page_site()?, page_peer_site()?), windows().await?);
    compare(&browsers, &sites, &address).await?;
    drop(browsers);
    weigh(&sites.1, &address).await
}

/// Two browsers in which no page is hidden.
async fn windows() -> anyhow::Result<(Browser, Browser)> {
    let browsers = Browser::launch_two().await?;
    browsers.0.open_windows().await;
    browsers.1.open_windows().await;
    Ok(browsers)
}

/// Ours, js-libp2p's and the browser's own, in turns.
async fn compare(browsers: &(Browser, Browser), sites: &(Site, Site), relay: &Multiaddr) -> anyhow::Result<()> {
    let raw = RawPair::open((&browsers.0, &browsers.1), &sites.0).await?;
    let ours = futures::try_join!(
        PagePeer::open_passive(&browsers.0, &sites.1, relay),
        PagePeer::open_passive(&browsers.1, &sites.1, relay)
    )?;
    let js = futures::try_join!(
        JsPeer::open_silent(&browsers.0, &sites.0, relay),
        JsPeer::open_silent(&browsers.1, &sites.0, relay)
    )?;
    // Who comes anew for the whole job; the others keep their nodes.
    let newcomers = futures::try_join!(
        PagePeer::open_passive(&browsers.0, &sites.1, relay),
        JsPeer::open_silent(&browsers.0, &sites.0, relay)
    )?;
    let js_address = js.1.reserved(JsRoute::Webrtc).await?;
    let mut rounds = Vec::new();
    // The first is not counted: code that runs for the first time is compiled then.
    for round in 0..=ROUNDS {
        let raw_dial = raw.dial().await?;
        let raw = Sample::new(raw_dial, raw.throughput(BYTES).await?, None);

        let dialled = ours.0.connect(ours.1.id(), Reach::DirectOnly).await?.took()?;
        let throughput = ours.0.throughput(ours.1.id(), BYTES).await?;
        ours.0.hang_up(ours.1.id()).await?;
        ours.1.reaches(ours.0.id(), None).await?;
        // The same dial in its two parts.
        let circuit = ours.0.connect(ours.1.id(), Reach::RelayOnly).await?.took()?;
        let exchange = ours.0.connect(ours.1.id(), Reach::DirectOnly).await?.took()?;
        ours.0.hang_up(ours.1.id()).await?;
        ours.1.reaches(ours.0.id(), None).await?;
        let whole = newcomers.0.meet_anew(relay, ours.1.id()).await?;
        let ours = Sample::new(dialled, throughput, Some(whole));

        let dialled = js.0.dial(&js_address).await?;
        let throughput = js.0.throughput(js.1.id(), JsRoute::Webrtc, BYTES).await?;
        // So that the next dial begins without a circuit too.
        js.0.hang_up_all(js.1.id()).await?;
        // By itself it takes many seconds to find out that a direct connection was closed.
        js.1.hang_up_all(js.0.id()).await?;
        js.1.forgets(js.0.id()).await?;
        let whole = newcomers.1.meet_anew(relay, js.1.id(), &js_address).await?;
        let js = Sample::new(dialled.took()?, throughput, Some(whole));

        if round > 0 {
            rounds.push(Round {
                ours,
                js,
                raw,
                circuit: millis(circuit),
                exchange: millis(exchange),
                tries: dialled.tries,
            });
        }
    }
    tell(&rounds);
    Ok(())
}

fn tell(rounds: &[Round]) {
    let of = |who: Pick| rounds.iter().map(who);
    let whos: [(&str, Pick); 3] = [
        ("Peerway", |round| &round.ours),
        ("js-libp2p", |round| &round.js),
        ("RTCPeerConnection", |round| &round.raw),
    ];
    for (name, who) in whos {
        report(&format!("{name}: dial to connected"), of(who).map(|one| one.dial));
    }
    report(
        "Peerway: of a dial, the circuit alone",
        rounds.iter().map(|round| round.circuit),
    );
    report(
        "Peerway: of a dial, what follows over a circuit that is there",
        rounds.iter().map(|round| round.exchange),
    );
    for (name, who) in whos {
        let throughput = of(who).map(|one| one.throughput);
        report_in(&format!("{name}: throughput of one stream"), "MiB/s", throughput);
    }
    for (name, who) in &whos[..2] {
        let whole = of(*who).filter_map(|one| one.whole);
        report(&format!("{name}: start of a node to a direct ping"), whole);
    }
    let tries = rounds.iter().map(|round| f64::from(round.tries));
    report_in("js-libp2p: tries until a dial succeeds", "tries", tries);
    let ratio = |name: &str, ratio: fn(&Round) -> f64| report_in(name, "×", rounds.iter().map(ratio));
    ratio("Dial, Peerway / RTCPeerConnection", |round| {
        round.ours.dial / round.raw.dial
    });
    ratio(
        "Dial over a circuit that is there, Peerway / RTCPeerConnection",
        |round| round.exchange / round.raw.dial,
    );
    ratio("Dial, Peerway / js-libp2p", |round| round.ours.dial / round.js.dial);
    ratio("Throughput, Peerway / RTCPeerConnection", |round| {
        round.ours.throughput / round.raw.throughput
    });
    ratio("Throughput, Peerway / js-libp2p", |round| {
        round.ours.throughput / round.js.throughput
    });
    ratio("Start to a direct ping, Peerway / js-libp2p", |round| {
        round.ours.whole.unwrap_or(f64::NAN) / round.js.whole.unwrap_or(f64::NAN)
    });
}

/// What direct connections cost the page that has them.
async fn weigh(site: &Site, relay: &Multiaddr) -> anyhow::Result<()> {
    let (one, many) = windows().await?;
    let page = PagePeer::open_passive(&one, site, relay).await?;
    let mut peers = Vec::new();
    for _ in 0..CONNECTED {
        peers.push(PagePeer::open_passive(&many, site, relay).await?);
    }
    // What the first one costs is code and tables that all share.
    page.connect(peers[0].id(), Reach::DirectOnly).await?;
    let before = Weight::of(&page).await?;
    for peer in &peers[1..] {
        page.connect(peer.id(), Reach::DirectOnly).await?;
    }
    let after = Weight::of(&page).await?;
    let more = (CONNECTED - 1) as f64;
    let per_connection = |name: &str, pick: fn(&Weight) -> f64| {
        let name = format!("A further direct connection: {name}");
        let kib = (pick(&after) - pick(&before)) / more / 1024.0;
        report_in(&name, "KiB", std::iter::once(kib));
    };
    per_connection("WebAssembly memory", |weight| weight.wasm);
    per_connection("JavaScript heap", |weight| weight.heap);
    per_connection("the page's process", |weight| weight.process);
    Ok(())
}

/// What a page takes, in bytes.
struct Weight {
    wasm: f64,
    heap: f64,
    process: f64,
}

impl Weight {
    async fn of(page: &PagePeer) -> anyhow::Result<Self> {
        let tab = page.page();
        tab.devtools("HeapProfiler.collectGarbage", json!({})).await?;
        tab.devtools("Performance.enable", json!({})).await?;
        let metrics = tab.devtools("Performance.getMetrics", json!({})).await?;
        let heap = metrics["metrics"].as_array().into_iter().flatten();
        let heap = heap
            .filter(|metric| metric["name"] == "JSHeapUsedSize")
            .find_map(|metric| Value::as_f64(&metric["value"]));
        Ok(Self {
            wasm: page.status().await?.memory as f64,
            heap: heap.unwrap_or(f64::NAN),
            process: tab.browser().memory_of_pages().await? as f64,
        })
    }
}

/// What one round showed.
struct Round {
    ours: Sample,
    js: Sample,
    raw: Sample,
    /// Milliseconds from the dial to a circuit.
    circuit: f64,
    /// Milliseconds from the dial to a direct connection where a circuit is there already, as the raw pair's WebSocket is.
    exchange: f64,
    /// How often js-libp2p tried; the time is that of the try that succeeded.
    tries: u32,
}

/// Whose sample of a round.
type Pick = fn(&Round) -> &Sample;

/// One turn of one of them.
struct Sample {
    /// Milliseconds from the dial to a connection.
    dial: f64,
    /// Mebibytes a second.
    throughput: f64,
    /// Milliseconds from nothing, not even a node, to a ping over a direct connection.
    whole: Option<f64>,
}

impl Sample {
    fn new(dial: Duration, transfer: Duration, whole: Option<Duration>) -> Self {
        Self {
            dial: millis(dial),
            throughput: f64::from(u32::try_from(BYTES >> 20).unwrap_or(u32::MAX)) / transfer.as_secs_f64(),
            whole: whole.map(millis),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
