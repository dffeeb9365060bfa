//! Where things are in the checkout.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The checkout's directory.
pub(crate) fn root() -> PathBuf {
    // Cargo sets it when it runs this program; the fallback is where the program was compiled.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_owned)
}

/// Cargo's target directory.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The packages of the plugins, in name order.
pub(crate) fn plugins() -> Result<Vec<String>, Failure> {
    let mut names = crates_in(&root())?;
    names.retain(|name| name.starts_with("plugin-"));
    Ok(names)
}

fn crates_in(dir: &Path) -> Result<Vec<String>, Failure> {
    let listing = fs::read_dir(dir).map_err(Failure::file("list", dir))?;
    let mut names: Vec<String> = listing
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}
