//! Clients that come, reserve, renew, connect and vanish as chance has it; after each step the server is compared with
//! what the clients know.

use std::collections::BTreeSet;

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IteratorRandom};

use super::*;

const STEPS: usize = 3_000;
const PEERS: usize = 40;
const LIFETIME: Duration = Duration::from_secs(60);
const TOTAL: usize = 20;
const PER_PEER: usize = 2;
const PER_NETWORK: usize = 8;
const CIRCUITS: usize = 12;
const PER_END: usize = 4;

/// What the clients know, and what the ledger made of the events.
#[derive(Default)]
struct Truth {
    clients: BTreeMap<ConnectionId, (Client, usize)>,
    /// When each slot ends, if it is not renewed.
    slots: BTreeMap<ConnectionId, Instant>,
    /// Tickets that are out. The request, while it waits for an answer.
    tickets: BTreeMap<CircuitId, (Client, Client, Option<RequestId>)>,
    /// Of tickets that are out, those that the server has given up.
    void: BTreeSet<CircuitId>,
    waiting: BTreeSet<RequestId>,
    ledger: Ledger,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Ledger {
    reservations: usize,
    circuits: usize,
    bytes: u64,
}

impl Ledger {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::ReservationAccepted { .. } => self.reservations += 1,
            Event::ReservationEnded { .. } => self.reservations -= 1,
            Event::CircuitAccepted { .. } => self.circuits += 1,
            Event::CircuitClosed { traffic, .. } => {
                self.circuits -= 1;
                self.bytes += traffic.to_destination + traffic.to_source;
            }
            Event::ReservationRenewed { .. }
            | Event::ReservationDenied { .. }
            | Event::CircuitDenied { .. }
            | Event::RequestRejected { .. } => {}
        }
    }
}

#[test]
fn whatever_clients_do_the_server_knows_the_truth() {
    for seed in 0..30 {
        simulate(seed);
    }
}

fn simulate(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut world = World::new(|config| {
        config.reservations.total = TOTAL;
        config.reservations.per_peer = PER_PEER;
        config.reservations.per_network = Some(PER_NETWORK);
        config.reservations.lifetime = LIFETIME;
        config.circuits.total = CIRCUITS;
        config.circuits.per_source = PER_END;
        config.circuits.per_destination = PER_END;
        config.circuits.duration = Some(Duration::from_secs(40));
    });
    let peers: Vec<_> = (0..PEERS).map(|_| PeerId::random()).collect();
    let mut truth = Truth::default();
    for step in 0..STEPS {
        let at = format!("seed {seed}, step {step}");
        let some = truth.clients.values().choose(&mut rng).copied();
        match (rng.random_range(0..12), some) {
            (0 | 1, _) if truth.clients.len() < 2 * PEERS => {
                let network = rng.random_range(0..5);
                let peer = peers[rng.random_range(0..PEERS)];
                let client = world.connect(peer, &format!("/ip4/10.0.0.{network}/tcp/1"));
                truth.clients.insert(client.connection, (client, network));
            }
            (2..=4, Some((client, network))) => reserve(&mut world, &mut truth, client, network, &at),
            (5..=7, Some((source, _))) => {
                let destination = peers[rng.random_range(0..PEERS)];
                connect(&mut world, &mut truth, source, destination, &at);
            }
            (8, Some((client, _))) => {
                truth.clients.remove(&client.connection);
                truth.slots.remove(&client.connection);
                let wanted = world.disconnect(client);
                truth.take(&wanted);
            }
            (9 | 10, _) => ticket(&mut world, &mut truth, &mut rng),
            (11, _) => {
                let wanted = world.pass(Duration::from_millis(rng.random_range(0..9_000)));
                truth.take(&wanted);
            }
            _ => {}
        }
        truth.slots.retain(|_, ends| *ends > world.now);
        // Whatever woke the server, it looks at the clock.
        let wanted = world.pass(Duration::ZERO);
        truth.take(&wanted);
        truth.compare(&world, &at);
    }
    // All leave: nothing may be left.
    for (client, _) in std::mem::take(&mut truth.clients).into_values() {
        let wanted = world.disconnect(client);
        truth.take(&wanted);
    }
    for circuit in std::mem::take(&mut truth.tickets).into_keys() {
        let wanted = world.end(circuit, Ending::Dropped);
        truth.take(&wanted);
    }
    assert_eq!(
        world.server.slots().holders() + world.server.circuits().len(),
        0,
        "seed {seed}"
    );
    assert_eq!(
        (truth.ledger.reservations, truth.ledger.circuits),
        (0, 0),
        "seed {seed}"
    );
    assert_eq!(truth.waiting, BTreeSet::new(), "seed {seed}: every request is answered");
    assert_eq!(world.server.poll_timeout(), None, "seed {seed}");
}

fn reserve(world: &mut World, truth: &mut Truth, client: Client, network: usize, at: &str) {
    let room = truth.has_room(client, network);
    let answered = {
        let request = world.request();
        world.server.handle_reserve(client, request, world.now);
        let wanted = world.wanted();
        truth.take(&wanted);
        answer(&wanted, request)
    };
    let expected = if room { Ok(()) } else { Err(Refusal::ReservationRefused) };
    assert_eq!(answered, expected, "{at}");
    if room {
        truth.slots.insert(client.connection, world.now + 2 * LIFETIME);
    }
}

