//! Whether the ledger tells the truth: a real relay, clients that come, reserve, connect, talk and vanish as chance has it,
//! and what they know compared with what `/stats` and `/metrics` say.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, Stream};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IteratorRandom};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    clients::raw::Raw,
    support::{self, TestRelay, eventually},
};

const STEPS: usize = 1_000;
/// After how many steps everything is compared.
const CHECKPOINT: usize = 100;
const MAX_CLIENTS: usize = 20;
const RESERVATIONS: u32 = 6;
const CIRCUITS: u32 = 8;
const CIRCUITS_PER_PEER: u32 = 3;
/// As announced; kept for twice as long.
const LIFETIME: Duration = Duration::from_secs(1);
/// How late the relay may be to notice that a slot is over, on a machine that is busy with something else.
const LATE: Duration = Duration::from_secs(1);
const MAX_BYTES: usize = 100_000;
/// What may be on its way when a client is killed, and is counted though nobody heard it.
const MAX_BYTES_LOST: usize = 8_000;

/// One direction of time in which something that was asked for began.
#[derive(Clone, Copy)]
struct Span {
    asked: Instant,
    answered: Instant,
}

struct Client {
    raw: Raw,
    slot: Option<Span>,
}

struct Circuit {
    source: usize,
    destination: usize,
    stream: Stream,
}

/// What the clients know.
struct World {
    relay: TestRelay,
    address: Multiaddr,
    rng: StdRng,
    clients: BTreeMap<usize, Client>,
    circuits: Vec<Circuit>,
    opened: usize,
    /// Bytes that destinations have read.
    heard: Arc<AtomicU64>,
    /// Bytes that sources have read.
    returned: u64,
    granted: u64,
    refused: u64,
    circuits_accepted: u64,
    circuits_finished: u64,
    /// How often each status was the answer to a request for a circuit.
    circuits_denied: BTreeMap<i32, u64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clients_do_the_ledger_tells_the_truth() {
    let seed = std::env::var("PEERWAY_TEST_SEED").map_or(4, |seed| seed.parse().unwrap());
    let mut world = World::new(seed).await;
    for step in 1..=STEPS {
        let at = format!("PEERWAY_TEST_SEED={seed}, step {step}");
        timeout(2 * support::PATIENCE, world.step(&at))
            .await
            .unwrap_or_else(|_| panic!("{at} takes too long"));
        if step % CHECKPOINT == 0 {
            world.compare(&at).await;
        }
    }
    // All leave: nothing may be left.
    let at = format!("PEERWAY_TEST_SEED={seed}, at the end");
    world.circuits.clear();
    world.clients.clear();
    world.settle().await;
    world.compare(&at).await;
    let stats = world.stats().await;
    let totals = &stats["totals"];
    for (what, count) in [
        ("granted", world.granted),
        ("refused", world.refused),
        ("circuits", world.circuits_accepted),
        ("finished", world.circuits_finished),
        ("no reservation", *world.circuits_denied.get(&204).unwrap_or(&0)),
        ("full", *world.circuits_denied.get(&201).unwrap_or(&0)),
        ("renewed", number(&totals["reservationsRenewed"])),
        ("expired", number(&totals["reservationsEnded"]["expired"])),
    ] {
        assert!(count > 0, "{at}: nothing was {what}, so nothing was tested: {stats}");
    }
}

impl World {
    async fn new(seed: u64) -> Self {
        let relay = TestRelay::start_with(|mut config| {
            config.limits.reservations = RESERVATIONS.try_into().unwrap();
            config.limits.circuits = CIRCUITS.try_into().unwrap();
            config.limits.circuits_per_peer = CIRCUITS_PER_PEER.try_into().unwrap();
            config.limits.reservation_duration = format!("{}s", LIFETIME.as_secs()).parse().unwrap();
            config
        })
        .await;
        Self {
            address: relay.address("tcp"),
            relay,
            rng: StdRng::seed_from_u64(seed),
            clients: BTreeMap::new(),
            circuits: Vec::new(),
            opened: 0,
            heard: Arc::default(),
            returned: 0,
            granted: 0,
            refused: 0,
            circuits_accepted: 0,
            circuits_finished: 0,
            circuits_denied: BTreeMap::new(),
        }
    }

