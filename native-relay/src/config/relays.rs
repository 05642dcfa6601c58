//! `[relays]`: the other relays that this one makes one network with.
//!
//! Decides only what the address of a relay is. When each is dialled is [`crate::neighbours`]'s business.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use peerway_core::{
    access::AccessToken,
    dial::route::{AddressForm, Classified, Host, Transport, TransportAddress, classify},
    reservation,
};
use serde::{Deserialize, Serialize};

use super::units::as_text;
use crate::access::{TokenFileError, read_own_token};

/// How many addresses of other relays may be named.
pub const MAX_NAMED_RELAYS: usize = 16;

/// Other relays that this one makes one network with: who is announced at one is known at all of them, and what is said in
/// a room at one is heard at all that are connected with it. Of two relays one has to name the other; a relay that is not
/// named is not passed on to pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, confique::Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct Relays {
    /// Where the other relays are, as "/dns4/relay.example/tcp/443/wss", "/ip4/192.0.2.7/tcp/4001" or the like; at most
    /// 16. Whoever answers there is taken for the relay, unless "/p2p/" and a peer id stand behind it: then nobody else
    /// is. Several addresses with the same id are one relay. Rooms are passed on between relays that are connected with
    /// each other, not further: name all of them at each. This relay's own address in the list does no harm.
    /// Cost: what is announced and said anywhere is sent once to each of them. They are held by none of the limits on
    /// connections, and need no token.
    #[config(default = [], validate = few_enough)]
    pub addresses: Vec<RelayAddress>,

    /// What this relay is to others: "server" carries circuits for them. "client" carries none, and holds a slot on each of
    /// the relays in addresses (at most 8 then), through which it can be reached from where it has no address of its own,
    /// as in a private network. "both" does both; but there are no circuits inside circuits, so those who want to be
    /// reached from outside hold their slots on a relay that is outside.
    #[config(default = "server")]
    pub mode: Mode,

    /// A file that holds the token with which a client may use the relays in addresses, if they ask for one. It is shown to
    /// those that are named with their peer id, and to nobody else.
    pub token_file: Option<PathBuf>,

    /// On how many relays that nobody named a client holds slots, besides those on the relays in addresses; all together at
    /// most 8. They are taken on relays that connect to this one, as those do that name it, say that they carry circuits,
    /// may use this one (access), and have an address that is of the host they came from (if that is in none of
    /// limits.shared_networks) or public, and reaches as far as this relay's own. With some, addresses may be empty.
    /// Cost: whoever gets in here may have it reached through a relay of theirs, by people who could not connect to it
    /// otherwise, and whom access.deny_networks does not hold back, because a circuit hides where they are; and have it
    /// dial public addresses: one try of up to 4 a second.
    #[config(default = 0, validate = slots_enough)]
    pub unnamed: u8,
}

/// What a relay is to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It carries circuits for others.
    #[default]
    Server,
    /// Others carry circuits to it.
    Client,
    /// Both.
    Both,
}

impl Mode {
    /// Whether others carry circuits to it.
    pub(crate) fn is_client(self) -> bool {
        match self {
            Self::Client | Self::Both => true,
            Self::Server => false,
        }
    }

    /// Whether it carries circuits for others.
    pub(crate) fn is_server(self) -> bool {
        match self {
            Self::Server | Self::Both => true,
            Self::Client => false,
        }
    }
}

impl Relays {
    /// What is shown to others, if anything is.
    pub(crate) fn token(&self) -> Result<Option<AccessToken>, TokenFileError> {
        self.token_file.as_deref().map(read_own_token).transpose()
    }

