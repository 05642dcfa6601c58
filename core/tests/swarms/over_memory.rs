//! Each part of layer 2 in a swarm of its own making, and whole nodes. Never another transport than memory.

mod discovery;
mod nodes;
mod reservations;
mod streams;
