//! Relays that let in only those who have a token.

use super::*;

fn token() -> AccessToken {
    "a-token".parse().unwrap()
}

/// Connected to a relay for which there is a token, which was shown.
fn shown() -> (World, RelayKey) {
    let mut world = World::new(1);
    let key = world.add(Some(0), &[1]);
    world.machine.handle_token(key, token(), world.now);
    world.did();
    world.connect(key, 0, 1, 1);
    let present = ReservationAction::Present {
        relay: key,
        peer: world.ids[0],
        token: token(),
    };
    assert_eq!(world.did(), [present], "and nothing is asked of it before it answered");
    (world, key)
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_is_asked_for_a_slot_once_it_has_taken_the_token_or_takes_no_notice_of_tokens() {
    for answer in [Some(TokenAnswer::Allowed), None] {
        let (mut world, _) = shown();
        world.pass(seconds(1));
        assert_eq!(world.did(), []);
        world.machine.handle_token_answer(world.ids[0], answer, world.now);
        assert!(matches!(&world.did()[..], [listen] if is_listen(listen)), "{answer:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_that_does_not_take_the_token_is_left_and_not_pestered() {
    let (mut world, _) = shown();
    world
        .machine
        .handle_token_answer(world.ids[0], Some(TokenAnswer::Denied), world.now);
    let all: Vec<_> = std::iter::from_fn(|| world.machine.poll_action()).collect();
    let [
        ReservationAction::Close { .. },
        ReservationAction::Report(RelayEvent::Lost {
            reason: RelayFailure::WrongToken,
            retry_in,
            ..
        }),
    ] = &all[..]
    else {
        panic!("{all:?}");
    };
    assert!(*retry_in >= RETRY_AFTER_REFUSAL.first / 2, "{retry_in:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_that_does_not_answer_is_left_in_time_and_shown_the_token_again_next_time() {
    let (mut world, key) = shown();
    world.machine.handle_gossip(world.ids[0], world.now);
    assert_eq!(world.machine.poll_timeout(), Some(world.now.mono + RESERVE_TIMEOUT));
    world.pass(RESERVE_TIMEOUT);
    assert!(matches!(world.did()[..], [ReservationAction::Close { .. }]));
    world.machine.handle_disconnected(id(1), world.now);
    world.pass(seconds(5));
    assert!(matches!(&world.did()[..], [dial] if is_dial(dial, 1)));
    world.connect(key, 0, 2, 1);
    assert!(matches!(world.did()[..], [ReservationAction::Present { .. }]));
}

#[wasm_bindgen_test(unsupported = test)]
fn of_two_relays_only_the_one_it_is_for_sees_the_token() {
    let mut world = World::new(1);
    let (with, without) = (world.add(Some(0), &[1]), world.add(Some(1), &[2]));
    world.machine.handle_token(with, token(), world.now);
    world.did();
    world.connect(without, 1, 1, 2);
    assert!(matches!(&world.did()[..], [listen] if is_listen(listen)));
    world.connect(with, 0, 2, 1);
    assert!(matches!(world.did()[..], [ReservationAction::Present { relay, .. }] if relay == with));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_token_for_a_relay_that_turns_out_to_be_another_key_goes_with_it() {
    let mut world = World::new(1);
    let known = world.add(Some(0), &[1]);
    let unknown = world.add(None, &[2]);
    world.machine.handle_token(unknown, token(), world.now);
    world.did();
    world.connect(unknown, 0, 1, 2);
    assert!(matches!(world.did()[..], [ReservationAction::Present { relay, .. }] if relay == known));
}
