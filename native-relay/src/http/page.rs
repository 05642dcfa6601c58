//! The page: everything in the directory that Trunk built, read and compressed once, at start. The program itself may
//! carry it (feature `embedded-page`); from then on it makes no difference.
//!
//! A request looks a name up in a table; it never becomes a path. So the policy in the header always belongs to the
//! `index.html` that it protects, and there is nothing to climb out of. A page that is built anew needs a restart (or
//! `trunk serve`).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    csp,
    encoding::{Compressible, Encoded},
};
use crate::config::DEFAULT_PAGE_DIR;

/// The most that all files of a page may have together: it is all in memory. More is an error at start.
const MAX_PAGE_BYTES: u64 = 256 * 1024 * 1024;
/// The most files that a page may have.
const MAX_PAGE_FILES: usize = 10_000;

/// The page that this program carries: paths and contents. Written by `build.rs`.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What a file's name is followed by if it is the file before it, compressed with brotli: better than there is time for when
/// the relay starts.
const COMPRESSED: &str = ".br";

/// How long a browser keeps a file whose name contains its hash.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Ask every time; the answer is `304 Not Modified` nearly always.
const REVALIDATE: &str = "no-cache";

const HOW_TO_BUILD: &str = "\
This is a Peerway relay, and it works; but it has no page to show.

Build the page with `trunk build --release` in Peerway's source and start the relay with `--page dist`,
or let `cargo xtask run` do both.
";

/// Why the directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A file or directory in it cannot be read.
    #[error("cannot read the page from {}: {source} (--page names its directory)", .path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds more than a page does.
    #[error("{} is too much for a page ({MAX_PAGE_FILES} files, {MAX_PAGE_BYTES} bytes at most): --page names the \
             directory that Trunk built", .path.display())]
    TooLarge {
        /// The directory.
        path: PathBuf,
    },
}

/// All files of the page by the path they are asked for.
pub(crate) struct Page {
    files: BTreeMap<String, File>,
    policy: HeaderValue,
}

struct File {
    content: Encoded,
    content_type: &'static str,
    cache: &'static str,
    etag: HeaderValue,
}

impl Page {
    /// The page in `dir`; if none is given, the one that this program carries; if it carries none, the one where Trunk
    /// leaves it. Without an `index.html` there, the page is a text that tells how to build it. Takes a while: every file
    /// is compressed for which there is no `.br` beside it.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self, PageError> {
        match dir {
            None if !EMBEDDED.is_empty() => {
                let files = EMBEDDED.iter();
                Ok(Self::of(files.map(|(name, content)| {
                    ((*name).to_owned(), Bytes::from_static(content))
                })))
            }
            _ => Ok(Self::of(read(dir.unwrap_or(Path::new(DEFAULT_PAGE_DIR)))?)),
        }
    }

    /// A page of these files, by the paths they are asked for.
    fn of(files: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        let mut page = Self {
            files: BTreeMap::new(),
            policy: csp::NOTHING,
        };
        let files: BTreeMap<String, Bytes> = files.into_iter().collect();
        for (name, content) in &files {
            if name.strip_suffix(COMPRESSED).is_some_and(|of| files.contains_key(of)) {
                continue;
            }
            let compressed = files.get(&format!("{name}{COMPRESSED}"));
            let file = File::new(name, content.clone(), compressed.cloned());
            if name == "/index.html" {
                page.policy = csp::policy(&String::from_utf8_lossy(content));
                page.files.insert("/".to_owned(), file);
            } else {
                page.files.insert(name.clone(), file);
            }
        }
        page
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        if method != Method::GET && method != Method::HEAD {
            return (
                StatusCode::METHOD_NOT_ALLOWED,
                [(header::ALLOW, "GET, HEAD")],
                "Only GET and HEAD.\n",
            )
                .into_response();
        }
        let path = if path == "/index.html" { "/" } else { path };
        match self.files.get(path) {
            Some(file) => file.answer(headers),
            None if path == "/" => ([(header::CACHE_CONTROL, REVALIDATE)], HOW_TO_BUILD).into_response(),
            None => (
                StatusCode::NOT_FOUND,
                [(header::CACHE_CONTROL, REVALIDATE)],
                "Not found.\n",
            )
                .into_response(),
        }
    }
}

pub(super) fn routes(page: Page) -> Router {
    Router::new().fallback(serve).with_state(Arc::new(page))
}

/// axum leaves the body out for `HEAD`.
async fn serve(State(page): State<Arc<Page>>, request: Request) -> Response {
    let mut response = page.answer(request.method(), request.uri().path(), request.headers());
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, page.policy.clone());
    response
}

