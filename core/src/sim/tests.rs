//! What a network of engines must be good at, over many seeds.

use std::time::Duration;

use wasm_bindgen_test::wasm_bindgen_test;

use super::{LinkConfig, Network, NodeId};

const SEEDS: u64 = 5;

fn everyone_knows_everyone(network: &Network, nodes: &[NodeId]) -> bool {
    nodes.iter().all(|a| {
        nodes
            .iter()
            .all(|b| a == b || network.engine(*a).book().get(network.peer(*b)).is_some())
    })
}

#[wasm_bindgen_test(unsupported = test)]
fn when_fifty_join_within_a_second_all_know_all_within_ten() {
    for seed in 0..SEEDS {
        let mut network = Network::new(seed, LinkConfig::default());
        let relay = network.add_relay();
        let nodes: Vec<NodeId> = (0..50)
            .map(|_| {
                network.run_for(Duration::from_millis(20));
                network.add_node(&[relay])
            })
            .collect();
        let known = network.run_until_done(Duration::from_secs(9), |n| everyone_knows_everyone(n, &nodes));
        assert!(known, "seed {seed}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_tenth_of_gossip_is_lost_nearly_all_still_know_each_other() {
    for seed in 0..SEEDS {
        let link = LinkConfig {
            gossip_loss: 0.1,
            ..LinkConfig::default()
        };
        let mut network = Network::new(seed, link);
        let relay = network.add_relay();
        let nodes: Vec<NodeId> = (0..30).map(|_| network.add_node(&[relay])).collect();
        network.run_for(Duration::from_secs(200));
        // A pair knows nothing of each other only while three announcements in a row were lost: one in a thousand.
        let pairs = nodes.len() * (nodes.len() - 1);
        let known: usize = nodes.iter().map(|node| network.engine(*node).book().len()).sum();
        assert!(known * 100 >= pairs * 99, "seed {seed}: {known} of {pairs}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_relay_comes_back_all_reservations_are_back_within_five_seconds() {
    for seed in 0..SEEDS {
        let mut network = Network::new(seed, LinkConfig::default());
        let relay = network.add_relay();
        let nodes: Vec<NodeId> = (0..40).map(|_| network.add_node(&[relay])).collect();
        network.run_for(Duration::from_secs(20));
        network.kill(relay);
        network.run_for(Duration::from_secs(7 + seed * 5));
        network.start(relay);
        let back = network.run_until_done(Duration::from_secs(5), |n| {
            nodes.iter().all(|node| n.is_reserved(*node, relay))
        });
        assert!(back, "seed {seed}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_idle_page_among_a_hundred_receives_at_most_a_megabyte_of_discovery_an_hour() {
    let link = LinkConfig {
        ping_interval: Duration::from_secs(600),
        ..LinkConfig::default()
    };
    let mut network = Network::new(7, link);
    let relay = network.add_relay();
    let nodes: Vec<NodeId> = (0..100)
        .map(|_| {
            network.run_for(Duration::from_millis(500));
            network.add_node(&[relay])
        })
        .collect();
    network.run_for(Duration::from_secs(120));
    let before = network.discovery_bytes(nodes[0]);
    network.run_for(Duration::from_secs(3600));
    let hour = network.discovery_bytes(nodes[0]) - before;
    assert!(hour <= 1_000_000, "{hour} bytes");
    assert!(everyone_knows_everyone(&network, &nodes), "and still all are fresh");
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_node_falls_silent_it_is_back_and_heard_after_it_returns() {
    for seed in 0..SEEDS {
        let mut network = Network::new(seed, LinkConfig::default());
        let relay = network.add_relay();
        let (a, b) = (network.add_node(&[relay]), network.add_node(&[relay]));
        network.run_for(Duration::from_secs(20));
        network.silence(b);
        network.run_for(Duration::from_secs(60));
        network.unsilence(b);
        let connected = network.run_until_done(Duration::from_secs(30), |n| {
            n.is_reserved(b, relay) && n.engine(a).dialer().is_connected(n.peer(b))
        });
        assert!(connected, "seed {seed}");
        network.say(b, "here again");
        let room = crate::chat::RoomName::default();
        let heard = network.run_until_done(Duration::from_secs(5), |n| {
            let log = n.view(a).rooms.get(&room);
            log.is_some_and(|log| log.messages.iter().any(|line| line.text == "here again"))
        });
        assert!(heard, "seed {seed}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_one_of_two_relays_dies_nobody_who_holds_both_becomes_unreachable() {
    for seed in 0..SEEDS {
        let mut network = Network::new(seed, LinkConfig::default());
        let relays = [network.add_relay(), network.add_relay()];
        let nodes: Vec<NodeId> = (0..8).map(|_| network.add_node(&relays)).collect();
        network.run_for(Duration::from_secs(20));
        network.kill(relays[0]);
        network.run_for(Duration::from_secs(15));
        for a in &nodes {
            for b in &nodes {
                let connected = network.engine(*a).dialer().is_connected(network.peer(*b));
                assert!(a == b || connected, "seed {seed}");
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_node_vanishes_the_others_mark_it_gone() {
    let mut network = Network::new(3, LinkConfig::default());
    let relay = network.add_relay();
    let (a, b) = (network.add_node(&[relay]), network.add_node(&[relay]));
    assert!(network.run_until_done(Duration::from_secs(15), |n| {
        n.engine(a).dialer().is_connected(n.peer(b))
    }));
    network.vanish(b);
    let gone = network.run_until_done(Duration::from_secs(15), |n| {
        let row = n.view(a).peers.get(&n.peer(b));
        row.is_some_and(|row| row.gone_at.is_some() && row.route.is_none())
    });
    assert!(gone);
}
