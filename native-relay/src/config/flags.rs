//! The command line, and the environment variables of the same names, as one layer of the configuration.
//!
//! A flag that is not given says nothing: defaults are [`super::Config`]'s business.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Parser, builder::FalseyValueParser};
use confique::Layer as _;
use libp2p::Multiaddr;

use super::{Admin, ConfigError, Exposure, Layer, LogFormat, RelayAddress, Stun, announceable, relays};
use crate::listeners::Endpoint;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// A relay.
    Run,
    /// What the relay would be started with.
    Print,
    /// Whether a relay could be started with it.
    Check,
}

/// The public relay of Peerway: carries circuits between peers, spreads their announcements, serves the page.
///
/// Limits, access and what else has no flag are set in a file (--config), or each by a variable named after its section and its key, such as
/// PEERWAY_RELAY_LIMITS_CIRCUITS. --print-config explains every key.
#[derive(Debug, Parser)]
#[command(name = "native-relay", version)]
pub(super) struct Flags {
    /// What is set in this TOML file holds where neither flags nor variables say otherwise
    #[arg(long, value_name = "FILE", env = "PEERWAY_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Print what the relay would be started with, as a file for --config that explains every key
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
    /// Say whether everything that is configured makes sense
    #[arg(long)]
    check_config: bool,
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
    /// Where metrics are served, or `off` [default: port 9090 of 127.0.0.1, if it is free]
    #[arg(long, value_name = "ADDR:PORT", env = "PEERWAY_RELAY_ADMIN")]
    admin: Option<Admin>,
    /// Where identity and certificate are kept [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "PEERWAY_RELAY_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The page, as Trunk built it [default: the one in this program, else `dist`]
    #[arg(long, value_name = "DIR", env = "PEERWAY_RELAY_PAGE")]
    page: Option<PathBuf>,
    /// Listen on private networks too, and announce those addresses
    #[arg(long, env = "PEERWAY_RELAY_LAN", value_parser = FalseyValueParser::new())]
    lan: bool,
    /// Listen on all interfaces; announce only what strangers can reach
    #[arg(long, env = "PEERWAY_RELAY_PUBLIC", value_parser = FalseyValueParser::new())]
    public: bool,
    /// Where another relay is that this one makes one network with, with or without /p2p/ID. Repeatable, at most 16
    #[arg(long, value_name = "MULTIADDR")]
    relay: Vec<RelayAddress>,
    /// How the log is written to standard error [default: text]
    #[arg(long, value_name = "FORMAT", env = "PEERWAY_RELAY_LOG_FORMAT")]
    log_format: Option<LogFormat>,
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

impl Flags {
    /// Reads the command line and the variables of its flags: what to do, the file that they name, and what they say.
    pub(super) fn read(
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<(Task, Option<PathBuf>, Layer), ConfigError> {
        let flags = Self::try_parse_from(args).map_err(|error| {
            if error.use_stderr() {
                ConfigError::Invalid(first_paragraph(&error.to_string()))
            } else {
                ConfigError::Shown(error.to_string())
            }
        })?;
        let task = match (flags.print_config, flags.check_config) {
            (true, _) => Task::Print,
            (false, true) => Task::Check,
            (false, false) => Task::Run,
        };
        Ok((task, flags.config.clone(), flags.into_layer()?))
    }

    fn into_layer(self) -> Result<Layer, ConfigError> {
        announceable(&self.external_address)
            .map_err(|error| ConfigError::Invalid(format!("--external-address: {error}")))?;
        relays::few_enough(&self.relay).map_err(|error| ConfigError::Invalid(format!("--relay: {error}")))?;
        Ok(Layer {
            exposure: exposure(self.lan, self.public)?,
            http: self.http,
            listen: some(self.listen),
            stun: stun(&self.stun)?,
            admin: self.admin,
            external_address: some(self.external_address),
            data_dir: self.data_dir,
            page: self.page,
            log_format: self.log_format,
            relays: relays::Layer {
                addresses: some(self.relay),
                ..relays::Layer::empty()
            },
            ..Layer::empty()
        })
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn exposure(lan: bool, public: bool) -> Result<Option<Exposure>, ConfigError> {
    match (lan, public) {
        (false, false) => Ok(None),
        (true, false) => Ok(Some(Exposure::Lan)),
        (false, true) => Ok(Some(Exposure::Public)),
        // Not clap's business: a variable that says "off" is no conflict.
        (true, true) => Err(ConfigError::Invalid("--lan and --public exclude each other".to_owned())),
    }
}

fn stun(flags: &[StunFlag]) -> Result<Option<Stun>, ConfigError> {
    let at = |flag: &StunFlag| match flag {
        StunFlag::Off => None,
        StunFlag::At(socket) => Some(*socket),
    };
    match flags {
        [] => Ok(None),
        [StunFlag::Off] => Ok(Some(Stun::Off)),
        many => match many.iter().map(at).collect() {
            Some(sockets) => Ok(Some(Stun::At(sockets))),
            None => Err(ConfigError::Invalid("--stun off allows no other --stun".to_owned())),
        },
    }
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
