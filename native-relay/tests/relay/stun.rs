//! STUN as clients meet it: the programme asked by coturn's client, and the relay asked in ways that a client library
//! would not.

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
};

use native_relay::Stun;
use tokio::{net::UdpSocket, time::timeout};

use crate::support::{PATIENCE, TestRelay, get};

/// A Binding request without attributes, and what its answer begins with: success, 12 bytes, the same transaction.
const REQUEST: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xa4\x42any id is ok";
const ANSWER: [u8; 20] = *b"\x01\x01\x00\x0c\x21\x12\xa4\x42any id is ok";

/// The relay's programme; killed when the test ends, however it ends.
struct Programme {
    child: Child,
    http: SocketAddr,
}

impl Programme {
    fn start(data_dir: &Path, flags: &[&str]) -> Self {
        let mut child = command(data_dir, flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        let mut started = Self {
            child,
            http: SocketAddr::from(([0; 4], 0)),
        };
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let host = line
            .strip_prefix("open http://")
            .and_then(|rest| rest.strip_suffix("/\n"));
        started.http = host.unwrap_or_else(|| panic!("no URL: {line:?}")).parse().unwrap();
        started
    }
}

impl Drop for Programme {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data_dir: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_native-relay"));
    command.arg("--data-dir").arg(data_dir);
    command.args(["--http", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.args(flags).env_clear().stdin(Stdio::null());
    command
}

/// What `/relay.json` says about STUN.
async fn told(http: SocketAddr) -> Vec<SocketAddr> {
    let answer = get(http, "/relay.json", "").await;
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let uris = json["stun"].as_array().unwrap().iter().map(|uri| uri.as_str().unwrap());
    uris.map(|uri| uri.strip_prefix("stun:").unwrap().parse().unwrap())
        .collect()
}

/// Where coturn's client says that it was seen.
#[cfg(target_os = "linux")]
fn seen_by(server: SocketAddr) -> SocketAddr {
    let output = Command::new("turnutils_stunclient")
        .args(["-p", &server.port().to_string(), &server.ip().to_string()])
        .output()
        .expect("coturn's client is there: `cargo xtask setup` gets it, `cargo xtask test` finds it");
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.lines().find_map(|line| line.split_once("UDP reflexive addr: "));
    let (_, address) = said.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    // It writes IPv6 addresses without brackets.
    let (ip, port) = address.rsplit_once(':').unwrap();
    let ip: IpAddr = ip.trim_matches(['[', ']']).parse().unwrap();
    SocketAddr::from((ip, port.parse().unwrap()))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn when_coturns_client_asks_the_programme_it_learns_its_address_in_both_families() {
    let dir = tempfile::tempdir().unwrap();
    let programme = Programme::start(dir.path(), &["--stun", "127.0.0.1:0", "--stun", "[::1]:0"]);
    let servers = told(programme.http).await;
    let families: Vec<_> = servers.iter().map(SocketAddr::ip).collect();
    assert_eq!(families, ["127.0.0.1", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    for server in servers {
        let seen = seen_by(server);
        assert_eq!(seen.ip(), server.ip());
        assert!(seen.port() != 0 && seen.port() != server.port());
    }
}

async fn client(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.unwrap();
    // The system then lets in nothing that comes from elsewhere.
    socket.connect(server).await.unwrap();
    socket
}

async fn heard(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2_000];
    let length = timeout(PATIENCE, client.recv(&mut buffer))
        .await
        .expect("an answer comes");
    buffer[..length.unwrap()].to_vec()
}

#[tokio::test]
async fn when_datagrams_are_empty_broken_or_huge_those_that_follow_are_answered() {
    let relay = TestRelay::start().await;
    let client = client(relay.relay.stun_addrs()[0]).await;
    let huge = vec![0; 60_000];
    for nonsense in [&[][..], b"hello", &REQUEST[..19], &ANSWER, &huge] {
        client.send(nonsense).await.unwrap();
    }
    client.send(&REQUEST).await.unwrap();
    let answer = heard(&client).await;
    assert_eq!(answer[..20], ANSWER, "and nothing before it");
    assert_eq!(answer.len(), 32);
}

/// Linux alone has all of 127.0.0.0/8 on loopback.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn when_listening_everywhere_the_answer_comes_from_the_address_that_was_asked() {
    let relay = TestRelay::start_with(|config| native_relay::Config {
        stun: Stun::At(vec![SocketAddr::from(([0, 0, 0, 0], 0))]),
        ..config
    })
    .await;
    let port = relay.relay.stun_addrs()[0].port();
    for last in [1, 2, 3] {
        let client = client(SocketAddr::from(([127, 0, 0, last], port))).await;
        client.send(&REQUEST).await.unwrap();
        assert_eq!(heard(&client).await[..20], ANSWER, "127.0.0.{last}");
    }
}

#[tokio::test]
async fn when_it_is_off_nobody_is_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let programme = Programme::start(dir.path(), &["--stun", "off"]);
    assert!(told(programme.http).await.is_empty());
}

#[tokio::test]
async fn when_its_default_port_is_taken_the_relay_does_without() {
    // If this fails, somebody else has it, which is as good.
    let taken = ["127.0.0.1:3478", "[::1]:3478"].map(std::net::UdpSocket::bind);
    let dir = tempfile::tempdir().unwrap();
    let programme = Programme::start(dir.path(), &[]);
    assert!(told(programme.http).await.is_empty());
    drop(taken);
}

#[test]
fn when_a_port_that_was_asked_for_is_taken_one_line_names_it_and_the_flag() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = command(dir.path(), &["--stun", &address.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let says = format!("port {} (UDP) is taken", address.port());
    assert!(text.contains(&says) && text.contains("--stun"), "{text}");
}

#[test]
fn when_off_is_not_all_that_is_said_it_is_misused() {
    let dir = tempfile::tempdir().unwrap();
    for (flags, says) in [
        (&["--stun", "off", "--stun", "127.0.0.1:0"][..], "allows no other"),
        (&["--stun", "on"], "'on'"),
        (&["--stun", "localhost:3478"], "'localhost:3478'"),
    ] {
        let output = command(dir.path(), flags).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn when_the_relay_stops_its_port_is_free_again() {
    let TestRelay { relay, dir: _dir } = TestRelay::start().await;
    let address = relay.stun_addrs()[0];
    assert!(UdpSocket::bind(address).await.is_err());
    timeout(PATIENCE, relay.shutdown()).await.unwrap();
    UdpSocket::bind(address).await.unwrap();
}
