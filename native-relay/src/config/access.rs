//! `[access]`: who may use this relay.
//!
//! Decides nothing: what the lists come to is [`crate::access`]'s business. The token itself is never in here: it stands
//! in a file of its own, so that a configuration can be printed, kept and shown around.

use std::path::PathBuf;

use libp2p::PeerId;
use serde::Serialize;

use super::network::Network;

/// Who may use this relay. Without anything here, everybody who reaches it. Who is denied is refused; else, if anybody is
/// allowed by name or a token is asked for, all others are refused. A SIGHUP reads this section and the token file anew,
/// and closes the connections of those who are refused now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, confique::Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct AccessRules {
    /// Peers that may use the relay, by their peer ids, from wherever they come.
    #[config(default = [])]
    pub allow_peers: Vec<PeerId>,

    /// Networks from which everybody may use the relay, such as "10.0.0.0/8", "2001:db8::/32" or one address.
    #[config(default = [])]
    pub allow_networks: Vec<Network>,

    /// Peers that may not even connect. Wins over everything that allows. A peer that wants to come back makes a new id.
    #[config(default = [])]
    pub deny_peers: Vec<PeerId>,

    /// Networks from which nobody may even connect. Wins over everything that allows.
    #[config(default = [])]
    pub deny_networks: Vec<Network>,

    /// A file that holds the tokens with which everybody may use the relay, one a line, each of 16 to 256 letters,
    /// digits, "-" and "_". Peers that need one have ten seconds to present it after they connect; with several lines an
    /// old one goes on working beside its successor.
    pub token_file: Option<PathBuf>,
}
