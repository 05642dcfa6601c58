//! `[limits]`: how much of this relay one peer, one address, and everybody together may use.
//!
//! The documentation of each field is also its comment in the file that `--print-config` prints. Decides nothing: what
//! happens at a limit is told by the module that holds it.

use std::num::NonZeroU32;

use serde::Serialize;

use super::{
    network::Network,
    units::{Bytes, Percent, Period},
};

/// How much of this relay one peer, one address, and everybody together may use. The defaults suit a public machine
/// with 1 GB of memory. Each number is the last that is admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, confique::Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct Limits {
    /// Peers that may hold a reservation at once. When full, newcomers are refused and renewals are not.
    /// Cost: a few kilobytes each, besides the connection.
    #[config(default = 8192)]
    pub reservations: NonZeroU32,

    /// Connections of one peer that may carry a reservation each.
    /// Cost: as a reservation each. Below 2 a peer that changes its network waits for its old connection to end.
    #[config(default = 8)]
    pub reservations_per_peer: NonZeroU32,

    /// Peers of one address (of one /56 with IPv6) that may hold a reservation at once. Renewals are never refused.
    /// Cost: the higher, the more of all reservations one address can take; the lower, the fewer people behind one NAT.
    #[config(default = 256)]
    pub reservations_per_address: NonZeroU32,

    /// How long a reservation lasts, as "1h" or "90s". Clients renew at three quarters of it.
    /// Cost: the shorter, the more renewals; the longer, the longer a place is taken by a peer that went silent.
    #[config(default = "1h")]
    pub reservation_duration: Period,

    /// Circuits at once: connections that are carried for two peers.
    /// Cost: two streams and their buffers each.
    #[config(default = 1024)]
    pub circuits: NonZeroU32,

    /// Circuits of one peer at once, at either end.
    /// Cost: the higher, the more of all circuits one peer can take.
    #[config(default = 32)]
    pub circuits_per_peer: NonZeroU32,

    /// How long one circuit may last, as "30m".
    /// Cost: the longer, the longer two peers that reach each other in no other way use this relay's line.
    #[config(default = "30m")]
    pub circuit_duration: Period,

    /// Bytes that one circuit may carry in each direction, as "64MiB".
    /// Cost: this relay's traffic, received and sent.
    #[config(default = "64MiB")]
    pub circuit_bytes: Bytes,

    /// Bytes a second that one circuit may carry in each direction, over any time longer than circuit_burst fills.
    /// Cost: this relay's bandwidth; circuits times this is the most that it can come to.
    #[config(default = "1MiB")]
    pub circuit_rate: Bytes,

    /// Bytes that one circuit may carry in each direction before circuit_rate holds.
    /// Cost: no memory; as much traffic at once.
    #[config(default = "8MiB")]
    pub circuit_burst: Bytes,

    /// libp2p connections at once, of all peers.
    /// Cost: some tens of kilobytes each, and a file descriptor for each over TCP or WebSocket: see that the system
    /// allows as many (ulimit -n).
    #[config(default = 8192)]
    pub connections: NonZeroU32,

    /// libp2p connections of one peer at once: its old ones that are still believed in, and a few new ones.
    /// Cost: as a connection each.
    #[config(default = 8)]
    pub connections_per_peer: NonZeroU32,

    /// libp2p connections from one address (from one /56 with IPv6) at once, those included that have not said yet who
    /// they are.
    /// Cost: the higher, the more of all connections one address can take; the lower, the fewer people behind one NAT.
    #[config(default = 256)]
    pub connections_per_address: NonZeroU32,

    /// libp2p connections that have not said yet who they are, at once.
    /// Cost: a TLS, Noise or DTLS handshake each: processor time, and for a few seconds some tens of kilobytes.
    #[config(default = 256)]
    pub pending_connections: NonZeroU32,

    /// Networks that stand for more than one household each, so that what is counted per address is not counted there:
    /// a proxy in front of this relay, from which everybody seems to come.
    /// Cost: whoever is in one of them is held by none of the limits per address.
    #[config(default = ["127.0.0.0/8", "::1/128"])]
    pub shared_networks: Vec<Network>,

    /// Share of the machine's memory (or of what the container or service is given, if that is less) above which new
    /// connections are refused, as "75%". Those that are there stay. Holds on Linux only.
    /// Cost: what is left is for the system, and for what connections that are there still need.
    #[config(default = "75%")]
    pub memory: Percent,

    /// Announcements of one peer that are passed on a minute. Pages announce themselves four times a minute at the most.
    /// Cost: each goes to every connected peer, some hundred bytes each time.
    #[config(default = 30)]
    pub announcements_per_minute: NonZeroU32,

    /// Announcements of one peer that are passed on in a row before announcements_per_minute holds: while its addresses
    /// settle, a page announces itself a few times.
    /// Cost: as announcements_per_minute.
    #[config(default = 16)]
    pub announcement_burst: NonZeroU32,

    /// Rooms that are followed at once, so that they work when no two of their members are connected directly. When full,
    /// one that has lost its members makes way, else the new one waits.
    /// Cost: what is said in each is sent to each of its members.
    #[config(default = 512)]
    pub rooms: NonZeroU32,

    /// Rooms of one peer that count. Further ones are followed only if others are in.
    /// Cost: the higher, the more of all rooms two peers can take.
    #[config(default = 8)]
    pub rooms_per_peer: NonZeroU32,

    /// Gossip messages that may wait for one slow peer. Beyond it, they are dropped for that peer.
    /// Cost: up to 12 KiB each, but messages that wait for several peers are kept once for each.
    #[config(default = 512)]
    pub gossip_queue: NonZeroU32,

    /// The largest WebSocket frame that is read, from peers that have not said yet who they are as well, as "256KiB".
    /// Noise seals at most 64 KiB at a time, so less than "128KiB" is refused.
    /// Cost: as much memory for each connection that sends such frames.
    #[config(default = "256KiB", validate = holds_a_noise_message)]
    pub websocket_frame: Bytes,
}

/// What a libp2p peer may send in one frame must fit.
const MIN_WEBSOCKET_FRAME: u64 = 128 * 1024;

fn holds_a_noise_message(bytes: &Bytes) -> Result<(), &'static str> {
    if bytes.get() < MIN_WEBSOCKET_FRAME {
        return Err("expected at least \"128KiB\"");
    }
    Ok(())
}

impl Default for Limits {
    fn default() -> Self {
        use confique::{Config as _, Layer as _};
        Self::from_layer(<Self as confique::Config>::Layer::default_values()).expect("every limit has a default")
    }
}
