//! What a relay can be told: flags, their environment variables, and the [`Config`] they become.
//!
//! Decides nothing about the host: which addresses follow from a [`Config`] is [`crate::addresses`]'s business.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{Parser, builder::FalseyValueParser};
use libp2p::Multiaddr;

use crate::listeners::Endpoint;

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

/// Who is meant to reach this relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// Everything a relay is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who is meant to reach the relay: decides the default listeners and which addresses are announced.
    pub exposure: Exposure,
    /// Where the page and WebSocket are served. `None`: [`DEFAULT_HTTP_PORT`] on the addresses that `exposure` says.
    pub http: Option<SocketAddr>,
    /// Where libp2p listens besides. Empty: the default ports on the addresses that `exposure` says; an address family
    /// that the host lacks is then skipped. One that is given must work.
    pub listen: Vec<Endpoint>,
    /// Where STUN is answered.
    pub stun: Stun,
    /// What to announce instead of what can be derived; at most [`MAX_EXTERNAL_ADDRESSES`]. A `/webrtc-direct` without
    /// certificate hash gets ours.
    pub external: Vec<Multiaddr>,
    /// Where identity and certificate are kept. Made if it does not exist.
    pub data_dir: PathBuf,
    /// The built page. If it is not there, `/` says how to build it.
    pub page: PathBuf,
}

/// Why the command line does not make a [`Config`]: one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--help` or `--version`: not an error, the text is to be shown.
    #[error("{0}")]
    Shown(String),
    /// A flag or a variable is wrong.
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
            external: Vec::new(),
            page: data_dir.join("page"),
            data_dir,
        }
    }

    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// [`ConfigError::Shown`] for `--help` and `--version`, else the first thing that is wrong.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        let flags = Flags::try_parse_from(args).map_err(|error| {
            if error.use_stderr() {
                ConfigError::Invalid(first_paragraph(&error.to_string()))
            } else {
                ConfigError::Shown(error.to_string())
            }
        })?;
        flags.into_config()
    }
}

/// The public relay of Peerway: carries circuits between peers, spreads their announcements, serves the page.
#[derive(Debug, Parser)]
#[command(name = "native-relay", version)]
struct Flags {
    /// Where libp2p listens: /ip4|ip6/…/tcp/PORT, …/udp/PORT/quic-v1 or …/udp/PORT/webrtc-direct. Repeatable;
    /// replaces the default listeners
    #[arg(long, value_name = "MULTIADDR", env = "PEERWAY_RELAY_LISTEN", value_delimiter = ',')]
    listen: Vec<Endpoint>,
    /// What to announce instead of the addresses found on this host. Repeatable, at most 16
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "PEERWAY_RELAY_EXTERNAL_ADDRESS",
        value_delimiter = ','
    )]
    external_address: Vec<Multiaddr>,
    /// Where the page and WebSocket are served [default: port 8080 of loopback, or as --lan and --public say]
    #[arg(long, value_name = "ADDR:PORT", env = "PEERWAY_RELAY_HTTP")]
    http: Option<SocketAddr>,
    /// Where STUN is answered, or `off`. Repeatable [default: port 3478 of loopback, or as --lan and --public say]
    #[arg(long, value_name = "ADDR:PORT", env = "PEERWAY_RELAY_STUN", value_delimiter = ',')]
    stun: Vec<StunFlag>,
    /// Where identity and certificate are kept [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "PEERWAY_RELAY_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The page, as Trunk built it
    #[arg(long, value_name = "DIR", env = "PEERWAY_RELAY_PAGE", default_value = DEFAULT_PAGE_DIR)]
    page: PathBuf,
    /// Listen on private networks too, and announce those addresses
    #[arg(long, env = "PEERWAY_RELAY_LAN", value_parser = FalseyValueParser::new())]
    lan: bool,
    /// Listen on all interfaces; announce only what strangers can reach
    #[arg(long, env = "PEERWAY_RELAY_PUBLIC", value_parser = FalseyValueParser::new())]
    public: bool,
}

/// One value of `--stun`.
#[derive(Clone, Copy, Debug)]
enum StunFlag {
    Off,
    At(SocketAddr),
}

impl FromStr for StunFlag {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            address => address.parse().map(Self::At),
        }
    }
}

fn stun(flags: &[StunFlag]) -> Result<Stun, ConfigError> {
    let at = |flag: &StunFlag| match flag {
        StunFlag::Off => None,
        StunFlag::At(socket) => Some(*socket),
    };
    match flags {
        [] => Ok(Stun::ByExposure),
        [StunFlag::Off] => Ok(Stun::Off),
        many => match many.iter().map(at).collect() {
            Some(sockets) => Ok(Stun::At(sockets)),
            None => Err(ConfigError::Invalid("--stun off allows no other --stun".to_owned())),
        },
    }
}

impl Flags {
    fn into_config(self) -> Result<Config, ConfigError> {
        let invalid = |text: String| Err(ConfigError::Invalid(text));
        if self.external_address.len() > MAX_EXTERNAL_ADDRESSES {
            return invalid(format!(
                "--external-address is given {} times; at most {MAX_EXTERNAL_ADDRESSES} fit into the protocol's messages",
                self.external_address.len()
            ));
        }
        if let Some(address) = self.external_address.iter().find(|address| !is_announceable(address)) {
            return invalid(format!(
                "--external-address {address}: not the address of a relay (it must start with /ip4, /ip6 or /dns and \
                 contain no /p2p or /p2p-circuit)"
            ));
        }
        let exposure = match (self.lan, self.public) {
            (false, false) => Exposure::Loopback,
            (true, false) => Exposure::Lan,
            (false, true) => Exposure::Public,
            // Not clap's business: a variable that says "off" is no conflict.
            (true, true) => return invalid("--lan and --public exclude each other".to_owned()),
        };
        Ok(Config {
            exposure,
            http: self.http,
            listen: self.listen,
            stun: stun(&self.stun)?,
            external: self.external_address,
            data_dir: self.data_dir.unwrap_or_else(default_data_dir),
            page: self.page,
        })
    }
}

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

/// clap explains over several lines; the user gets the first paragraph, as one.
fn first_paragraph(text: &str) -> String {
    let paragraph: Vec<_> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim)
        .collect();
    let line = paragraph.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}
