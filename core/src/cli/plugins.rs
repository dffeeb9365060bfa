//! `evbus plugins`: lists, inspects and installs plugins.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use evbus::plugin::{PluginDirSource, PluginReport, PluginState, inspect, install, plugin_dirs};
use serde::Serialize;
use serde_json::Value;

use super::exit::Exit;
use super::output::{json_pretty, table, write};
use super::route::catalog;
use super::{PluginDirs, THIS_PROGRAM};

/// List, inspect and install plugins
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus plugins list --plugin-dir target/plugins
  evbus plugins inspect target/plugins/libplugin_kafka.so --json
  evbus plugins inspect kafka
  evbus plugins install libplugin_mine.so")]
pub(super) struct PluginsArgs {
    #[command(subcommand)]
    command: Option<PluginsCommand>,
    #[command(flatten)]
    dirs: PluginDirs,
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum PluginsCommand {
    /// List all plugin files without running their code (the default)
    List {
        #[command(flatten)]
        plugins: PluginDirs,
    },
    /// Show a plugin: id, version, ABI, providers, match plugins, schema of its configuration
    Inspect {
        /// Plugin file; or a plugin id or a name that the plugin serves, for the file that a host would use
        #[arg(value_name = "FILE|NAME")]
        file: PathBuf,
        #[command(flatten)]
        plugins: PluginDirs,
    },
    /// Check a plugin file and copy it into a plugin directory; a running host uses it at once
    Install {
        /// Plugin file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        plugins: PluginDirs,
    },
}

pub(super) fn run(args: &PluginsArgs) -> Result<(), Exit> {
    let dirs = |inner: &PluginDirs| PluginDirs {
        plugin_dirs: [&args.dirs.plugin_dirs[..], &inner.plugin_dirs[..]].concat(),
    };
    match &args.command {
        None => list(&args.dirs, args.json),
        Some(PluginsCommand::List { plugins }) => list(&dirs(plugins), args.json),
        Some(PluginsCommand::Inspect { file, plugins }) => {
            show(&find(file, &dirs(plugins))?, args.json)
        }
        Some(PluginsCommand::Install { file, plugins }) => put_in(file, &dirs(plugins), args.json),
    }
}

fn list(plugins: &PluginDirs, json: bool) -> Result<(), Exit> {
    let catalog = catalog(plugins)?;
    let reports = catalog.reports();
    if json {
        let reports: Vec<_> = (reports.into_iter()).map(PluginReport::with_hash).collect();
        return json_pretty(&reports).map(|_| ());
    }
    if reports.is_empty() {
        let dirs: Vec<String> = (plugin_dirs(&plugins.plugin_dirs).iter())
            .map(|dir| dir.path.display().to_string())
            .collect();
        super::exit::note(&format!(
            "no plugin file found in {}; use --plugin-dir to search another directory, or install a plugin with `evbus plugins install FILE`",
            dirs.join(", ")
        ));
        return Ok(());
    }
    let rows = reports.iter().map(row).collect();
    table(
        &["plugin", "version", "state", "serves", "file", "reason"],
        rows,
    )
}

fn row(report: &PluginReport) -> Vec<String> {
    let dash = || "-".to_owned();
    let serves: Vec<&str> = report
        .providers
        .iter()
        .chain(&report.matchers)
        .map(String::as_str)
        .collect();
    let (state, reason) = match &report.state {
        PluginState::Discovered { reason } => ("discovered", reason.as_deref().unwrap_or_default()),
        PluginState::Loaded => ("loaded", ""),
        PluginState::Refused { reason } => ("refused", reason.as_str()),
    };
    vec![
        report.id.clone().unwrap_or_else(dash),
        report.version.clone().unwrap_or_else(dash),
        state.to_owned(),
        if serves.is_empty() {
            dash()
        } else {
            serves.join(",")
        },
        report
            .file
            .as_ref()
            .map_or_else(dash, |file| file.display().to_string()),
        reason.to_owned(),
    ]
}

#[derive(Serialize)]
struct Inspected<'a> {
    id: &'a str,
    version: &'a str,
    description: &'a str,
    abi: &'static str,
    file: &'a Path,
    sha256: Option<&'a str>,
    providers: &'a [String],
    matchers: &'a [String],
    config_schema: Option<Value>,
}

