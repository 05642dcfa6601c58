//! What the engine adds to its parts.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, identity::Keypair, swarm::ConnectionId};
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;
use crate::{
    dial::{Role, Route},
    node::Nudge,
    reservation::RelaySpec,
};

fn peer(seed: u8) -> PeerId {
    let key = Keypair::ed25519_from_bytes(&mut [seed; 32]).unwrap();
    PeerId::from(key.public())
}

fn address() -> Multiaddr {
    "/ip4/192.0.2.1/tcp/80/ws".parse().unwrap()
}

fn actions(engine: &mut Engine) -> Vec<Action> {
    std::iter::from_fn(|| engine.poll_action()).collect()
}

/// An engine that is connected to a relay, and what it asked for since.
fn connected() -> (Engine, RelayKey) {
    let mut engine = Engine::new(peer(1), &Config::default(), None, 7);
    let now = Now::default();
    let spec = RelaySpec {
        peer: Some(peer(9)),
        addrs: vec![address()],
    };
    let key = engine.add_relay(spec, now).unwrap();
    actions(&mut engine);
    let connection = ConnectionId::new_unchecked(1);
    engine.handle_connected(
        peer(9),
        connection,
        Route::Direct,
        Role::Dialer,
        Some(DialKey::Relay(key)),
        &address(),
        now,
    );
    (engine, key)
}

fn publishes(actions: &[Action]) -> usize {
    actions
        .iter()
        .filter(|action| matches!(action, Action::Publish { .. }))
        .count()
}

#[wasm_bindgen_test(unsupported = test)]
fn without_an_address_nothing_is_announced_and_with_the_first_one_it_is_at_once() {
    let (mut engine, key) = connected();
    let now = Now::default().after(Duration::from_secs(1));
    engine.handle_subscribed(peer(9), protocol::DISCOVERY_TOPIC, now);
    engine.handle_reservation_accepted(peer(9), now);
    let asked = actions(&mut engine);
    assert_eq!(
        publishes(&asked),
        0,
        "an announcement without addresses would be a goodbye"
    );
    assert!(asked.contains(&Action::RequestSnapshot { relay: peer(9) }));

    let relayed = format!("{}/p2p/{}/p2p-circuit/p2p/{}", address(), peer(9), peer(1));
    engine.handle_listen_address(key, relayed.parse().unwrap(), now);
    assert_eq!(publishes(&actions(&mut engine)), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_stranger_that_connects_and_leaves_is_reported_gone_and_not_remembered() {
    let (mut engine, _) = connected();
    actions(&mut engine);
    let now = Now::default().after(Duration::from_secs(1));
    let through = Route::Circuit { relay: peer(9) };
    for seed in 20..40 {
        let connection = ConnectionId::new_unchecked(seed.into());
        engine.handle_connected(peer(seed), connection, through, Role::Listener, None, &address(), now);
        engine.handle_disconnected(peer(seed), connection, crate::dial::Disconnection::Clean, now);
    }
    let gone = |action: &&Action| matches!(action, Action::Report(Event::PeerGone { .. }));
    assert_eq!(actions(&mut engine).iter().filter(gone).count(), 20);
    assert_eq!(engine.discovery.gone(), 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_no_pong_comes_the_connection_is_closed() {
    let (mut engine, _) = connected();
    actions(&mut engine);
    let mut now = Now::default();
    while now.mono < Duration::from_secs(12) {
        now = now.after(Duration::from_secs(1));
        engine.handle_timeout(now);
    }
    let connection = ConnectionId::new_unchecked(1);
    assert!(actions(&mut engine).contains(&Action::Close { connection }));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_host_is_on_line_again_the_next_ping_decides_about_every_connection() {
    let closed_within = |nudge: Nudge| {
        let (mut engine, _) = connected();
        let nudged = Now::default().after(Duration::from_secs(1));
        engine.handle_subscribed(peer(9), protocol::DISCOVERY_TOPIC, nudged);
        engine.nudge(nudge, nudged);
        actions(&mut engine);
        engine.handle_timeout(nudged.after(Duration::from_secs(6)));
        let connection = ConnectionId::new_unchecked(1);
        actions(&mut engine).contains(&Action::Close { connection })
    };
    assert!(closed_within(Nudge::Online));
    assert!(
        !closed_within(Nudge::Visible),
        "a page that is shown changed no network"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_that_is_removed_is_announced_no_more_and_added_again_it_is_asked_who_is_there() {
    let (mut engine, key) = connected();
    let now = Now::default().after(Duration::from_secs(1));
    engine.handle_subscribed(peer(9), protocol::DISCOVERY_TOPIC, now);
    engine.handle_reservation_accepted(peer(9), now);
    let relayed = format!("{}/p2p/{}/p2p-circuit/p2p/{}", address(), peer(9), peer(1));
    engine.handle_listen_address(key, relayed.parse().unwrap(), now);
    actions(&mut engine);
    engine.remove_relay(key, now);
    let connection = ConnectionId::new_unchecked(1);
    let did = actions(&mut engine);
    assert!(did.contains(&Action::StopListening { relay: key }), "{did:?}");
    assert!(did.contains(&Action::Close { connection }), "{did:?}");
    assert!(
        did.contains(&Action::Report(Event::RelayRemoved { relay: key })),
        "{did:?}"
    );
    engine.handle_listener_closed(key, crate::reservation::RelayFailure::Disconnected, now);
    engine.handle_disconnected(peer(9), connection, crate::dial::Disconnection::Clean, now);
    assert!(engine.listening.is_empty());

    let spec = RelaySpec {
        peer: Some(peer(9)),
        addrs: vec![address()],
    };
    let again = engine.add_relay(spec, now).unwrap();
    assert_ne!(again, key);
    let (connection, dialled) = (ConnectionId::new_unchecked(2), Some(DialKey::Relay(again)));
    engine.handle_connected(
        peer(9),
        connection,
        Route::Direct,
        Role::Dialer,
        dialled,
        &address(),
        now,
    );
    engine.handle_reservation_accepted(peer(9), now);
    assert!(actions(&mut engine).contains(&Action::RequestSnapshot { relay: peer(9) }));
}
