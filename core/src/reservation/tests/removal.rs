//! Relays that are not wanted any more.

use super::*;

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_that_is_removed_is_given_up_by_all_its_keys_and_frees_its_place() {
    let (mut world, key) = World::reserved(1);
    let other = world.add(None, &[3]);
    world.connect(other, 0, 2, 3);
    world.did();
    assert_eq!(world.machine.peer_of(other), Some(world.ids[0]));
    world.machine.handle_relay_removed(other, world.now);
    let all: Vec<_> = std::iter::from_fn(|| world.machine.poll_action()).collect();
    assert!(all.contains(&ReservationAction::Close { connection: id(2) }), "{all:?}");
    let removed = [key, other].map(|relay| ReservationAction::Report(RelayEvent::Removed { relay }));
    assert!(all.ends_with(&removed), "{all:?}");
    assert!(world.machine.held().is_empty() && !world.machine.is_relay(world.ids[0]));
    assert_eq!(world.machine.peer_of(other), None);

    world.pass(seconds(600));
    world.machine.handle_relay_removed(key, world.now);
    assert_eq!(world.machine.poll_action(), None, "it is gone, by every name");
}

#[wasm_bindgen_test(unsupported = test)]
fn only_a_slot_that_is_held_is_given_back_and_a_connection_that_comes_too_late_is_closed() {
    let (mut world, held) = World::reserved(1);
    world.machine.handle_relay_removed(held, world.now);
    let stop = ReservationAction::StopListening { relay: held };
    assert_eq!(world.did(), [stop, ReservationAction::Close { connection: id(1) }]);

    let asked = world.add(Some(1), &[4]);
    world.connect(asked, 1, 2, 4);
    assert!(world.did().iter().any(is_listen));
    world.machine.handle_relay_removed(asked, world.now);
    assert_eq!(world.did(), [ReservationAction::Close { connection: id(2) }]);

    let dialled = world.add(Some(2), &[5]);
    world.did();
    world.machine.handle_relay_removed(dialled, world.now);
    assert!(world.did().is_empty());
    world.connect(dialled, 2, 3, 5);
    assert_eq!(world.did(), [ReservationAction::Close { connection: id(3) }]);
}
