//! What people do to a tab: leave the page and go back, put it behind another, close the lid, lose the network.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    netns::Lab,
    page::{Page, SOON, Shown, chat_both_ways},
    relay::{Relay, RelayConfig},
};
use serde_json::json;

use crate::two_pages;

const RELAY: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 1);
const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 2);
const BOB: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 3);

/// Until both ends have noticed that nothing arrives any more: pings that are not answered.
const NOTICED_WITHIN: Duration = Duration::from_secs(25);

/// A goodbye that takes a few round trips; a missed ping takes far longer to be noticed.
const AT_ONCE: Duration = Duration::from_secs(4);

/// From the moment that a page may run, or the network is back, to a reservation.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Meets and talks, so that there is something to lose. Returns both peer ids.
async fn meet(alice: &Page, bob: &Page) -> anyhow::Result<(String, String)> {
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(alice, bob, SOON, "before").await?;
    Ok((alice_id, bob_id))
}

fn lost(shown: &Shown) -> bool {
    shown.relay.as_deref() == Some("lost")
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_user_leaves_the_page_and_goes_back_it_is_the_same_peer_and_chats() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let url = relay.url();
    let (alice, bob) = two_pages(&url).await?;
    let (alice_id, bob_id) = meet(&alice, &bob).await?;
    // What comes back is loaded anew, so it is the tab that remembers.
    alice
        .run("addEventListener('pageshow', ({ persisted }) => { sessionStorage.wasKept = persisted; });")
        .await?;

    alice.goto(&format!("{url}healthz")).await?;
    // Chromium keeps the page for a while, frozen, and its sockets open: the others must not be left to find out.
    bob.lost(&alice_id, AT_ONCE).await?;
    alice.back().await?;
    assert_eq!(
        alice.run("return sessionStorage.wasKept;").await?,
        "true",
        "the page was not kept: what is told here is another story"
    );
    assert_eq!(alice.reserved().await?, alice_id);
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, SOON, "back again").await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_tab_was_frozen_until_the_others_lost_it_it_comes_back() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = meet(&alice, &bob).await?;
    alice.run("window.notReloaded = true;").await?;

    alice
        .devtools("Page.setWebLifecycleState", json!({ "state": "frozen" }))
        .await?;
    bob.until_shown(NOTICED_WITHIN, "alice is not reached any more", |shown| {
        !shown.connected_to(&alice_id)
    })
    .await?;
    alice
        .devtools("Page.setWebLifecycleState", json!({ "state": "active" }))
        .await?;
    futures::try_join!(
        alice.connected_within(BACK_WITHIN, &bob_id),
        bob.connected_within(BACK_WITHIN, &alice_id)
    )?;
    assert_eq!(alice.reserved_within(BACK_WITHIN).await?, alice_id);
    chat_both_ways(&alice, &bob, SOON, "thawed").await?;
    assert_eq!(alice.run("return window.notReloaded === true;").await?, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_window_is_minimized_and_timers_are_throttled_the_page_goes_on_chatting() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = meet(&alice, &bob).await?;
    alice
        .run("window.ticks = 0; setInterval(() => { window.ticks++; }, 50);")
        .await?;
    let ticks = async || anyhow::Ok(alice.run("return window.ticks;").await?.as_u64().unwrap_or_default());

    alice.browser().minimize().await?;
    assert_eq!(alice.run("return document.visibilityState;").await?, "hidden");
    // Longer than either end goes without a ping that is answered.
    let before = ticks().await?;
    let hidden_until = Instant::now() + Duration::from_secs(12);
    let mut number = 0;
    while Instant::now() < hidden_until {
        number += 1;
        let word = format!("are you there {number}");
        chat_both_ways(&alice, &bob, SOON, &word).await?;
        let (alice, bob) = futures::try_join!(alice.shown(), bob.shown())?;
        assert_eq!(alice.relay.as_deref(), Some("reserved"));
        assert!(alice.connected_to(&bob_id) && bob.connected_to(&alice_id));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let during = ticks().await? - before;
    assert!(
        during < 40,
        "the timers of a hidden page were not throttled: {during} in twelve seconds"
    );

    alice.browser().restore().await?;
    assert_eq!(alice.run("return document.visibilityState;").await?, "visible");
    chat_both_ways(&alice, &bob, SOON, "back in front").await?;
    assert_eq!(alice.reserved().await?, alice_id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_cable_is_pulled_the_page_says_so_and_is_back_once_it_is_plugged_in() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let relay_host = lab.host("relay", RELAY)?;
    let (alice_host, bob_host) = (lab.host("alice", ALICE)?, lab.host("bob", BOB)?);
    let relay = Relay::start_with(RelayConfig::lan(relay_host.place())).await?;
    let url = format!("http://{RELAY}:{}/", relay.port());
    let launch = |place| Browser::launch_in(Kind::Chromium, place, ProtocolEvents::Ignored);
    let (alice, bob) = futures::try_join!(launch(alice_host.place()), launch(bob_host.place()))?;
    let (alice, bob) = futures::try_join!(alice.open(&url), bob.open(&url))?;
    let (alice_id, bob_id) = meet(&alice, &bob).await?;
    alice
        .run("window.lineWas = []; for (const kind of ['offline', 'online']) addEventListener(kind, () => window.lineWas.push(kind));")
        .await?;

    alice_host.unplug()?;
    alice.until_shown(NOTICED_WITHIN, "the relay is lost", lost).await?;
    let said = alice.shown().await?.notices;
    assert!(
        matches!(said.as_slice(), [only] if only.contains("connects again by itself")),
        "{said:?}"
    );
    bob.until_shown(NOTICED_WITHIN, "alice is not reached any more", |shown| {
        !shown.connected_to(&alice_id)
    })
    .await?;
    alice_host.plug()?;
    assert_eq!(alice.reserved_within(BACK_WITHIN).await?, alice_id);
    assert_eq!(alice.run("return window.lineWas;").await?, json!(["offline", "online"]));
    assert_eq!(alice.shown().await?.notices, Vec::<String>::new());
    futures::try_join!(
        alice.connected_within(BACK_WITHIN, &bob_id),
        bob.connected_within(BACK_WITHIN, &alice_id)
    )?;
    chat_both_ways(&alice, &bob, SOON, "plugged in").await
}
