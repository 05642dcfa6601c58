//! A small network of its own: hosts in network namespaces around one switch, and ways to break it.
//!
//! ```text
//!   host "relay" 192.168.71.1 ──┐
//!   host "alice" 192.168.71.2 ──┤ switch (a bridge in a namespace of its own; drop rules live here)
//!   host "bob"   192.168.71.3 ──┘
//! ```
//! Nothing outside is touched: namespaces, cables and rules all vanish with the [`Lab`]. Needs Linux; whoever is not root
//! becomes root of a user namespace for it.

use std::{
    ffi::OsStr,
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub mod nat;

/// Starts every namespace's name. The owner's pid follows, so that what a killed test left behind can be told apart.
const PREFIX: &str = "peerway-lab-";

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// Where a program runs.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// On this machine, in the namespace of the test itself.
    #[default]
    Here,
    /// On a host of a [`Lab`].
    Namespace(String),
}

impl Place {
    /// A command that runs `program` there.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::Namespace(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(program);
                command
            }
        }
    }

    /// Calls `make` there. A socket stays in the namespace in which it was made, whatever its process does.
    pub fn inside<T: Send>(&self, make: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let Self::Namespace(name) = self else {
            return Ok(make());
        };
        let namespace = File::open(Path::new(NAMES).join(name)).with_context(|| format!("there is no {name}"))?;
        let there = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            anyhow::Ok(make())
        };
        // A thread that has moved does not come back.
        let joined = thread::scope(|scope| scope.spawn(there).join());
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A network with one switch. Dropping it removes everything.
#[derive(Debug)]
pub struct Lab {
    switch: Namespace,
    hosts: Vec<Namespace>,
    ports: u32,
}

impl Lab {
    /// A switch without hosts.
    ///
    /// Only root may make network namespaces. For anybody else the test that calls this is run once more, as root of a
    /// user namespace; when it has passed there, the answer is `None`, and nothing is left to do here.
    pub fn enter() -> anyhow::Result<Option<Self>> {
        if rustix::process::geteuid().is_root() {
            return Self::new().map(Some);
        }
        run_this_test_as_root_of_a_user_namespace()?;
        Ok(None)
    }

    fn new() -> anyhow::Result<Self> {
        sweep();
        let switch = Namespace::create("switch")?;
        switch.run("ip", "link add name bridge type bridge forward_delay 0")?;
        switch.run("ip", "link set bridge up")?;
        switch.run("nft", "add table bridge lab")?;
        switch.run(
            "nft",
            "add chain bridge lab forward { type filter hook forward priority 0 ; }",
        )?;
        Ok(Self {
            switch,
            hosts: Vec::new(),
            ports: 0,
        })
    }

    /// Adds a host with this address, in a network of 256.
    pub fn host(&mut self, name: &str, address: Ipv4Addr) -> anyhow::Result<Host> {
        let namespace = Namespace::create(name)?;
        self.plug_in(&namespace, "eth0")?;
        namespace.run("ip", &format!("addr add {address}/24 dev eth0"))?;
        namespace.run("ip", "link set eth0 up")?;
        let place = namespace.place();
        self.hosts.push(namespace);
        Ok(Host { place, address })
    }

    /// A cable from the switch to an interface of this name. The interface is down, and without an address.
    fn plug_in(&mut self, namespace: &Namespace, interface: &str) -> anyhow::Result<()> {
        let port = format!("port{}", self.ports);
        self.ports += 1;
        let (switch, host) = (&self.switch.name, &namespace.name);
        run(
            &Place::Here,
            "ip",
            &format!("link add {interface} netns {host} type veth peer name {port} netns {switch}"),
        )?;
        self.switch.run("ip", &format!("link set {port} master bridge up"))
    }

    /// From now on every packet from or to this address vanishes on its way. Nobody is told.
    pub fn drop_packets_of(&self, address: Ipv4Addr) -> anyhow::Result<()> {
        for side in ["saddr", "daddr"] {
            self.switch
                .run("nft", &format!("add rule bridge lab forward ip {side} {address} drop"))?;
        }
        Ok(())
    }
}

/// A host of a [`Lab`]. It lives as long as the lab does.
#[derive(Debug)]
pub struct Host {
    place: Place,
    address: Ipv4Addr,
}

impl Host {
    /// Where its programs run.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its address now.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Pulls the cable: the link goes down, and programs on the host see it go.
    pub fn unplug(&self) -> anyhow::Result<()> {
        run(&self.place, "ip", "link set eth0 down")
    }

    /// Puts the cable back.
    pub fn plug(&self) -> anyhow::Result<()> {
        run(&self.place, "ip", "link set eth0 up")
    }

    /// Gives the cable's interface one more address, such as `203.0.113.5/24`.
    pub fn add_address(&self, address: &str) -> anyhow::Result<()> {
        add_address(&self.place, address, "eth0")
    }

