//! The compiler for the page: which one this machine has, and the environment in which everything that builds for
//! wasm runs.
//!
//! An ordinary machine has rustup and takes the target's standard library from there. Where rustup cannot reach its
//! server, Debian's own compiler comes with the library's source and builds it (`build-std`), which a stable compiler
//! does only under `RUSTC_BOOTSTRAP`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::debian;
use crate::paths::Paths;
use crate::process::Process;

/// What the page is compiled to.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler, the library's source, the linker, the lints. The `-web` packages are the ones that Debian keeps
/// recent enough for browsers.
const DEBIAN_PACKAGES: [&str; 6] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "rust-web-clippy",
    "lld-22",
];

/// Where Debian's compiler is; not looked for on the search path, where rustup's comes first.
const DEBIAN_BIN: &str = "/usr/bin";

/// A compiler that can build for wasm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The default compiler, which has the target's standard library.
    Default,
    /// Debian's, in that directory, which builds it.
    Debian(PathBuf),
}

impl Toolchain {
    /// The compiler to use, if there is one yet.
    pub(crate) fn find(paths: &Paths) -> Option<Self> {
        if default_has_target(paths) {
            return Some(Self::Default);
        }
        let bin = Path::new(DEBIAN_BIN);
        let programs = ["rustc", "cargo", "cargo-clippy", "clippy-driver", "rust-lld"];
        let has_source = bin
            .with_file_name("lib/rustlib/src/rust/library/std/Cargo.toml")
            .is_file();
        (has_source && programs.iter().all(|name| bin.join(name).is_file())).then(|| Self::Debian(bin.into()))
    }

    /// The compiler to use; an error says how to get one.
    pub(crate) fn require(paths: &Paths) -> Result<Self> {
        Self::find(paths).with_context(|| format!("no compiler for {TARGET}: run `cargo xtask setup`"))
    }

    /// `program` in the environment of this compiler.
    pub(crate) fn process(&self, paths: &Paths, program: impl AsRef<OsStr>) -> Process {
        let process = Process::new(paths, program).env("CARGO_TARGET_DIR", &paths.wasm_target);
        match self {
            Self::Default => process,
            Self::Debian(bin) => process
                .search_first(bin, paths)
                .env("RUSTC", bin.join("rustc"))
                .env("CARGO", bin.join("cargo"))
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort"),
        }
    }

    /// `cargo` for wasm.
    pub(crate) fn cargo(&self, paths: &Paths, subcommand: &str) -> Process {
        match self {
            // By its path: cargo looks for a subcommand's program among rustup's first, and would find that.
            Self::Debian(bin) if subcommand == "clippy" => self.process(paths, bin.join("cargo-clippy")),
            Self::Default | Self::Debian(_) => self.bare_cargo(paths),
        }
        .args([subcommand, "--locked", "--target", TARGET])
    }

    /// `cargo` without any argument.
    pub(crate) fn bare_cargo(&self, paths: &Paths) -> Process {
        match self {
            Self::Default => self.process(paths, "cargo"),
            Self::Debian(bin) => self.process(paths, bin.join("cargo")),
        }
    }
}

/// Gets a compiler: from rustup, else from Debian.
pub(crate) fn install(paths: &Paths) -> Result<()> {
    if paths.find("rustup").is_some() {
        let add = Process::new(paths, "rustup")
            .env("RUSTUP_MAX_RETRIES", "1")
            .args(["target", "add", TARGET]);
        match add.run() {
            Ok(()) if default_has_target(paths) => return Ok(()),
            Ok(()) => println!("         rustup's compiler is not the default one; trying Debian's"),
            Err(error) => println!("         {error:#}; trying Debian's compiler"),
        }
    }
    debian::install(paths, &DEBIAN_PACKAGES)
        .with_context(|| format!("no compiler for {TARGET}: `rustup target add {TARGET}` is the usual way to get one"))
}

/// What the compiler is, for people and for noticing that it changed.
pub(crate) fn describe(paths: &Paths) -> Option<String> {
    let toolchain = Toolchain::find(paths)?;
    let rustc = match &toolchain {
        Toolchain::Default => PathBuf::from("rustc"),
        Toolchain::Debian(bin) => bin.join("rustc"),
    };
    let version = Process::new(paths, rustc).arg("--version").capture().ok()?;
    let how = match toolchain {
        Toolchain::Default => "with the target's library",
        Toolchain::Debian(_) => "of the system, building the library",
    };
    Some(format!("{} {how}", version.trim()))
}

fn default_has_target(paths: &Paths) -> bool {
    let sysroot = Process::new(paths, "rustc").args(["--print", "sysroot"]).capture();
    sysroot.is_ok_and(|dir| {
        Path::new(dir.trim())
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
            .is_dir()
    })
}
