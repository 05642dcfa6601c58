//! Firefox: whatever Chromiums do with each other, it does with them and with its own kind.

use std::time::Duration;

use libp2p::Multiaddr;
use peerway_tests::{
    browser::{Browser, Kind},
    eventually::{Look, eventually},
    js::JsRoute,
    page::{Page, READY_WITHIN, SOON, chat_both_ways},
    page_peer::{PagePeer, page_peer_site},
    relay::Relay,
};
use serde_json::json;

use crate::{driver::small_page_url, interop::websocket};

/// From the circuit to a direct connection: signalling, ICE, DTLS.
const DIRECT_WITHIN: Duration = Duration::from_secs(20);

/// More than every buffer on the way holds.
const LARGE: usize = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn when_two_firefoxes_meet_they_connect_directly_and_talk_on_when_the_relay_is_gone() -> anyhow::Result<()> {
    meet_and_talk(Kind::Firefox, Kind::Firefox).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_firefox_and_chromium_meet_they_connect_directly_and_talk_on_when_the_relay_is_gone() -> anyhow::Result<()>
{
    meet_and_talk(Kind::Firefox, Kind::Chromium).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_firefox_dials_chromium_streams_carry_whatever_they_shall() -> anyhow::Result<()> {
    dial_and_do_everything(Kind::Firefox, Kind::Chromium).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_chromium_dials_firefox_streams_carry_whatever_they_shall() -> anyhow::Result<()> {
    dial_and_do_everything(Kind::Chromium, Kind::Firefox).await
}

/// Without this the other stories would take a console that cannot be read for a clean one.
#[tokio::test(flavor = "multi_thread")]
async fn when_something_goes_wrong_in_firefox_its_console_tells_and_the_error_of_a_wait_too() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let page = open(Kind::Firefox, &relay.url()).await?;
    page.reserved().await?;
    nothing_went_wrong(&[&page]).await?;

    page.run(
        "console.error('something odd');
         setTimeout(() => { throw new Error('not caught'); });
         const script = document.createElement('script');
         script.textContent = 'document.title = `owned`';
         document.body.append(script);",
    )
    .await?;
    eventually(SOON, "three errors", async || {
        let errors = page.browser().console_errors().await?;
        let all = ["something odd", "not caught", "Content-Security-Policy"]
            .iter()
            .all(|part| errors.iter().any(|error| error.contains(part)));
        Ok(match (all, errors.len()) {
            (true, 3) => Look::There(()),
            _ => Look::NotYet(format!("{errors:#?}")),
        })
    })
    .await?;

    let error = page
        .hears_within(Duration::from_millis(300), "nobody", "anything")
        .await
        .unwrap_err()
        .to_string();
    for part in ["nobody says \"anything\"", "reserved", "something odd", ".png"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_only_chromium_can_do_something_a_story_with_firefox_is_told() -> anyhow::Result<()> {
    let page = open(Kind::Firefox, &small_page_url()?).await?;
    let error = page.devtools("Page.enable", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("only Chromium"), "{error}");
    let error = page.browser().protocol_events().await.unwrap_err().to_string();
    assert!(error.contains("only Chromium"), "{error}");

    // Tabs, and the end of a browser without a warning, are for all.
    let (alice, bob) = (page.browser().open(&small_page_url()?).await?, page);
    let (alice_id, bob_id) = (alice.reserved().await?, bob.reserved().await?);
    assert_ne!(alice_id, bob_id);
    alice.browser().crash().await?;
    assert!(alice.shown().await.is_err(), "it is gone");
    Ok(())
}

async fn open(kind: Kind, url: &str) -> anyhow::Result<Page> {
    Browser::launch_with(kind, &[]).await?.open(url).await
}

async fn meet_and_talk(alice: Kind, bob: Kind) -> anyhow::Result<()> {
    let mut relay = Relay::start().await?;
    let url = relay.url();
    let (alice, bob) = futures::try_join!(open(alice, &url), open(bob, &url))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(
        alice.reaches(&bob_id, "webrtc", DIRECT_WITHIN),
        bob.reaches(&alice_id, "webrtc", DIRECT_WITHIN)
    )?;
    chat_both_ways(&alice, &bob, READY_WITHIN, "with the relay").await?;

    // What a browser counts of a connection has other names in Firefox.
    alice
        .run("document.querySelector('footer details').open = true")
        .await?;
    alice.click("[data-testid=diagnose]").await?;
    let about_bob = format!("peer {bob_id}");
    eventually(READY_WITHIN, "a report on a direct connection", async || {
        let report = alice
            .run("return document.querySelector('[data-testid=diagnostics]')?.innerText ?? ''")
            .await?;
        let report = report.as_str().unwrap_or_default().to_owned();
        let parts = [&about_bob, "direct, browser to browser", " over udp; last check"];
        Ok(if parts.iter().all(|part| report.contains(part)) {
            Look::There(())
        } else {
            Look::NotYet(report)
        })
    })
    .await?;

    // Before the relay is gone: that it cannot be reached any more stands in the console.
    nothing_went_wrong(&[&alice, &bob]).await?;
    relay.crash()?;
    chat_both_ways(&alice, &bob, READY_WITHIN, "without the relay").await
}

/// As far as a browser's driver lets one see.
async fn nothing_went_wrong(pages: &[&Page]) -> anyhow::Result<()> {
    for page in pages {
        assert_eq!(page.browser().console_errors().await?, Vec::<String>::new());
    }
    Ok(())
}

async fn dial_and_do_everything(dialler: Kind, dialled: Kind) -> anyhow::Result<()> {
    let (relay, site) = (Relay::start().await?, page_peer_site()?);
    let address = websocket(&relay).await?;
    let (from, to) = futures::try_join!(Browser::launch_with(dialler, &[]), Browser::launch_with(dialled, &[]))?;
    let peers = futures::try_join!(
        PagePeer::open(&from, &site, &address),
        PagePeer::open(&to, &site, &address)
    )?;
    let (from, to) = the_first_dials(peers, &address).await?;
    futures::try_join!(
        from.reaches(to.id(), Some(JsRoute::Webrtc)),
        to.reaches(from.id(), Some(JsRoute::Webrtc))
    )?;

    futures::try_join!(from.measures(to.id()), to.measures(from.id()))?;
    from.echo(to.id(), LARGE).await?;
    to.echo(from.id(), LARGE).await?;
    from.throughput(to.id(), LARGE).await?;
    to.throughput(from.id(), LARGE).await?;
    from.say("hello").await?;
    to.hears(from.id(), "hello").await?;
    to.say("hello yourself").await?;
    from.hears(to.id(), "hello yourself").await?;
    nothing_went_wrong(&[from.page(), to.page()]).await?;

    // Each learns that the other is gone and lets go of the connection. One to the other's new identity may be there.
    let from = from.start_anew(&address).await?;
    to.closes_all_but(1).await?;
    futures::try_join!(
        from.reaches(to.id(), Some(JsRoute::Webrtc)),
        to.reaches(from.id(), Some(JsRoute::Webrtc))
    )?;
    let to = to.start_anew(&address).await?;
    from.closes_all_but(1).await?;
    nothing_went_wrong(&[from.page(), to.page()]).await
}

/// Of two peers the one with the lower id dials: gives both new identities until that is the first.
async fn the_first_dials(
    (first, second): (PagePeer, PagePeer),
    relay: &Multiaddr,
) -> anyhow::Result<(PagePeer, PagePeer)> {
    let mut peers = (first, second);
    while peers.0.id() > peers.1.id() {
        peers = futures::try_join!(peers.0.start_anew(relay), peers.1.start_anew(relay))?;
    }
    Ok(peers)
}
