//! Who may use this relay: [`Rules`] in, [`Access`] out. Pure; what is done about it is [`control`]'s business.
//!
//! 1. Who is denied, by peer id or by network, is denied whatever else holds.
//! 2. If nobody is allowed by name and no token is asked for, everybody else is allowed.
//! 3. Otherwise those are allowed who are on a list of those allowed, or have presented a token. A relay that the operator
//!    named (`[relays]`) counts as one that has.

pub(crate) mod control;
mod tokens;

use std::{fmt, net::IpAddr};

use libp2p::PeerId;

pub use self::tokens::TokenFileError;
use self::tokens::Tokens;
pub(crate) use self::tokens::read_own as read_own_token;
use crate::config::AccessRules;

/// What somebody may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything that the relay does for anybody.
    Allow,
    /// Nothing.
    Deny {
        /// Why not.
        reason: Reason,
    },
}

/// Why somebody is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    /// Its peer id is on the list of those denied.
    PeerDenied,
    /// Its address is in a network that is denied.
    NetworkDenied,
    /// It is on no list of those allowed, and there is no other way to be.
    NotAllowed,
    /// It is on no list of those allowed, and has not presented a token; it still may.
    TokenMissing,
}

/// Whether a peer has presented a token that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Presented,
    Missing,
}

/// The lists, and the tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    lists: AccessRules,
    tokens: Tokens,
}

impl Rules {
    /// Reads the token file, if there is one.
    pub(crate) fn load(lists: &AccessRules) -> Result<Self, TokenFileError> {
        Ok(Self {
            lists: lists.clone(),
            tokens: lists
                .token_file
                .as_deref()
                .map(Tokens::read)
                .transpose()?
                .unwrap_or_default(),
        })
    }

    /// Whether an address may connect, of whoever that will be.
    pub(crate) fn network(&self, ip: Option<IpAddr>) -> Access {
        match ip {
            Some(ip) if self.lists.deny_networks.iter().any(|network| network.contains(ip)) => {
                deny(Reason::NetworkDenied)
            }
            Some(_) | None => Access::Allow,
        }
    }

    /// Whether a peer that comes from this address may use the relay.
    pub(crate) fn access(&self, peer: PeerId, ip: Option<IpAddr>, token: Token) -> Access {
        let lists = &self.lists;
        if lists.deny_peers.contains(&peer) {
            return deny(Reason::PeerDenied);
        }
        if let denied @ Access::Deny { .. } = self.network(ip) {
            return denied;
        }
        let is_open = lists.allow_peers.is_empty() && lists.allow_networks.is_empty() && !self.asks_for_token();
        let is_listed = lists.allow_peers.contains(&peer)
            || ip.is_some_and(|ip| lists.allow_networks.iter().any(|network| network.contains(ip)));
        match token {
            _ if is_open || is_listed => Access::Allow,
            Token::Presented => Access::Allow,
            Token::Missing if self.asks_for_token() => deny(Reason::TokenMissing),
            Token::Missing => deny(Reason::NotAllowed),
        }
    }

    fn asks_for_token(&self) -> bool {
        !self.tokens.is_empty()
    }
}

fn deny(reason: Reason) -> Access {
    Access::Deny { reason }
}

impl Reason {
    /// All there are.
    pub(crate) const ALL: [Self; 4] = [
        Self::PeerDenied,
        Self::NetworkDenied,
        Self::NotAllowed,
        Self::TokenMissing,
    ];

    /// As the ledger counts it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PeerDenied => "peer_denied",
            Self::NetworkDenied => "network_denied",
            Self::NotAllowed => "not_allowed",
            Self::TokenMissing => "token_missing",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Access = Access::Allow;

    fn rules(change: impl FnOnce(&mut AccessRules), tokens: &str) -> Rules {
        let mut lists = AccessRules::default();
        change(&mut lists);
        let tokens = if tokens.is_empty() {
            Tokens::default()
        } else {
            Tokens::parse(tokens).unwrap()
        };
        Rules { lists, tokens }
    }

    #[test]
    fn every_combination_of_lists_and_token_has_its_outcome() {
        use Reason::{NetworkDenied, NotAllowed, PeerDenied, TokenMissing};
        use Token::{Missing, Presented};
        const TOKEN: &str = "0123456789abcdef";
        let (ann, bob) = (PeerId::random(), PeerId::random());
        let (inside, outside) = ("10.1.2.3", "203.0.113.7");
        let ten = || vec!["10.0.0.0/8".parse().unwrap()];

        let nothing = rules(|_| {}, "");
        let denies_ann = rules(|lists| lists.deny_peers = vec![ann], "");
        let denies_ten = rules(|lists| lists.deny_networks = ten(), "");
        let allows_ann = rules(|lists| lists.allow_peers = vec![ann], "");
        let allows_ten = rules(|lists| lists.allow_networks = ten(), "");
        let token = rules(|_| {}, TOKEN);
        let allows_ann_or_token = rules(|lists| lists.allow_peers = vec![ann], TOKEN);
        let both = rules(
            |lists| (lists.allow_peers, lists.deny_networks) = (vec![ann], ten()),
            TOKEN,
        );
        let contradiction = rules(
            |lists| (lists.allow_peers, lists.deny_peers) = (vec![ann], vec![ann]),
            TOKEN,
        );

        for (number, (rules, peer, ip, presented, outcome)) in [
            (&nothing, ann, outside, Missing, OPEN),
            (&denies_ann, ann, outside, Missing, deny(PeerDenied)),
            (&denies_ann, bob, outside, Missing, OPEN),
            (&denies_ten, ann, inside, Missing, deny(NetworkDenied)),
            (&denies_ten, ann, outside, Missing, OPEN),
            (&allows_ann, ann, outside, Missing, OPEN),
            (&allows_ann, bob, outside, Missing, deny(NotAllowed)),
            (&allows_ten, bob, inside, Missing, OPEN),
            (&allows_ten, bob, outside, Missing, deny(NotAllowed)),
            (&token, bob, outside, Missing, deny(TokenMissing)),
            (&token, bob, outside, Presented, OPEN),
            (&allows_ann_or_token, ann, outside, Missing, OPEN),
            (&allows_ann_or_token, bob, outside, Missing, deny(TokenMissing)),
            (&allows_ann_or_token, bob, outside, Presented, OPEN),
            (&both, ann, inside, Presented, deny(NetworkDenied)),
            (&both, ann, outside, Missing, OPEN),
            (&contradiction, ann, outside, Presented, deny(PeerDenied)),
        ]
        .into_iter()
        .enumerate()
        {
            let ip = Some(ip.parse().unwrap());
            assert_eq!(rules.access(peer, ip, presented), outcome, "line {number}");
        }
    }

    #[test]
    fn before_a_peer_has_said_who_it_is_only_its_network_counts() {
        let rules = rules(
            |lists| {
                lists.deny_networks = vec!["2001:db8::/32".parse().unwrap()];
                lists.allow_networks = vec!["10.0.0.0/8".parse().unwrap()];
            },
            "",
        );
        let of = |ip: &str| rules.network(Some(ip.parse().unwrap()));
        assert_eq!(of("2001:db8::7"), deny(Reason::NetworkDenied));
        assert_eq!(of("203.0.113.7"), Access::Allow);
        assert_eq!(rules.network(None), Access::Allow);
    }
}
