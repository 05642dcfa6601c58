//! What a relay can be told: the [`Config`], and the layers that it is made of.
//!
//! Each setting is one documented field. Its documentation is its comment in what `--print-config` prints, its default
//! stands beside it, and the names in files and of environment variables follow from its own: nothing is said twice. A
//! flag wins over a variable, a variable over the file, the file over the default.
//!
//! Decides nothing about the host: which addresses follow from a [`Config`] is [`crate::addresses`]'s business.

mod access;
mod admin;
mod document;
mod environment;
mod file;
mod flags;
mod limits;
mod network;
mod relays;
pub(crate) mod units;

use std::{
    ffi::OsString,
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use confique::{Config as _, Layer as _};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

pub use self::{
    access::AccessRules,
    admin::{Admin, DEFAULT_ADMIN_PORT},
    limits::Limits,
    network::{Network, NetworkError},
    relays::{MAX_NAMED_RELAYS, Mode, RelayAddress, RelayAddressError, Relays},
    units::{Bytes, Percent, Period, UnitError},
};
use self::{flags::Flags, units::as_text};
use crate::{access::Rules, listeners::Endpoint};

/// The port of the page and of libp2p over WebSocket.
pub const DEFAULT_HTTP_PORT: u16 = 8080;
/// The port of libp2p over TCP.
pub const DEFAULT_TCP_PORT: u16 = 4001;
/// The UDP port of libp2p over QUIC.
pub const DEFAULT_QUIC_PORT: u16 = 4001;
/// The UDP port of WebRTC-direct over IPv4.
pub const DEFAULT_WEBRTC_PORT: u16 = 4003;
/// The UDP port of WebRTC-direct over IPv6: its socket would take the IPv4 port as well, so it cannot share one.
pub const DEFAULT_WEBRTC_IPV6_PORT: u16 = 4004;
/// The UDP port of STUN: the one that is registered for it.
pub const DEFAULT_STUN_PORT: u16 = 3478;
/// Where Trunk leaves the page when nobody says otherwise.
pub const DEFAULT_PAGE_DIR: &str = "dist";

/// How many external addresses a relay announces at most: messages of the HOP protocol and of identify end at 4 096
/// bytes, and every address of a relay is in them.
pub const MAX_EXTERNAL_ADDRESSES: usize = 16;

/// What a relay is started with.
#[derive(Clone, Debug, PartialEq, Serialize, confique::Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct Config {
    /// Who is meant to reach this relay: "loopback" for programs on this machine, "lan" for private networks as well
    /// (--lan), "public" for everybody (--public). Decides where it listens unless that is said below, and which
    /// addresses it announces. Cost: whoever reaches it can use it.
    #[config(default = "loopback")]
    pub exposure: Exposure,

    /// Where the page and WebSocket are served, as "ADDR:PORT". Without it, port 8080 of the addresses that exposure
    /// says.
    pub http: Option<SocketAddr>,

    /// Where libp2p listens besides, each as "/ip4/ADDR/tcp/PORT", "/ip4/ADDR/udp/PORT/quic-v1" or
    /// "/ip4/ADDR/udp/PORT/webrtc-direct", or with /ip6. Each must work. If there are none: the default ports of the
    /// addresses that exposure says, as far as this machine has them.
    #[config(default = [])]
    pub listen: Vec<Endpoint>,

    /// Where STUN is answered: a list of "ADDR:PORT", of which each must work; "off"; or "auto" for port 3478 of the
    /// addresses that exposure says, as far as it is free. Cost: an answer of at most 44 bytes to whoever asks.
    #[config(default = "auto")]
    pub stun: Stun,

    /// Where those who run this relay look into it (/metrics, /stats, /peers): "ADDR:PORT", which must work; "off"; or
    /// "auto" for port 9090 of 127.0.0.1 if it is free. Whoever reaches that address sees which peers are connected, so
    /// leave it on loopback unless everybody who can reach another may see that.
    #[config(default = "auto")]
    pub admin: Admin,

    /// What to announce instead of the addresses that are found on this machine, as multiaddrs; at most 16. A
    /// /webrtc-direct without the hash of a certificate gets the relay's own.
    #[config(default = [], validate = announceable)]
    pub external_address: Vec<Multiaddr>,

    /// Where the relay's key and certificate are kept. Made if it does not exist. By default in the user's data
    /// directory. Paths that are not absolute start where the relay was started.
    pub data_dir: PathBuf,

    /// The directory of the page, as Trunk built it. Without it, the page that this program carries, if it carries one,
    /// else "dist". If no page is there, / says how to build it.
    pub page: Option<PathBuf>,

    /// How the log is written to standard error: "text" for people, "json" for programs, one object a line.
    #[config(default = "text")]
    pub log_format: LogFormat,

    /// How much of the relay may be used.
    #[config(nested)]
    pub limits: Limits,

    /// Who may use the relay.
    #[config(nested)]
    pub access: AccessRules,

    /// Other relays.
    #[config(nested)]
    pub relays: Relays,
}

/// One layer: what a file, the environment or the flags say, each of them as much as it wants to.
type Layer = <Config as confique::Config>::Layer;

/// Who is meant to reach a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// Programmes on this host only.
    #[default]
    Loopback,
    /// Also the networks this host is in, by their private addresses.
    Lan,
    /// Everybody; only addresses that strangers can use are announced.
    Public,
}

