//! What a browser counts about a connection, read from the many entries of its report.
//!
//! Source: <https://www.w3.org/TR/webrtc-stats/>. Browsers differ in what they fill in; what is missing stays unknown.

use std::{fmt, time::Duration};

use serde::Deserialize;

/// What goes over a direct connection, and which way it takes.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes sent in packets, headers of SCTP and DTLS included.
    pub bytes_sent: Option<u64>,
    /// Bytes received likewise.
    pub bytes_received: Option<u64>,
    /// Round-trip time of the last connectivity check (RFC 8445).
    pub round_trip: Option<Duration>,
    /// Our side of the candidate pair in use.
    pub local: Option<Candidate>,
    /// The other side of it.
    pub remote: Option<Candidate>,
}

/// One end of the way that a connection takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// What kind of address it is.
    pub kind: CandidateKind,
    /// `udp` or `tcp`.
    pub protocol: Option<String>,
}

/// RFC 8445, section 5.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub enum CandidateKind {
    /// An address of the host itself.
    #[serde(rename = "host")]
    Host,
    /// As a STUN server sees the host: the outside of its NAT.
    #[serde(rename = "srflx")]
    ServerReflexive,
    /// As the other side sees the host.
    #[serde(rename = "prflx")]
    PeerReflexive,
    /// An address of a TURN server.
    #[serde(rename = "relay")]
    Relayed,
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::ServerReflexive => "server reflexive",
            Self::PeerReflexive => "peer reflexive",
            Self::Relayed => "relayed",
            Self::Unknown => "unknown",
        })
    }
}

/// The members of the report's dictionaries that are looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    selected_candidate_pair_id: Option<String>,
    selected: bool,
    nominated: bool,
    local_candidate_id: Option<String>,
    remote_candidate_id: Option<String>,
    current_round_trip_time: Option<f64>,
    bytes_sent: Option<f64>,
    bytes_received: Option<f64>,
    candidate_type: Option<CandidateKind>,
    protocol: Option<String>,
}

/// Reads the entries of a report, each as JSON. What cannot be read is left out.
pub(crate) fn read<'a>(report: impl IntoIterator<Item = &'a str>) -> Stats {
    let entries: Vec<Entry> = report
        .into_iter()
        .filter_map(|json| serde_json::from_str(json).ok())
        .collect();
    let of_kind = |kind: &'static str| entries.iter().filter(move |entry| entry.kind == kind);
    let by_id = |id: &Option<String>| entries.iter().find(|entry| Some(&entry.id) == id.as_ref());
    let selected = of_kind("transport").find_map(|transport| by_id(&transport.selected_candidate_pair_id));
    // Firefox marks the pair instead of naming it.
    let pair = selected.or_else(|| of_kind("candidate-pair").find(|pair| pair.selected || pair.nominated));
    let candidate = |id: &Option<String>| {
        let entry = by_id(id)?;
        Some(Candidate {
            kind: entry.candidate_type.unwrap_or(CandidateKind::Unknown),
            protocol: entry.protocol.clone(),
        })
    };
    // Browsers write counters as numbers of JavaScript.
    let count = |bytes: f64| bytes.max(0.0) as u64;
    match pair {
        None => Stats::default(),
        Some(pair) => Stats {
            bytes_sent: pair.bytes_sent.map(count),
            bytes_received: pair.bytes_received.map(count),
            round_trip: pair
                .current_round_trip_time
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            local: candidate(&pair.local_candidate_id),
            remote: candidate(&pair.remote_candidate_id),
        },
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const PAIR: &str = r#"{"id":"P1","type":"candidate-pair","localCandidateId":"L","remoteCandidateId":"R",
        "bytesSent":1200,"bytesReceived":34,"currentRoundTripTime":0.0125,"state":"succeeded"}"#;
    const OTHER: &str = r#"{"id":"P0","type":"candidate-pair","localCandidateId":"X","bytesSent":9}"#;
    const LOCAL: &str = r#"{"id":"L","type":"local-candidate","candidateType":"srflx","protocol":"udp","port":5}"#;
    const REMOTE: &str = r#"{"id":"R","type":"remote-candidate","candidateType":"of-2030"}"#;

    fn expected() -> Stats {
        Stats {
            bytes_sent: Some(1200),
            bytes_received: Some(34),
            round_trip: Some(Duration::from_micros(12_500)),
            local: Some(Candidate {
                kind: CandidateKind::ServerReflexive,
                protocol: Some("udp".to_owned()),
            }),
            remote: Some(Candidate {
                kind: CandidateKind::Unknown,
                protocol: None,
            }),
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_transport_names_the_pair_that_one_is_read() {
        let transport = r#"{"id":"T","type":"transport","selectedCandidatePairId":"P1"}"#;
        assert_eq!(read([OTHER, PAIR, LOCAL, REMOTE, transport]), expected());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_pair_is_marked_that_one_is_read() {
        let marked = PAIR.replace("\"state\"", "\"selected\":true,\"state\"");
        assert_eq!(read([OTHER, marked.as_str(), LOCAL, REMOTE]), expected());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_report_is_empty_or_odd_what_is_missing_stays_unknown() {
        assert_eq!(read([]), Stats::default());
        let odd = [
            r#"{"type":7}"#,
            "[]",
            "",
            r#"{"type":"transport","selectedCandidatePairId":"none"}"#,
        ];
        assert_eq!(read(odd), Stats::default());
        let negative =
            r#"{"id":"P","type":"candidate-pair","nominated":true,"bytesSent":-1,"currentRoundTripTime":-1}"#;
        assert_eq!(read([negative]).bytes_sent, Some(0));
        assert_eq!(read([negative]).round_trip, None);
    }
}
