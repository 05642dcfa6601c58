//! A TURN server, coturn, with two clients over TLS that reach each other through it and in no other way.
//!
//! As little of RFC 8656 as that needs: allocate, bind a channel, send. The server asks for no password. Between the two
//! allocations coturn sends datagrams to itself; what two browsers behind strict firewalls do is the same.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use peerway_tests::process::Process;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};
use tempfile::TempDir;

use crate::host;

const ALLOCATE: u16 = 0x0003;
const CHANNEL_BIND: u16 = 0x0009;
/// What makes a request's type that of its success.
const SUCCESS: u16 = 0x0100;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const CHANNEL_NUMBER: u16 = 0x000c;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const UDP: [u8; 4] = [17, 0, 0, 0];
/// The first channel that there is.
const CHANNEL: u16 = 0x4000;

/// What a browser puts into one datagram.
const PAYLOAD: usize = 1_200;
/// Datagrams on their way at once: what the sockets between the two allocations hold.
const WINDOW: u32 = 32;
/// How many arrive before that is said.
const ACKNOWLEDGED: u32 = 8;
/// The most of them that may be lost before the number means nothing.
const LOST_AT_MOST: f64 = 0.01;

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const NAME: &str = "localhost";

/// The server and its clients. Dropping it ends it.
pub(crate) struct Turn {
    process: Process,
    source: Leg,
    destination: Leg,
    _files: TempDir,
}

impl Turn {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let files = tempfile::Builder::new().prefix("peerway-turn-").tempdir()?;
        let certified = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
        fs::write(&certificate, certified.cert.pem())?;
        fs::write(&key, certified.key_pair.serialize_pem())?;
        let (tls, plain) = (free_port()?, free_port()?);
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--no-auth", "--no-cli", "--no-dtls", "--no-udp"])
            .args([
                "--listening-ip",
                "127.0.0.1",
                "--relay-ip",
                "127.0.0.1",
                "--allow-loopback-peers",
            ])
            .args([
                "--tls-listening-port",
                &tls.to_string(),
                "--listening-port",
                &plain.to_string(),
            ])
            .args(["--log-file", "stdout", "--realm", NAME])
            .arg("--cert")
            .arg(&certificate)
            .arg("--pkey")
            .arg(&key)
            .arg("--pidfile")
            .arg(files.path().join("pid"));
        let process = host::on_relays_core(|| Process::spawn("turnserver", command))?;

        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        let mut source = Leg::connect(tls, &config).with_context(|| process.tail())?;
        let mut destination = Leg::connect(tls, &config)?;
        let addresses = (source.allocate()?, destination.allocate()?);
        source.peer = addresses.1;
        destination.peer = addresses.0;
        Ok(Self {
            process,
            source,
            destination,
            _files: files,
        })
    }

    /// The server's processor seconds for each GiB, over that many bytes.
    pub(crate) fn cost(&mut self, bytes: u64) -> anyhow::Result<f64> {
        // A binding is forgotten after a while.
        self.source.bind()?;
        self.destination.bind()?;
        let datagrams = u32::try_from(bytes / PAYLOAD as u64)?;
        let before = host::processor_time(self.process.id())?;
        let (source, destination) = (&mut self.source, &mut self.destination);
        let arrived = thread::scope(|scope| {
            let sent = scope.spawn(|| source.send_all(datagrams));
            let arrived = destination.receive_all(datagrams);
            let sent = sent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sent.and(arrived)
        })?;
        let spent = host::processor_time(self.process.id())? - before;
        let lost = 1.0 - f64::from(arrived) / f64::from(datagrams);
        ensure!(lost <= LOST_AT_MOST, "{arrived} of {datagrams} datagrams arrived");
        let bytes = u64::from(arrived) * PAYLOAD as u64;
        Ok(spent.as_secs_f64() * (1_u64 << 30) as f64 / bytes as f64)
    }
}

/// A client of the server.
struct Leg {
    tls: StreamOwned<ClientConnection, TcpStream>,
    /// Where the other one is, to the server.
    peer: SocketAddr,
}

