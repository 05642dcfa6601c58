//! `/stats` and `/peers`: the ledger for scripts. `docs/operating.md` says what is in them; no address is.

use libp2p::PeerId;
use serde_json::{Map, Value, json};

use crate::{
    candidates::CandidateStatus,
    ledger::{
        Peer, Tally,
        labels::{Kind, Label, Reason, Topic, Verdict},
        report::{Page, Report, Rest},
    },
    neighbours::NeighbourStatus,
};

/// What the relay is, what it may be, and what it has done.
pub(super) fn stats(peer: PeerId, report: &Report, limits: &[(&'static str, u64)]) -> Value {
    let Report { standing, counts, .. } = report;
    let connections = standing
        .connections
        .iter()
        .map(|(transport, count)| (transport.name(), *count as u64));
    let denials = Kind::ALL.iter().map(|kind| {
        let reasons = kind
            .reasons()
            .iter()
            .map(|reason| (reason.name(), counts.denials.get((*kind, *reason))));
        (kind.name(), object(reasons))
    });
    let gossip = Topic::ALL.iter().map(|topic| {
        let verdicts = Verdict::ALL
            .iter()
            .map(|verdict| (verdict.name(), counts.gossip.get((*topic, *verdict))));
        (topic.name(), object(verdicts))
    });
    let withdrawn = Reason::access().map(|reason| (reason.name(), counts.access_withdrawn.get(reason)));
    json!({
        "peerId": peer.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptimeSeconds": report.uptime.as_secs(),
        "peers": standing.peers,
        "connections": object(connections),
        "reservations": standing.reservations,
        "circuits": standing.circuits,
        "rooms": report.rooms,
        "reach": report.reach.name(),
        "relays": report.relays.iter().map(relay).collect::<Vec<_>>(),
        "unnamedRelays": report.unnamed.iter().map(unnamed).collect::<Vec<_>>(),
        "limits": object(limits.iter().copied()),
        "totals": {
            "connectionsOpened": tally(&counts.connections_opened),
            "connectionsClosed": tally(&counts.connections_closed),
            "connectionsRefused": tally(&counts.connections_refused),
            "connectionsFailed": tally(&counts.connections_failed),
            "reservationsAccepted": counts.reservations_accepted,
            "reservationsRenewed": counts.reservations_renewed,
            "reservationsEnded": tally(&counts.reservations_ended),
            "circuitsAccepted": counts.circuits_accepted,
            "circuitsClosed": tally(&counts.circuits_closed),
            "circuitSeconds": counts.circuit_durations.seconds(),
            "bytesToDestination": report.traffic.to_destination,
            "bytesToSource": report.traffic.to_source,
            "denials": object(denials),
            "requestsRejected": counts.requests_rejected,
            "gossipMessages": object(gossip),
            "tokens": tally(&counts.tokens),
            "accessWithdrawn": object(withdrawn),
            "stunDatagrams": object(report.stun.iter()),
        },
    })
}

/// A relay that was named. Why something failed is in the log: the texts of transports have addresses in them.
fn relay(status: &NeighbourStatus) -> Value {
    json!({
        "peerId": status.peer.map(|peer| peer.to_string()),
        "state": status.state.name(),
        "slot": status.slot.name(),
    })
}

/// A relay that nobody named.
fn unnamed(status: &CandidateStatus) -> Value {
    json!({
        "peerId": status.peer.to_string(),
        "slot": status.slot.name(),
    })
}

/// Some of the peers that are there, and where the next ones begin.
pub(super) fn peers(page: &Page) -> Value {
    let peers: Vec<_> = page.peers.iter().map(|(id, peer)| one(*id, peer, page)).collect();
    let next = match page.rest {
        Rest::More => page.peers.last().map(|(id, _)| id.to_string()),
        Rest::Nothing => None,
    };
    json!({ "total": page.total, "peers": peers, "next": next })
}

fn one(id: PeerId, peer: &Peer, page: &Page) -> Value {
    let connections: Vec<_> = peer
        .connections
        .values()
        .map(|(transport, since)| {
            json!({ "transport": transport.name(), "seconds": page.now.saturating_sub(*since).as_secs() })
        })
        .collect();
    json!({
        "peerId": id.to_string(),
        "connections": connections,
        "reservations": peer.reservations,
        "circuitsOpened": peer.circuits_opened,
        "circuitsAccepted": peer.circuits_accepted,
    })
}

fn tally<K: Label>(tally: &Tally<K>) -> Value {
    object(tally.iter())
}

fn object<V: Into<Value>>(pairs: impl Iterator<Item = (&'static str, V)>) -> Value {
    Value::Object(
        pairs
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect::<Map<_, _>>(),
    )
}
