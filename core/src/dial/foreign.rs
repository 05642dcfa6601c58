//! Which relays that are not ours may be used for a while: at most a few at once, left soon after their last circuit, and on
//! the word of strangers only a few hosts in a while, so that no message can turn pages into a weapon.
//!
//! Never closes a connection itself, and does not judge addresses: [`plan`](super::plan) did.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p::{PeerId, swarm::ConnectionId};

use super::{
    plan::Source,
    route::{Host, TransportAddress},
};

/// Foreign relays in use at once. When full, one without circuits makes room; else the rung is passed over.
pub const MAX_FOREIGN_RELAYS: usize = 2;
/// Hosts tried on the word of strangers within [`BUDGET_WINDOW`]. When spent, the rung is passed over.
pub const MAX_FOREIGN_HOSTS: usize = 4;
/// Ports tried on one of these hosts within [`BUDGET_WINDOW`]: its WebSocket and its WebRTC-direct. When spent, as above.
pub const MAX_PORTS_PER_HOST: usize = 2;
/// How long a host counts against the budget after it was last dialled.
pub const BUDGET_WINDOW: Duration = Duration::from_secs(10 * 60);
/// Relays that our own relays may name. When full, further names are not heard.
pub const MAX_NAMED_RELAYS: usize = 32;

#[derive(Debug)]
pub(super) struct ForeignRelays {
    linger: Duration,
    named: BTreeSet<PeerId>,
    in_use: BTreeMap<PeerId, InUse>,
    /// Bounded by [`MAX_FOREIGN_HOSTS`] × [`MAX_PORTS_PER_HOST`].
    tried: Vec<Tried>,
}

#[derive(Debug, Default)]
struct InUse {
    connections: BTreeSet<ConnectionId>,
    circuits: BTreeSet<ConnectionId>,
    attempts: usize,
    idle_since: Option<Duration>,
}

/// A host that was dialled because a stranger said so.
#[derive(Debug)]
struct Tried {
    host: Host,
    port: u16,
    relay: PeerId,
    last: Duration,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Nobody has proven to be that relay: one dial in the window is enough.
    None,
    /// The relay answered there.
    Relay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    Refused,
}

