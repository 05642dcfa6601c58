//! Relays that are one network: who is at one is met through another, and one that dies costs what it carried.

use std::{collections::BTreeSet, fs, iter, net::SocketAddr, time::Duration};

use anyhow::Context;
use futures::future::try_join_all;
use libp2p::{PeerId, identity::Keypair};
use peerway_core::{chat::RoomName, dial::Route, node::Event};
use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    eventually::{Look, eventually},
    native::NativePeer,
    netns::nat::{Families, Filter, Internet},
    page::{Page, READY_WITHIN, SOON, chat_both_ways},
    relay::{PageFrom, Relay, RelayConfig, RelayInfo},
};

use crate::{interop::websocket, open_one, with_relay};

/// From the circuit to a direct connection: signalling, ICE, DTLS.
const DIRECT_WITHIN: Duration = Duration::from_secs(20);

/// Every relay has dialled every other, and heard what is announced there.
const ONE_NETWORK_WITHIN: Duration = Duration::from_secs(15);

/// A relay that came after the one that names it is tried again.
const LATE_WITHIN: Duration = Duration::from_secs(60);

/// What happens to a page that somebody looks at again.
const LOOKED_AT: &str = "document.dispatchEvent(new Event('visibilitychange'));";

/// Until a page gives up on its second relay, has read who else is there, and has a slot on another one.
const MOVED_WITHIN: Duration = Duration::from_secs(90);

/// The relays that the page's details call reserved.
const SLOTS: &str = r"
    const relays = [...document.querySelectorAll('footer details dd')].filter((one) => one.querySelector('code'));
    const reserved = relays.filter((relay) => relay.textContent.startsWith('reserved'));
    return reserved.map((relay) => relay.querySelector('code').textContent);
";

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

/// Waits until this page holds slots on these relays and on no other.
async fn holds(within: Duration, page: &Page, relays: &[PeerId]) -> anyhow::Result<()> {
    let wanted: BTreeSet<String> = relays.iter().map(PeerId::to_string).collect();
    let what = format!("slots on {wanted:?}");
    let found = eventually(within, &what, async || {
        let held: BTreeSet<String> = serde_json::from_value(page.run(SLOTS).await?)?;
        Ok(if held == wanted {
            Look::There(())
        } else {
            let details = page.run("return document.querySelector('footer details').textContent;");
            Look::NotYet(details.await?.to_string())
        })
    });
    found.await
}

/// What this page's relay tells it, once it lists as many others.
async fn told(page: &Page, others: usize) -> anyhow::Result<RelayInfo> {
    let found = eventually(LATE_WITHIN, "the other relays in the page's /relay.json", async || {
        let told = page.run("return fetch('/relay.json').then((answer) => answer.json());");
        let info: RelayInfo = serde_json::from_value(told.await?)?;
        Ok(if info.relays.len() == others {
            Look::There(info)
        } else {
            Look::NotYet(format!("{:?}", info.relays))
        })
    });
    found.await
}

/// To whom the circuits led that this relay has accepted.
fn circuits(relay: &Relay) -> Vec<String> {
    let lines = relay.said("");
    let accepted = lines.iter().filter(|line| line.contains("circuit accepted"));
    let destination = |line: &String| Some(line.split("destination=").nth(1)?.split_whitespace().next()?.to_owned());
    accepted.filter_map(destination).collect()
}

