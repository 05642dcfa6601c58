//! Peers and relays that wish no good: nobody crashes, nobody is displaced, nobody is dialled who must not be.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use libp2p::{PeerId, multiaddr::Protocol};
use peerway_core::{announcement::hostile as announcements, chat::RoomName, protocol::DISCOVERY_TOPIC};
use peerway_tests::{
    hostile::{HostileRelay, publish},
    page::{Page, SOON, chat_both_ways},
    relay::Relay,
    victim::Victim,
};
use serde_json::{Value, json};

use crate::{two_pages, with_relay};

/// Foreign relays a page may try within ten minutes (design, "Reaching a peer").
const FOREIGN_HOSTS: usize = 4;

/// Long enough that a page that meant to dial a newcomer has: the side that waits does so for five seconds.
const LADDER: Duration = Duration::from_secs(7);

/// Those who must never hear from a page, and those of whom it may try a few.
struct Victims {
    /// Named in ways that are never dialled.
    untouchable: Victim,
    /// Named as relays that nobody we trust has named.
    foreign: Vec<Victim>,
}

impl Victims {
    async fn listen() -> anyhow::Result<Self> {
        let mut foreign = Vec::new();
        for last in 2..22 {
            foreign.push(Victim::listen(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).await?);
        }
        Ok(Self {
            untouchable: Victim::listen(Ipv4Addr::LOCALHOST.into()).await?,
            foreign,
        })
    }

    /// Ways to name the untouchable one, for an announcement of `source`.
    fn addresses(&self, source: PeerId, our_relay: PeerId) -> Vec<String> {
        let (port, other) = (self.untouchable.address().port(), announcements::peer(201));
        vec![
            format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{source}"),
            format!("/ip4/127.0.0.1/tcp/{port}/p2p/{source}"),
            format!("/dns4/localhost/tcp/{port}/ws/p2p/{source}"),
            format!("/ip4/127.0.0.1/tcp/{port}/ws"),
            format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{other}/p2p-circuit/p2p/{our_relay}/p2p-circuit/p2p/{source}"),
            // An address through a relay that we hold is judged, and dialled, by the relay's id alone.
            format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{our_relay}/p2p-circuit/p2p/{source}"),
            format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{our_relay}/p2p-circuit/webrtc/p2p/{source}"),
        ]
    }

    fn foreign_addresses(&self, source: PeerId) -> impl Iterator<Item = String> {
        self.foreign.iter().zip(100..).map(move |(victim, seed)| {
            let (address, relay) = (victim.address(), announcements::peer(seed));
            format!(
                "/ip4/{}/tcp/{}/ws/p2p/{relay}/p2p-circuit/p2p/{source}",
                address.ip(),
                address.port()
            )
        })
    }

    fn assert_spared(&self, pages: usize) {
        assert_eq!(self.untouchable.calls(), [], "dialled although the rules forbid it");
        let called = self.foreign.iter().filter(|victim| !victim.calls().is_empty()).count();
        assert!(
            called <= FOREIGN_HOSTS * pages,
            "{called} foreign hosts were dialled by {pages} pages"
        );
    }
}

/// With a relay that answers snapshots with lies a newcomer waits for the next announcement: the shortest interval and
/// its jitter, then a dial by the side that waits.
const WITHOUT_SNAPSHOT: Duration = Duration::from_secs(15 + 3 + 7);

/// What fits into a frame that an honest node reads, with a signature and a topic around it.
const LARGEST_GOSSIP: usize = 15 * 1024;

/// Whatever else the console holds: the wasm did not panic.
async fn assert_unharmed(page: &Page) -> anyhow::Result<()> {
    let errors = page.browser().console_errors().await?;
    let panics: Vec<&String> = errors
        .iter()
        .filter(|error| error.contains("panicked") || error.contains("unreachable") || error.contains("RuntimeError"))
        .collect();
    assert!(panics.is_empty(), "{panics:#?}");
    Ok(())
}

