//! Real swarms over the memory transport: layer 2 in swarms that are not ours, and whole nodes beside them.

#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what fails here fails the test, and most events of a swarm are not what it waits for"
)]

mod over_memory;
mod support;