/// Two pages are connected directly, and talk.
async fn meet(one: (&Page, &str), other: (&Page, &str), word: &str) -> anyhow::Result<()> {
    futures::try_join!(
        one.0.reaches(other.1, "webrtc", DIRECT_WITHIN),
        other.0.reaches(one.1, "webrtc", DIRECT_WITHIN)
    )?;
    chat_both_ways(one.0, other.0, SOON, word).await
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
    meet((&alice, &alice_id), (&bob, &bob_id), "from relay to relay").await?;
    let mut signalled = 0;
    for (page, own, relay) in [(&alice, &alice_id, &first), (&bob, &bob_id, &second)] {
        holds(READY_WITHIN, page, &[relay.peer_id().await?]).await?;
        let to = circuits(relay);
        assert!(
            to.iter().all(|to| to == own),
            "{own} is called here, and nobody else: {to:?}"
        );
        signalled += to.len();
    }
    assert!(signalled > 0, "no relay saw the circuit over which they became direct");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_three_relays_dies_its_pages_hold_slots_on_the_others_and_lose_nobody() -> anyhow::Result<()> {
    // Each names both others, but one of them is not there yet.
    let (mut first, mut second, mut third) = futures::try_join!(Relay::start(), Relay::start(), Relay::start())?;
    let ids = [first.peer_id().await?, second.peer_id().await?, third.peer_id().await?];
    let relays = [&mut first, &mut second, &mut third];
    let addresses = try_join_all(relays.iter().map(|relay| websocket(relay))).await?;
    for (at, relay) in relays.into_iter().enumerate() {
        relay.crash()?;
        let others = addresses.iter().enumerate().filter(|(other, _)| *other != at);
        relay.add_arguments(others.flat_map(|(_, address)| ["--relay".to_owned(), address.to_string()]));
    }
    futures::try_join!(first.restart(), second.restart())?;
    futures::try_join!(is_one_network(&first, 1), is_one_network(&second, 1))?;

    let (at_first, at_second) = (first.url(), second.url());
    let (alice, bob) = futures::try_join!(open_one(&at_first), open_one(&at_second))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    let (as_alice, as_bob) = ((&alice, alice_id.as_str()), (&bob, bob_id.as_str()));
    futures::try_join!(
        holds(READY_WITHIN, &alice, &ids[..2]),
        holds(READY_WITHIN, &bob, &ids[..2])
    )?;
    third.restart().await?;
    futures::try_join!(
        is_one_network(&first, 2),
        is_one_network(&second, 2),
        is_one_network(&third, 2)
    )?;
    // A page that is looked at again reads who is there now; by itself it does within some minutes.
    bob.run(LOOKED_AT).await?;
    meet(as_alice, as_bob, "with three relays").await?;

    first.crash()?;
    futures::try_join!(
        holds(READY_WITHIN, &alice, &ids[1..2]),
        holds(READY_WITHIN, &bob, &ids[1..2])
    )?;
    chat_both_ways(&alice, &bob, SOON, "with two relays").await?;
    for page in [&alice, &bob] {
        assert_eq!(page.shown().await?.relay.as_deref(), Some("reserved"));
    }
    // Who comes now meets the one whose own relay is gone.
    let carol = open_one(&at_second).await?;
    let carol_id = carol.reserved().await?;
    meet((&carol, &carol_id), as_alice, "a newcomer").await?;
    meet((&carol, &carol_id), as_bob, "a neighbour").await?;
    // The second relay of one who lost his does not come back, and the third is there.
    futures::try_join!(
        holds(MOVED_WITHIN, &bob, &ids[1..]),
        holds(READY_WITHIN, &carol, &ids[1..])
    )?;
    chat_both_ways(&alice, &bob, SOON, "after the move").await?;

    first.restart().await?;
    holds(LATE_WITHIN, &alice, &ids[..2]).await?;
    holds(Duration::ZERO, &bob, &ids[1..]).await
}

/// ```text
///   office: alice, her relay, another one ── router ─┬─ public relay
///                                                    └─ stranger
/// ```
/// Her relay is a client of both others. Nobody outside reaches it but through the public one, and the stranger knows no other.
#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_is_reached_only_by_a_circuit_its_page_moves_to_the_public_one_and_a_stranger_reaches_it_there()
-> anyhow::Result<()> {
    let Some(mut internet) = Internet::enter()? else {
        return Ok(());
    };
    let (outside, elsewhere) = (internet.public_host("outside")?, internet.public_host("elsewhere")?);
    let (office, _) = internet.home("office", Filter::PortPreserving, Families::Ipv4)?;
    let beside: SocketAddr = "192.168.11.2:8081".parse()?;
    let _near = Relay::start_with(RelayConfig {
        place: office.place().clone(),
        http: Some(beside),
        page: PageFrom::Directory,
        arguments: ["--lan", "--listen", "/ip4/192.168.11.2/tcp/4101", "--stun", "off"]
            .map(str::to_owned)
            .to_vec(),
    })
    .await?;
    let configuration = tempfile::tempdir()?;
    let file = configuration.path().join("relay.toml");
    let address = format!("/ip4/{}/tcp/4001", outside.address());
    fs::write(
        &file,
        format!("[relays]\naddresses = [\"/ip4/192.168.11.2/tcp/4101\", \"{address}\"]\nmode = \"both\"\n"),
    )?;
    let file = file.display().to_string();
    let _inner = Relay::start_with(RelayConfig::with_flags(office.place(), &["--lan", "--config", &file])).await?;

    let alice = Browser::launch_in(Kind::Chromium, office.place(), ProtocolEvents::Ignored).await?;
    let alice = alice.open("http://192.168.11.2:8080/").await?;
    let alice_id: PeerId = alice.reserved().await?.parse()?;
    let inner = told(&alice, 1).await?;
    let (own, near) = (inner.peer_id.parse()?, inner.relays[0].peer_id.parse()?);
    holds(READY_WITHIN, &alice, &[own, near]).await?;

    let public = Relay::start_with(RelayConfig::with_flags(outside.place(), &["--public"])).await?;
    let relays = told(&alice, 2)
        .await?
        .relays
        .into_iter()
        .map(|relay| relay.peer_id.parse());
    let relays: Vec<PeerId> = relays.collect::<Result<_, _>>()?;
    let public_id = *relays.iter().find(|relay| **relay != near).context("one is new")?;
    // So that the page looks now, and not within a minute.
    alice.run(LOOKED_AT).await?;
    holds(READY_WITHIN, &alice, &[own, public_id]).await?;

    // Of two that hear of each other, the one with the lower id dials.
    let key = iter::repeat_with(Keypair::generate_ed25519)
        .find(|key| PeerId::from(key.public()).to_bytes() < alice_id.to_bytes())
        .context("there is always one more")?;
    let mut stranger = NativePeer::start_as(key, elsewhere.place(), &address.parse()?).await?;
    let route = stranger.connected_to(alice_id).await?;
    assert_eq!(route, Route::Circuit { relay: public_id });
    let stranger_id = stranger.id().to_string();
    alice.reaches(&stranger_id, "circuit", SOON).await?;
    assert_eq!(circuits(&public), [alice_id.to_string()], "it is she who was called");
    let said = stranger
        .node
        .say(RoomName::default(), "from far away".to_owned())
        .await?;
    assert!(said.is_ok(), "{said:?}");
    alice.hears(&stranger_id, "from far away").await
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
