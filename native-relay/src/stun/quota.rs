//! How often one source is answered: a token bucket for each IPv4 address and each IPv6 /56. Pure.
//!
//! It bounds what somebody gets who did not ask and whose address was forged, and leaves a crowd behind one NAT alone: a
//! page asks a few times for each connection it tries, and asks again when no answer comes.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::source::Source;

/// How many requests in a row are answered.
pub(super) const BURST: u32 = 256;
/// How long one of them takes to be earned again.
pub(super) const REFILL: Duration = Duration::from_millis(20);
/// How many sources are watched at once, each for as long as its burst is not whole. When full, a source that is not
/// watched is not answered. To keep it full takes so many requests in every [`REFILL`], from as many addresses; whoever
/// can forge these shall not have the answers sent to others.
pub(super) const MAX_SOURCES: usize = 16_384;

/// Whether a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is.
    Within,
    /// Its source has asked too much of late.
    Exceeded,
}

/// Who has asked of late. Whoever has not is not remembered.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// When each source will have earned its whole burst again.
    full_at: BTreeMap<Source, Duration>,
    /// When it is next worth looking for those who can be forgotten: looking at all of them for each request would cost
    /// more than the request.
    sweep_at: Duration,
}

impl Quota {
    /// A source wants an answer.
    pub(super) fn handle_request(&mut self, from: IpAddr, now: Duration) -> Verdict {
        let source = Source::of(from);
        let full_at = self.full_at.get(&source).copied();
        if full_at.is_none() && !self.has_room(now) {
            return Verdict::Exceeded;
        }
        let full_at = full_at.unwrap_or_default().max(now);
        if full_at.saturating_sub(now) > REFILL * (BURST - 1) {
            return Verdict::Exceeded;
        }
        self.full_at.insert(source, full_at.saturating_add(REFILL));
        Verdict::Within
    }

    fn has_room(&mut self, now: Duration) -> bool {
        if self.full_at.len() >= MAX_SOURCES && now >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = now.saturating_add(REFILL);
        }
        self.full_at.len() < MAX_SOURCES
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn answered(quota: &mut Quota, ip: IpAddr, now: Duration) -> usize {
        let verdicts = (0..1_000).map(|_| quota.handle_request(ip, now));
        verdicts.filter(|verdict| *verdict == Verdict::Within).count()
    }

    #[test]
    fn when_a_source_asks_all_the_time_it_gets_its_burst_then_its_rate_and_others_are_answered() {
        let mut quota = Quota::default();
        let (loud, quiet) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(answered(&mut quota, loud, Duration::ZERO), 256);
        assert_eq!(quota.handle_request(quiet, Duration::ZERO), Verdict::Within);
        assert_eq!(answered(&mut quota, loud, REFILL), 1);
        assert_eq!(answered(&mut quota, loud, REFILL * 4), 3);
        assert_eq!(answered(&mut quota, loud, REFILL * (BURST + 4)), 256);
    }

    #[test]
    fn two_ipv6_addresses_are_one_source_if_their_first_56_bits_are_the_same() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (other, left) in [
            ("2001:db8:0:ff::1", 0),
            ("2001:db8:0:1ff::1", 256),
            ("2001:db8:1::1", 256),
        ] {
            let mut quota = Quota::default();
            assert_eq!(answered(&mut quota, ip("2001:db8::1"), Duration::ZERO), 256);
            assert_eq!(answered(&mut quota, ip(other), Duration::ZERO), left, "{other}");
        }
        let mut quota = Quota::default();
        assert_eq!(answered(&mut quota, ip("::ffff:192.0.2.1"), Duration::ZERO), 256);
        assert_eq!(answered(&mut quota, ip("192.0.2.1"), Duration::ZERO), 0);
    }

    #[test]
    fn when_more_sources_ask_than_are_watched_newcomers_wait_and_those_who_were_quiet_are_forgotten() {
        let mut quota = Quota::default();
        let v4 = |n: usize| IpAddr::from(Ipv4Addr::from(u32::try_from(n).unwrap()));
        for n in 0..MAX_SOURCES {
            assert_eq!(quota.handle_request(v4(n), Duration::ZERO), Verdict::Within, "{n}");
        }
        let newcomer = IpAddr::from(Ipv6Addr::LOCALHOST);
        assert_eq!(quota.handle_request(newcomer, Duration::ZERO), Verdict::Exceeded);
        assert_eq!(quota.handle_request(v4(7), Duration::ZERO), Verdict::Within);
        assert_eq!(quota.full_at.len(), MAX_SOURCES);

        assert_eq!(quota.handle_request(newcomer, REFILL), Verdict::Within);
        assert_eq!(quota.full_at.len(), 2, "the newcomer and the one who asked twice");
    }
}