impl File {
    fn new(name: &str, content: Bytes, compressed: Option<Bytes>) -> Self {
        let (content_type, compressible) = kind(name);
        let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest(&content)[..12]);
        Self {
            content: Encoded::new(content, compressible, compressed),
            content_type,
            cache: if has_hash(name) { IMMUTABLE } else { REVALIDATE },
            // Weak: the compressed forms are the same file, not the same bytes.
            etag: format!("W/\"{hash}\"").try_into().expect("base64 is ASCII"),
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let common = [
            (header::CACHE_CONTROL, HeaderValue::from_static(self.cache)),
            (header::ETAG, self.etag.clone()),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
        ];
        let known = headers
            .get_all(header::IF_NONE_MATCH)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
        if known.any(|tag| self.etag == tag || tag == "*") {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let (bytes, coding) = self.content.for_client(headers);
        let mut response = (common, [(header::CONTENT_TYPE, self.content_type)], bytes).into_response();
        if let Some(coding) = coding {
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    }
}

/// What a file is, by its name. What is not known is bytes: `nosniff` keeps browsers from guessing.
fn kind(name: &str) -> (&'static str, Compressible) {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "html" => ("text/html; charset=utf-8", Compressible::Yes),
        "css" => ("text/css; charset=utf-8", Compressible::Yes),
        "js" | "mjs" => ("text/javascript; charset=utf-8", Compressible::Yes),
        "wasm" => ("application/wasm", Compressible::Yes),
        "json" | "map" => ("application/json", Compressible::Yes),
        "webmanifest" => ("application/manifest+json", Compressible::Yes),
        "svg" => ("image/svg+xml", Compressible::Yes),
        "txt" => ("text/plain; charset=utf-8", Compressible::Yes),
        "ico" => ("image/x-icon", Compressible::Yes),
        "png" => ("image/png", Compressible::No),
        "jpg" | "jpeg" => ("image/jpeg", Compressible::No),
        "webp" => ("image/webp", Compressible::No),
        "woff2" => ("font/woff2", Compressible::No),
        _ => ("application/octet-stream", Compressible::No),
    }
}

/// Whether `name` has a hash of its content in it, as Trunk writes them: `web-peer-0123456789abcdef_bg.wasm`.
fn has_hash(name: &str) -> bool {
    const HASH_CHARACTERS: usize = 16;
    let parts = name.split(['-', '_', '.']).skip(1);
    parts
        .into_iter()
        .any(|part| part.len() == HASH_CHARACTERS && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The files of the page in `dir`; none if it has no `index.html`.
fn read(dir: &Path) -> Result<Vec<(String, Bytes)>, PageError> {
    if !dir.join("index.html").is_file() {
        tracing::warn!(dir = %dir.display(), "no page there; / will say how to build it");
        return Ok(Vec::new());
    }
    let mut room = MAX_PAGE_BYTES;
    let mut files = Vec::new();
    for path in files_below(dir)? {
        let read = |source| PageError::Read {
            path: path.clone(),
            source,
        };
        let size = fs::metadata(&path).map_err(read)?.len();
        room = room
            .checked_sub(size)
            .ok_or_else(|| PageError::TooLarge { path: dir.to_owned() })?;
        let content = fs::read(&path).map_err(read)?;
        if let Some(name) = url_path(dir, &path) {
            files.push((name, content.into()));
        }
    }
    Ok(files)
}

/// Everything in `dir`, sorted; hidden files and symbolic links are left out.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>, PageError> {
    let mut files = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        let read = |source| PageError::Read {
            path: next.clone(),
            source,
        };
        for entry in fs::read_dir(&next).map_err(read)? {
            let entry = entry.map_err(read)?;
            let kind = entry.file_type().map_err(read)?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
            if files.len() + pending.len() > MAX_PAGE_FILES {
                return Err(PageError::TooLarge { path: dir.to_owned() });
            }
        }
    }
    files.sort();
    Ok(files)
}

/// `dir/icons/a.svg` → `/icons/a.svg`.
fn url_path(dir: &Path, file: &Path) -> Option<String> {
    let parts = file.strip_prefix(dir).ok()?.iter().map(|part| part.to_str());
    parts.map(|part| part.map(|part| format!("/{part}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_name_has_a_hash_it_is_kept_for_ever() {
        for (name, hashed) in [
            ("/web-peer-0123456789abcdef_bg.wasm", true),
            ("/style-fedcba9876543210.css", true),
            ("/index.html", false),
            ("/manifest.webmanifest", false),
            ("/0123456789abcdef.js", false),
            ("/style-0123456789abcdeg.css", false),
        ] {
            assert_eq!(has_hash(name), hashed, "{name}");
        }
    }

    #[test]
    fn when_a_page_is_loaded_hidden_files_and_links_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("icons")).unwrap();
        for name in ["index.html", "icons/a.svg", ".env"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link.txt")).unwrap();
        let page = Page::load(Some(dir.path())).unwrap();
        assert_eq!(page.files.keys().collect::<Vec<_>>(), ["/", "/icons/a.svg"]);
    }

    #[test]
    fn when_the_same_files_come_from_a_directory_or_from_the_program_the_page_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("/index.html", "<script>a()</script>"), ("/a.css", "b {}")];
        for (name, content) in files {
            fs::write(dir.path().join(&name[1..]), content).unwrap();
        }
        let read = Page::load(Some(dir.path())).unwrap();
        let carried = Page::of(files.map(|(name, content)| (name.to_owned(), Bytes::from_static(content.as_bytes()))));
        assert_eq!(read.policy, carried.policy);
        let tags = |page: &Page| -> Vec<_> {
            page.files
                .iter()
                .map(|(name, file)| (name.clone(), file.etag.clone()))
                .collect()
        };
        assert_eq!(tags(&read), tags(&carried));
    }
}