fn connect(world: &mut World, truth: &mut Truth, source: Client, destination: PeerId, at: &str) {
    let newest = |truth: &Truth| {
        let mut slots = truth.slots.keys().rev();
        slots
            .find_map(|id| truth.clients.get(id).filter(|(client, _)| client.peer == destination))
            .map(|(client, _)| *client)
    };
    let live = || truth.tickets.iter().filter(|(id, _)| !truth.void.contains(id));
    let full = live().count() >= CIRCUITS
        || live().filter(|(_, (of, ..))| of.peer == source.peer).count() >= PER_END
        || live().filter(|(_, (_, to, _))| to.peer == destination).count() >= PER_END;
    let expected = match newest(truth) {
        None => Err(Refusal::NoReservation),
        Some(_) if full => Err(Refusal::ResourceLimitExceeded),
        Some(client) => Ok(client),
    };
    let request = world.request();
    world.server.handle_connect(source, request, destination, world.now);
    let wanted = world.wanted();
    truth.take(&wanted);
    match wanted.actions[..] {
        [
            Action::Open {
                circuit, destination, ..
            },
        ] => {
            assert_eq!(expected, Ok(destination), "{at}");
            truth.tickets.insert(circuit, (source, destination, Some(request)));
            truth.waiting.insert(request);
        }
        _ => assert_eq!(
            expected.map(|_| ()),
            Err(answer(&wanted, request).expect_err("refused")),
            "{at}"
        ),
    }
}

/// One of the tickets that are out moves on or comes back.
fn ticket(world: &mut World, truth: &mut Truth, rng: &mut SmallRng) {
    let Some((circuit, (.., request))) = truth.tickets.iter().choose(rng).map(|(id, ticket)| (*id, *ticket)) else {
        return;
    };
    let wanted = match request {
        Some(_) if rng.random_bool(0.7) => {
            world.server.handle_accepted(circuit, world.now);
            world.wanted()
        }
        Some(_) => {
            truth.tickets.remove(&circuit);
            world.end(circuit, Ending::NotOpened(OpenError::TimedOut))
        }
        None => {
            truth.tickets.remove(&circuit);
            let endings = [
                Ending::Dropped,
                Ending::Closed(Outcome::Finished),
                Ending::Closed(Outcome::DataLimit),
            ];
            world.end(circuit, endings[rng.random_range(0..endings.len())])
        }
    };
    truth.take(&wanted);
    let gone = truth
        .tickets
        .get(&circuit)
        .is_some_and(|_| truth.void.contains(&circuit));
    if gone && request.is_some() {
        // Accepted too late: the ticket comes back at once.
        truth.tickets.remove(&circuit);
        let wanted = world.end(circuit, Ending::Dropped);
        truth.take(&wanted);
    }
}

impl Truth {
    /// Whether the limits, read as they are written, leave room.
    fn has_room(&self, asking: Client, network: usize) -> bool {
        if self.slots.contains_key(&asking.connection) {
            return true;
        }
        let holders = || self.slots.keys().filter_map(|id| self.clients.get(id));
        let own = holders().filter(|(client, _)| client.peer == asking.peer).count();
        let all: BTreeSet<_> = holders().map(|(client, _)| client.peer).collect();
        let near: BTreeSet<_> = holders()
            .filter(|(_, of)| *of == network)
            .map(|(client, _)| client.peer)
            .collect();
        own < PER_PEER
            && (all.contains(&asking.peer) || all.len() < TOTAL)
            && (near.contains(&asking.peer) || near.len() < PER_NETWORK)
    }

    fn take(&mut self, wanted: &Wanted) {
        for event in &wanted.events {
            self.ledger.apply(event);
        }
        for action in &wanted.actions {
            match action {
                Action::Refuse { request, .. } => {
                    if self.waiting.remove(request) {
                        let of = |(_, ticket): &(&CircuitId, &(Client, Client, Option<RequestId>))| {
                            ticket.2 == Some(*request)
                        };
                        self.void
                            .extend(self.tickets.iter().find(of).map(|(circuit, _)| *circuit));
                    }
                }
                Action::Bridge { circuit, request, .. } => {
                    assert!(self.waiting.remove(request), "bridged once");
                    if let Some(ticket) = self.tickets.get_mut(circuit) {
                        ticket.2 = None;
                    }
                }
                Action::Grant { .. }
                | Action::Release { .. }
                | Action::Open { .. }
                | Action::Cut { .. }
                | Action::Report(_) => {}
            }
        }
    }

    fn compare(&self, world: &World, at: &str) {
        let server = &world.server;
        let slots: Vec<_> = server.slots().iter().map(|(connection, _)| connection).collect();
        assert_eq!(slots, self.slots.keys().copied().collect::<Vec<_>>(), "{at}");
        assert_eq!(self.ledger.reservations, slots.len(), "{at}: the ledger");
        let live = self.tickets.keys().filter(|id| !self.void.contains(id)).count();
        assert_eq!(server.circuits().len(), live, "{at}");
        let open = self.tickets.values().filter(|(.., request)| request.is_none()).count();
        assert_eq!(self.ledger.circuits, open, "{at}: the ledger");
        assert!(
            server.slots().holders() <= TOTAL && server.circuits().len() <= CIRCUITS,
            "{at}"
        );
    }
}
