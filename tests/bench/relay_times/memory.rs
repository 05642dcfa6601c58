//! What a peer costs that has a slot and does nothing, and how many pages fit.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use libp2p::{Multiaddr, swarm::NetworkBehaviour};
use peerway_core::protocol::DISCOVERY_TOPIC;
use peerway_tests::samples::{Aim, report_against, report_in};

use crate::{
    client::{Node, Page, Raw},
    contestants::{Carrier, Contestant, Maker},
    host,
};

const KIB: f64 = 1_024.0;
const MIB: f64 = KIB * KIB;
/// Peers before anything is looked at: what the first cost is code and tables that all share.
const WARM_UP: usize = 50;
/// Peers that come then.
const PEERS: usize = 500;
/// Connections that are made at once.
const COMING: usize = 16;
/// How long what was needed only to connect is given to go away.
const SETTLING: Duration = Duration::from_secs(3);

/// Pages at once.
const PAGES: usize = 5_000;
/// Bytes of memory that a small machine has.
const GIVEN: f64 = 1e9;
/// What of them the relay takes before it refuses newcomers, by default.
const USABLE: f64 = 0.75;

/// Memory per idle peer, ours and the others' in turns.
pub(crate) async fn idle(rounds: usize) -> anyhow::Result<()> {
    let makers = [Maker::Ours, Maker::Stock, Maker::Js];
    for carrier in [Carrier::Tcp, Carrier::WebSocket, Carrier::WebRtcDirect] {
        let mut all = vec![Vec::new(); makers.len()];
        for _ in 0..rounds {
            for (maker, weights) in makers.iter().zip(&mut all) {
                let weight = weigh(*maker, carrier).await;
                weights.push(weight.with_context(|| format!("{} over {}", maker.name(), carrier.name()))?);
            }
        }
        for (maker, weights) in makers.iter().zip(&all) {
            let name = format!("Memory of an idle peer over {}: {}", carrier.name(), maker.name());
            report_in(&name, "KiB", weights.iter().copied());
        }
        for ((maker, theirs), aim) in makers.iter().zip(&all).skip(1).zip([0.9, 0.3]) {
            let name = format!(
                "Memory of an idle peer over {}, Peerway / {}",
                carrier.name(),
                maker.name()
            );
            let ratios = all[0].iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
            report_against(&name, "×", ratios, Aim::AtMost(aim));
        }
    }
    Ok(())
}

/// Kibibytes per peer, of a relay that is started for it.
async fn weigh(maker: Maker, carrier: Carrier) -> anyhow::Result<f64> {
    let (warm_up, peers) = match carrier {
        Carrier::Tcp | Carrier::WebSocket => (WARM_UP, PEERS),
        // Each takes the load a third of a second.
        Carrier::WebRtcDirect => (WARM_UP / 5, PEERS / 10),
    };
    let relay = maker.start().await?;
    let address = relay.address(carrier)?;
    let first = come(&address, warm_up, Node::<Raw>::reserved).await?;
    tokio::time::sleep(SETTLING).await;
    let before = relay.resident()?;
    let rest = come(&address, peers, Node::<Raw>::reserved).await?;
    tokio::time::sleep(SETTLING).await;
    let more = relay.resident()?.saturating_sub(before);
    drop((first, rest));
    Ok(more as f64 / KIB / peers as f64)
}

/// So many peers, made by `make`, a few at a time.
pub(crate) async fn come<B: NetworkBehaviour>(
    address: &Multiaddr,
    peers: usize,
    make: impl AsyncFn(&Multiaddr) -> anyhow::Result<Node<B>>,
) -> anyhow::Result<Vec<Node<B>>> {
    let (at_once, tries) = match Carrier::of(address) {
        Carrier::Tcp | Carrier::WebSocket => (COMING, 1),
        // libp2p's native client gives up what takes longer than ten seconds, which now and then it does.
        Carrier::WebRtcDirect => (1, 3),
    };
    let make = &make;
    let all = stream::iter(0..peers).map(async |_| {
        let mut made = make(address).await;
        for _ in 1..tries {
            if made.is_err() {
                made = make(address).await;
            }
        }
        made
    });
    all.buffer_unordered(at_once).try_collect().await
}

/// Pages that have a slot at once on a relay that is held to 1 GB and has its limits as they are by default, and how many
/// more would fit by what each of them costs.
pub(crate) async fn pages() -> anyhow::Result<()> {
    host::ensure_descriptors(PAGES as u64 + 1_000)?;
    let group = host::Group::with_memory(GIVEN as u64).context("to hold a relay to 1 GB takes root")?;
    let relay = Contestant::ours_within(&group).await?;
    let address = relay.address(Carrier::WebSocket)?;
    let first = come(&address, WARM_UP, page).await?;
    tokio::time::sleep(SETTLING).await;
    let before = relay.resident()? as f64;
    let rest = come(&address, PAGES - WARM_UP, page).await?;
    tokio::time::sleep(SETTLING).await;
    let used = relay.resident()? as f64;
    // Nobody was let go for somebody else, and all may stay.
    let lost: usize = first.iter().chain(&rest).map(Node::closed).sum();
    ensure!(lost == 0, "{lost} of {PAGES} pages lost the relay");
    for page in first.iter().chain(&rest) {
        page.reserve(&address).await.context("a renewal")?;
    }
    let each = (used - before) / rest.len() as f64;
    let fit = WARM_UP as f64 + (GIVEN * USABLE - before) / each;
    let once = |name: &str, unit: &str, value: f64| report_in(name, unit, std::iter::once(value));
    let held = (first.len() + rest.len()) as f64;
    report_against(
        "Pages with a slot on a relay that is held to 1 GB, at its default limits",
        "",
        std::iter::once(held),
        Aim::AtLeast(PAGES as f64),
    );
    once("The relay's memory with them", "MiB", used / MIB);
    once(
        "The same with what the kernel keeps for it",
        "MiB",
        group.used()? as f64 / MIB,
    );
    once("Memory of one of these pages", "KiB", each / KIB);
    once("Pages that would fit, by that", "", fit.floor());
    Ok(())
}

/// One that also listens for who is there.
async fn page(relay: &Multiaddr) -> anyhow::Result<Node<Page>> {
    let page = Node::page(|_| ())?;
    page.connect(relay).await?;
    page.subscribe(DISCOVERY_TOPIC).await?;
    page.reserve(relay).await?;
    Ok(page)
}
