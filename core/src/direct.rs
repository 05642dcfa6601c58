//! Direct connections between browsers, as far as an application looks at them. They are made by [`peerway_webrtc`], whenever
//! the transports of a node can ([`crate::transport`]).

pub use peerway_webrtc::{Candidate, CandidateKind, Stats};
