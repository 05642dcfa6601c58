//! The public relay: lets peers that know nothing of each other meet.
//!
//! It carries circuits (circuit relay v2) over TCP, QUIC, WebSocket and WebRTC-direct, spreads announcements and the
//! messages of shared rooms by gossip, serves the page, and tells browsers their public address (STUN). It never reads what a circuit carries.
//!
//! `config` → `listeners` and `acceptor` → `limits` → `behaviour` → `event_loop`, which asks `discovery` and `rooms` what
//! to forward, `neighbours` which other relays to connect to and `candidates` where else to be reachable; `http` and `stun` answer what is not libp2p. What happens
//! is counted by `ledger`, which `admin` shows.
//!
//! ```no_run
//! # async fn example() -> Result<(), native_relay::StartError> {
//! let relay = native_relay::Relay::start(native_relay::Config::ephemeral("data".into())).await?;
//! println!("{}", relay.page_urls()[0]);
//! relay.shutdown().await;
//! # Ok(()) }
//! ```

#![warn(missing_docs)]

mod acceptor;
mod access;
mod addresses;
mod admin;
mod admission;
mod behaviour;
mod books;
mod boxed;
mod candidates;
mod config;
mod discovery;
mod event_loop;
mod http;
mod identity;
mod journal;
mod ledger;
mod limits;
mod listeners;
mod memory;
mod neighbours;
mod pace;
mod process;
mod relay;
mod rooms;
mod source;
mod stun;
mod turns;

pub use self::{
    access::TokenFileError,
    candidates::CandidateStatus,
    config::{
        AccessRules, Admin, Bytes, Config, ConfigError, DEFAULT_ADMIN_PORT, DEFAULT_HTTP_PORT, DEFAULT_PAGE_DIR,
        DEFAULT_QUIC_PORT, DEFAULT_STUN_PORT, DEFAULT_TCP_PORT, DEFAULT_WEBRTC_IPV6_PORT, DEFAULT_WEBRTC_PORT,
        Exposure, Limits, LogFormat, MAX_EXTERNAL_ADDRESSES, MAX_NAMED_RELAYS, Mode, Network, NetworkError, Percent,
        Period, RelayAddress, RelayAddressError, Relays, Stun, UnitError,
    },
    event_loop::{Reach, Status},
    http::PageError,
    identity::IdentityError,
    listeners::{Endpoint, EndpointError},
    neighbours::{NeighbourState, NeighbourStatus, SlotState},
    relay::{NameRelayError, Relay, StartError},
};

/// Where a relay is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Stopping,
}
