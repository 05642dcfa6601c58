//! Somebody who has nothing to do with us: a listener that must not be called.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{net::TcpListener, task::JoinHandle};

/// Connections remembered; a story that expects none or a few needs no more.
const CALLS_KEPT: usize = 1_000;

/// Listens on TCP and remembers who called. Dropping it ends it.
#[derive(Debug)]
pub struct Victim {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Victim {
    /// Listens at `ip`, port chosen by the system.
    pub async fn listen(ip: IpAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let calls = Arc::<Mutex<Vec<SocketAddr>>>::default();
        let kept = Arc::clone(&calls);
        let task = tokio::spawn(async move {
            while let Ok((_, from)) = listener.accept().await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < CALLS_KEPT {
                    kept.push(from);
                }
            }
        });
        Ok(Self { address, calls, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who called so far.
    pub fn calls(&self) -> Vec<SocketAddr> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.task.abort();
    }
}
