//! The rarer cases, and all of them at random.

use super::*;

#[wasm_bindgen_test(unsupported = test)]
fn an_attempt_of_which_nothing_is_heard_fails_by_itself() {
    let mut world = World::new(0, 2, 1);
    world.hear(1);
    let (attempt, peer, _) = world.did().dials[0].clone();
    world.pass(ATTEMPT_TIMEOUT);
    assert_eq!(
        world.did().reports[0],
        Event::AttemptFailed {
            peer,
            attempt,
            reason: DialFailure::TimedOut
        }
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_without_a_usable_address_is_said_once_and_dialled_when_a_relay_comes() {
    let mut world = World::new(0, 2, 1);
    world.dialer.handle_relays(&[], world.now);
    world.hear(1);
    let told = |did: &Did| {
        let unusable = |event: &&Event| {
            matches!(
                event,
                Event::AttemptFailed {
                    reason: DialFailure::NoUsableAddress,
                    ..
                }
            )
        };
        did.reports.iter().filter(unusable).count()
    };
    // The relay at that address is a foreign one now, and nobody answers there.
    let first = world.did();
    world
        .dialer
        .handle_attempt_failed(first.dials[0].0, DialFailure::TimedOut, world.now);
    let mut count = 0;
    for _ in 0..50 {
        world.pass(seconds(5));
        let did = world.did();
        assert!(did.dials.is_empty());
        count += told(&did);
    }
    assert_eq!(count, 1);
    let held = world.held();
    world.dialer.handle_relays(&held, world.now);
    assert!(world.next_dial(SPREAD).is_some());
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_direct_connection_is_lost_before_the_circuit_nothing_is_dialled_in_between() {
    let mut world = World::new(0, 2, 1);
    world.dialer.config.webrtc = Rungs::WebRtcAndCircuit;
    let (peer, circuit) = (world.ids[1], world.circuit());
    world.dialer.handle_opened(peer, Reach::DirectOnly, world.now);
    world
        .dialer
        .handle_connected(peer, id(1), circuit, Role::Listener, world.now);
    world
        .dialer
        .handle_connected(peer, id(2), Route::WebRtc, Role::Dialer, world.now);
    world.pass(seconds(1));
    world.did();
    for connection in [2, 1] {
        world
            .dialer
            .handle_disconnected(peer, id(connection), Disconnection::Lost, world.now);
        assert!(world.did().dials.is_empty(), "after {connection}");
    }
    assert!(world.next_dial(seconds(2)).is_some(), "the user wants it all the same");
}

#[wasm_bindgen_test(unsupported = test)]
fn with_webrtc_a_circuit_is_upgraded_and_then_closed_by_the_side_that_dialled_it() {
    let mut world = World::new(0, 2, 1);
    world.dialer.config.webrtc = Rungs::WebRtcAndCircuit;
    let peer = world.ids[1];
    let circuit = "/p2p/<2>/p2p-circuit/p2p/<1>";
    let webrtc = "/p2p/<2>/p2p-circuit/webrtc/p2p/<1>";
    let announced = [parse(circuit, &world.ids), parse(webrtc, &world.ids)];
    world.dialer.handle_candidate(peer, &announced, world.now);
    let (first, _, address) = world.did().dials[0].clone();
    assert!(address.to_string().contains("webrtc"));
    world
        .dialer
        .handle_attempt_failed(first, DialFailure::TimedOut, world.now);
    assert_eq!(world.did().dials.len(), 1, "then the circuit");
    world
        .dialer
        .handle_connected(peer, id(1), world.circuit(), Role::Dialer, world.now);
    let (wait, _) = world.next_dial(seconds(60)).unwrap();
    assert!(wait <= seconds(1));
    world
        .dialer
        .handle_connected(peer, id(2), Route::WebRtc, Role::Dialer, world.now);
    world.pass(seconds(60));
    assert!(world.did().closes.is_empty());
    world.dialer.handle_alive(peer, id(2), world.now);
    assert_eq!(world.did().closes, [(peer, id(1))]);
    assert_eq!(world.dialer.best(peer), Some((id(2), Route::WebRtc)));
}

/// Arbitrary events in arbitrary order, hostile announcements among them.
#[wasm_bindgen_test(unsupported = test)]
fn whatever_happens_the_limits_hold_and_who_is_wanted_is_tried_again() {
    for seed in 0..60 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut world = World::new(3, 24, seed);
        let mut running: BTreeMap<AttemptId, (PeerId, Multiaddr)> = BTreeMap::new();
        let mut open: BTreeMap<ConnectionId, PeerId> = BTreeMap::new();
        let mut next_connection = 0;
        let mut foreign_dials: Vec<(Duration, String)> = Vec::new();
        for step in 0..600 {
            let at = rng.random_range(0..24);
            let peer = world.ids[at];
            match rng.random_range(0..14) {
                0..=2 => world.hear(at),
                3 | 4 => {
                    let host = rng.random_range(0..40);
                    let through = rng.random_range(0..24);
                    let text = [
                        format!("/ip4/198.51.100.{host}/tcp/80/ws/p2p/<{through}>/p2p-circuit/p2p/<{at}>"),
                        format!("/ip4/10.0.0.{host}/tcp/80/ws/p2p/<{through}>/p2p-circuit/p2p/<{at}>"),
                        format!("/ip4/127.0.0.1/tcp/{}/p2p/<{at}>", host + 1),
                        format!("/dns/victim{host}.example/tcp/80/ws/p2p/<{through}>/p2p-circuit"),
                        format!("/ip4/198.51.100.{host}/tcp/80/ws/p2p/<{at}>"),
                    ];
                    let addrs: Vec<_> = text.iter().map(|text| parse(text, &world.ids)).collect();
                    world.dialer.handle_candidate(peer, &addrs, world.now);
                }
                5 => world.dialer.handle_forgotten(peer, world.now),
                6 => {
                    let held = if rng.random_bool(0.8) { world.held() } else { Vec::new() };
                    world.dialer.handle_relays(&held, world.now);
                }
                7 => {
                    next_connection += 1;
                    let (connection, circuit) = (id(next_connection), world.circuit());
                    if peer != world.ids[3] {
                        open.insert(connection, peer);
                        world
                            .dialer
                            .handle_connected(peer, connection, circuit, Role::Listener, world.now);
                    }
                }
                8 => {
                    if let Some((connection, peer)) = open.pop_first() {
                        let how = if rng.random_bool(0.5) {
                            Disconnection::Lost
                        } else {
                            Disconnection::Clean
                        };
                        world.dialer.handle_disconnected(peer, connection, how, world.now);
                    }
                }
                9 => {
                    if let Some((connection, peer)) = open.last_key_value() {
                        world.dialer.handle_alive(*peer, *connection, world.now);
                    }
                }
                10 => {
                    if let Some((attempt, _)) = running.pop_first() {
                        world
                            .dialer
                            .handle_attempt_failed(attempt, DialFailure::TimedOut, world.now);
                    }
                }
                11 => {
                    if let Some((_, (peer, address))) = running.pop_first() {
                        next_connection += 1;
                        let endpoint = libp2p::core::ConnectedPoint::Dialer {
                            address,
                            role_override: libp2p::core::Endpoint::Dialer,
                            port_use: libp2p::core::transport::PortUse::Reuse,
                        };
                        let route = Route::of(&endpoint, &[]).unwrap();
                        open.insert(id(next_connection), peer);
                        world
                            .dialer
                            .handle_connected(peer, id(next_connection), route, Role::Dialer, world.now);
                    }
                }
                12 => world.dialer.handle_nudge(world.now),
                _ => world.pass(Duration::from_millis(rng.random_range(0..20_000))),
            }
            let did = world.did();
            for event in &did.reports {
                if let Event::AttemptFailed { attempt, .. } = event {
                    running.remove(attempt);
                }
            }
            for (attempt, peer, address) in did.dials {
                let text = address.to_string();
                assert!(text.contains("/p2p-circuit/"), "seed {seed}, step {step}: {text}");
                assert!(text.ends_with(&peer.to_string()), "seed {seed}, step {step}: {text}");
                let ours = text.starts_with("/ip4/192.0.2.10/tcp/80/ws/");
                assert!(
                    ours || text.starts_with("/ip4/198.51.100."),
                    "seed {seed}, step {step}: {text}"
                );
                if !ours {
                    let host = text.split('/').nth(2).unwrap().to_owned();
                    foreign_dials.push((world.now.mono, host));
                }
                running.insert(attempt, (peer, address));
            }
            for relay in &world.ids {
                let through = |attempt: &&InFlight| attempt.through.relay() == Some(*relay);
                let count = world.dialer.in_flight.values().filter(through).count();
                assert!(count <= MAX_IN_FLIGHT_PER_RELAY, "seed {seed}, step {step}");
            }
            let recent = foreign_dials
                .iter()
                .filter(|(at, _)| world.now.mono - *at < foreign::BUDGET_WINDOW);
            let hosts: BTreeSet<&String> = recent.map(|(_, host)| host).collect();
            assert!(
                hosts.len() <= foreign::MAX_FOREIGN_HOSTS + 1,
                "seed {seed}, step {step}: {hosts:?}"
            );
            assert!(
                world.dialer.foreign.in_use() <= foreign::MAX_FOREIGN_RELAYS,
                "seed {seed}, step {step}"
            );
            for (connection_peer, connection) in did.closes {
                if let Some(peer) = open.remove(&connection) {
                    assert_eq!(peer, connection_peer);
                    world
                        .dialer
                        .handle_disconnected(peer, connection, Disconnection::Clean, world.now);
                }
            }
            world.did();
            let timeout = world.dialer.poll_timeout();
            assert!(
                timeout.is_none_or(|at| at > world.now.mono),
                "seed {seed}, step {step}: a timeout in the past"
            );
        }
        // Quiet again, the relay is there: whoever is announced and not connected is dialled within the longest wait.
        let held = world.held();
        world.dialer.handle_relays(&held, world.now);
        world.hear(5);
        let target = world.ids[5];
        let mut tried = world.dialer.interest(target).is_none() || world.dialer.is_connected(target);
        for _ in 0..400 {
            for (attempt, peer, _) in world.did().dials {
                tried |= peer == target;
                world
                    .dialer
                    .handle_attempt_failed(attempt, DialFailure::NoReservation, world.now);
            }
            world.pass(seconds(2));
        }
        assert!(tried, "seed {seed}");
    }
}
