//! Relays that are one network: who is at one is met through another, and one that dies costs what it carried.

use std::time::Duration;

use futures::future::try_join_all;
use libp2p::PeerId;
use peerway_core::{dial::Route, node::Event};
use peerway_tests::{
    eventually::{Look, eventually},
    native::NativePeer,
    netns::nat::{Families, Filter, Internet},
    page::{Page, READY_WITHIN, SOON, chat_both_ways},
    relay::{Relay, RelayConfig},
};

use crate::{interop::websocket, open_one, with_relay};

/// From the circuit to a direct connection: signalling, ICE, DTLS.
const DIRECT_WITHIN: Duration = Duration::from_secs(20);

/// Every relay has dialled every other, and heard what is announced there.
const ONE_NETWORK_WITHIN: Duration = Duration::from_secs(15);

/// How many relays the page's details call reserved.
const RESERVATIONS: &str =
    "return document.querySelector('footer details').textContent.match(/reserved/g)?.length ?? 0;";

/// A relay that names these others.
async fn relay_with(others: &[&Relay]) -> anyhow::Result<Relay> {
    let mut config = RelayConfig::loopback();
    for other in others {
        let address = websocket(other).await?.to_string();
        config.arguments.extend(["--relay".to_owned(), address]);
    }
    Relay::start_with(config).await
}

/// Waits until this relay tells pages of as many others.
async fn is_one_network(relay: &Relay, others: usize) -> anyhow::Result<()> {
    let found = eventually(ONE_NETWORK_WITHIN, "the other relays in /relay.json", async || {
        let relays = relay.info().await?.relays;
        Ok(if relays.len() == others {
            Look::There(())
        } else {
            Look::NotYet(format!("{relays:?}"))
        })
    });
    found.await
}

/// How `one` reaches `other`, once it does, unless it is lost for good.
async fn route(one: &NativePeer, other: PeerId, is: impl Fn(Option<Route>) -> bool) -> anyhow::Result<Option<Route>> {
    let found = eventually(READY_WITHIN * 2, "another route", async || {
        let route = one.route(other).await?;
        Ok(if is(route) {
            Look::There(route)
        } else {
            Look::NotYet(format!("{route:?}"))
        })
    });
    found.await
}