/// Where STUN is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stun {
    /// On [`DEFAULT_STUN_PORT`] of the addresses that the exposure says. One that cannot be had is skipped with a
    /// warning: a relay without STUN is still a relay.
    #[default]
    ByExposure,
    /// Nowhere.
    Off,
    /// Exactly here. Each must work.
    At(Vec<SocketAddr>),
}

/// How the program writes its log. The library writes none itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Why there is no [`Config`]: one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--help`, `--version`, `--print-config`, or `--check-config` that found nothing wrong: not an error, the text is
    /// to be shown.
    #[error("{0}")]
    Shown(String),
    /// A flag, a variable or the file is wrong.
    #[error("{0}")]
    Invalid(String),
}

impl Config {
    /// A relay on loopback with its files in `data_dir`, every port chosen by the system: what a test wants.
    #[must_use]
    pub fn ephemeral(data_dir: PathBuf) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            exposure: Exposure::Loopback,
            http: Some(any),
            listen: vec![Endpoint::Tcp(any), Endpoint::Quic(any), Endpoint::WebRtcDirect(any)],
            stun: Stun::At(vec![any]),
            admin: Admin::At(any),
            external_address: Vec::new(),
            page: Some(data_dir.join("page")),
            data_dir,
            log_format: LogFormat::default(),
            limits: Limits::default(),
            access: AccessRules::default(),
            relays: Relays::default(),
        }
    }

    /// Reads the command line, the environment, and the file that one of them names.
    ///
    /// # Errors
    /// [`ConfigError::Shown`] if something is to be printed instead of starting a relay, else the first thing that is
    /// wrong.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        let (task, path, said) = Flags::read(args)?;
        let written = path.as_deref().map_or_else(|| Ok(Layer::empty()), file::read)?;
        let config = Self::layered(said.with_fallback(environment::read(std::env::vars_os())?), written)?;
        match task {
            flags::Task::Run => Ok(config),
            flags::Task::Check => match Rules::load(&config.access).and_then(|_| config.relays.token()) {
                Ok(_) => Err(ConfigError::Shown("ok\n".to_owned())),
                Err(error) => Err(ConfigError::Invalid(error.to_string())),
            },
            flags::Task::Print => Err(ConfigError::Shown(document::of(&config)?)),
        }
    }

    fn layered(said: Layer, written: Layer) -> Result<Self, ConfigError> {
        let defaults = Layer {
            data_dir: Some(default_data_dir()),
            ..Layer::default_values()
        };
        let config = Self::from_layer(said.with_fallback(written).with_fallback(defaults))
            .map_err(|error| ConfigError::Invalid(error.to_string()))?;
        config.relays.check().map_err(ConfigError::Invalid)?;
        Ok(config)
    }
}

const STUN: &str = "\"auto\", \"off\" or a list of \"ADDR:PORT\"";

/// As in files; `auto` is what a flag that is not there means.
impl Serialize for Stun {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::ByExposure => serializer.serialize_str("auto"),
            Self::Off => serializer.serialize_str("off"),
            Self::At(sockets) => sockets.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stun {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> serde::de::Visitor<'de> for Value {
            type Value = Stun;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(STUN)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Stun, E> {
                match text {
                    "auto" => Ok(Stun::ByExposure),
                    "off" => Ok(Stun::Off),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Stun, A::Error> {
                let mut sockets = Vec::new();
                while let Some(socket) = list.next_element()? {
                    sockets.push(socket);
                }
                Ok(Stun::At(sockets))
            }
        }
        deserializer.deserialize_any(Value)
    }
}

as_text!(Endpoint, "a multiaddr to listen on, such as \"/ip4/0.0.0.0/tcp/4001\"");

/// The listeners of a relay that was given none, on one address.
pub(crate) fn default_endpoints(ip: std::net::IpAddr) -> [Endpoint; 3] {
    let webrtc = if ip.is_ipv4() {
        DEFAULT_WEBRTC_PORT
    } else {
        DEFAULT_WEBRTC_IPV6_PORT
    };
    [
        Endpoint::Tcp((ip, DEFAULT_TCP_PORT).into()),
        Endpoint::Quic((ip, DEFAULT_QUIC_PORT).into()),
        Endpoint::WebRtcDirect((ip, webrtc).into()),
    ]
}

/// Loopback in both families.
pub(crate) const LOOPBACKS: [std::net::IpAddr; 2] = [
    std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
    std::net::IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Whether a relay can announce all of these.
fn announceable(addresses: &impl AsRef<[Multiaddr]>) -> Result<(), String> {
    let addresses = addresses.as_ref();
    if addresses.len() > MAX_EXTERNAL_ADDRESSES {
        return Err(format!(
            "{} addresses are given; at most {MAX_EXTERNAL_ADDRESSES} fit into the protocol's messages",
            addresses.len()
        ));
    }
    match addresses.iter().find(|address| !is_announceable(address)) {
        Some(address) => Err(format!(
            "{address}: not the address of a relay (it must start with /ip4, /ip6 or /dns and contain no /p2p or \
             /p2p-circuit)"
        )),
        None => Ok(()),
    }
}

fn is_announceable(address: &Multiaddr) -> bool {
    use libp2p::multiaddr::Protocol;
    let starts_with_a_host = matches!(
        address.iter().next(),
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    starts_with_a_host
        && !address
            .iter()
            .any(|part| matches!(part, Protocol::P2p(_) | Protocol::P2pCircuit))
}

fn default_data_dir() -> PathBuf {
    let data_home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    data_home.or_else(home).unwrap_or_default().join("peerway-relay")
}