    async fn step(&mut self, at: &str) {
        match self.rng.random_range(0..100) {
            0 if self.rng.random_bool(0.4) => self.wait().await,
            0..16 => self.connect().await,
            16..40 => self.reserve(at).await,
            40..60 => self.open(at).await,
            60..84 => self.send().await,
            84..95 => self.close().await,
            _ => self.kill().await,
        }
        self.settle().await;
    }

    async fn connect(&mut self) {
        if self.clients.len() >= MAX_CLIENTS {
            return;
        }
        let raw = Raw::connect(&self.address).await;
        let heard = Arc::clone(&self.heard);
        raw.serve(move |stream| echo(stream, Arc::clone(&heard))).await;
        self.opened += 1;
        self.clients.insert(self.opened, Client { raw, slot: None });
    }

    async fn reserve(&mut self, at: &str) {
        let Some(id) = self.some_client() else { return };
        let asked = Instant::now();
        let answer = self.clients[&id].raw.reserve().await;
        let span = Span {
            asked,
            answered: Instant::now(),
        };
        let others = |is: fn(&Span, Span) -> bool| {
            let slots = self
                .clients
                .iter()
                .filter_map(|(other, client)| Some((other, client.slot?)));
            slots.filter(|(other, slot)| **other != id && is(slot, span)).count()
        };
        let own = self.clients[&id].slot;
        let may = own.is_some_and(|slot| slot.stands(span)) || others(Span::may_stand) < RESERVATIONS as usize;
        let may_not = !own.is_some_and(|slot| slot.may_stand(span)) && others(Span::stands) >= RESERVATIONS as usize;
        match answer {
            Ok(_) => {
                assert!(!may_not, "{at}: one too many was let in");
                self.granted += 1;
                self.clients.get_mut(&id).unwrap().slot = Some(span);
            }
            Err(status) => {
                assert!(!may, "{at}: refused although there is room");
                assert_eq!(status, Some(200), "{at}");
                self.refused += 1;
            }
        }
    }

    async fn open(&mut self, at: &str) {
        let with_a_slot = self.clients.iter().filter(|(_, client)| client.slot.is_some());
        let some_with_a_slot = with_a_slot.map(|(id, _)| *id).choose(&mut self.rng);
        let (Some(source), Some(anybody)) = (self.some_client(), self.some_client()) else {
            return;
        };
        let destination = some_with_a_slot
            .filter(|_| self.rng.random_bool(0.8))
            .unwrap_or(anybody);
        let peer = self.clients[&destination].raw.node.id;
        let asked = Instant::now();
        let answer = self.clients[&source].raw.reach(peer).await;
        let span = Span {
            asked,
            answered: Instant::now(),
        };
        let of = |is: &dyn Fn(&Circuit) -> bool| self.circuits.iter().filter(|one| is(one)).count();
        let full = self.circuits.len() >= CIRCUITS as usize
            || of(&|one| one.source == source) >= CIRCUITS_PER_PEER as usize
            || of(&|one| one.destination == destination) >= CIRCUITS_PER_PEER as usize;
        let slot = self.clients[&destination].slot;
        let (stands, may_stand) = (
            slot.is_some_and(|slot| slot.stands(span)),
            slot.is_some_and(|slot| slot.may_stand(span)),
        );
        match answer {
            Ok(stream) => {
                assert!(may_stand && !full, "{at}");
                self.circuits_accepted += 1;
                self.circuits.push(Circuit {
                    source,
                    destination,
                    stream,
                });
            }
            Err(status) => {
                match status {
                    Some(204) => assert!(!stands, "{at}"),
                    Some(201) => assert!(full && may_stand, "{at}"),
                    other => panic!("{at}: {other:?}"),
                }
                *self.circuits_denied.entry(status.unwrap()).or_default() += 1;
            }
        }
    }

    /// Sends something over a circuit, and hears it come back.
    async fn send(&mut self) {
        let Some(index) = (0..self.circuits.len()).choose(&mut self.rng) else {
            return;
        };
        let bytes = self.rng.random_range(1..=MAX_BYTES);
        let (mut reader, mut writer) = (&mut self.circuits[index].stream).split();
        let write = async {
            writer.write_all(&vec![7; bytes]).await.unwrap();
            writer.flush().await.unwrap();
        };
        let read = async { reader.read_exact(&mut vec![0; bytes]).await.unwrap() };
        futures::future::join(write, read).await;
        self.returned += bytes as u64;
    }