/// Waits until this page holds a slot on as many relays.
async fn holds(page: &Page, slots: u64) -> anyhow::Result<()> {
    let found = eventually(READY_WITHIN, "reservations", async || {
        let reserved = page.run(RESERVATIONS).await?;
        Ok(if reserved == slots {
            Look::There(())
        } else {
            Look::NotYet(reserved.to_string())
        })
    });
    found.await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_three_relays_dies_it_costs_only_the_circuits_that_it_carried() -> anyhow::Result<()> {
    let first = Relay::start().await?;
    let second = relay_with(&[&first]).await?;
    let mut third = relay_with(&[&first, &second]).await?;
    is_one_network(&second, 1).await?;
    is_one_network(&third, 2).await?;
    let relays = [&first, &second, &third];
    let ids = try_join_all(relays.map(Relay::peer_id)).await?;
    let mut peers = Vec::new();
    for relay in relays {
        peers.push(NativePeer::start(&websocket(relay).await?).await?);
    }

    // Each of them knows one relay, and meets the others through theirs.
    let mut carried_by = Vec::new();
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let route = route(&peers[one], peers[other].id(), |route| route.is_some()).await?;
        let Some(Route::Circuit { relay }) = route else {
            anyhow::bail!("{one} reaches {other} by {route:?}");
        };
        assert!(
            relay == ids[one] || relay == ids[other],
            "somebody else's relay carries it"
        );
        peers[one].echo(peers[other].id(), 10_000).await?;
        carried_by.push(((one, other), relay));
    }

    peers.iter_mut().for_each(|peer| drop(peer.past()));
    third.crash()?;
    for ((one, other), relay) in carried_by {
        if relay == ids[2] {
            let is_another = |route| route != Some(Route::Circuit { relay });
            route(&peers[one], peers[other].id(), is_another).await?;
        }
    }
    let [one, other, ..] = peers.as_mut_slice() else {
        anyhow::bail!("there are three");
    };
    one.echo(other.id(), 10_000).await?;
    other.echo(one.id(), 10_000).await?;
    for (of, to) in [(one.past(), other.id()), (other.past(), one.id())] {
        let is_loss = |event: &Event| matches!(event, Event::RouteChanged { peer, .. } if *peer == to);
        assert!(!of.iter().any(is_loss), "{of:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_two_relays_are_one_network_a_page_at_one_meets_a_page_at_the_other() -> anyhow::Result<()> {
    let first = Relay::start().await?;
    let second = relay_with(&[&first]).await?;
    is_one_network(&second, 1).await?;
    // Each page is told one relay and nothing else.
    let only = async |relay: &Relay| {
        let address = websocket(relay).await?;
        open_one(&with_relay(&relay.url(), &address.to_string())?).await
    };
    let (alice, bob) = futures::try_join!(only(&first), only(&second))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(
        alice.reaches(&bob_id, "webrtc", DIRECT_WITHIN),
        bob.reaches(&alice_id, "webrtc", DIRECT_WITHIN)
    )?;
    chat_both_ways(&alice, &bob, SOON, "from relay to relay").await?;
    for page in [&alice, &bob] {
        holds(page, 1).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_dies_its_pages_hold_a_slot_on_the_other_and_lose_nobody() -> anyhow::Result<()> {
    let mut first = Relay::start().await?;
    let second = relay_with(&[&first]).await?;
    let address = websocket(&second).await?.to_string();
    first.crash()?;
    first.restart_with(&["--relay", &address]).await?;
    futures::try_join!(is_one_network(&first, 1), is_one_network(&second, 1))?;

    let (at_first, at_second) = (first.url(), second.url());
    let (alice, bob) = futures::try_join!(open_one(&at_first), open_one(&at_second))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(holds(&alice, 2), holds(&bob, 2))?;
    futures::try_join!(
        alice.reaches(&bob_id, "webrtc", DIRECT_WITHIN),
        bob.reaches(&alice_id, "webrtc", DIRECT_WITHIN)
    )?;
    chat_both_ways(&alice, &bob, SOON, "with both relays").await?;

    first.crash()?;
    futures::try_join!(holds(&alice, 1), holds(&bob, 1))?;
    chat_both_ways(&alice, &bob, SOON, "with one relay").await?;
    for page in [&alice, &bob] {
        assert_eq!(page.shown().await?.relay.as_deref(), Some("reserved"));
    }
    // Who comes now meets the one whose own relay is gone.
    let carol = open_one(&at_second).await?;
    carol.reserved().await?;
    futures::try_join!(
        carol.reaches(&alice_id, "webrtc", DIRECT_WITHIN),
        carol.reaches(&bob_id, "webrtc", DIRECT_WITHIN)
    )?;
    chat_both_ways(&carol, &alice, SOON, "a newcomer").await?;

    first.restart().await?;
    futures::try_join!(holds(&alice, 2), holds(&bob, 2))?;
    Ok(())
}

/// ```text
///   alice ── her router ─┬─ first relay ── second relay ─┬─ his router ── bob
/// ```
/// Alice knows the first relay, Bob the second, and neither of them can be reached from outside.
#[tokio::test(flavor = "multi_thread")]
async fn when_two_private_networks_are_joined_by_two_public_relays_much_gets_through_unharmed() -> anyhow::Result<()> {
    const LARGE: usize = 8 << 20;
    let Some(mut internet) = Internet::enter()? else {
        return Ok(());
    };
    let (first, second) = (internet.public_host("first")?, internet.public_host("second")?);
    let at = |address| format!("/ip4/{address}/tcp/4001");
    let _first = Relay::start_with(RelayConfig::with_flags(first.place(), &["--public"])).await?;
    let names = ["--public", "--relay", &at(first.address())];
    let mut second_relay = Relay::start_with(RelayConfig::with_flags(second.place(), &names)).await?;
    let joined = |line: &str| line.contains("one network with this relay").then_some(());
    second_relay.says("that the relays are one network", joined).await?;

    let (alice, _) = internet.home("alice", Filter::Symmetric, Families::Ipv4)?;
    let (bob, _) = internet.home("bob", Filter::Symmetric, Families::Ipv4)?;
    let alice = NativePeer::start_in(alice.place(), &at(first.address()).parse()?).await?;
    let bob = NativePeer::start_in(bob.place(), &at(second.address()).parse()?).await?;
    for (one, other) in [(&alice, bob.id()), (&bob, alice.id())] {
        let found = route(one, other, |route| route.is_some()).await?;
        assert!(matches!(found, Some(Route::Circuit { .. })), "{found:?}");
    }
    alice.echo(bob.id(), LARGE).await?;
    bob.echo(alice.id(), 1 << 20).await?;
    for (one, other) in [(&alice, bob.id()), (&bob, alice.id())] {
        assert!(matches!(one.route(other).await?, Some(Route::Circuit { .. })));
    }
    Ok(())
}
