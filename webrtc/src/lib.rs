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
#![cfg_attr(
    not(target_family = "wasm"),
    expect(
        dead_code,
        reason = "without a WebRTC implementation nobody calls what listens to one"
    )
)]

mod connection;
pub mod direct;
mod rtc;
mod stream;

pub use connection::{Connection, ConnectionError};
pub use rtc::{IceServer, RtcError};
pub use stream::Stream;
