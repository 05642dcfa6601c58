//! What routers let through decides how two browsers reach each other. The relay is the only server: it carries the page,
//! the circuits, and STUN.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use libp2p::{Multiaddr, multiaddr::Protocol};
use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    eventually::{Look, eventually},
    js::JsRoute,
    netns::{
        Host, Place,
        nat::{Device, Families, Filter, Internet, Router},
    },
    page::{Page, READY_WITHIN, SOON, Shown, chat_both_ways},
    page_peer::{PagePeer, page_peer_site, page_peer_site_at},
    relay::{Relay, RelayConfig, RelayInfo},
    site::Site,
};
use serde_json::json;

use crate::open_one;

/// From the circuit to a direct connection: signalling, ICE, DTLS.
const DIRECT_WITHIN: Duration = Duration::from_secs(30);

/// Until a browser has tried every pair of addresses, or the session has no time left.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(60);

/// From a friendlier router to a direct connection: an attempt that had begun before it comes to nothing first.
const UPGRADED_WITHIN: Duration = Duration::from_secs(40);

/// What the page says when the networks are to blame.
const NO_WAY: &str = "because the networks between the two browsers do not let them connect directly";

/// What it says when a browser was still looking for addresses to try as the time was over: without UDP it looks for long.
const TOO_LATE: &str = "because there was no direct connection in time";

/// More than every buffer on the way holds.
const LARGE: usize = 8 << 20;

/// What it says when the other browser was the first to find no way.
const GAVE_UP: &str = "because the other peer ended the exchange (at: trying network addresses)";

/// From another network under a page to a chat that works, both ways.
const BACK_WITHIN: Duration = Duration::from_secs(20);

/// Keeps every `RTCPeerConnection` that a page makes.
const KEEP_CONNECTIONS: &str = r"
    window.kept = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) {
            super(...given);
            kept.push(this);
        }
    };
";

/// The address of the other side on the chosen pair of the newest connection.
const REMOTE_ADDRESS: &str = r"
    return kept.at(-1).getStats().then((stats) => {
        const all = [...stats.values()];
        const transport = all.find((one) => one.type === 'transport');
        return stats.get(stats.get(transport.selectedCandidatePairId).remoteCandidateId).address;
    });
";

/// A relay on the public network.
struct World {
    internet: Internet,
    relay_host: Host,
    relay: Relay,
}

impl World {
    async fn enter() -> anyhow::Result<Option<Self>> {
        let Some(mut internet) = Internet::enter()? else {
            return Ok(None);
        };
        let relay_host = internet.public_host("relay")?;
        let relay = Relay::start_with(RelayConfig::with_flags(relay_host.place(), &["--public"])).await?;
        Ok(Some(Self {
            internet,
            relay_host,
            relay,
        }))
    }

    fn home(&mut self, name: &str, filter: Filter) -> anyhow::Result<(Device, Router)> {
        self.internet.home(name, filter, Families::Ipv4)
    }

    /// Our page in a browser of its own.
    async fn page(&self, place: &Place) -> anyhow::Result<Page> {
        let url = format!("http://{}:{}/", self.relay_host.address(), self.relay.port());
        let browser = Browser::launch_in(Kind::Chromium, place, ProtocolEvents::Ignored).await?;
        open_with(&browser, &url, KEEP_CONNECTIONS).await
    }

    /// Our page in a browser of its own at each of two places, both reserved.
    async fn two_pages(&self, alice: &Place, bob: &Place) -> anyhow::Result<Pair> {
        let (alice, bob) = futures::try_join!(self.page(alice), self.page(bob))?;
        Pair::reserved(alice, bob).await
    }

    /// Where nodes come from that echo: the relay's machine.
    fn echoes(&self) -> anyhow::Result<Site> {
        page_peer_site_at(&self.relay_host)
    }
}

/// Two pages that hold their reservations.
struct Pair {
    alice: Page,
    bob: Page,
    alice_id: String,
    bob_id: String,
}

impl Pair {
    async fn reserved(alice: Page, bob: Page) -> anyhow::Result<Self> {
        let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
        Ok(Self {
            alice,
            bob,
            alice_id,
            bob_id,
        })
    }

