//! The whole relay on loopback, in this process or as its programme, and everybody who comes to it.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what fails here fails the test, and most events of a swarm are not what it waits for"
)]

mod access;
mod admin;
mod circuits;
#[allow(dead_code, reason = "those are hop's own, of which this programme uses a part")]
#[path = "../../../hop/tests/server/support/mod.rs"]
mod clients;
mod configuration;
mod dynamic;
mod gossip;
mod hostile;
mod http;
mod ledger;
mod limits;
mod log;
mod mesh;
mod modes;
mod nodes;
mod process;
mod shares;
mod stun;
mod support;
mod unnamed;
