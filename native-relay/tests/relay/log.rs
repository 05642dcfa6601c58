//! What the programme's log says of those who come, and that it takes other rules without disturbing those whom they leave
//! alone.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, Stream, identity::Keypair, multiaddr::Protocol};
use peerway_hop::Refusal;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    clients::raw::{Raw, told},
    support::{self, Peer},
};

/// Lines that were read and not yet looked at.
const MAX_LINES: usize = 1_000;

/// The programme, which writes its log as JSON because a flag says so. Killed when the test ends, however it ends.
struct Running {
    child: Child,
    lines: mpsc::Receiver<Value>,
    /// Those that nobody has asked for yet.
    passed: Vec<Value>,
    address: Multiaddr,
}

impl Running {
    async fn start(dir: &Path, rules: &str) -> Self {
        let text = format!(
            "http = \"127.0.0.1:0\"\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nstun = \"off\"\nadmin = \"off\"\ndata_dir = \
             \"data\"\n{rules}"
        );
        fs::write(dir.join("relay.toml"), text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_native-relay"))
            .env_clear()
            .current_dir(dir)
            .args(["--config", "relay.toml", "--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (write, lines) = mpsc::channel(MAX_LINES);
        // Ends with the programme.
        std::thread::spawn(move || {
            for line in log.lines() {
                let line = serde_json::from_str(&line.unwrap()).unwrap();
                if write.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        let mut this = Self {
            child,
            lines,
            passed: Vec::new(),
            address: Multiaddr::empty(),
        };
        let mut listening = None;
        let peer = loop {
            let line = this.next().await;
            let address = line["address"].as_str().and_then(|text| text.parse::<Multiaddr>().ok());
            let is_tcp = |address: &Multiaddr| matches!(address.iter().last(), Some(Protocol::Tcp(_)));
            listening = listening.or(address.filter(is_tcp));
            if line["message"] == "this relay" {
                break line["peer"].as_str().unwrap().parse::<PeerId>().unwrap();
            }
        };
        this.address = listening.unwrap().with(Protocol::P2p(peer));
        this
    }

    async fn next(&mut self) -> Value {
        let line = timeout(support::PATIENCE, self.lines.recv()).await;
        line.expect("no line in time").expect("the programme has ended")
    }

    /// A line that says this and was not asked for before: the parts of the programme do not wait for each other.
    async fn says(&mut self, message: &str) -> Value {
        if let Some(at) = self.passed.iter().position(|line| line["message"] == message) {
            return self.passed.remove(at);
        }
        loop {
            let line = self.next().await;
            if line["message"] == message {
                return line;
            }
            self.passed.push(line);
        }
    }

    fn hang_up(&self) {
        let kill = Command::new("kill")
            .args(["-HUP", &self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One that says back what it hears, with a slot.
async fn host(keys: Keypair, relay: &Multiaddr) -> Raw {
    let host = Raw::connect_as(keys, relay).await;
    host.serve(|stream| async move {
        let (reader, mut writer) = stream.split();
        // However the circuit ends.
        let _ = futures::io::copy(reader, &mut writer).await;
        let _ = writer.close().await;
    })
    .await;
    host.reserve().await.unwrap();
    host
}

async fn talks(stream: &mut Stream) {
    let talk = async {
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    };
    timeout(support::PATIENCE, talk).await.unwrap();
}

#[tokio::test]
async fn whatever_happens_to_who_comes_is_a_line_of_the_log_with_its_fields() {
    let dir = tempfile::tempdir().unwrap();
    let denied = Keypair::generate_ed25519();
    let denied_id = denied.public().to_peer_id();
    let rules = format!("[limits]\nreservations = 1\n[access]\ndeny_peers = [\"{denied_id}\"]\n");
    let mut relay = Running::start(dir.path(), &rules).await;
    let address = relay.address.clone();

    let host = host(Keypair::generate_ed25519(), &address).await;
    let (host_id, guest) = (host.node.id, Raw::connect(&address).await);
    let guest_id = guest.node.id;
    let line = relay.says("reservation accepted").await;
    assert_eq!(line["peer"], host_id.to_string());

    assert_eq!(guest.reserve().await.err(), Some(told(Refusal::ReservationRefused)));
    let line = relay.says("reservation denied").await;
    assert_eq!(
        (&line["peer"], &line["reason"], &line["told"]),
        (
            &guest_id.to_string().into(),
            &"reservations".into(),
            &"RESERVATION_REFUSED".into()
        )
    );

    let of_the_circuit = |line: &Value| {
        assert_eq!(line["source"], guest_id.to_string());
        assert_eq!(line["destination"], host_id.to_string());
        line["circuit"].clone()
    };
    let mut stream = guest.reach(host_id).await.unwrap();
    let circuit = of_the_circuit(&relay.says("circuit accepted").await);
    talks(&mut stream).await;
    stream.close().await.unwrap();
    let line = relay.says("circuit closed").await;
    assert_eq!(of_the_circuit(&line), circuit);
    assert_eq!(
        (&line["outcome"], &line["to_destination"], &line["to_source"]),
        (&"finished".into(), &5.into(), &5.into())
    );
    assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{line}");

    let nobody = PeerId::random();
    assert!(guest.reach(nobody).await.is_err());
    let line = relay.says("circuit denied").await;
    assert_eq!(
        (&line["destination"], &line["reason"], &line["told"]),
        (
            &nobody.to_string().into(),
            &"no_reservation".into(),
            &"NO_RESERVATION".into()
        )
    );

    let mut peer = Peer::with_keys(denied);
    peer.swarm.dial(address).unwrap();
    let line = tokio::select! {
        line = relay.says("connection denied") => line,
        () = peer.until("never", |_| None) => unreachable!("it only tries"),
    };
    assert_eq!(
        (&line["peer"], &line["reason"]),
        (&denied_id.to_string().into(), &"peer_denied".into())
    );

    drop(host);
    let line = relay.says("reservation closed").await;
    assert_eq!(
        (&line["peer"], &line["end"]),
        (&host_id.to_string().into(), &"connection_closed".into())
    );
}

#[cfg(unix)]
#[tokio::test]
async fn when_told_to_read_its_rules_anew_slots_and_circuits_of_those_who_may_stay_stand() {
    let dir = tempfile::tempdir().unwrap();
    let mut relay = Running::start(dir.path(), "").await;
    let address = relay.address.clone();
    let stays = host(Keypair::generate_ed25519(), &address).await;
    let goes = host(Keypair::generate_ed25519(), &address).await;
    let guest = Raw::connect(&address).await;
    let mut circuit = guest.reach(stays.node.id).await.unwrap();
    let mut ending = guest.reach(goes.node.id).await.unwrap();
    talks(&mut circuit).await;
    talks(&mut ending).await;

    let file = dir.path().join("relay.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str(&format!("[access]\ndeny_peers = [\"{}\"]\n", goes.node.id));
    fs::write(&file, text).unwrap();
    relay.hang_up();
    relay.says("access reloaded").await;
    let line = relay.says("access withdrawn").await;
    assert_eq!(
        (&line["peer"], &line["reason"]),
        (&goes.node.id.to_string().into(), &"peer_denied".into())
    );
    let line = relay.says("circuit closed").await;
    assert_eq!(line["destination"], goes.node.id.to_string());
    let end = timeout(support::PATIENCE, ending.read(&mut [0])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));

    talks(&mut circuit).await;
    // Its slot still leads to it.
    talks(&mut guest.reach(stays.node.id).await.unwrap()).await;
    stays.reserve().await.unwrap();
    assert_eq!(
        guest.reach(goes.node.id).await.err(),
        Some(told(Refusal::NoReservation))
    );
}
