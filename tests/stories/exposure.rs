//! Who can reach a relay: started without flags, with `--lan`, with `--public`, on a host with many kinds of interfaces.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use anyhow::{Context, ensure};
use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    netns::{Host, Lab},
    page::{Page, SOON, chat_both_ways},
    relay::{Relay, RelayConfig, RelayInfo},
};

const LAN: &str = "192.168.71.1";
const LAN_IPV6: &str = "fd71::1";
const PUBLIC: &str = "203.0.113.5";
const PUBLIC_IPV6: &str = "2001:db8:71::1";
/// Nobody is to be told of these: they lead to this host's containers, or no further than the next switch.
const NEITHER: [&str; 3] = ["172.17.0.1", "172.18.0.1", "169.254.3.3"];

const HTTP: u16 = 8080;
const TCP: u16 = 4001;
const STUN: u16 = 3478;
const ADMIN: u16 = 9090;

/// The ports that a relay takes by default on every address it listens on.
const DEFAULTS_IPV4: [(&str, u16); 5] = [("tcp", HTTP), ("tcp", TCP), ("udp", 4001), ("udp", 4003), ("udp", STUN)];
const DEFAULTS_IPV6: [(&str, u16); 5] = [("tcp", HTTP), ("tcp", TCP), ("udp", 4001), ("udp", 4004), ("udp", STUN)];

