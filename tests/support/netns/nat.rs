//! A small Internet: public hosts, and devices behind the routers of homes.
//!
//! ```text
//!   relay  203.0.113.1, 2001:db8:ffff::1 ──┐
//!   router 203.0.113.11 ── device 192.168.11.2, 2001:db8:11::2
//!   router 203.0.113.12 ── device 192.168.12.2, 2001:db8:12::2
//! ```
//! Here is what a router does to the packets that pass it, and how that changes while they do. What gets through as a
//! consequence is for the stories to find out. Every address is one for documentation or of a private network.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Stdio,
};

use anyhow::{Context, ensure};

use super::{Host, Lab, Namespace, Place, add_address, run};

/// What joins the IPv6 networks of homes: the provider, at the switch.
const PROVIDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0xffff);

/// Every IPv6 address of the lab is in here.
const ALL_OF_IPV6: &str = "2001:db8::/32";

/// How a router translates IPv4, and what it lets through.
///
/// Each is stateful: whatever was not asked for from inside is dropped, in IPv6 too, which is never translated. Without
/// that, a first stray packet would occupy the very port on which the answer is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The port outside is that inside, whoever the packet is for. What it is for decides who may answer: "endpoint
    /// independent mapping, address and port dependent filtering" of RFC 4787.
    PortPreserving,
    /// Each destination sees another port, drawn at random: nobody can be told where to send to.
    Symmetric,
    /// As [`Self::PortPreserving`], and no UDP passes at all.
    UdpBlocked,
}

/// Which kinds of address a home has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// Only IPv4, translated.
    Ipv4,
    /// IPv4, translated, and an IPv6 network of its own, not translated.
    Both,
}

/// The public network. Dropping it removes everything on it.
#[derive(Debug)]
pub struct Internet {
    lab: Lab,
    hosts: u8,
    routers: u8,
}

impl Internet {
    /// One without hosts. `None` as [`Lab::enter`] says it.
    pub fn enter() -> anyhow::Result<Option<Self>> {
        let Some(lab) = Lab::enter()? else { return Ok(None) };
        forward_packets(&lab.switch)?;
        add_address(&lab.switch.place(), &format!("{PROVIDER}/64"), "bridge")?;
        Ok(Some(Self {
            lab,
            hosts: 0,
            routers: 0,
        }))
    }

    /// Adds a host with public addresses of both kinds and nothing between it and the others.
    pub fn public_host(&mut self, name: &str) -> anyhow::Result<Host> {
        const LAST: u8 = 9;
        ensure!(self.hosts < LAST, "the addresses after {LAST} are those of routers");
        self.hosts += 1;
        let host = self.lab.host(name, Ipv4Addr::new(203, 0, 113, self.hosts))?;
        let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, self.hosts.into());
        host.add_address(&format!("{ipv6}/64"))?;
        host.add_route(ALL_OF_IPV6, IpAddr::V6(PROVIDER))?;
        Ok(host)
    }

    /// Adds a home's router, with nobody in the home yet.
    pub fn router(&mut self, filter: Filter, families: Families) -> anyhow::Result<Router> {
        const FIRST: u8 = 11;
        let number = FIRST + self.routers;
        self.routers += 1;
        let namespace = Namespace::create(&format!("router{number}"))?;
        forward_packets(&namespace)?;
        self.lab.plug_in(&namespace, "wan")?;
        let place = namespace.place();
        add_address(&place, &format!("203.0.113.{number}/24"), "wan")?;
        run(&place, "ip", "link set wan up")?;
        if families == Families::Both {
            let outside = format!("2001:db8:ffff::{number}");
            add_address(&place, &format!("{outside}/64"), "wan")?;
            run(&place, "ip", &format!("route add {ALL_OF_IPV6} via {PROVIDER}"))?;
            let inside = format!("2001:db8:{number}::/64");
            self.lab
                .switch
                .run("ip", &format!("route add {inside} via {outside}"))?;
        }
        let router = Router {
            place,
            number,
            families,
        };
        self.lab.hosts.push(namespace);
        router.set_filter(filter)?;
        Ok(router)
    }

    /// Adds a device without a network: see [`Device::join`].
    pub fn device(&mut self, name: &str) -> anyhow::Result<Device> {
        let namespace = Namespace::create(name)?;
        let place = namespace.place();
        self.lab.hosts.push(namespace);
        Ok(Device { place, joined: 0 })
    }

    /// Adds a device at home behind a router of its own.
    pub fn home(&mut self, name: &str, filter: Filter, families: Families) -> anyhow::Result<(Device, Router)> {
        let router = self.router(filter, families)?;
        let mut device = self.device(name)?;
        device.join(&router)?;
        Ok((device, router))
    }
}

