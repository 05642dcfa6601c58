//! What every Peerway node is.
//!
//! Data flows one way:
//! gossip message → [`announcement`] (decode = verify) → [`peer_book`] → [`dial`] (plan, then ladder)
//! → [`node`] (the event loop) → swarm → connection → [`chat`] → [`view`] → screen.
//!
//! The deciding modules do no I/O, read no clock, draw no randomness of their own and spawn nothing. They share one
//! grammar, stated in [`engine`]; the event loop in [`node`] is the only place that touches the swarm and the clock.
//!
//! Take as much of it as you need:
//! 1. [`transport`] and [`behaviours`], for a swarm of your own: reservations that are kept, peers that find each other,
//!    streams on the best connection.
//! 2. [`node`]: a whole node. Relays in, events out, streams to peers by their id, rooms.
//! 3. [`view`]: folds a node's events into what a screen shows.

#![warn(missing_docs)]

pub mod access;
pub mod announcement;
pub mod behaviours;
pub mod chat;
pub mod config;
pub mod dial;
pub mod direct;
pub mod discovery;
pub mod engine;
pub mod name;
pub mod node;
pub mod now;
pub mod peer_book;
pub mod protocol;
pub mod reservation;
pub mod snapshot;
pub mod transport;
pub mod view;

#[cfg(any(test, feature = "test-utils"))]
pub mod sim;
