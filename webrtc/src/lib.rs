//! libp2p's WebRTC transports for a page.
//!
//! * `/webrtc`: two browsers connect to each other, signalled over a circuit that a relay carries for them
//!   (<https://github.com/libp2p/specs/blob/master/webrtc/webrtc.md>).
//! * `/webrtc-direct`: a browser dials a server whose certificate's hash is in its address
//!   (<https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md>).
//!
//! What decides (the signalling, a stream's states) is free of I/O and compiles everywhere; one module knows the
//! browser.
#![warn(missing_docs)]

pub mod glare;
pub mod multiaddr;
pub mod signaling;