impl ForeignRelays {
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            linger,
            named: BTreeSet::new(),
            in_use: BTreeMap::new(),
            tried: Vec::new(),
        }
    }

    pub(super) fn name(&mut self, relay: PeerId) {
        if self.named.len() < MAX_NAMED_RELAYS {
            self.named.insert(relay);
        }
    }

    /// Asks for one dial through `relay` and, if it is admitted, counts the host and the attempt. What must leave to make
    /// room is left: see [`Self::leave`].
    pub(super) fn admit(
        &mut self,
        relay: PeerId,
        transport: &TransportAddress,
        source: Source,
        now: Duration,
    ) -> Admission {
        let busy = self
            .in_use
            .iter()
            .filter(|(other, in_use)| **other != relay && !in_use.is_idle())
            .count();
        if busy >= MAX_FOREIGN_RELAYS {
            return Admission::Refused;
        }
        let connected = self
            .in_use
            .get(&relay)
            .is_some_and(|relay| !relay.connections.is_empty());
        let vouched = source == Source::User || self.named.contains(&relay);
        if !connected && !vouched && self.spend(relay, transport, now) == Admission::Refused {
            return Admission::Refused;
        }
        let in_use = self.in_use.entry(relay).or_default();
        in_use.attempts += 1;
        in_use.idle_since = None;
        Admission::Admitted
    }

    fn spend(&mut self, relay: PeerId, transport: &TransportAddress, now: Duration) -> Admission {
        self.tried
            .retain(|tried| now.saturating_sub(tried.last) < BUDGET_WINDOW);
        let ports = self.tried.iter().filter(|tried| tried.host == transport.host).count();
        let known = |tried: &&mut Tried| tried.host == transport.host && tried.port == transport.port;
        if let Some(tried) = self.tried.iter_mut().find(known) {
            if tried.relay != relay || tried.answer == Answer::None {
                return Admission::Refused;
            }
            tried.last = now;
            return Admission::Admitted;
        }
        let hosts: BTreeSet<&Host> = self.tried.iter().map(|tried| &tried.host).collect();
        if ports >= MAX_PORTS_PER_HOST || (ports == 0 && hosts.len() >= MAX_FOREIGN_HOSTS) {
            return Admission::Refused;
        }
        self.tried.push(Tried {
            host: transport.host.clone(),
            port: transport.port,
            relay,
            last: now,
            answer: Answer::None,
        });
        Admission::Admitted
    }

    pub(super) fn on_attempt_ended(&mut self, relay: PeerId, now: Duration) {
        if let Some(in_use) = self.in_use.get_mut(&relay) {
            in_use.attempts = in_use.attempts.saturating_sub(1);
            in_use.note_idle(now);
        }
    }

    /// Whether a connection to this peer is one that circuits through a foreign relay need.
    pub(super) fn uses(&self, relay: PeerId) -> bool {
        self.in_use.contains_key(&relay)
    }

    pub(super) fn on_relay_connected(&mut self, relay: PeerId, connection: ConnectionId) {
        if let Some(in_use) = self.in_use.get_mut(&relay) {
            in_use.connections.insert(connection);
            for tried in self.tried.iter_mut().filter(|tried| tried.relay == relay) {
                tried.answer = Answer::Relay;
            }
        }
    }

    pub(super) fn on_circuit(&mut self, relay: PeerId, circuit: ConnectionId) {
        if let Some(in_use) = self.in_use.get_mut(&relay) {
            in_use.circuits.insert(circuit);
            in_use.idle_since = None;
        }
    }

    pub(super) fn on_disconnected(&mut self, connection: ConnectionId, now: Duration) {
        for in_use in self.in_use.values_mut() {
            in_use.connections.remove(&connection);
            if in_use.circuits.remove(&connection) {
                in_use.note_idle(now);
            }
        }
    }

    /// Takes a relay off the list because it is one of ours now; its connections stay.
    pub(super) fn forget(&mut self, relay: PeerId) {
        self.in_use.remove(&relay);
    }

    /// The connections to close: of relays without circuits for long enough, and of idle ones beyond the limit.
    pub(super) fn leave(&mut self, now: Duration) -> Vec<(PeerId, ConnectionId)> {
        let mut left = Vec::new();
        let linger = self.linger;
        let expired = |relay: &InUse| {
            relay
                .idle_since
                .is_some_and(|since| now >= since.saturating_add(linger))
        };
        while let Some(relay) = self
            .in_use
            .iter()
            .find(|(_, relay)| expired(relay))
            .or_else(|| {
                let longest_idle = self.in_use.iter().filter(|(_, relay)| relay.is_idle());
                longest_idle
                    .min_by_key(|(_, relay)| relay.idle_since)
                    .filter(|_| self.in_use.len() > MAX_FOREIGN_RELAYS)
            })
            .map(|(relay, _)| *relay)
        {
            let gone = self.in_use.remove(&relay).unwrap_or_default();
            left.extend(gone.connections.into_iter().map(|connection| (relay, connection)));
        }
        left
    }

    pub(super) fn next_leave(&self) -> Option<Duration> {
        let due = |relay: &InUse| Some(relay.idle_since?.saturating_add(self.linger));
        self.in_use.values().filter_map(due).min()
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.in_use.len()
    }
}

impl InUse {
    fn is_idle(&self) -> bool {
        self.attempts == 0 && self.circuits.is_empty()
    }