    async fn close(&mut self) {
        let Some(index) = (0..self.circuits.len()).choose(&mut self.rng) else {
            return;
        };
        let mut circuit = self.circuits.swap_remove(index);
        if self.rng.random_bool(0.5) {
            circuit.stream.close().await.unwrap();
            assert_eq!(circuit.stream.read(&mut [0]).await.unwrap(), 0);
            self.circuits_finished += 1;
        }
    }

    /// Nobody does anything, until no reservation is left.
    async fn wait(&mut self) {
        eventually("all reservations are over", async || {
            (self.relay.relay.status().await?.reservations == 0).then_some(())
        })
        .await;
        self.clients.values_mut().for_each(|client| client.slot = None);
    }

    /// A client vanishes, perhaps while it says something.
    async fn kill(&mut self) {
        let Some(id) = self.some_client() else { return };
        if self.rng.random_bool(0.3)
            && let Some(circuit) = self.circuits.iter_mut().find(|circuit| circuit.source == id)
        {
            let bytes = self.rng.random_range(1..=MAX_BYTES_LOST);
            circuit.stream.write_all(&vec![7; bytes]).await.unwrap();
            circuit.stream.flush().await.unwrap();
        }
        self.clients.remove(&id);
        self.circuits
            .retain(|circuit| circuit.source != id && circuit.destination != id);
    }

    fn some_client(&mut self) -> Option<usize> {
        self.clients.keys().copied().choose(&mut self.rng)
    }

    /// Waits until the relay has noticed who is gone.
    async fn settle(&self) {
        eventually("the relay has noticed", async || {
            let status = self.relay.relay.status().await?;
            let known = (self.clients.len(), self.circuits.len());
            ((status.connected, status.circuits) == known).then_some(())
        })
        .await;
    }

