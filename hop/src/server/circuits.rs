//! Which circuits there are, between whom, and how far each has come.
//!
//! Decides whether there is room for one more. Holds no stream and reads no clock.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use web_time::Instant;

use crate::{
    Bound, CircuitId, Outcome, Stage,
    config::CircuitLimits,
    server::{Client, RequestId},
};

/// A circuit that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Circuit {
    pub(crate) source: Client,
    pub(crate) destination: Client,
    pub(crate) state: State,
    /// When it was admitted; once it is open, when it was opened.
    pub(crate) since: Instant,
    /// `None`: none, or further away than a clock can say.
    deadline: Option<Instant>,
}

impl Circuit {
    /// Of its ends; one, if a peer reaches itself.
    fn connections(&self) -> [ConnectionId; 2] {
        [self.source.connection, self.destination.connection]
    }
}

/// How far a circuit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The destination has not answered.
    Opening { request: RequestId },
    /// It stands.
    Open,
    /// It was told to end, and has not ended yet.
    Cut(Outcome),
}

impl State {
    /// The same, as the application sees it.
    pub(crate) fn stage(self) -> Stage {
        match self {
            Self::Opening { .. } => Stage::Opening,
            Self::Open | Self::Cut(_) => Stage::Open,
        }
    }
}

/// All circuits. Bounded by the limits it is asked with; the other maps are views of `all`.
#[derive(Debug, Default)]
pub(crate) struct Circuits {
    all: BTreeMap<CircuitId, Circuit>,
    /// Those that begin or end at a connection.
    by_connection: BTreeMap<ConnectionId, BTreeSet<CircuitId>>,
    by_source: BTreeMap<PeerId, usize>,
    by_destination: BTreeMap<PeerId, usize>,
    deadlines: BTreeSet<(Instant, CircuitId)>,
    last: u64,
}

impl Circuits {
    /// Whether there may be one more.
    pub(crate) fn room(&self, source: PeerId, destination: PeerId, limits: &CircuitLimits) -> Result<(), Bound> {
        let count = |map: &BTreeMap<PeerId, usize>, peer| map.get(&peer).copied().unwrap_or_default();
        if self.all.len() >= limits.total {
            Err(Bound::Circuits)
        } else if count(&self.by_source, source) >= limits.per_source {
            Err(Bound::CircuitsPerSource)
        } else if count(&self.by_destination, destination) >= limits.per_destination {
            Err(Bound::CircuitsPerDestination)
        } else {
            Ok(())
        }
    }

    /// A circuit that waits for its destination.
    pub(crate) fn admit(
        &mut self,
        source: Client,
        destination: Client,
        request: RequestId,
        limits: &CircuitLimits,
        now: Instant,
    ) -> CircuitId {
        self.last += 1;
        let id = CircuitId(self.last);
        let circuit = Circuit {
            source,
            destination,
            state: State::Opening { request },
            since: now,
            deadline: now.checked_add(limits.opening),
        };
        self.deadlines.extend(circuit.deadline.map(|at| (at, id)));
        self.all.insert(id, circuit);
        for connection in circuit.connections() {
            self.by_connection.entry(connection).or_default().insert(id);
        }
        *self.by_source.entry(source.peer).or_default() += 1;
        *self.by_destination.entry(destination.peer).or_default() += 1;
        id
    }

    /// The destination has accepted. `None` if nobody waits for that.
    pub(crate) fn open(&mut self, id: CircuitId, limits: &CircuitLimits, now: Instant) -> Option<(Circuit, RequestId)> {
        let circuit = self.all.get_mut(&id)?;
        let State::Opening { request } = circuit.state else {
            return None;
        };
        circuit.state = State::Open;
        circuit.since = now;
        let deadline = limits.duration.and_then(|duration| now.checked_add(duration));
        let circuit = *circuit;
        self.set_deadline(id, deadline);
        Some((circuit, request))
    }

    /// The circuit shall end as this. Counts until it has.
    pub(crate) fn cut(&mut self, id: CircuitId, outcome: Outcome) {
        if let Some(circuit) = self.all.get_mut(&id) {
            circuit.state = State::Cut(outcome);
            self.set_deadline(id, None);
        }
    }

    /// It is no more.
    pub(crate) fn end(&mut self, id: CircuitId) -> Option<Circuit> {
        self.set_deadline(id, None);
        let circuit = self.all.remove(&id)?;
        for connection in circuit.connections() {
            if let Entry::Occupied(mut circuits) = self.by_connection.entry(connection) {
                circuits.get_mut().remove(&id);
                if circuits.get().is_empty() {
                    circuits.remove();
                }
            }
        }
        count_off(&mut self.by_source, circuit.source.peer);
        count_off(&mut self.by_destination, circuit.destination.peer);
        Some(circuit)
    }

    /// One whose time is over.
    pub(crate) fn overdue(&self, now: Instant) -> Option<CircuitId> {
        let (deadline, id) = self.deadlines.first()?;
        (*deadline <= now).then_some(*id)
    }

    /// When the next one's time is over.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn get(&self, id: CircuitId) -> Option<&Circuit> {
        self.all.get(&id)
    }

    /// Those that begin or end at this connection.
    pub(crate) fn at(&self, connection: ConnectionId) -> Vec<CircuitId> {
        let circuits = self.by_connection.get(&connection);
        circuits.into_iter().flatten().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CircuitId, &Circuit)> {
        self.all.iter().map(|(id, circuit)| (*id, circuit))
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn set_deadline(&mut self, id: CircuitId, deadline: Option<Instant>) {
        if let Some(circuit) = self.all.get_mut(&id) {
            if let Some(before) = circuit.deadline {
                self.deadlines.remove(&(before, id));
            }
            circuit.deadline = deadline;
            self.deadlines.extend(deadline.map(|at| (at, id)));
        }
    }

    /// Whether every view shows the same.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert_eq!(self.by_source.values().sum::<usize>(), self.all.len());
        assert_eq!(self.by_destination.values().sum::<usize>(), self.all.len());
        let connections = |circuit: &Circuit| circuit.connections().into_iter().collect::<BTreeSet<_>>().len();
        let by_connection: usize = self.by_connection.values().map(BTreeSet::len).sum();
        assert_eq!(by_connection, self.all.values().map(connections).sum::<usize>());
        assert!(self.by_connection.values().all(|circuits| !circuits.is_empty()));
        let with_deadline = self.all.values().filter(|circuit| circuit.deadline.is_some()).count();
        assert_eq!(self.deadlines.len(), with_deadline);
    }
}

fn count_off(counts: &mut BTreeMap<PeerId, usize>, peer: PeerId) {
    if let Entry::Occupied(mut count) = counts.entry(peer) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
