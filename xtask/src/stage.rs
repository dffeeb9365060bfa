//! `cargo xtask stage`: plugins, as an operator would install them, in `target/plugins`.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use xtask::system::{self, Need};

use crate::cargo::{self, Built};
use crate::failure::Failure;
use crate::workspace;

/// Builds the named plugins, or all, and stages them; prints the staged files.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let (flags, names): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with('-'));
    if let Some(flag) = flags.iter().find(|flag| **flag != "--release") {
        return Err(Failure::Usage(format!(
            "`stage` knows no flag `{flag}`; expected --release or names of plugins"
        )));
    }
    let known = workspace::plugins()?;
    let packages = if names.is_empty() {
        known
    } else {
        choose(&known, &names)?
    };
    for file in stage(&packages, !flags.is_empty())? {
        writeln!(io::stdout(), "{}", file.display())
            .map_err(Failure::io("write to standard output"))?;
    }
    Ok(())
}

/// Builds plugins and copies them to `target/plugins`; returns the staged files.
pub(crate) fn stage(packages: &[String], release: bool) -> Result<Vec<PathBuf>, Failure> {
    system::check(&needs(packages))?;
    let dir = workspace::target_dir().join("plugins");
    let libraries = cargo::libraries(packages, release)?;
    libraries
        .iter()
        .map(|library| install(library, &dir))
        .collect()
}

/// Copies built plugins to `target/plugins`.
pub(crate) fn install_all(packages: &[String], built: &Built) -> Result<(), Failure> {
    let dir = workspace::target_dir().join("plugins");
    for package in packages {
        install(built.library(package)?, &dir)?;
    }
    Ok(())
}

/// Copies a file into a directory atomically, because a host may be using the one it replaces. The host refuses files
/// and directories that others may write to.
pub(crate) fn install(file: &Path, dir: &Path) -> Result<PathBuf, Failure> {
    let name = file.file_name().unwrap_or_default();
    let target = dir.join(name);
    let write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o755))?;
        let mut copy = tempfile::Builder::new()
            .prefix(".staging-")
            .tempfile_in(dir)?;
        io::copy(&mut fs::File::open(file)?, copy.as_file_mut())?;
        copy.as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        copy.persist(&target)?;
        Ok(())
    };
    write().map_err(Failure::file("put a plugin at", &target))?;
    Ok(target)
}

/// The C parts of plugins are built from source.
fn needs(packages: &[String]) -> Vec<Need> {
    let has = |name: &str| packages.iter().any(|package| package == name);
    if has("plugin-kafka") {
        system::BUILD.to_vec()
    } else if has("plugin-pika") {
        vec![Need::Cc]
    } else {
        Vec::new()
    }
}

/// The packages of the named plugins: `kafka` and `plugin-kafka` are the same.
fn choose(known: &[String], names: &[&String]) -> Result<Vec<String>, Failure> {
    names
        .iter()
        .map(|name| {
            known
                .iter()
                .find(|package| package == name || package.strip_prefix("plugin-") == Some(name))
                .cloned()
                .ok_or_else(|| {
                    Failure::Usage(format!(
                        "there is no plugin `{name}`; expected one of {}",
                        known.join(", ")
                    ))
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_plugin_may_be_named_with_and_without_its_prefix() {
        let known = strings(&["plugin-file", "plugin-kafka"]);
        let names = strings(&["kafka", "plugin-file"]);
        let chosen = choose(&known, &names.iter().collect::<Vec<_>>()).expect("both are known");
        assert_eq!(chosen, ["plugin-kafka", "plugin-file"]);
    }

    #[test]
    fn an_unknown_plugin_is_refused_with_the_known_ones() {
        let known = strings(&["plugin-file", "plugin-kafka"]);
        let Err(Failure::Usage(why)) = choose(&known, &[&"redis".to_owned()]) else {
            panic!("expected wrong use");
        };
        assert_eq!(
            why,
            "there is no plugin `redis`; expected one of plugin-file, plugin-kafka"
        );
    }

    #[test]
    fn a_staged_file_replaces_the_old_one_and_nobody_else_may_write_to_it() {
        let dir = tempfile::tempdir().expect("makes");
        let (file, plugins) = (dir.path().join("libx.so"), dir.path().join("plugins"));
        for content in ["old", "new"] {
            fs::write(&file, content).expect("writes");
            fs::set_permissions(&file, Permissions::from_mode(0o777)).expect("sets");
            let staged = install(&file, &plugins).expect("stages");
            assert_eq!(fs::read_to_string(&staged).expect("reads"), content);
            let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode();
            assert_eq!(mode(&staged) & 0o777, 0o644);
            assert_eq!(mode(&plugins) & 0o777, 0o755);
        }
        assert_eq!(fs::read_dir(&plugins).expect("lists").count(), 1);
    }
}