/// Everything hostile that one peer can announce, split where a relay may hang up on it.
fn attack(source: PeerId, target: PeerId, victims: &Victims, our_relay: PeerId) -> Vec<Vec<u8>> {
    let announce = |addrs: &[String]| {
        json!({ "peerId": source.to_base58(), "addrs": addrs })
            .to_string()
            .into_bytes()
    };
    let mut payloads: Vec<Vec<u8>> = announcements::announcements(source, target)
        .into_iter()
        .map(|hostile| hostile.payload)
        .collect();
    let addresses = victims.addresses(source, our_relay);
    payloads.extend(addresses.iter().map(|address| announce(std::slice::from_ref(address))));
    payloads.push(announce(&addresses));
    payloads.extend(victims.foreign_addresses(source).map(|address| announce(&[address])));
    payloads
}

#[tokio::test(flavor = "multi_thread")]
async fn when_hundreds_of_hostile_announcements_arrive_no_honest_peer_is_displaced() -> anyhow::Result<()> {
    let (relay, victims) = futures::try_join!(Relay::start(), Victims::listen())?;
    let our_relay = relay.peer_id().await?;
    let tcp = relay
        .address("TCP", |address| {
            matches!(address.iter().nth(2), None | Some(Protocol::P2p(_)))
        })
        .await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;

    let target = alice_id.parse()?;
    let attacks = (1..=3).map(|seed| {
        let key = announcements::keypair(seed);
        let payloads = attack(key.public().to_peer_id(), target, &victims, our_relay);
        assert!(payloads.len() >= 200, "{}", payloads.len());
        publish(tcp.clone(), key, DISCOVERY_TOPIC, payloads)
    });
    let published: usize = futures::future::try_join_all(attacks).await?.into_iter().sum();
    assert!(published >= 3 * 200, "{published}");
    tokio::time::sleep(LADDER).await;

    victims.assert_spared(2);
    for (page, other) in [(&alice, &bob_id), (&bob, &alice_id)] {
        let shown = page.shown().await?;
        assert!(shown.connected_to(other), "{shown:#?}");
        assert!(
            shown.peers.len() <= 1 + 3,
            "an attacker is one row, whatever it says: {:#?}",
            shown.peers
        );
        assert_unharmed(page).await?;
    }
    chat_both_ways(&alice, &bob, SOON, "unimpressed").await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_room_messages_are_hostile_honest_lines_are_still_read() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let tcp = relay
        .address("TCP", |address| {
            matches!(address.iter().nth(2), None | Some(Protocol::P2p(_)))
        })
        .await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, SOON, "before").await?;

    let key = announcements::keypair(9);
    let attacker = key.public().to_peer_id().to_base58();
    publish(tcp, key, &RoomName::default().topic(), hostile_lines()).await?;
    chat_both_ways(&alice, &bob, SOON, "after").await?;
    for page in [&alice, &bob] {
        let shown = page.shown().await?;
        let lines: Vec<_> = shown.messages.iter().filter(|line| line.from == attacker).collect();
        assert!(!lines.is_empty(), "the attack did not arrive, so nothing was tested");
        assert!(lines.len() < 100, "one peer filled the log with {} lines", lines.len());
        assert!(
            lines.iter().all(|line| line.elements == 0 && line.text.len() <= 4096),
            "{lines:#?}"
        );
        assert_unharmed(page).await?;
    }
    Ok(())
}