    /// Waits until both rows say this route.
    async fn reach(&self, route: &str, within: Duration) -> anyhow::Result<()> {
        futures::try_join!(
            self.alice.reaches(&self.bob_id, route, within),
            self.bob.reaches(&self.alice_id, route, within)
        )?;
        Ok(())
    }

    async fn chat(&self, word: &str) -> anyhow::Result<()> {
        chat_both_ways(&self.alice, &self.bob, SOON, word).await
    }

    /// In place of the pages come nodes that echo.
    async fn echo(self, site: &Site, route: JsRoute) -> anyhow::Result<()> {
        let (alice, bob) = futures::try_join!(replace(self.alice, site), replace(self.bob, site))?;
        echo(&alice, &bob, route).await
    }

    /// They connect directly, and talk.
    async fn are_direct(&self) -> anyhow::Result<()> {
        self.reach("webrtc", DIRECT_WITHIN).await?;
        self.chat("directly").await
    }

    /// They talk through the relay, and both rows say why it is not better, for one of these reasons.
    async fn are_relayed_because(&self, reasons: &[&str]) -> anyhow::Result<()> {
        self.reach("circuit", READY_WITHIN).await?;
        self.chat("through the relay").await?;
        futures::try_join!(
            says_why(&self.alice, &self.bob_id, reasons),
            says_why(&self.bob, &self.alice_id, reasons)
        )?;
        Ok(())
    }

    /// Marks both pages, so that a reload would show.
    async fn mark(&self) -> anyhow::Result<()> {
        for page in [&self.alice, &self.bob] {
            page.run("window.notReloaded = true;").await?;
        }
        Ok(())
    }

    /// How many direct connections each page has made so far.
    async fn connections(&self) -> anyhow::Result<(u64, u64)> {
        let count = async |page: &Page| anyhow::Ok(page.run("return kept.length;").await?.as_u64().unwrap_or_default());
        futures::try_join!(count(&self.alice), count(&self.bob))
    }

    /// What people do whose line went dead: they say something again and again until they get through, both ways.
    async fn talk_until_heard(&self, within: Duration) -> anyhow::Result<()> {
        const BETWEEN_TRIES: Duration = Duration::from_secs(1);
        const WORD: &str = "can you hear me";
        let began = Instant::now();
        let heard = |from: &str| {
            let from = from.to_owned();
            move |shown: &Shown| {
                let mut lines = shown.messages.iter();
                lines.any(|line| line.from == from && line.text.starts_with(WORD))
            }
        };
        let mut number = 0;
        loop {
            number += 1;
            for page in [&self.alice, &self.bob] {
                page.say(&format!("{WORD} {number}")).await?;
            }
            let left = within.saturating_sub(began.elapsed());
            let patience = left.min(BETWEEN_TRIES);
            let both = futures::try_join!(
                self.alice.until_shown(patience, "bob is heard", heard(&self.bob_id)),
                self.bob.until_shown(patience, "alice is heard", heard(&self.alice_id))
            );
            match both {
                Ok(_) => return Ok(()),
                Err(error) if left.is_zero() => return Err(error),
                Err(_) => {}
            }
        }
    }

    async fn are_still_marked(&self) -> anyhow::Result<bool> {
        let mut marked = true;
        for page in [&self.alice, &self.bob] {
            marked &= page.run("return window.notReloaded === true;").await? == true;
        }
        Ok(marked)
    }
}

/// Opens a page in which `script` runs before all others.
async fn open_with(browser: &Browser, url: &str, script: &str) -> anyhow::Result<Page> {
    let page = browser.open("about:blank").await?;
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }))
        .await?;
    page.goto(url).await?;
    Ok(page)
}

/// In place of a page comes a node that echoes, at the same relay and with the same STUN servers.
async fn replace(page: Page, site: &Site) -> anyhow::Result<PagePeer> {
    // Only who is on its network can ask the relay.
    let info = page.run("return fetch('/relay.json').then((answer) => answer.json());");
    let info: RelayInfo = serde_json::from_value(info.await?)?;
    // Homes have IPv4, whatever else they have.
    let is_usable = |address: &&Multiaddr| {
        let mut parts = address.iter();
        matches!(parts.next(), Some(Protocol::Ip4(_))) && parts.any(|part| matches!(part, Protocol::Ws(_)))
    };
    let relay = info.addrs.iter().find(is_usable).context("no WebSocket over IPv4")?;
    PagePeer::replace(page, site, relay, &info.stun).await
}