    async fn stats(&self) -> Value {
        let answer = support::admin(&self.relay, "/stats").await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn compare(&self, at: &str) {
        // Which slots are over is for the clock to say, and it runs on.
        let stats = eventually("reservations are what the clients know", async || {
            let stats = self.stats().await;
            let now = Span {
                asked: Instant::now(),
                answered: Instant::now(),
            };
            let slots = || self.clients.values().filter_map(|client| client.slot);
            let standing = slots().filter(|slot| slot.stands(now)).count();
            let are_sure = slots().all(|slot| slot.stands(now) == slot.may_stand(now));
            let asked = self.relay.relay.status().await?.reservations;
            let told = number(&stats["reservations"]);
            (are_sure && (told, asked) == (standing as u64, standing)).then_some(stats)
        })
        .await;
        let status = self.relay.relay.status().await.unwrap();
        let totals = &stats["totals"];
        let of = |value: &Value| number(value);
        let sum = |value: &Value| value.as_object().unwrap().values().map(number).sum::<u64>();

        assert_eq!(of(&stats["peers"]), self.clients.len() as u64, "{at}");
        assert_eq!(of(&stats["connections"]["tcp"]), self.clients.len() as u64, "{at}");
        assert_eq!(sum(&stats["connections"]), self.clients.len() as u64, "{at}");
        assert_eq!(of(&stats["circuits"]), self.circuits.len() as u64, "{at}");
        assert_eq!(status.circuits, self.circuits.len(), "{at}: the relay server, asked");

        let opened = of(&totals["connectionsOpened"]["tcp"]);
        assert_eq!(opened, self.opened as u64, "{at}");
        let closed = sum(&totals["connectionsClosed"]);
        assert_eq!(opened - closed, self.clients.len() as u64, "{at}");

        let (accepted, renewed) = (of(&totals["reservationsAccepted"]), of(&totals["reservationsRenewed"]));
        assert_eq!(accepted + renewed, self.granted, "{at}");
        let held = accepted - sum(&totals["reservationsEnded"]);
        assert_eq!(held, of(&stats["reservations"]), "{at}: each client has one connection");
        let denials = &totals["denials"];
        assert_eq!(sum(&denials["reservation"]), self.refused, "{at}");
        assert_eq!(of(&denials["reservation"]["reservations"]), self.refused, "{at}");

        assert_eq!(of(&totals["circuitsAccepted"]), self.circuits_accepted, "{at}");
        let ended = self.circuits_accepted - self.circuits.len() as u64;
        assert_eq!(sum(&totals["circuitsClosed"]), ended, "{at}");
        // A stream that was dropped looks closed to whoever reads it, if it was idle.
        assert!(
            of(&totals["circuitsClosed"]["finished"]) >= self.circuits_finished,
            "{at}"
        );
        let denied = |status| self.circuits_denied.get(&status).copied().unwrap_or_default();
        assert_eq!(of(&denials["circuit"]["no_reservation"]), denied(204), "{at}");
        let full = of(&denials["circuit"]["circuits"]) + of(&denials["circuit"]["circuits_per_peer"]);
        assert_eq!(full, denied(201), "{at}");
        assert_eq!(
            sum(&denials["circuit"]),
            self.circuits_denied.values().sum::<u64>(),
            "{at}"
        );

        for (what, told, known) in [
            (
                "bytesToDestination",
                of(&totals["bytesToDestination"]),
                self.heard.load(Ordering::SeqCst),
            ),
            ("bytesToSource", of(&totals["bytesToSource"]), self.returned),
        ] {
            assert!(
                told >= known && told - known <= known / 100,
                "{at}: {what} is {told}, heard were {known}"
            );
        }
        self.compare_metrics(at).await;
        self.compare_peers(at).await;
    }

    /// `/peers` knows of each what it has.
    async fn compare_peers(&self, at: &str) {
        let shown: Value = serde_json::from_slice(&support::admin(&self.relay, "/peers").await.body).unwrap();
        assert_eq!(number(&shown["total"]), self.clients.len() as u64, "{at}");
        for (id, client) in &self.clients {
            let peers = shown["peers"].as_array().unwrap();
            let is_it = |peer: &&Value| peer["peerId"] == client.raw.node.id.to_string();
            let peer = peers.iter().find(is_it).unwrap_or_else(|| panic!("{at}: {shown}"));
            assert_eq!(peer["connections"].as_array().unwrap().len(), 1, "{at}");
            let of = |is: &dyn Fn(&Circuit) -> bool| self.circuits.iter().filter(|one| is(one)).count();
            assert_eq!(peer["circuitsOpened"], of(&|one| one.source == *id), "{at}");
            assert_eq!(peer["circuitsAccepted"], of(&|one| one.destination == *id), "{at}");
        }
    }

    /// The metrics say the same as `/stats`, of which nothing but time has changed: reservations may be over since.
    async fn compare_metrics(&self, at: &str) {
        let (stats, text) = eventually("nothing is over between two looks", async || {
            let before = self.stats().await;
            let text = support::admin(&self.relay, "/metrics").await.text();
            let after = self.stats().await;
            (before["reservations"] == after["reservations"]).then_some((after, text))
        })
        .await;
        let totals = &stats["totals"];
        for (name, value) in [
            ("peerway_relay_peers", &stats["peers"]),
            (
                "peerway_relay_connections{transport=\"tcp\"}",
                &stats["connections"]["tcp"],
            ),
            ("peerway_relay_circuits", &stats["circuits"]),
            ("peerway_relay_reservations", &stats["reservations"]),
            ("peerway_relay_circuits_accepted_total", &totals["circuitsAccepted"]),
            (
                "peerway_relay_reservations_accepted_total",
                &totals["reservationsAccepted"],
            ),
            (
                "peerway_relay_circuit_bytes_total{direction=\"to_destination\"}",
                &totals["bytesToDestination"],
            ),
            (
                "peerway_relay_circuit_bytes_total{direction=\"to_source\"}",
                &totals["bytesToSource"],
            ),
            (
                "peerway_relay_denials_total{kind=\"reservation\",reason=\"reservations\"}",
                &totals["denials"]["reservation"]["reservations"],
            ),
        ] {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            assert_eq!(line, Some(value.to_string().as_str()), "{at}: {name}");
        }
        let ended = self.circuits_accepted - self.circuits.len() as u64;
        let count = format!("peerway_relay_circuit_duration_seconds_count {ended}");
        assert!(text.lines().any(|line| line == count), "{at}: {count}");
    }
}

impl Span {
    /// Whether the slot that was granted then stands for as long as this lasts.
    fn stands(&self, during: Span) -> bool {
        during.answered < self.asked + 2 * LIFETIME
    }

    /// Whether it may stand at some time of this.
    fn may_stand(&self, during: Span) -> bool {
        during.asked <= self.answered + 2 * LIFETIME + LATE
    }
}

/// Says back what it hears, and notes how much that was.
async fn echo(mut stream: Stream, heard: Arc<AtomicU64>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        heard.fetch_add(bytes as u64, Ordering::SeqCst);
        // However the circuit ends.
        if stream.write_all(&buffer[..bytes]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
    let _ = stream.close().await;
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}
