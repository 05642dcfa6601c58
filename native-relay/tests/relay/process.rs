//! The programme itself: what it prints, how it ends.

use std::{
    io::{BufRead, BufReader, Read},
    net::{TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::support;

fn relay(data_dir: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_native-relay"));
    command.arg("--data-dir").arg(data_dir).args(flags);
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Everything on ports that the system chooses.
const ANYWHERE: [&str; 8] = [
    "--http",
    "127.0.0.1:0",
    "--listen",
    "/ip4/127.0.0.1/tcp/0",
    "--stun",
    "127.0.0.1:0",
    "--admin",
    "127.0.0.1:0",
];

/// Killed when the test ends, however it ends.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> (Self, String) {
        let mut child = Self(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        (child, line)
    }

    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was said on standard error: one line, from us.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let ours: Vec<_> = text.lines().filter(|line| line.starts_with("native-relay: ")).collect();
    assert_eq!(ours.len(), 1, "{text}");
    ours[0].to_owned()
}

#[test]
fn when_a_flag_is_wrong_one_line_says_so_and_the_exit_code_is_2() {
    let dir = tempfile::tempdir().unwrap();
    for (flags, says) in [
        (&["--bogus"][..], "'--bogus'"),
        (&["extra"], "'extra'"),
        (&["--http"], "'--http <ADDR:PORT>'"),
        (&["--http", "localhost:8080"], "'localhost:8080'"),
        (&["--http", "127.0.0.1:99999"], "'127.0.0.1:99999'"),
        (&["--listen", "nonsense"], "'nonsense'"),
        (&["--admin", "9090"], "'--admin <ADDR:PORT>'"),
        (&["--listen", "/ip4/127.0.0.1/udp/1"], "/udp/PORT/quic-v1"),
        (&["--listen", "/dns/example.org/tcp/1"], "/ip4|ip6/"),
        (&["--listen", "/ip4/127.0.0.1/tcp/1/ws"], "use --http"),
        (&["--external-address", "/tcp/1"], "must start with"),
        (
            &["--external-address", "/ip4/203.0.113.1/tcp/1/p2p-circuit"],
            "contain no",
        ),
        (&["--lan", "--public"], "--lan and --public"),
    ] {
        let output = relay(dir.path(), flags).output().unwrap();
        let text = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{flags:?}: {text}");
        assert!(complaint(&output).contains(says), "{flags:?}: {text}");
    }
    let seventeen: Vec<_> = (1..=17)
        .map(|port| format!("--external-address=/ip4/203.0.113.1/tcp/{port}"))
        .collect();
    let seventeen: Vec<_> = seventeen.iter().map(String::as_str).collect();
    let output = relay(dir.path(), &seventeen).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("at most 16"));
}

#[test]
fn when_a_variable_is_wrong_it_is_like_a_flag() {
    let dir = tempfile::tempdir().unwrap();
    let output = relay(dir.path(), &[])
        .env("PEERWAY_RELAY_HTTP", "nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("'nowhere'"));
}

#[test]
fn when_a_port_is_taken_one_line_names_it_and_the_flag_and_the_exit_code_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp) = (
        tcp.local_addr().map(|a| (a.port(), tcp)).unwrap(),
        udp.local_addr().map(|a| (a.port(), udp)).unwrap(),
    );
    for (port, kind, flag, value) in [
        (tcp.0, "TCP", "--http", format!("127.0.0.1:{}", tcp.0)),
        (tcp.0, "TCP", "--admin", format!("127.0.0.1:{}", tcp.0)),
        (tcp.0, "TCP", "--listen", format!("/ip4/127.0.0.1/tcp/{}", tcp.0)),
        (
            udp.0,
            "UDP",
            "--listen",
            format!("/ip4/127.0.0.1/udp/{}/quic-v1", udp.0),
        ),
        (
            udp.0,
            "UDP",
            "--listen",
            format!("/ip4/127.0.0.1/udp/{}/webrtc-direct", udp.0),
        ),
    ] {
        let mut flags = vec![flag, value.as_str()];
        if flag != "--http" {
            flags.extend(["--http", "127.0.0.1:0"]);
        }
        let output = relay(dir.path(), &flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let says = complaint(&output);
        assert!(
            says.contains(&format!("port {port} ({kind}) is taken")) && says.contains(flag),
            "{says}"
        );
    }
}

#[test]
fn when_nothing_can_be_announced_one_line_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for flag in ["--lan", "--public"] {
        let output = relay(dir.path(), &[&ANYWHERE[..], &[flag]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let says = complaint(&output);
        assert!(says.contains(flag) && says.contains("--external-address"), "{says}");
    }
}

#[test]
fn when_set_by_the_environment_flags_are_on_or_off() {
    let dir = tempfile::tempdir().unwrap();
    let (_running, line) = Running::start({
        let mut command = relay(dir.path(), &ANYWHERE);
        command.env("PEERWAY_RELAY_LAN", "0").env("PEERWAY_RELAY_PUBLIC", "");
        command
    });
    assert!(line.starts_with("open http://127.0.0.1:"), "{line}");
    let output = relay(dir.path(), &ANYWHERE)
        .env("PEERWAY_RELAY_LAN", "1")
        .output()
        .unwrap();
    assert!(complaint(&output).contains("--lan"));
}

#[test]
fn when_two_relays_want_the_same_port_the_second_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let flags = ["--http", "127.0.0.1:0", "--listen", &listen, "--stun", "off"];
    let (_first, line) = Running::start(relay(dir.path(), &flags));
    assert!(line.starts_with("open http://127.0.0.1:"), "{line}");
    let output = relay(dir.path(), &flags).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains(&format!("port {port} (TCP) is taken")));
}

#[test]
fn when_the_identity_is_malformed_the_relay_does_not_start_and_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("identity.key");
    std::fs::write(&file, "mine").unwrap();
    let output = relay(dir.path(), &ANYWHERE).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("identity.key"));
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[cfg(unix)]
#[tokio::test]
async fn when_asked_to_stop_the_relay_ends_with_0_even_while_peers_are_connected() {
    for signal in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let (mut running, line) = Running::start(relay(dir.path(), &ANYWHERE));
        let url = line
            .strip_prefix("open http://")
            .and_then(|rest| rest.strip_suffix("/\n"))
            .expect("one URL");
        let answer = support::get(url.parse().unwrap(), "/relay.json", "").await;
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let mut peer = support::Peer::new();
        peer.reserve(&json["addrs"][0].as_str().unwrap().parse().unwrap()).await;

        running.signal(signal);
        let peer = tokio::spawn(async move { peer.listen_for(support::PATIENCE).await });
        let status = tokio::task::spawn_blocking(move || {
            let status = running.0.wait().unwrap();
            let mut log = String::new();
            running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            assert!(!log.contains("panicked"), "{log}");
            assert!(
                log.contains("stopping") && !log.contains('\x1b'),
                "no colours in a pipe: {log:?}"
            );
            status
        });
        assert_eq!(status.await.unwrap().code(), Some(0), "{signal}");
        peer.abort();
    }
}

#[test]
fn when_asked_for_help_every_flag_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let output = relay(dir.path(), &["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for flag in [
        "--listen",
        "--external-address",
        "--http",
        "--stun",
        "--admin",
        "--data-dir",
        "--page",
        "--lan",
        "--public",
        "--config",
        "--print-config",
        "--check-config",
        "--log-format",
    ] {
        assert!(text.contains(flag), "{flag} is not in {text}");
    }
}
