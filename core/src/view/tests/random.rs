//! Random histories: the model stays bounded, and a snapshot of it goes on like the original.

use super::*;

/// Long random histories: what holds after every step, and that a snapshot can be folded on from anywhere.
#[wasm_bindgen_test(unsupported = test)]
fn over_random_histories_the_model_stays_bounded_and_a_snapshot_continues_it() {
    for seed in 0..4 {
        let mut rng = SmallRng::seed_from_u64(seed);
        // Few peers meet all their transitions; many fill the rows.
        let peers = if seed % 2 == 0 { 12 } else { 2 * PEER_ROWS as u32 };
        let mut view = view();
        let mut follower = view.clone();
        let mut now = at(0);
        for step in 0..6_000 {
            now = now.after(Duration::from_millis(rng.random_range(0..50)));
            if rng.random_ratio(1, 1_000) {
                follower = view.clone();
            }
            let before = (step % 32 == 0).then(|| view.clone());
            let changed = if rng.random_ratio(1, 20) {
                let _ = follower.handle_timeout(now);
                let changed = view.handle_timeout(now);
                assert!(
                    view.poll_timeout().is_none_or(|next| next > now.mono),
                    "seed {seed} step {step}"
                );
                changed
            } else {
                let event = random_event(&mut rng, peers);
                let _ = follower.apply(&event, now);
                view.apply(&event, now)
            };
            if let Some(before) = before {
                assert_only(&changed, &before, &view);
                assert_holds(&view, seed);
            }
        }
        assert!(view == follower, "seed {seed}");
        assert!(
            peers < 100 || view.peers.len() > PEER_ROWS / 2,
            "seed {seed} was to fill the rows"
        );
        let _ = view.handle_timeout(now.after(GONE_ROW_KEPT));
        assert!(view.peers.values().all(|row| row.gone_at.is_none()), "seed {seed}");
    }
}

fn random_event(rng: &mut SmallRng, peers: u32) -> Event {
    let who = rng.random_range(0..peers);
    let relay = RelayKey(rng.random_range(0..2 * RELAY_ROWS as u32));
    let relay_peer = RELAY + rng.random_range(0..3);
    let room = RoomName::parse(&format!("room {}", rng.random_range(0..2 * MAX_ROOMS))).unwrap();
    let id = rng.random_range(0..50).to_string();
    let round_trip = Duration::from_millis(rng.random_range(1..500));
    match rng.random_range(0..40) {
        0 => Event::RelayAdded {
            relay,
            peer: rng.random_bool(0.5).then(|| peer(relay_peer)),
        },
        1 => Event::RelayDialed {
            relay,
            address: address(),
        },
        2 => reserved(relay, relay_peer),
        3 => lost(relay, RelayFailure::Disconnected),
        4 => lost(relay, RelayFailure::NotARelay),
        5 => Event::RelayMeasured { relay, round_trip },
        6 => Event::RoomJoined { room },
        7 if rng.random_ratio(1, 20) => Event::RoomLeft { room },
        8 => Event::MessageSent { room, id },
        9 => Event::MessageUndelivered { room, id },
        10 => Event::AttemptStarted {
            peer: peer(who),
            attempt: AttemptId(0),
        },
        11 => Event::AttemptFailed {
            peer: peer(who),
            attempt: AttemptId(0),
            reason: DialFailure::TimedOut,
        },
        12 => Event::PeerRenamed {
            peer: peer(who),
            name: Some(id),
        },
        13 => Event::PeerMeasured {
            peer: peer(who),
            round_trip,
        },
        14 => discovered(relay_peer),
        15 => routed(relay_peer, Route::Direct),
        16 if rng.random_ratio(1, 500) => Event::Stopped,
        16 => Event::RelayRemoved { relay },
        17..=19 => gone(who),
        20..=22 => routed(who, None),
        23..=24 => routed(who, Route::WebRtc),
        25..=27 => routed(
            who,
            Route::Circuit {
                relay: peer(relay_peer),
            },
        ),
        28..=33 => discovered(who),
        _ => message(&room, id, who.min(2)),
    }
}

/// What `changed` does not name is as it was.
fn assert_only(changed: &Changed, before: &View, after: &View) {
    let mut masked = (before.clone(), after.clone());
    match changed {
        Changed::All => return,
        Changed::Nothing => {}
        Changed::Relay(key) => {
            masked.0.relays.retain(|row| row.key != *key);
            masked.1.relays.retain(|row| row.key != *key);
        }
        Changed::Peer(peer) => {
            masked.0.peers.remove(peer);
            masked.1.peers.remove(peer);
        }
        Changed::Room(room) => {
            masked.0.rooms.remove(room);
            masked.1.rooms.remove(room);
        }
    }
    assert!(masked.0 == masked.1, "more changed than {changed:?}");
}

fn assert_holds(view: &View, seed: u64) {
    assert!(view.relays.len() <= RELAY_ROWS, "seed {seed}");
    assert!(view.peers.len() <= PEER_ROWS, "seed {seed}");
    assert!(view.rooms.len() <= MAX_ROOMS, "seed {seed}");
    for log in view.rooms.values() {
        assert!(
            log.messages.len() <= ROOM_LINES && log.unsent.len() <= log.messages.len(),
            "seed {seed}"
        );
    }
    for (peer, row) in &view.peers {
        assert_eq!((*peer, *peer == view.local), (row.peer, false), "seed {seed}");
        assert!(
            !view.relays.iter().any(|relay| relay.peer == Some(*peer)),
            "seed {seed}"
        );
        assert!(row.gone_at.is_none() || row.route.is_none(), "seed {seed}");
        assert!(row.route.is_some() || row.round_trip.is_none(), "seed {seed}");
    }
}