/// The relay's host, which has everything, and a guest who has a way to each of its addresses.
fn hosts(lab: &mut Lab) -> anyhow::Result<(Host, Host)> {
    let gateway = Ipv4Addr::new(192, 168, 71, 1);
    let host = lab.host("relay", gateway)?;
    for address in ["fd71::1/64", "203.0.113.5/24", "2001:db8:71::1/64"] {
        host.add_address(address)?;
    }
    host.add_bridge("docker0", "172.17.0.1/16")?;
    host.add_bridge("br-0123456789ab", "172.18.0.1/16")?;
    host.add_bridge("veth12ab", "169.254.3.3/16")?;

    let guest = lab.host("guest", Ipv4Addr::new(192, 168, 71, 2))?;
    for address in ["fd71::2/64", "203.0.113.9/24", "2001:db8:71::2/64"] {
        guest.add_address(address)?;
    }
    for address in NEITHER {
        guest.add_route(&format!("{address}/32"), gateway.into())?;
    }
    Ok((host, guest))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_flags_nobody_else_reaches_the_relay() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let (host, guest) = hosts(&mut lab)?;
    let relay = Relay::start_with(RelayConfig::with_flags(host.place(), &[])).await?;
    assert_eq!(bound(&host)?, sockets(&["127.0.0.1", "::1"]));
    for address in [LAN, LAN_IPV6, PUBLIC, PUBLIC_IPV6].iter().chain(&NEITHER) {
        for port in [HTTP, TCP, ADMIN] {
            assert_eq!(knock(&guest, address, port)?, Knock::Refused, "{address}:{port}");
        }
    }
    assert_eq!(relay.said("open "), ["http://127.0.0.1:8080/"]);
    assert_eq!(announced(&host, "127.0.0.1")?, owned(&["127.0.0.1", "::1"]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_lan_a_browser_of_the_network_opens_what_is_printed_and_chats() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let (host, guest) = hosts(&mut lab)?;
    let mut relay = Relay::start_with(RelayConfig::with_flags(host.place(), &["--lan"])).await?;
    assert_eq!(bound(&host)?, sockets(&["127.0.0.1", "::1", LAN, LAN_IPV6]));
    for address in [LAN, LAN_IPV6] {
        for port in [HTTP, TCP] {
            assert_eq!(knock(&guest, address, port)?, Knock::Answered, "{address}:{port}");
        }
        assert_eq!(knock(&guest, address, ADMIN)?, Knock::Refused, "{address}");
    }
    for address in [PUBLIC, PUBLIC_IPV6].iter().chain(&NEITHER) {
        for port in [HTTP, TCP, ADMIN] {
            assert_eq!(knock(&guest, address, port)?, Knock::Refused, "{address}:{port}");
        }
    }
    assert_eq!(announced(&guest, LAN)?, owned(&[LAN, LAN_IPV6]));
    says_where_it_listens(&mut relay, &[LAN, LAN_IPV6]).await?;

    let urls = relay.said("open ");
    assert_eq!(
        urls,
        [
            "http://127.0.0.1:8080/",
            "http://192.168.71.1:8080/",
            "http://[fd71::1]:8080/"
        ]
    );
    let (alice, bob) = two_tabs(&guest, [&urls[1], &urls[2]]).await?;
    assert_eq!(alice.run("return window.isSecureContext;").await?, false);
    meet_and_chat(&alice, &bob).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_public_strangers_reach_the_relay_and_hear_of_nothing_they_cannot_use() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let (host, guest) = hosts(&mut lab)?;
    let mut relay = Relay::start_with(RelayConfig::with_flags(host.place(), &["--public"])).await?;
    assert_eq!(bound(&host)?, sockets(&["0.0.0.0", "::"]));
    for address in [LAN, LAN_IPV6, PUBLIC, PUBLIC_IPV6].iter().chain(&NEITHER) {
        assert_eq!(knock(&guest, address, HTTP)?, Knock::Answered, "{address}");
        assert_eq!(knock(&guest, address, ADMIN)?, Knock::Refused, "{address}");
    }
    assert_eq!(announced(&guest, PUBLIC)?, owned(&[PUBLIC, PUBLIC_IPV6]));
    says_where_it_listens(&mut relay, &["0.0.0.0", "::"]).await?;

    let urls = relay.said("open ");
    assert_eq!(
        urls,
        [
            "http://127.0.0.1:8080/",
            "http://203.0.113.5:8080/",
            "http://[2001:db8:71::1]:8080/"
        ]
    );
    let (alice, bob) = two_tabs(&guest, [&urls[1], &urls[2]]).await?;
    meet_and_chat(&alice, &bob).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_public_on_a_host_that_is_not_the_relay_says_so_and_ends() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let host = lab.host("relay", Ipv4Addr::new(192, 168, 71, 1))?;
    let error = Relay::start_with(RelayConfig::with_flags(host.place(), &["--public"]))
        .await
        .map(drop)
        .unwrap_err()
        .to_string();
    for word in [
        "exit status: 1",
        "no address of this host is public",
        "--external-address",
    ] {
        assert!(error.contains(word), "{word} is missing in: {error}");
    }
    Ok(())
}

/// One tab for each URL, in one browser on `host`.
async fn two_tabs(host: &Host, urls: [&String; 2]) -> anyhow::Result<(Page, Page)> {
    let browser = Browser::launch_in(Kind::Chromium, host.place(), ProtocolEvents::Ignored).await?;
    Ok((browser.open(urls[0]).await?, browser.open(urls[1]).await?))
}

async fn meet_and_chat(alice: &Page, bob: &Page) -> anyhow::Result<()> {
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(alice, bob, SOON, "hello").await
}

/// Waits until each of these addresses is among the lines that say what is listened on.
async fn says_where_it_listens(relay: &mut Relay, hosts: &[&str]) -> anyhow::Result<()> {
    for host in hosts {
        let ip: IpAddr = host.parse()?;
        let family = if ip.is_ipv4() { "ip4" } else { "ip6" };
        let address = format!("/{family}/{host}/tcp/{HTTP}/ws");
        relay
            .says(&address, |line| {
                (line.contains("listening") && line.contains(&address)).then_some(())
            })
            .await?;
    }
    Ok(())
}

/// What came of a TCP connection.
#[derive(Debug, PartialEq, Eq)]
enum Knock {
    Answered,
    Refused,
}

/// Tries a TCP connection from `host`. Anything but an answer or a refusal is an error: the way was not there.
fn knock(host: &Host, address: &str, port: u16) -> anyhow::Result<Knock> {
    let (said, complained) = bash(host, &format!("exec 3<>/dev/tcp/{address}/{port} && echo answered"))?;
    if said.contains("answered") {
        return Ok(Knock::Answered);
    }
    ensure!(complained.contains("refused"), "{address}:{port}: {complained}");
    Ok(Knock::Refused)
}

/// The hosts in the addresses that `/relay.json` lists, as `host` reads it from the relay at `address`.
fn announced(host: &Host, address: &str) -> anyhow::Result<BTreeSet<String>> {
    let request = r"GET /relay.json HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";
    let (answer, _) = bash(
        host,
        &format!("exec 3<>/dev/tcp/{address}/{HTTP} && printf '{request}' >&3 && cat <&3"),
    )?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let info: RelayInfo = serde_json::from_str(body)?;
    let hosts = info.addrs.iter().map(|address| {
        let text = address.to_string();
        let host = text.split('/').nth(2).unwrap_or_default();
        host.to_owned()
    });
    let hosts: BTreeSet<String> = hosts.collect();
    // WebSocket, WebRTC-direct, QUIC, TCP on each.
    ensure!(info.addrs.len() == 4 * hosts.len(), "{:?}", info.addrs);
    Ok(hosts)
}

fn owned(hosts: &[&str]) -> BTreeSet<String> {
    hosts.iter().map(|&host| host.to_owned()).collect()
}

/// Runs a line of bash on `host`: it is everywhere, and opens TCP connections by itself.
fn bash(host: &Host, script: &str) -> anyhow::Result<(String, String)> {
    let output = host
        .place()
        .command("timeout")
        .args(["5", "bash", "-c", script])
        .output()
        .context("cannot start bash")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}

/// What a relay with its default ports takes on these addresses; its metrics it shows on loopback whatever they are.
fn sockets(hosts: &[&str]) -> BTreeSet<(String, SocketAddr)> {
    let ips = hosts.iter().filter_map(|host| host.parse::<IpAddr>().ok());
    ips.flat_map(|ip| {
        let ports = if ip.is_ipv4() { DEFAULTS_IPV4 } else { DEFAULTS_IPV6 };
        ports.map(|(kind, port)| (kind.to_owned(), SocketAddr::from((ip, port))))
    })
    .chain([("tcp".to_owned(), SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN)))])
    .collect()
}

/// Every socket on `host` that takes what comes from outside, as the system sees it.
fn bound(host: &Host) -> anyhow::Result<BTreeSet<(String, SocketAddr)>> {
    let output = host
        .place()
        .command("ss")
        .args(["--no-header", "--numeric", "--listening", "--tcp", "--udp"])
        .output()
        .context("cannot start ss")?;
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [kind, _, _, _, local, ..] = fields.as_slice() else {
            anyhow::bail!("not a socket: {line}");
        };
        // All addresses of both families, for ss.
        let local = local.replace('*', "[::]");
        Ok(((*kind).to_owned(), local.parse().with_context(|| local.clone())?))
    });
    lines.collect()
}