/// Lines that nobody should say, then more than anybody should.
fn hostile_lines() -> Vec<Vec<u8>> {
    let line = |id: &str, text: &str| {
        json!({ "id": id, "name": "x", "text": text, "sentAt": 1 })
            .to_string()
            .into_bytes()
    };
    let mut lines = vec![
        line("1", "<img src=x onerror=\"document.title='owned'\">"),
        line("1", "the same id again"),
        line(&"i".repeat(10_000), "a long id"),
        line("2", &"t".repeat(5_000)),
        line("3", "\u{202e}\u{0}\u{feff}"),
        json!({ "id": "4", "name": "n".repeat(8_000), "text": "a long name", "sentAt": 1 })
            .to_string()
            .into_bytes(),
        json!({ "id": "5", "text": "far away", "sentAt": f64::MAX })
            .to_string()
            .into_bytes(),
        json!({ "id": 6, "text": ["no", "text"], "sentAt": -1 })
            .to_string()
            .into_bytes(),
        br#"{"id":"7","text":"\ud800","sentAt":1e999}"#.to_vec(),
        vec![0xFF; 3_000],
        b"{".repeat(4_000),
        b"[".repeat(12_000),
        b"".to_vec(),
        b"   ".to_vec(),
    ];
    lines.extend((0..500).map(|number| line(&format!("flood {number}"), &format!("flood {number}"))));
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_relay_itself_lies_pages_that_use_it_still_find_each_other() -> anyhow::Result<()> {
    // The honest one only serves the page.
    let (server, victims) = futures::try_join!(Relay::start(), Victims::listen())?;
    let room = RoomName::default().topic();
    let relay = HostileRelay::start(&[&room]).await?;
    let Some(Protocol::P2p(relay_id)) = relay.websocket.iter().last() else {
        anyhow::bail!("{} does not end in the relay's id", relay.websocket);
    };
    relay.answer([oversized_snapshot(), malformed_snapshot()]);
    let url = with_relay(&server.url(), &relay.websocket.to_string())?;
    let (alice, bob) = two_pages(&url).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(
        alice.connected_within(WITHOUT_SNAPSHOT, &bob_id),
        bob.connected_within(WITHOUT_SNAPSHOT, &alice_id)
    )?;
    assert_eq!(relay.unasked(), 0, "both pages asked for a snapshot");

    chat_both_ways(&alice, &bob, SOON, "before").await?;

    // Nothing that the relay forwards unseen does harm.
    let key = announcements::keypair(1);
    let mut payloads = attack(key.public().to_peer_id(), alice_id.parse()?, &victims, relay_id);
    // Larger ones end gossip on the connection that they come over: that relay has broken the protocol, not only lied.
    payloads.retain(|payload| payload.len() <= LARGEST_GOSSIP);
    publish(relay.tcp.clone(), key, DISCOVERY_TOPIC, payloads).await?;

    chat_both_ways(&alice, &bob, SOON, "after the attack").await?;

    // Hearsay with the highest number there is must not win over what Bob himself goes on to say.
    for lie in lies_about(&bob_id, &victims, relay_id) {
        relay.answer([lie]);
        alice.reload().await?;
        assert_eq!(alice.reserved().await?, alice_id);
        futures::try_join!(
            alice.connected_within(WITHOUT_SNAPSHOT, &bob_id),
            bob.connected_within(WITHOUT_SNAPSHOT, &alice_id)
        )?;
        assert_eq!(relay.unasked(), 0, "the page asked for a snapshot");
        chat_both_ways(&alice, &bob, SOON, "unimpressed").await?;
    }
    tokio::time::sleep(LADDER).await;
    // A page that is loaded again has a fresh budget.
    victims.assert_spared(4);
    for page in [&alice, &bob] {
        assert_unharmed(page).await?;
    }
    Ok(())
}

fn oversized_snapshot() -> Value {
    json!({ "announcements": [{ "announcement": { "peerId": "x".repeat(300_000), "addrs": [] } }] })
}

fn malformed_snapshot() -> Value {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let mut entries = vec![
        json!(null),
        json!(7),
        json!({ "announcement": deep }),
        json!({ "announcement": { "peerId": 1, "addrs": {} }, "sequence": -1, "ageSeconds": "old" }),
        json!({ "announcement": { "peerId": "", "addrs": [""] }, "sequence": "1e9", "ageSeconds": u64::MAX }),
    ];
    entries.extend((0..5_000).map(|_| json!({})));
    json!({ "announcements": entries, "more": deep })
}

/// What a relay could claim that another peer said.
fn lies_about(peer: &str, victims: &Victims, our_relay: PeerId) -> Vec<Value> {
    let snapshot = |addrs: Vec<String>, sequence: u64, age: u64| {
        json!({ "announcements": [{
            "announcement": { "peerId": peer, "addrs": addrs },
            "sequence": sequence.to_string(),
            "ageSeconds": age,
        }] })
    };
    let misled = peer
        .parse()
        .map(|peer| victims.addresses(peer, our_relay))
        .unwrap_or_default();
    vec![snapshot(Vec::new(), (1 << 62) - 1, 0), snapshot(misled, u64::MAX, 0)]
}
