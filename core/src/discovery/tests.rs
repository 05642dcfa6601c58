use rand::SeedableRng;
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;
use crate::dial::testing::{ids, parse};

struct World {
    machine: Discovery,
    ids: Vec<PeerId>,
    now: Now,
    sequence: u64,
}

impl World {
    fn new() -> Self {
        let ids = ids(4);
        let rng = SmallRng::seed_from_u64(1);
        Self {
            machine: Discovery::new(ids[0], ScheduleConfig::default(), PeerBookConfig::default(), rng),
            ids,
            now: Now::default(),
            sequence: 0,
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.machine.handle_timeout(self.now);
    }

    fn hear(&mut self, announcement: &Announcement) -> MessageAcceptance {
        self.sequence += 1;
        let (source, data) = (announcement.peer(), announcement.encode());
        self.machine.handle_gossip(source, Some(self.sequence), &data, self.now)
    }

    fn did(&mut self) -> Vec<DiscoveryAction> {
        std::iter::from_fn(|| self.machine.poll_action()).collect()
    }

    /// Through relay 3, on this host.
    fn address(&self, host: u8) -> Multiaddr {
        parse(&format!("/ip4/192.0.2.{host}/tcp/80/ws/p2p/<3>/p2p-circuit"), &self.ids)
    }
}

fn publications(actions: &[DiscoveryAction]) -> Vec<Publication> {
    let published = |action: &DiscoveryAction| match action {
        DiscoveryAction::Publish { what, .. } => Some(*what),
        DiscoveryAction::Discovered { .. }
        | DiscoveryAction::Heard { .. }
        | DiscoveryAction::Forgotten { .. }
        | DiscoveryAction::Gone { .. } => None,
    };
    actions.iter().filter_map(published).collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_that_left_is_gone_once_and_only_when_its_connection_is() {
    let mut world = World::new();
    let peer = world.ids[1];
    let here = Announcement::new(peer, [world.address(1)], Some("Ada"));
    assert_eq!(world.hear(&here), MessageAcceptance::Accept);
    let discovered = DiscoveryAction::Discovered {
        peer,
        name: Some("Ada".to_owned()),
        addrs: here.addrs().to_vec(),
    };
    assert_eq!(world.did(), std::slice::from_ref(&discovered));

    world.machine.handle_connected(peer, world.now);
    assert_eq!(world.hear(&Announcement::goodbye(peer)), MessageAcceptance::Accept);
    assert_eq!(world.did(), [DiscoveryAction::Forgotten { peer }]);
    world.machine.handle_disconnected(peer, world.now);
    let gone = DiscoveryAction::Gone { peer };
    assert_eq!(world.did(), [DiscoveryAction::Forgotten { peer }, gone]);

    world.hear(&here);
    assert_eq!(world.did(), [discovered]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_that_cannot_be_reached_is_gone_until_it_is_heard_again() {
    let mut world = World::new();
    let peer = world.ids[1];
    let here = Announcement::new(peer, [world.address(1)], None);
    world.hear(&here);
    world.did();
    world.machine.handle_unreachable(peer);
    world.machine.handle_unreachable(peer);
    assert_eq!(world.did(), [DiscoveryAction::Gone { peer }]);
    world.hear(&here);
    assert!(matches!(&world.did()[..], [DiscoveryAction::Discovered { .. }]));
}

#[wasm_bindgen_test(unsupported = test)]
fn what_changed_is_told_and_what_was_replayed_is_not_passed_on() {
    let mut world = World::new();
    let (first, second) = (world.address(1), world.address(2));
    let peer = world.ids[1];
    world.hear(&Announcement::new(peer, [first.clone()], None));
    world.did();
    for (address, expected) in [(&first, Changed::Same), (&second, Changed::Different)] {
        world.hear(&Announcement::new(peer, [address.clone()], None));
        let did = world.did();
        assert!(
            matches!(&did[..], [DiscoveryAction::Heard { moved, renamed: Changed::Same, .. }] if *moved == expected),
            "{did:?}"
        );
    }
    world.sequence = 0;
    let again = Announcement::new(peer, [first], None);
    assert_eq!(world.hear(&again), MessageAcceptance::Ignore);
    assert_eq!(world.did(), []);
}

#[wasm_bindgen_test(unsupported = test)]
fn after_our_goodbye_nothing_is_announced_whatever_happens() {
    let mut world = World::new();
    world.machine.handle_addresses(vec![world.address(1)], world.now);
    assert_eq!(publications(&world.did()), [Publication::Announcement]);
    world.machine.handle_published(world.now);
    world.machine.handle_left(world.now);
    assert_eq!(publications(&world.did()), [Publication::Goodbye]);
    world.machine.handle_addresses(vec![world.address(2)], world.now);
    world.machine.handle_subscriber(world.now);
    world.pass(Duration::from_secs(3600));
    assert_eq!(publications(&world.did()), []);
    assert_eq!(world.machine.poll_timeout(), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_last_address_is_lost_we_say_nothing_rather_than_goodbye() {
    let mut world = World::new();
    world.machine.handle_addresses(vec![world.address(1)], world.now);
    world.machine.handle_published(world.now);
    world.did();
    world.machine.handle_addresses(Vec::new(), world.now);
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.did(), []);
    world.machine.handle_addresses(vec![world.address(2)], world.now);
    world.pass(Duration::from_secs(1));
    assert_eq!(publications(&world.did()), [Publication::Announcement]);
}
