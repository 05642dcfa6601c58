//! Who this relay is, across restarts: its key pair and its WebRTC certificate, in files that only it can read.
//!
//! A file is made once, atomically. One that cannot be read or understood is an error and is never overwritten: a relay
//! with a new identity is a different relay to everybody who knows the old one.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;
use libp2p_webrtc::tokio::Certificate;

const IDENTITY_FILE: &str = "identity.key";
const CERTIFICATE_FILE: &str = "webrtc.pem";

/// No key or certificate of ours is near this size: a larger file is something else.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What makes a relay the same relay after a restart.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) keys: Keypair,
    pub(crate) certificate: Certificate,
}

/// Why the identity could not be had. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory cannot be made.
    #[error("cannot make the data directory {}: {source} (choose another with --data-dir)", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is there but cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is there but holds something else.
    #[error("{} does not hold {expected}; it is left as it is: restore it, or move it away to get a new one", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// The file cannot be made.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Loads what `dir` holds; makes what is missing.
pub(crate) fn load_or_make(dir: &Path) -> Result<Identity, IdentityError> {
    make_private_dir(dir).map_err(|source| IdentityError::Directory {
        path: dir.to_owned(),
        source,
    })?;
    Ok(Identity {
        keys: load_or_make_file(&dir.join(IDENTITY_FILE), &KEYS)?,
        certificate: load_or_make_file(&dir.join(CERTIFICATE_FILE), &CERTIFICATE)?,
    })
}

/// How one kind of secret becomes a file and back.
struct Format<T> {
    expected: &'static str,
    make: fn() -> T,
    encode: fn(&T) -> Option<Vec<u8>>,
    decode: fn(&[u8]) -> Option<T>,
}

/// libp2p's protobuf encoding of a private key, as other libp2p tools write it.
const KEYS: Format<Keypair> = Format {
    expected: "a libp2p private key",
    make: Keypair::generate_ed25519,
    encode: |keys| keys.to_protobuf_encoding().ok(),
    decode: |bytes| Keypair::from_protobuf_encoding(bytes).ok(),
};

const CERTIFICATE: Format<Certificate> = Format {
    expected: "a WebRTC certificate with its key in PEM",
    make: || {
        Certificate::generate(&mut rand_for_certificates::rng())
            .expect("generating with default parameters does not fail")
    },
    encode: |certificate| Some(certificate.serialize_pem().into_bytes()),
    decode: |bytes| Certificate::from_pem(std::str::from_utf8(bytes).ok()?).ok(),
};

fn load_or_make_file<T>(path: &Path, format: &Format<T>) -> Result<T, IdentityError> {
    if let Some(found) = load(path, format)? {
        return Ok(found);
    }
    let made = (format.make)();
    let bytes = (format.encode)(&made).expect("a fresh ed25519 key or certificate can be encoded");
    match write_once(path, &bytes) {
        Ok(()) => Ok(made),
        // Another relay was quicker with the same directory: its file counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            load(path, format)?.ok_or_else(|| IdentityError::Malformed {
                path: path.to_owned(),
                expected: format.expected,
            })
        }
        Err(source) => Err(IdentityError::Write {
            path: path.to_owned(),
            source,
        }),
    }
}

fn load<T>(path: &Path, format: &Format<T>) -> Result<Option<T>, IdentityError> {
    let read = |source| IdentityError::Read {
        path: path.to_owned(),
        source,
    };
    let malformed = || IdentityError::Malformed {
        path: path.to_owned(),
        expected: format.expected,
    };
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(read(source)),
    };
    if size > MAX_FILE_BYTES {
        return Err(malformed());
    }
    let bytes = fs::read(path).map_err(read)?;
    let found = (format.decode)(&bytes).ok_or_else(malformed)?;
    narrow_permissions(path);
    Ok(Some(found))
}

/// The whole file or none of it, readable by us alone from its first byte on, and never over an existing one: a hard
/// link fails where a rename would replace.
fn write_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let result = write_private(&draft, bytes).and_then(|()| fs::hard_link(&draft, path));
    // A draft that stays behind is harmless, and there is nobody to tell.
    let _ = fs::remove_file(&draft);
    result
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// A key that a backup or an unpacked archive left readable for others is closed again.
fn narrow_permissions(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let Ok(metadata) = fs::metadata(path) else { return };
        if metadata.permissions().mode() & 0o077 == 0 {
            return;
        }
        match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
            Ok(()) => tracing::warn!(path = %path.display(), "the file was readable for others; it no longer is"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "the file is readable for others"),
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_loaded_again_the_identity_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_make(dir.path()).unwrap();
        let loaded = load_or_make(dir.path()).unwrap();
        assert_eq!(loaded.keys.public(), made.keys.public());
        assert_eq!(loaded.certificate.fingerprint(), made.certificate.fingerprint());
    }

    #[cfg(unix)]
    #[test]
    fn when_made_the_files_are_for_the_owner_alone_and_no_draft_stays() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("made");
        load_or_make(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        let mut names = Vec::new();
        for entry in fs::read_dir(&inner).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            names.push(entry.file_name());
        }
        names.sort();
        assert_eq!(names, [IDENTITY_FILE, CERTIFICATE_FILE]);
    }

    #[test]
    fn when_a_file_is_malformed_it_is_an_error_and_stays_as_it_is() {
        for (file, content) in [
            (IDENTITY_FILE, &b"not a key"[..]),
            (IDENTITY_FILE, b""),
            (CERTIFICATE_FILE, b"-----BEGIN NONSENSE-----"),
            (CERTIFICATE_FILE, &[0xff; 70_000]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(file);
            fs::write(&path, content).unwrap();
            let Err(error) = load_or_make(dir.path()) else {
                panic!("{file} was accepted")
            };
            assert!(matches!(error, IdentityError::Malformed { .. }), "{error}");
            assert!(
                !error.to_string().contains('\n') && error.to_string().contains(file),
                "{error}"
            );
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    #[cfg(unix)]
    #[test]
    fn when_others_could_read_the_key_they_no_longer_can() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path()).unwrap();
        let path = dir.path().join(IDENTITY_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        load_or_make(dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn when_the_file_exists_writing_once_fails_and_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_once(&path, b"first").unwrap();
        assert_eq!(
            write_once(&path, b"second").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }
}
