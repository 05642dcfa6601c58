//! Where things are: the repository, the user's cache, the target directories. Reads the environment; writes nothing.
//!
//! Tools and build artefacts live in the user's cache, so that the second clone on a machine is as warm as the first.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The places that tasks read and write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The repository.
    pub(crate) root: PathBuf,
    /// `PEERWAY_CACHE`, else the user's cache directory and `peerway`.
    pub(crate) cache: PathBuf,
    /// Cargo's target directory for this machine: `CARGO_TARGET_DIR`, else `target` in the cache.
    pub(crate) native_target: PathBuf,
    /// Cargo's target directory for wasm: the native one with `-wasm` after its name. It is another one because two
    /// compilers that share a directory evict each other's artefacts.
    pub(crate) wasm_target: PathBuf,
}

impl Paths {
    /// The places as the environment of this process has them.
    pub(crate) fn from_environment() -> Result<Self> {
        let xtask = env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask`")?;
        let root = Path::new(&xtask).parent().context("xtask/ has a parent")?.to_path_buf();
        Self::new(root, |name| {
            env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        })
    }

    fn new(root: PathBuf, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self> {
        let cache = variable("PEERWAY_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("peerway")))
            .or_else(|| variable("HOME").map(|dir| dir.join(".cache/peerway")))
            .context("no place for a cache: set HOME or PEERWAY_CACHE")?;
        let native_target = root.join(variable("CARGO_TARGET_DIR").unwrap_or_else(|| cache.join("target")));
        let mut wasm_target = native_target.clone().into_os_string();
        wasm_target.push("-wasm");
        Ok(Self {
            root,
            cache,
            native_target,
            wasm_target: wasm_target.into(),
        })
    }

    /// What `cargo install` installs for us.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// What npm installs for us.
    pub(crate) fn npm(&self) -> PathBuf {
        self.tools().join("npm")
    }

    /// What of Debian's package coturn is unpacked for us.
    pub(crate) fn coturn(&self) -> PathBuf {
        self.tools().join("coturn")
    }

    /// The page as Trunk builds it.
    pub(crate) fn page(&self) -> PathBuf {
        self.root.join("dist/page")
    }

    /// What a relay started by `cargo xtask run` keeps: its identity and its certificate.
    pub(crate) fn relay_data(&self) -> PathBuf {
        self.root.join(".peerway/relay")
    }

    /// The search path of every command that we start: our tools, then the user's own.
    pub(crate) fn search_path(&self) -> Vec<PathBuf> {
        let own = [
            self.tools().join("bin"),
            self.npm().join("node_modules/.bin"),
            self.coturn().join("usr/bin"),
        ];
        // Debian keeps `ip` and `nft` where only root's search path looks.
        let system = [PathBuf::from("/usr/sbin")];
        let inherited = env::var_os("PATH").unwrap_or_default();
        own.into_iter()
            .chain(env::split_paths(&inherited))
            .chain(system)
            .collect()
    }

    /// The first program of that name on [`search_path`](Self::search_path).
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        self.search_path()
            .into_iter()
            .map(|dir| dir.join(program))
            .find(|candidate| candidate.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Paths {
        let value = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| PathBuf::from(value))
        };
        Paths::new("/repo".into(), value).unwrap()
    }

    #[test]
    fn without_any_setting_the_users_cache_is_used() {
        let paths = with(&[("HOME", "/u")]);
        assert_eq!(paths.cache, Path::new("/u/.cache/peerway"));
        assert_eq!(paths.native_target, Path::new("/u/.cache/peerway/target"));
        assert_eq!(paths.wasm_target, Path::new("/u/.cache/peerway/target-wasm"));
    }

    #[test]
    fn our_own_variable_wins_over_the_desktops() {
        let both = [("HOME", "/u"), ("XDG_CACHE_HOME", "/x"), ("PEERWAY_CACHE", "/p")];
        assert_eq!(with(&both).cache, Path::new("/p"));
        assert_eq!(with(&both[..2]).cache, Path::new("/x/peerway"));
    }

    #[test]
    fn a_target_directory_of_the_users_keeps_wasm_beside_it() {
        let paths = with(&[("HOME", "/u"), ("CARGO_TARGET_DIR", "build")]);
        assert_eq!(paths.native_target, Path::new("/repo/build"));
        assert_eq!(paths.wasm_target, Path::new("/repo/build-wasm"));
    }

    #[test]
    fn without_a_home_the_message_names_what_to_set() {
        let error = Paths::new("/repo".into(), |_| None).unwrap_err();
        assert!(error.to_string().contains("PEERWAY_CACHE"));
    }
}