/// A home's router. It lives as long as the [`Internet`] does.
#[derive(Debug)]
pub struct Router {
    place: Place,
    number: u8,
    families: Families,
}

impl Router {
    /// From now on, it does this. A flow that it translates already goes on as it was, as with real ones.
    pub fn set_filter(&self, filter: Filter) -> anyhow::Result<()> {
        let (translate, block) = match filter {
            Filter::PortPreserving => ("masquerade", ""),
            Filter::Symmetric => ("masquerade random,fully-random", ""),
            Filter::UdpBlocked => ("masquerade", "meta l4proto udp drop"),
        };
        // One transaction: at no moment is there no rule.
        let rules = format!(
            "table inet router
             delete table inet router
             table inet router {{
                 chain translate {{
                     type nat hook postrouting priority srcnat
                     oifname wan meta nfproto ipv4 {translate}
                 }}
                 chain input {{
                     type filter hook input priority filter
                     iifname wan ct state new drop
                 }}
                 chain forward {{
                     type filter hook forward priority filter
                     {block}
                     iifname wan ct state new drop
                 }}
             }}\n"
        );
        feed(&self.place, "nft", &["-f", "-"], &rules).with_context(|| format!("no {filter:?}"))
    }
}

/// A device that can be carried from one network to another. It lives as long as the [`Internet`] does.
#[derive(Debug)]
pub struct Device {
    place: Place,
    joined: u32,
}

impl Device {
    /// Where its programs run.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Leaves the network it is in, if it is in one, and joins the home of this router: another interface, other
    /// addresses, another way out. Nobody says goodbye to anybody.
    pub fn join(&mut self, router: &Router) -> anyhow::Result<()> {
        let (Place::Namespace(home), Place::Namespace(own)) = (&router.place, &self.place) else {
            anyhow::bail!("routers and devices are in namespaces");
        };
        if self.joined > 0 {
            run(&self.place, "ip", &format!("link del eth{}", self.joined))?;
        }
        self.joined += 1;
        let (interface, number) = (format!("eth{}", self.joined), router.number);
        run(
            &Place::Here,
            "ip",
            &format!("link add {interface} netns {own} type veth peer name lan netns {home}"),
        )?;
        for (place, interface, last) in [(&router.place, "lan", 1), (&self.place, interface.as_str(), 2)] {
            run(place, "ip", &format!("link set {interface} up"))?;
            add_address(place, &format!("192.168.{number}.{last}/24"), interface)?;
            if router.families == Families::Both {
                add_address(place, &format!("2001:db8:{number}::{last}/64"), interface)?;
            }
        }
        run(&self.place, "ip", &format!("route add default via 192.168.{number}.1"))?;
        if router.families == Families::Both {
            run(
                &self.place,
                "ip",
                &format!("-6 route add default via 2001:db8:{number}::1"),
            )?;
        }
        Ok(())
    }
}

/// Lets a namespace pass on what is not for itself.
fn forward_packets(namespace: &Namespace) -> anyhow::Result<()> {
    for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        feed(&namespace.place(), "tee", &[&format!("/proc/sys/net/{switch}")], "1")?;
    }
    Ok(())
}

