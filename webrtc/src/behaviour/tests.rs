use libp2p_identity::Keypair;
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

fn peer(seed: u8) -> PeerId {
    Keypair::ed25519_from_bytes([seed; 32]).unwrap().public().to_peer_id()
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

/// What the circuits' handlers were told since the last call, in short.
fn told(behaviour: &mut Behaviour) -> Vec<(usize, &'static str)> {
    let commands = behaviour.actions.drain(..).filter_map(|action| {
        let ToSwarm::NotifyHandler {
            handler: NotifyHandler::One(connection),
            event: Either::Left(command),
            ..
        } = action
        else {
            return None;
        };
        let number = (1..9).find(|number| id(*number) == connection).unwrap();
        let command = match command {
            Command::Offer { .. } => "offer",
            Command::Answer { .. } => "answer",
            Command::Refuse => "refuse",
            Command::Cancel { why, .. } => match why {
                Cancellation::Unwanted => "cancel: unwanted",
                Cancellation::Glare => "cancel: glare",
                Cancellation::Replaced => "cancel: replaced",
            },
        };
        Some((number, command))
    });
    commands.collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn when_one_peer_offers_over_several_circuits_only_its_newest_session_goes_on() {
    let config = Config {
        max_sessions: 2,
        ..Config::default()
    };
    let (_transport, mut behaviour) = crate::new(peer(1), config);
    behaviour.on_offered(peer(2), id(1));
    behaviour.on_offered(peer(3), id(2));
    assert_eq!(told(&mut behaviour), [(1, "answer"), (2, "answer")]);
    behaviour.on_offered(peer(2), id(3));
    assert_eq!(told(&mut behaviour), [(1, "cancel: replaced"), (3, "answer")]);
    behaviour.on_offered(peer(4), id(4));
    assert_eq!(told(&mut behaviour), [(4, "refuse")], "the others hold what there is");
}