    fn note_idle(&mut self, now: Duration) {
        if self.is_idle() {
            self.idle_since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;
    use crate::dial::{
        route::{AddressForm, classify},
        testing::{ids, parse},
    };

    const LINGER: Duration = Duration::from_secs(60);

    fn transport(text: &str) -> TransportAddress {
        match classify(&parse(text, &[])).map(|classified| classified.form) {
            Some(AddressForm::Direct(direct)) => direct,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// One whole failed attempt.
    fn try_once(foreign: &mut ForeignRelays, relay: PeerId, host: &str, now: Duration) -> Admission {
        let admission = foreign.admit(relay, &transport(host), Source::Announced, now);
        if admission == Admission::Admitted {
            foreign.on_attempt_ended(relay, now);
            foreign.leave(now + LINGER);
        }
        admission
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn strangers_can_send_us_to_four_hosts_in_ten_minutes_and_to_a_silent_one_once() {
        let ids = ids(40);
        let mut foreign = ForeignRelays::new(LINGER);
        let mut admitted = Vec::new();
        for (at, relay) in ids.iter().enumerate() {
            let host = format!("/ip4/198.51.100.{}/tcp/80/ws", at / 2);
            if try_once(&mut foreign, *relay, &host, Duration::from_secs(at as u64)) == Admission::Admitted {
                admitted.push(host);
            }
        }
        let hosts: Vec<String> = (0..4).map(|at| format!("/ip4/198.51.100.{at}/tcp/80/ws")).collect();
        assert_eq!(
            admitted, hosts,
            "one dial each, although two relays were said to be there"
        );
        let later = BUDGET_WINDOW + Duration::from_secs(60);
        assert_eq!(
            try_once(&mut foreign, ids[0], "/ip4/198.51.100.9/tcp/80/ws", later),
            Admission::Admitted
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn one_host_is_not_scanned_for_ports() {
        let ids = ids(20);
        let mut foreign = ForeignRelays::new(LINGER);
        let admitted = ids.iter().enumerate().filter(|(at, relay)| {
            let host = format!("/ip4/198.51.100.1/tcp/{}/ws", at + 1);
            try_once(&mut foreign, **relay, &host, Duration::ZERO) == Admission::Admitted
        });
        assert_eq!(admitted.count(), MAX_PORTS_PER_HOST);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_our_relay_names_or_the_user_gives_costs_no_budget_but_no_third_relay_is_used_at_once() {
        let ids = ids(10);
        let host = transport("/ip4/198.51.100.1/tcp/80/ws");
        let mut foreign = ForeignRelays::new(LINGER);
        for id in &ids[..9] {
            assert_eq!(
                try_once(&mut foreign, *id, "/ip4/203.0.113.1/tcp/80/ws", Duration::ZERO),
                {
                    if *id == ids[0] {
                        Admission::Admitted
                    } else {
                        Admission::Refused
                    }
                }
            );
        }
        foreign.name(ids[1]);
        assert_eq!(
            foreign.admit(ids[1], &host, Source::Announced, Duration::ZERO),
            Admission::Admitted
        );
        assert_eq!(
            foreign.admit(ids[2], &host, Source::User, Duration::ZERO),
            Admission::Admitted
        );
        assert_eq!(
            foreign.admit(ids[3], &host, Source::User, Duration::ZERO),
            Admission::Refused
        );
        foreign.on_attempt_ended(ids[1], Duration::ZERO);
        assert_eq!(
            foreign.admit(ids[3], &host, Source::User, Duration::ZERO),
            Admission::Admitted
        );
        foreign.leave(Duration::ZERO);
        assert_eq!(foreign.in_use(), MAX_FOREIGN_RELAYS, "the idle one made room");
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_foreign_relay_is_left_a_while_after_its_last_circuit() {
        let relay = ids(1)[0];
        let host = transport("/ip4/198.51.100.1/tcp/80/ws");
        let (connection, circuit) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        let mut foreign = ForeignRelays::new(LINGER);
        assert_eq!(
            foreign.admit(relay, &host, Source::Announced, Duration::ZERO),
            Admission::Admitted
        );
        foreign.on_relay_connected(relay, connection);
        foreign.on_circuit(relay, circuit);
        foreign.on_attempt_ended(relay, Duration::ZERO);
        assert_eq!(foreign.next_leave(), None);
        assert!(foreign.leave(Duration::from_secs(999)).is_empty());
        foreign.on_disconnected(circuit, Duration::from_secs(1000));
        assert_eq!(foreign.next_leave(), Some(Duration::from_secs(1060)));
        assert!(foreign.leave(Duration::from_secs(1059)).is_empty());
        assert_eq!(foreign.leave(Duration::from_secs(1060)), [(relay, connection)]);
        assert_eq!(foreign.next_leave(), None);
    }
}