/// Runs a program that reads `input`.
fn feed(place: &Place, program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    use std::io::Write;

    let mut child = place
        .command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut stdin = child.stdin.take().context("its input is a pipe")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{program} failed in {place:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, UdpSocket},
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use super::*;

    fn socket(place: &Place, address: IpAddr) -> UdpSocket {
        let socket = place.inside(|| UdpSocket::bind((address, 0))).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket
    }

    /// Whom `to` sees when `from` sends it something; `None` if it sees nothing. What was sent before and comes late is
    /// not mistaken for it.
    fn seen(from: &UdpSocket, to: &UdpSocket, at: SocketAddr) -> Option<SocketAddr> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let sent = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        from.send_to(&sent, at).unwrap();
        let mut received = [0; 16];
        loop {
            let (length, source) = to.recv_from(&mut received).ok()?;
            if received[..length] == sent {
                return Some(source);
            }
        }
    }

    #[test]
    fn each_router_translates_and_lets_in_what_its_filter_says() {
        let Some(mut internet) = Internet::enter().unwrap() else {
            return;
        };
        let host = internet.public_host("host").unwrap();
        let (device, router) = internet.home("device", Filter::PortPreserving, Families::Ipv4).unwrap();
        let own = |place| socket(place, Ipv4Addr::UNSPECIFIED.into());
        let at = |socket: &UdpSocket| SocketAddr::from((host.address(), socket.local_addr().unwrap().port()));
        let (one, other) = (own(host.place()), own(host.place()));
        for filter in [Filter::PortPreserving, Filter::Symmetric] {
            router.set_filter(filter).unwrap();
            let inside = own(device.place());
            let outside = seen(&inside, &one, at(&one)).unwrap();
            assert_eq!(outside.ip(), Ipv4Addr::new(203, 0, 113, 11), "{filter:?}");
            assert_eq!(
                outside.port() == inside.local_addr().unwrap().port(),
                filter == Filter::PortPreserving
            );
            assert_eq!(seen(&one, &inside, outside), Some(at(&one)), "an answer gets in");
            assert_eq!(seen(&other, &inside, outside), None, "a stranger does not");
            let outside_for_other = seen(&inside, &other, at(&other)).unwrap();
            assert_eq!(outside_for_other == outside, filter == Filter::PortPreserving);
        }
        router.set_filter(Filter::UdpBlocked).unwrap();
        assert_eq!(seen(&own(device.place()), &one, at(&one)), None);
    }

    #[test]
    fn with_ipv6_homes_are_not_translated_and_let_in_only_what_was_asked_for() {
        let Some(mut internet) = Internet::enter().unwrap() else {
            return;
        };
        let host = internet.public_host("host").unwrap();
        let (alice, _) = internet.home("alice", Filter::Symmetric, Families::Both).unwrap();
        let (bob, _) = internet.home("bob", Filter::Symmetric, Families::Both).unwrap();
        let end = |place, address: &str| {
            let socket = socket(place, address.parse().unwrap());
            let at = socket.local_addr().unwrap();
            (socket, at)
        };
        let (asked, asked_at) = end(host.place(), "2001:db8:ffff::1");
        let (stranger, _) = end(host.place(), "2001:db8:ffff::1");
        let (alice, alice_at) = end(alice.place(), "2001:db8:11::2");
        let (bob, bob_at) = end(bob.place(), "2001:db8:12::2");
        for (inside, at) in [(&alice, alice_at), (&bob, bob_at)] {
            // It takes the system up to a second to notice that a cable is plugged in, and IPv6 waits for it. A router
            // passes on what comes from inside before it answers for its own address outside, so that the way back may
            // be there later.
            let gets_out = (0..10).any(|_| seen(inside, &asked, asked_at) == Some(at));
            assert!(gets_out, "nothing of {at} comes out");
            let is_answered = (0..10).any(|_| seen(&asked, inside, at) == Some(asked_at));
            assert!(is_answered, "no answer gets in to {at}");
            assert_eq!(seen(&stranger, inside, at), None, "nobody asked for it");
        }
        // Both at once, as browsers do: the first packet of one is dropped and makes way for the other's.
        assert_eq!(seen(&alice, &bob, bob_at), None);
        assert_eq!(seen(&bob, &alice, alice_at), Some(bob_at));
        assert_eq!(seen(&alice, &bob, bob_at), Some(alice_at));
    }

    #[test]
    fn when_a_device_joins_another_home_it_is_seen_at_another_address() {
        let Some(mut internet) = Internet::enter().unwrap() else {
            return;
        };
        let host = internet.public_host("host").unwrap();
        let (mut device, first) = internet.home("device", Filter::PortPreserving, Families::Ipv4).unwrap();
        let second = internet.router(Filter::Symmetric, Families::Ipv4).unwrap();
        let listener = socket(host.place(), Ipv4Addr::UNSPECIFIED.into());
        let at = SocketAddr::from((host.address(), listener.local_addr().unwrap().port()));
        for (router, last) in [(None, 11), (Some(&second), 12), (Some(&first), 11)] {
            if let Some(router) = router {
                device.join(router).unwrap();
            }
            let socket = socket(device.place(), Ipv4Addr::UNSPECIFIED.into());
            let source = seen(&socket, &listener, at).unwrap();
            assert_eq!(source.ip(), Ipv4Addr::new(203, 0, 113, last));
        }
    }
}
