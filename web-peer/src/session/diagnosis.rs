//! What is going on underneath, as plain text to be copied into a report. Pure.
//!
//! Has peer ids and addresses of relays, which everybody here can see anyway; nothing that was said, no key, and of
//! candidates only the kind: their addresses would tell where the user lives.

use std::{collections::BTreeMap, fmt::Write as _};

use libp2p::PeerId;
use peerway_core::{
    dial::Route,
    direct::{Candidate, Stats},
    view::{PeerRow, RelayRow, View},
};

/// The whole report.
pub(super) fn report(view: &View, stats: &BTreeMap<PeerId, Stats>) -> String {
    let mut lines = vec![
        format!("Peerway {}", env!("CARGO_PKG_VERSION")),
        format!("self {}", view.local),
    ];
    lines.extend(view.relays.iter().map(relay));
    for row in view.peers.values() {
        lines.push(peer(row));
        lines.extend(stats.get(&row.peer).map(counted));
    }
    lines.join("\n")
}

fn relay(row: &RelayRow) -> String {
    let peer = row.peer.map_or("unknown".to_owned(), |peer| peer.to_string());
    let mut line = format!("relay {peer}: {:?}", row.state);
    if let Some(address) = &row.address {
        // Writing to a String cannot fail.
        let _ = write!(line, ", {address}");
    }
    if let Some(time) = row.round_trip {
        let _ = write!(line, ", {} ms", time.as_millis());
    }
    line
}

fn peer(row: &PeerRow) -> String {
    let route = match row.route {
        Some(Route::WebRtc) => "direct, browser to browser".to_owned(),
        Some(Route::Direct) => "direct".to_owned(),
        Some(Route::Circuit { relay }) => format!("relayed by {relay}"),
        None => "not connected".to_owned(),
    };
    let mut line = format!("peer {}: {route}", row.peer);
    if let Some(time) = row.round_trip {
        let _ = write!(line, ", {} ms", time.as_millis());
    }
    if let Some(failure) = &row.last_failure {
        let _ = write!(line, ", last failure: {failure}");
    }
    line
}

fn counted(stats: &Stats) -> String {
    let bytes = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
    let candidate = |candidate: &Option<Candidate>| {
        candidate.as_ref().map_or("?".to_owned(), |candidate| {
            let protocol = candidate.protocol.as_deref().unwrap_or("?");
            format!("{} over {protocol}", candidate.kind)
        })
    };
    let check = stats
        .round_trip
        .map_or("?".to_owned(), |time| format!("{} ms", time.as_millis()));
    format!(
        "  sent {} bytes, received {} bytes; ours {}, theirs {}; last check {check}",
        bytes(stats.bytes_sent),
        bytes(stats.bytes_received),
        candidate(&stats.local),
        candidate(&stats.remote),
    )
}