/// The given file, or the file of the plugin with this id or name.
fn find(given: &Path, plugins: &PluginDirs) -> Result<PathBuf, Exit> {
    let name = match given.to_str() {
        Some(name) if !name.contains('/') && !given.exists() => name,
        _ => return Ok(given.to_owned()),
    };
    let reports = catalog(plugins)?.reports();
    let is_meant = |report: &&PluginReport| {
        let mut served = report.providers.iter().chain(&report.matchers);
        report.id.as_deref() == Some(name) || served.any(|served| served == name)
    };
    let is_used = |report: &&PluginReport| {
        matches!(
            report.state,
            PluginState::Loaded | PluginState::Discovered { reason: None }
        )
    };
    let meant = reports.iter().filter(is_meant);
    let used = meant.clone().find(is_used).or_else(|| meant.clone().next());
    used.and_then(|report| report.file.clone()).ok_or_else(|| {
        Exit::failed(format!(
            "{name}: not found: neither a file nor a plugin with this id, nor one that serves this name; `evbus plugins list` lists the plugins, and --plugin-dir adds a directory"
        ))
    })
}

fn show(file: &Path, json: bool) -> Result<(), Exit> {
    let failed = |reason| Exit::failed(format!("{}: {reason}", file.display()));
    let plugin = inspect(file, Some(THIS_PROGRAM.as_ref())).map_err(failed)?;
    let inspected = Inspected {
        id: plugin.id(),
        version: plugin.version(),
        description: plugin.description(),
        abi: evbus::plugin::ABI_VERSION,
        file,
        sha256: plugin.hash(),
        providers: plugin.provider_names(),
        matchers: plugin.matcher_names(),
        config_schema: plugin.config_schema().map_err(failed)?,
    };
    if json {
        return json_pretty(&inspected).map(|_| ());
    }
    let names = |names: &[String]| {
        if names.is_empty() {
            "-".to_owned()
        } else {
            names.join(", ")
        }
    };
    let mut text = format!(
        "id           {}\nversion      {}\ndescription  {}\nABI          {}\nfile         {}\nsha256       {}\nproviders    {}\nmatchers     {}\n",
        inspected.id,
        inspected.version,
        inspected.description,
        inspected.abi,
        file.display(),
        inspected.sha256.unwrap_or("-"),
        names(inspected.providers),
        names(inspected.matchers),
    );
    if let Some(schema) = &inspected.config_schema {
        // A value that was read from JSON text can be written as JSON text.
        let schema = serde_json::to_string_pretty(schema).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(text, "\nconfiguration (JSON Schema)\n{schema}\n");
    }
    write(text.as_bytes()).map(|_| ())
}

#[derive(Serialize)]
struct Installed<'a> {
    id: &'a str,
    version: &'a str,
    file: &'a Path,
    sha256: Option<&'a str>,
    /// Whether a host searches its directory by default.
    searched: bool,
}

fn put_in(file: &Path, plugins: &PluginDirs, json: bool) -> Result<(), Exit> {
    let dirs = plugin_dirs(&plugins.plugin_dirs);
    let dir = dirs
        .iter()
        .find(|dir| dir.source == PluginDirSource::Given)
        .or_else(|| {
            dirs.iter()
                .find(|dir| dir.source == PluginDirSource::Default)
        })
        .map(|dir| &*dir.path)
        .ok_or_else(|| Exit::usage("no plugin directory given: use --plugin-dir"))?;
    let (target, plugin) =
        install(file, dir, &dirs, Some(THIS_PROGRAM.as_ref())).map_err(Exit::failed)?;
    let real = |dir: &Path| dir.canonicalize().ok();
    let searched = plugin_dirs(&[])
        .iter()
        .any(|searched| real(&searched.path) == real(dir));
    if !searched {
        super::exit::note(&format!(
            "a host searches {} only if --plugin-dir or EVBUS_PLUGIN_PATH names it",
            dir.display()
        ));
    }
    if json {
        return json_pretty(&Installed {
            id: plugin.id(),
            version: plugin.version(),
            file: &target,
            sha256: plugin.hash(),
            searched,
        })
        .map(|_| ());
    }
    write(format!("{}\n", target.display()).as_bytes()).map(|_| ())
}