/// Waits until two nodes are connected by this route, and has eight megabytes sent there and back.
async fn echo(alice: &PagePeer, bob: &PagePeer, route: JsRoute) -> anyhow::Result<()> {
    futures::try_join!(
        alice.reaches_within(DIRECT_WITHIN, bob.id(), Some(route)),
        bob.reaches_within(DIRECT_WITHIN, alice.id(), Some(route))
    )?;
    alice.echo(bob.id(), LARGE).await?;
    Ok(())
}

/// Waits until the row of `peer` gives one of these reasons.
async fn says_why(page: &Page, peer: &str, reasons: &[&str]) -> anyhow::Result<()> {
    let script = format!("return document.querySelector('[data-peer-id=\"{peer}\"]')?.innerText ?? '';");
    eventually(
        GIVEN_UP_WITHIN,
        &format!("a row that says one of {reasons:?}"),
        async || {
            let said = page.run(&script).await?;
            let found = said
                .as_str()
                .is_some_and(|said| reasons.iter().any(|reason| said.contains(reason)));
            Ok(if found {
                Look::There(())
            } else {
                Look::NotYet(said.to_string())
            })
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_both_have_public_addresses_they_connect_directly() -> anyhow::Result<()> {
    let Some(mut world) = World::enter().await? else {
        return Ok(());
    };
    let (alice, bob) = (world.internet.public_host("alice")?, world.internet.public_host("bob")?);
    let pair = world.two_pages(alice.place(), bob.place()).await?;
    pair.are_direct().await?;
    pair.echo(&world.echoes()?, JsRoute::Webrtc).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_both_routers_keep_ports_they_connect_directly() -> anyhow::Result<()> {
    let Some(mut world) = World::enter().await? else {
        return Ok(());
    };
    let (alice, _) = world.home("alice", Filter::PortPreserving)?;
    let (bob, _) = world.home("bob", Filter::PortPreserving)?;
    let pair = world.two_pages(alice.place(), bob.place()).await?;
    pair.are_direct().await?;
    pair.echo(&world.echoes()?, JsRoute::Webrtc).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_only_ipv6_is_not_translated_they_connect_directly_over_it() -> anyhow::Result<()> {
    let Some(mut world) = World::enter().await? else {
        return Ok(());
    };
    // Two telephones: the provider translates IPv4 as it likes, and lets in over IPv6 only what was asked for.
    let (alice, _) = world.internet.home("alice", Filter::Symmetric, Families::Both)?;
    let (bob, _) = world.internet.home("bob", Filter::Symmetric, Families::Both)?;
    let pair = world.two_pages(alice.place(), bob.place()).await?;
    pair.are_direct().await?;
    assert_eq!(pair.alice.run(REMOTE_ADDRESS).await?, "2001:db8:12::2");
    assert_eq!(pair.bob.run(REMOTE_ADDRESS).await?, "2001:db8:11::2");
    pair.echo(&world.echoes()?, JsRoute::Webrtc).await
}

/// One story of what would be three: each waits long, until browsers have given up, and they can wait together.
#[tokio::test(flavor = "multi_thread")]
async fn when_routers_let_no_browser_through_all_are_relayed_until_one_of_them_is_replaced() -> anyhow::Result<()> {
    let Some(mut world) = World::enter().await? else {
        return Ok(());
    };
    let (friendly, _) = world.home("friendly", Filter::PortPreserving)?;
    let (drawing, router) = world.home("drawing", Filter::Symmetric)?;
    let (also_drawing, _) = world.home("also-drawing", Filter::Symmetric)?;
    let (blocked, _) = world.home("blocked", Filter::UdpBlocked)?;
    let homes = [&friendly, &drawing, &also_drawing, &blocked];
    let pages = try_join_all(homes.map(|home| world.page(home.place()))).await?;
    let [friendly, drawing, also_drawing, blocked] = &pages[..] else {
        anyhow::bail!("{} pages for {} homes", pages.len(), homes.len());
    };
    let pair = |alice: &Page, bob: &Page| Pair::reserved(alice.clone(), bob.clone());
    let (replaced, drawn_twice, drawn, cut_off) = futures::try_join!(
        pair(friendly, drawing),
        pair(drawing, also_drawing),
        pair(friendly, also_drawing),
        pair(friendly, blocked)
    )?;
    replaced.mark().await?;
    futures::try_join!(
        replaced.are_relayed_because(&[NO_WAY, GAVE_UP]),
        drawn_twice.are_relayed_because(&[NO_WAY, GAVE_UP]),
        drawn.are_relayed_because(&[NO_WAY, GAVE_UP]),
        cut_off.are_relayed_because(&[NO_WAY, GAVE_UP, TOO_LATE])
    )?;

    router.set_filter(Filter::PortPreserving)?;
    // What a browser says whose network changed.
    for page in [friendly, drawing] {
        page.run("dispatchEvent(new Event('online'));").await?;
    }
    replaced.reach("webrtc", UPGRADED_WITHIN).await?;
    replaced.chat("directly").await?;
    assert!(replaced.are_still_marked().await?);
    for pair in [&drawn_twice, &drawn, &cut_off] {
        pair.reach("circuit", Duration::ZERO).await?;
        pair.chat("still through the relay").await?;
    }

    router.set_filter(Filter::Symmetric)?;
    let site = world.echoes()?;
    let nodes = try_join_all(pages.into_iter().map(|page| replace(page, &site))).await?;
    let [friendly, drawing, also_drawing, blocked] = &nodes[..] else {
        anyhow::bail!("{} nodes in place of as many pages", nodes.len());
    };
    let echoes = [(drawing, friendly), (also_drawing, drawing), (blocked, friendly)];
    try_join_all(echoes.map(|(alice, bob)| echo(alice, bob, JsRoute::Circuit))).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_browser_has_no_webrtc_they_are_relayed() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let url = relay.url();
    let without = async { open_with(&Browser::launch().await?, &url, "delete window.RTCPeerConnection;").await };
    let (alice, bob) = futures::try_join!(without, open_one(&url))?;
    assert_eq!(alice.run("return typeof RTCPeerConnection;").await?, "undefined");
    let pair = Pair::reserved(alice, bob).await?;
    pair.are_relayed_because(&["because"]).await?;
    pair.echo(&page_peer_site()?, JsRoute::Circuit).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_page_is_carried_to_another_network_it_comes_back_and_chats_without_a_reload() -> anyhow::Result<()> {
    let Some(mut world) = World::enter().await? else {
        return Ok(());
    };
    let (mut alice, _) = world.home("alice", Filter::PortPreserving)?;
    let (bob, _) = world.home("bob", Filter::PortPreserving)?;
    let elsewhere = world.internet.router(Filter::PortPreserving, Families::Ipv4)?;
    let pair = world.two_pages(alice.place(), bob.place()).await?;
    pair.are_direct().await?;
    pair.mark().await?;

    let connections = pair.connections().await?;
    alice.join(&elsewhere)?;
    let carried = Instant::now();
    let left = || BACK_WITHIN.saturating_sub(carried.elapsed());
    pair.talk_until_heard(BACK_WITHIN).await?;
    pair.alice.reserved_within(left()).await?;
    // What the rows say of the old connection counts for nothing.
    for (page, before) in [(&pair.alice, connections.0), (&pair.bob, connections.1)] {
        let script = format!("return kept.slice({before}).some((one) => one.connectionState === 'connected');");
        eventually(left(), "a new direct connection", async || {
            Ok(if page.run(&script).await? == true {
                Look::There(())
            } else {
                Look::NotYet(format!("{:#?}", page.shown().await?))
            })
        })
        .await?;
    }
    pair.reach("webrtc", SOON).await?;
    pair.chat("elsewhere").await?;
    assert!(pair.are_still_marked().await?);
    Ok(())
}
