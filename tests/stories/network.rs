//! What networks do to a page: other addresses, no secure context, packets that vanish. Each in namespaces of its own.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    eventually::{Look, eventually},
    netns::{Host, Lab},
    page::{Page, SOON, Shown, chat_both_ways},
    relay::{Relay, RelayConfig},
};

const RELAY: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 1);
const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 2);
const BOB: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 3);
const ALICE_MOVED: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 12);

/// From the return of a page that fell silent to a chat that works, both ways.
const BACK_WITHIN: Duration = Duration::from_secs(30);

async fn browser_on(host: &Host) -> anyhow::Result<Browser> {
    Browser::launch_in(Kind::Chromium, host.place(), ProtocolEvents::Ignored).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_page_comes_from_a_private_address_it_works_without_a_secure_context() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let hosts = (
        lab.host("relay", RELAY)?,
        lab.host("alice", ALICE)?,
        lab.host("bob", BOB)?,
    );
    let relay = Relay::start_with(RelayConfig::lan(hosts.0.place())).await?;
    let url = format!("http://{RELAY}:{}/", relay.port());
    let (alice, bob) = futures::try_join!(browser_on(&hosts.1), browser_on(&hosts.2))?;
    let (alice, second, bob) = (alice.open(&url).await?, alice.open(&url).await?, bob.open(&url).await?);
    assert_eq!(alice.run("return window.isSecureContext;").await?, false);

    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    // Without Web Locks, too, two tabs are two peers: at once, or as soon as the first has time to say which it is.
    let second_id = eventually(SOON, "the second tab is another peer", async || {
        let second_id = second.reserved().await?;
        Ok(if second_id == alice_id {
            Look::NotYet(second_id)
        } else {
            Look::There(second_id)
        })
    })
    .await?;
    futures::try_join!(
        alice.connected_to(&bob_id),
        bob.connected_to(&alice_id),
        bob.connected_to(&second_id)
    )?;
    chat_both_ways(&alice, &bob, SOON, "hello").await?;
    alice.reload().await?;
    assert_eq!(alice.reserved().await?, alice_id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_two_pages_share_no_address_of_the_relay_they_meet() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let (relay_host, bob_host) = (lab.host("relay", RELAY)?, lab.host("bob", BOB)?);
    let relay = Relay::start_with(RelayConfig::lan(relay_host.place())).await?;
    // Alice sits at the relay's machine and knows it by its loopback address, Bob by the one of the network.
    let (alice, bob) = futures::try_join!(browser_on(&relay_host), browser_on(&bob_host))?;
    let alice = alice.open(&format!("http://127.0.0.1:{}/", relay.port())).await?;
    let bob = bob.open(&format!("http://{RELAY}:{}/", relay.port())).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, SOON, "hello").await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_page_falls_silent_and_returns_by_another_address_it_chats_within_half_a_minute() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let relay_host = lab.host("relay", RELAY)?;
    let (mut alice_host, bob_host) = (lab.host("alice", ALICE)?, lab.host("bob", BOB)?);
    let relay = Relay::start_with(RelayConfig::lan(relay_host.place())).await?;
    let url = format!("http://{RELAY}:{}/", relay.port());
    let (alice, bob) = futures::try_join!(browser_on(&alice_host), browser_on(&bob_host))?;
    let (alice, bob) = futures::try_join!(alice.open(&url), bob.open(&url))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, SOON, "before").await?;

    // No socket closes anywhere: the relay goes on to believe in Alice's connection.
    lab.drop_packets_of(ALICE)?;
    alice_host.change_address(ALICE_MOVED)?;
    talk_until_heard(&alice, &alice_id, &bob, &bob_id, BACK_WITHIN).await?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    assert_eq!(alice.reserved().await?, alice_id);
    Ok(())
}

/// What people do whose line went dead: they say something every few seconds until they get through, both ways.
async fn talk_until_heard(
    alice: &Page,
    alice_id: &str,
    bob: &Page,
    bob_id: &str,
    within: Duration,
) -> anyhow::Result<()> {
    const BETWEEN_TRIES: Duration = Duration::from_secs(2);
    const WORD: &str = "can you hear me";
    let began = Instant::now();
    let heard = |from: &str| {
        let from = from.to_owned();
        move |shown: &Shown| {
            shown
                .messages
                .iter()
                .any(|line| line.from == from && line.text.starts_with(WORD))
        }
    };
    let mut number = 0;
    loop {
        number += 1;
        for page in [alice, bob] {
            page.say(&format!("{WORD} {number}")).await?;
        }
        let left = within.saturating_sub(began.elapsed());
        let patience = left.min(BETWEEN_TRIES);
        let both = futures::try_join!(
            alice.until_shown(patience, "bob is heard", heard(bob_id)),
            bob.until_shown(patience, "alice is heard", heard(alice_id))
        );
        match both {
            Ok(_) => return Ok(()),
            Err(error) if left.is_zero() => return Err(error),
            Err(_) => {}
        }
    }
}
