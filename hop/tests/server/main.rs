//! The relay's side of circuit relay v2 with clients over the memory transport: stock ones, hostile ones, libp2p's own relay
//! beside it.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what fails here fails the test, and most events of a swarm are not what it waits for"
)]

mod circuits;
mod hostile;
mod renewals;
mod reservations;
mod support;
mod turns;