impl Leg {
    fn connect(port: u16, config: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        let began = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = loop {
            match TcpStream::connect(address) {
                Ok(socket) => break socket,
                Err(error) if began.elapsed() > PATIENCE => return Err(error).context("coturn does not listen"),
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        };
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME)?)?;
        Ok(Self {
            tls: StreamOwned::new(connection, socket),
            peer: address,
        })
    }

    /// Takes an address at the server.
    fn allocate(&mut self) -> anyhow::Result<SocketAddr> {
        let answer = self.ask(ALLOCATE, &[(REQUESTED_TRANSPORT, &UDP)])?;
        let address = attribute(&answer, XOR_RELAYED_ADDRESS).context("no address was allocated")?;
        let [_, 1, p1, p2, ip @ ..] = address else {
            bail!("an address of another family: {address:?}");
        };
        let port = u16::from_be_bytes([p1 ^ COOKIE[0], p2 ^ COOKIE[1]]);
        let ip: [u8; 4] = ip.try_into()?;
        let ip: [u8; 4] = std::array::from_fn(|index| ip[index] ^ COOKIE[index]);
        Ok((ip, port).into())
    }

    /// What goes over the channel goes to the other one.
    fn bind(&mut self) -> anyhow::Result<()> {
        let SocketAddr::V4(peer) = self.peer else {
            bail!("{} is no IPv4 address", self.peer);
        };
        let [p1, p2] = peer.port().to_be_bytes();
        let mut address = vec![0, 1, p1 ^ COOKIE[0], p2 ^ COOKIE[1]];
        address.extend(peer.ip().octets().iter().zip(COOKIE).map(|(byte, mask)| byte ^ mask));
        let [c1, c2] = CHANNEL.to_be_bytes();
        self.ask(
            CHANNEL_BIND,
            &[(CHANNEL_NUMBER, &[c1, c2, 0, 0]), (XOR_PEER_ADDRESS, &address)],
        )?;
        Ok(())
    }

    /// Sends a request, and returns the attributes of its success. What else comes meanwhile is old.
    fn ask(&mut self, kind: u16, attributes: &[(u16, &[u8])]) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend(u16::try_from(value.len())?.to_be_bytes());
            body.extend(*value);
        }
        let mut message = Vec::from(kind.to_be_bytes());
        message.extend(u16::try_from(body.len())?.to_be_bytes());
        message.extend(COOKIE);
        message.extend([7; 12]);
        message.extend(body);
        self.tls.write_all(&message)?;
        self.tls.flush()?;
        loop {
            let (answer, body) = self.read()?;
            if answer == kind | SUCCESS {
                // After the cookie and the transaction.
                return Ok(body[16..].to_vec());
            }
            ensure!(answer >= CHANNEL, "coturn answers {answer:#06x} to {kind:#06x}");
        }
    }

    /// The next message or datagram: what it is, and what follows its length.
    fn read(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut head = [0; 4];
        self.tls.read_exact(&mut head)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (rest, kept) = match kind {
            CHANNEL.. => (length.next_multiple_of(4), length),
            _ => (length + 16, length + 16),
        };
        let mut body = vec![0; rest];
        self.tls.read_exact(&mut body)?;
        body.truncate(kept);
        Ok((kind, body))
    }

    /// The number that the next datagram begins with.
    fn read_number(&mut self) -> anyhow::Result<u32> {
        loop {
            let (kind, body) = self.read()?;
            if kind == CHANNEL {
                let number = body.first_chunk().context("a datagram without a number")?;
                return Ok(u32::from_be_bytes(*number));
            }
        }
    }

    fn write(&mut self, number: u32, payload: usize) -> anyhow::Result<()> {
        let mut datagram = vec![0x5a; 4 + payload];
        datagram[..2].copy_from_slice(&CHANNEL.to_be_bytes());
        datagram[2..4].copy_from_slice(&u16::try_from(payload)?.to_be_bytes());
        datagram[4..8].copy_from_slice(&number.to_be_bytes());
        self.tls.write_all(&datagram)?;
        Ok(self.tls.flush()?)
    }

    fn send_all(&mut self, datagrams: u32) -> anyhow::Result<()> {
        let mut acknowledged = 0;
        for number in 1..=datagrams {
            while number > acknowledged + WINDOW {
                acknowledged = self.read_number()?;
            }
            self.write(number, PAYLOAD)?;
        }
        while acknowledged < datagrams {
            acknowledged = self.read_number()?;
        }
        Ok(())
    }

    /// Returns how many arrived.
    fn receive_all(&mut self, datagrams: u32) -> anyhow::Result<u32> {
        let (mut arrived, mut said) = (0, 0);
        loop {
            let number = self.read_number()?;
            arrived += 1;
            if number >= said + ACKNOWLEDGED || number == datagrams {
                said = number;
                self.write(number, 4)?;
            }
            if number == datagrams {
                return Ok(arrived);
            }
        }
    }
}

fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let [k1, k2, l1, l2, rest @ ..] = attributes {
        let length = usize::from(u16::from_be_bytes([*l1, *l2]));
        if u16::from_be_bytes([*k1, *k2]) == wanted {
            return rest.get(..length);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// One that nobody has now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