    /// Adds an interface of this name, as containers and virtual machines make it: up, with nobody behind it.
    pub fn add_bridge(&self, name: &str, address: &str) -> anyhow::Result<()> {
        run(&self.place, "ip", &format!("link add {name} type bridge"))?;
        run(&self.place, "ip", &format!("link set {name} up"))?;
        add_address(&self.place, address, name)
    }

    /// From now on what it sends to `network` goes to `gateway`.
    pub fn add_route(&self, network: &str, gateway: IpAddr) -> anyhow::Result<()> {
        run(&self.place, "ip", &format!("route add {network} via {gateway}"))
    }

    /// Moves to another address of the same network, as a laptop does that changes from Wi-Fi to cable.
    pub fn change_address(&mut self, to: Ipv4Addr) -> anyhow::Result<()> {
        // In this order: a second address of the same network would go together with the first.
        run(&self.place, "ip", &format!("addr del {}/24 dev eth0", self.address))?;
        run(&self.place, "ip", &format!("addr add {to}/24 dev eth0"))?;
        self.address = to;
        Ok(())
    }
}

/// One network namespace with a loopback interface that is up.
#[derive(Debug)]
struct Namespace {
    name: String,
}

impl Namespace {
    fn create(role: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        run(&Place::Here, "ip", &format!("netns add {name}"))?;
        let namespace = Self { name };
        namespace.run("ip", "link set lo up")?;
        Ok(namespace)
    }

    fn place(&self) -> Place {
        Place::Namespace(self.name.clone())
    }

    fn run(&self, program: &str, arguments: &str) -> anyhow::Result<()> {
        run(&self.place(), program, arguments)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A drop cannot fail; what stays behind is swept by the next lab.
        let _ = remove(&self.name);
    }
}

/// What the test needs there: a directory for the names of network namespaces, and a loopback interface.
const AS_ROOT: &str = r#"mount -t tmpfs tmpfs /run && ip link set lo up && exec "$0" "$@""#;

fn run_this_test_as_root_of_a_user_namespace() -> anyhow::Result<()> {
    let thread = std::thread::current();
    let test = thread.name().context("a test runs in a thread of its name")?;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--net", "sh", "-c", AS_ROOT])
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .output()
        .context("cannot start unshare")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.contains("1 passed"),
        "stories in network namespaces need root, or a system that lets users make user namespaces:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn add_address(place: &Place, address: &str, interface: &str) -> anyhow::Result<()> {
    // Nobody else is there: without the check for duplicates an IPv6 address works at once.
    let unchecked = if address.contains(':') { "nodad" } else { "" };
    run(place, "ip", &format!("addr add {address} dev {interface} {unchecked}"))
}

/// Runs a command whose arguments hold no spaces of their own.
fn run(place: &Place, program: &str, arguments: &str) -> anyhow::Result<()> {
    let output = place
        .command(program)
        .args(arguments.split_whitespace())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "`{program} {arguments}` failed in {place:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn remove(name: &str) -> anyhow::Result<()> {
    run(&Place::Here, "ip", &format!("netns del {name}"))
}

/// Removes the namespaces of tests that were killed before their guards could.
fn sweep() {
    let Ok(names) = std::fs::read_dir(NAMES) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            // Another test may have been quicker.
            let _ = remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;

    const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 2);
    const BOB: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 3);
    const BOB_MOVED: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 4);

    /// Whether one packet and its answer get from `from` to `to`.
    fn reaches(from: &Host, to: Ipv4Addr) -> bool {
        // A refused connection is an answer; bash is everywhere, ping is not.
        let script = format!("exec 3<>/dev/tcp/{to}/9");
        let output = from
            .place()
            .command("timeout")
            .args(["1", "bash", "-c", &script])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).contains("refused")
    }

    #[test]
    fn when_packets_are_dropped_nobody_answers_until_the_address_changes() {
        let Some(mut lab) = Lab::enter().unwrap() else { return };
        let alice = lab.host("alice", ALICE).unwrap();
        let mut bob = lab.host("bob", BOB).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(reaches(&alice, BOB) && reaches(&bob, ALICE));

        lab.drop_packets_of(BOB).unwrap();
        assert!(!reaches(&alice, BOB) && !reaches(&bob, ALICE));

        bob.change_address(BOB_MOVED).unwrap();
        assert!(reaches(&alice, BOB_MOVED) && reaches(&bob, ALICE));
    }

    #[test]
    fn when_the_lab_is_dropped_its_namespaces_are_gone() {
        let Some(mut lab) = Lab::enter().unwrap() else { return };
        lab.host("alice", ALICE).unwrap();
        let entries: Vec<PathBuf> = std::iter::once(&lab.switch)
            .chain(&lab.hosts)
            .map(|namespace| Path::new(NAMES).join(&namespace.name))
            .collect();
        assert!(
            entries.len() == 2 && entries.iter().all(|entry| entry.exists()),
            "{entries:?}"
        );
        drop(lab);
        assert!(!entries.iter().any(|entry| entry.exists()), "{entries:?}");
    }
}