    /// Whether what is said fits together.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.mode.is_client() && self.addresses.is_empty() && self.unnamed == 0 {
            return Err(
                "relays.mode: a client of other relays needs some in relays.addresses, or relays.unnamed above 0"
                    .to_owned(),
            );
        }
        if !self.mode.is_client() && self.unnamed > 0 {
            return Err("relays.unnamed: only a client of other relays (relays.mode) holds slots on them".to_owned());
        }
        if !self.mode.is_client() && self.token_file.is_some() {
            return Err("relays.token_file: only a client of other relays (relays.mode) shows them a token".to_owned());
        }
        if self.mode.is_client() && self.addresses.len() > reservation::MAX_RELAYS {
            return Err(format!(
                "relays.mode: a client of other relays has at most {} in relays.addresses",
                reservation::MAX_RELAYS
            ));
        }
        Ok(())
    }
}

/// One layer of it: what a file, the environment or the flags say.
pub(super) type Layer = <Relays as confique::Config>::Layer;

/// Where another relay is, and who it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    transport: Multiaddr,
    host: Host,
    peer: Option<PeerId>,
}

/// Why a text is no [`RelayAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayAddressError {
    /// It is no multiaddr at all.
    #[error("not a multiaddr: {0}")]
    Malformed(String),
    /// It leads through a relay: a relay behind another cannot carry circuits, because there are none inside circuits.
    #[error("this is an address behind a relay, not one of a relay")]
    Circuit,
    /// It says who, but not where.
    #[error("this says who the relay is, but not where: an address has to stand before /p2p")]
    NoTransport,
    /// No transport of this relay leads there.
    #[error(
        "expected /ip4|ip6|dns|dns4|dns6/HOST followed by /tcp/PORT, /tcp/PORT/ws, /tcp/PORT/wss, /udp/PORT/quic-v1 or \
         (not with a name) /udp/PORT/webrtc-direct/certhash/HASH"
    )]
    Unsupported,
}

impl RelayAddress {
    /// What is dialled: without `/p2p`.
    #[must_use]
    pub fn transport(&self) -> &Multiaddr {
        &self.transport
    }

    /// Who has to answer; `None`: whoever does is the relay.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// The host, if it is given by number.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::Ip(ip) => Some(ip),
            Host::Name(_) => None,
        }
    }
}

impl FromStr for RelayAddress {
    type Err = RelayAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |error: libp2p::multiaddr::Error| RelayAddressError::Malformed(error.to_string());
        let address: Multiaddr = text.parse().map_err(malformed)?;
        if address.iter().any(|part| part == Protocol::P2pCircuit) {
            return Err(RelayAddressError::Circuit);
        }
        if matches!(address.iter().next(), Some(Protocol::P2p(_))) {
            return Err(RelayAddressError::NoTransport);
        }
        match classify(&address) {
            Some(Classified {
                target,
                form: AddressForm::Direct(direct),
            }) if is_dialable(&direct) => Ok(Self {
                transport: direct.address,
                host: direct.host,
                peer: target,
            }),
            Some(_) | None => Err(RelayAddressError::Unsupported),
        }
    }
}

/// WebRTC-direct resolves no names: the certificate says who answers.
fn is_dialable(direct: &TransportAddress) -> bool {
    match direct.host {
        Host::Ip(_) => true,
        Host::Name(_) => direct.transport != Transport::WebRtcDirect,
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => self.transport.clone().with(Protocol::P2p(peer)).fmt(f),
            None => self.transport.fmt(f),
        }
    }
}

as_text!(
    RelayAddress,
    "the multiaddr of a relay, such as \"/ip4/192.0.2.7/tcp/4001\""
);

fn slots_enough(unnamed: &u8) -> Result<(), String> {
    match usize::from(*unnamed) {
        0..=reservation::MAX_RELAYS => Ok(()),
        unnamed => Err(format!(
            "{unnamed} slots are wanted; at most {} may be held",
            reservation::MAX_RELAYS
        )),
    }
}

