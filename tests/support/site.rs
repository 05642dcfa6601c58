//! A directory served over HTTP: an origin for a page of a test. Knows nothing of what is in it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::netns::Place;

/// A browser that opens a connection ahead of need says nothing on it; such a one is given up.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// The longest request that is read. Whatever is longer gets no answer.
const LONGEST_REQUEST: u64 = 16 * 1024;

/// A served directory. Dropping it closes its port.
#[derive(Debug)]
pub struct Site {
    place: Place,
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Site {
    /// Serves the files of `dir` on loopback.
    pub fn serve(dir: PathBuf) -> anyhow::Result<Self> {
        Self::serve_at(dir, &Place::Here, Ipv4Addr::LOCALHOST)
    }

    /// Serves the files of `dir` at an address that whoever is at `place` has.
    pub fn serve_at(dir: PathBuf, place: &Place, address: Ipv4Addr) -> anyhow::Result<Self> {
        anyhow::ensure!(dir.is_dir(), "there is no {}: run `cargo xtask test`", dir.display());
        let listener = place.inside(|| TcpListener::bind((address, 0)))??;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let acceptor = thread::spawn({
            let ended = Arc::clone(&ended);
            move || accept(&listener, &Arc::from(dir), &ended)
        });
        Ok(Self {
            place: place.clone(),
            address,
            ended,
            acceptor: Some(acceptor),
        })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The acceptor waits for somebody: this is the last who comes. If it is gone already, so much the better.
        let asked = self.place.inside(|| TcpStream::connect(self.address));
        // If its whole network is gone, nobody can come, and it ends with the process.
        if let (Ok(_), Some(acceptor)) = (asked, self.acceptor.take()) {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, dir: &Arc<Path>, ended: &AtomicBool) {
    for stream in listener.incoming().flatten() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let dir = Arc::clone(dir);
        // A browser that hangs up in the middle is no concern of the test's.
        thread::spawn(move || answer(&stream, &dir));
    }
}

fn answer(mut stream: &TcpStream, dir: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_WITHIN))?;
    let mut request = BufReader::new(io::Read::take(stream, LONGEST_REQUEST));
    let mut first = String::new();
    request.read_line(&mut first)?;
    // To the end of the head: closing a socket with something unread in it would take the answer back.
    let mut header = String::new();
    while request.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or("/");
    let (status, kind, body) = match find(dir, path).and_then(|path| Some((content_type(&path), fs::read(path).ok()?)))
    {
        Some((kind, body)) => ("200 OK", kind, body),
        None => ("404 Not Found", "text/plain", b"there is no such file".to_vec()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

/// The file that a request names; never one outside `dir`.
fn find(dir: &Path, request: &str) -> Option<PathBuf> {
    let name = request.split('?').next()?.trim_start_matches('/');
    let name = if name.is_empty() { "index.html" } else { name };
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| dir.join(name))
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html",
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn get(site: &Site, path: &str) -> String {
        let mut stream = TcpStream::connect(site.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn when_a_file_is_asked_for_it_comes_and_nothing_outside_does() {
        let outside = tempfile::tempdir().unwrap();
        let dir = outside.path().join("site");
        fs::create_dir(&dir).unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::write(dir.join("index.html"), "<p>hello").unwrap();
        let site = Site::serve(dir).unwrap();
        for path in ["/", "/index.html", "/?x=1"] {
            let answer = get(&site, path);
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("<p>hello"),
                "{answer}"
            );
        }
        for path in ["/other.js", "/../secret", "//etc/passwd"] {
            assert!(get(&site, path).starts_with("HTTP/1.1 404 "), "{path}");
        }
        let address = site.address;
        drop(site);
        assert!(TcpStream::connect(address).is_err(), "its port is closed");
    }
}