/// Whether as many relays may be named.
pub(super) fn few_enough(addresses: &impl AsRef<[RelayAddress]>) -> Result<(), String> {
    match addresses.as_ref().len() {
        0..=MAX_NAMED_RELAYS => Ok(()),
        count => Err(format!(
            "{count} addresses are given; at most {MAX_NAMED_RELAYS} may be"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    const HASH: &str = "uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";

    #[test]
    fn a_relay_is_named_by_any_address_that_a_relay_listens_on_with_or_without_its_id() {
        for (transport, ip) in [
            ("/ip4/192.0.2.7/tcp/4001", Some("192.0.2.7")),
            ("/ip6/2001:db8::7/udp/4001/quic-v1", Some("2001:db8::7")),
            ("/ip4/127.0.0.1/tcp/8080/ws", Some("127.0.0.1")),
            ("/dns4/relay.example/tcp/443/tls/ws", None),
            ("/dns/relay.example/tcp/4001", None),
            (
                &format!("/ip4/192.0.2.7/udp/4003/webrtc-direct/certhash/{HASH}"),
                Some("192.0.2.7"),
            ),
        ] {
            let without: RelayAddress = transport.parse().unwrap();
            assert_eq!((without.peer(), without.to_string()), (None, transport.to_owned()));
            assert_eq!(without.ip(), ip.map(|ip| ip.parse().unwrap()), "{transport}");
            let text = format!("{transport}/p2p/{PEER}");
            let with: RelayAddress = text.parse().unwrap();
            assert_eq!((with.peer(), with.to_string()), (PEER.parse().ok(), text));
            assert_eq!(with.transport(), without.transport());
        }
    }

    #[test]
    fn a_client_of_other_relays_needs_some_and_has_no_more_than_it_can_hold_slots_on() {
        let relays = |mode, count: usize| Relays {
            addresses: (1..=count)
                .map(|port| format!("/ip4/192.0.2.7/tcp/{port}").parse().unwrap())
                .collect(),
            mode,
            token_file: None,
            unnamed: 0,
        };
        for mode in [Mode::Client, Mode::Both] {
            assert!(relays(mode, 0).check().is_err());
            let unnamed = |unnamed| Relays {
                unnamed,
                ..relays(mode, 0)
            };
            assert_eq!(unnamed(1).check(), Ok(()));
            assert_eq!(relays(mode, reservation::MAX_RELAYS).check(), Ok(()));
            assert!(relays(mode, reservation::MAX_RELAYS + 1).check().is_err());
        }
        assert_eq!(relays(Mode::Server, 0).check(), Ok(()));
        assert_eq!(relays(Mode::Server, MAX_NAMED_RELAYS).check(), Ok(()));
        let unnamed = Relays {
            unnamed: 1,
            ..relays(Mode::Server, 1)
        };
        assert!(unnamed.check().is_err());
        let with_token = |mode| Relays {
            token_file: Some("token".into()),
            ..relays(mode, 1)
        };
        assert_eq!(with_token(Mode::Client).check(), Ok(()));
        assert!(with_token(Mode::Server).check().is_err());
        assert_eq!((slots_enough(&8), slots_enough(&9).is_err()), (Ok(()), true));
    }

    #[test]
    fn what_is_no_relays_address_is_refused_with_the_reason() {
        let read = |text: &str| text.parse::<RelayAddress>().unwrap_err();
        assert!(matches!(read("relay.example:4001"), RelayAddressError::Malformed(_)));
        assert_eq!(read(&format!("/p2p/{PEER}")), RelayAddressError::NoTransport);
        let behind = format!("/ip4/192.0.2.7/tcp/4001/p2p/{PEER}/p2p-circuit");
        assert_eq!(read(&behind), RelayAddressError::Circuit);
        for text in [
            "/ip4/192.0.2.7",
            "/ip4/192.0.2.7/tcp/0",
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/192.0.2.7/udp/4001",
            "/ip4/192.0.2.7/udp/4003/webrtc-direct",
            &format!("/dns4/relay.example/udp/4003/webrtc-direct/certhash/{HASH}"),
            "/memory/7",
        ] {
            assert_eq!(read(text), RelayAddressError::Unsupported, "{text}");
        }
    }
}
