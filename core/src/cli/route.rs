//! `evbus route`: shows which destinations a profile name reaches.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use evbus::acct::{AcctFile, AcctSource};
use evbus::event::MAX_PROFILE_BYTES;
use evbus::plugin::{Catalog, Registry, plugin_dirs};
use evbus::{Destination, Plan};
use evbus_report::counted;
use serde::Serialize;
use tokio::io::BufReader;

use super::acct_options::AcctOptions;
use super::exit::{Exit, error};
use super::host_place::state_place;
use super::lines::{Line, read_line};
use super::output::{Reader, json_line};
use super::route_event;
use super::{PluginDirs, THIS_PROGRAM};

/// Show which destinations profile names reach, without firing anything
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus route idem-run idem-status --acct-file acct.yml
  cut -f1 names.tsv | evbus route --acct-file acct.yml
  evbus route --event event.json --acct-file acct.yml

Prints one JSON line per name:
  {\"profile\": \"idem-run\", \"destinations\": [{\"provider\": \"kafka\", \"pattern\": \"idem-*\", \"index\": 0}]}
where index counts the entries of one provider in file order, from 0. With --event, one per event, and for each entry of
the file:
  {\"provider\": ..., \"matches\": true, \"when\": \"failed\", \"fault\": \"why\", \"goes\": true}

Exit codes: 0 success; 1 a line of standard input is not a profile name; 2 wrong usage; 70 a plugin called \
exit; 78 invalid configuration.")]
pub(super) struct RouteArgs {
    /// Profile names; without any, or with -, read one per line from standard input
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Explain for every event of this file where it goes and why: whether each pattern matches, and what `when` says;
    /// lines {"profile": ..., "body": ...}, - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    event: Option<PathBuf>,
    /// Acct file, which defines the destinations
    #[arg(long, value_name = "F", env = "ACCT_FILE")]
    acct_file: PathBuf,
    #[command(flatten)]
    acct: AcctOptions,
    #[command(flatten)]
    plugins: PluginDirs,
}

#[derive(Serialize)]
struct Route<'a> {
    profile: &'a str,
    destinations: Vec<Destination>,
}

pub(super) async fn run(args: RouteArgs) -> Result<(), Exit> {
    let (acct, catalog) = load(&args.acct.source(&args.acct_file), &args.plugins)?;
    let plan = Plan::of(&acct, &catalog);
    if !plan.errors().is_empty() {
        return Err(Exit::acct(plan.errors()));
    }
    if let Some(file) = &args.event {
        return route_event::run(&plan, file).await;
    }
    let show = |name: &str| {
        json_line(&Route {
            profile: name,
            destinations: plan.route(name),
        })
    };
    for name in args.names.iter().filter(|name| *name != "-") {
        if show(name)? == Reader::Gone {
            return Ok(());
        }
    }
    if !args.names.is_empty() && !args.names.iter().any(|name| name == "-") {
        return Ok(());
    }
    if args.names.is_empty() && std::io::stdin().is_terminal() {
        return Err(Exit::usage(
            "no profile name given: use NAME arguments, or one name per line on standard input",
        ));
    }
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    let (mut number, mut faults) = (0_u64, 0);
    loop {
        number += 1;
        let fault = match read_line(&mut input, &mut line, MAX_PROFILE_BYTES).await {
            Ok(Line::End) => break,
            Ok(Line::Whole) if line.is_empty() => continue,
            Ok(Line::Whole) => match std::str::from_utf8(&line) {
                Ok(name) if show(name)? == Reader::Gone => break,
                Ok(_) => continue,
                Err(error) => format!("not UTF-8 after byte {}", error.valid_up_to()),
            },
            Ok(Line::TooLong) => {
                format!(
                    "the line is longer than {MAX_PROFILE_BYTES} bytes, the limit for a profile name"
                )
            }
            Err(error) => {
                return Err(Exit::failed(format!("cannot read standard input: {error}")));
            }
        };
        faults += 1;
        error(&format!("standard input, line {number}: {fault}"));
    }
    if faults > 0 {
        return Err(Exit::failed(counted(
            faults,
            "line of standard input is not a profile name",
            "lines of standard input are not profile names",
        )));
    }
    Ok(())
}

/// Reads an acct file and looks for plugins.
pub(super) fn load(acct: &AcctSource, plugins: &PluginDirs) -> Result<(AcctFile, Catalog), Exit> {
    let acct = acct.load().map_err(|errors| Exit::acct(&errors))?;
    Ok((acct, catalog(plugins)?))
}

/// Looks for plugins.
pub(super) fn catalog(plugins: &PluginDirs) -> Result<Catalog, Exit> {
    plugins.check()?;
    let program = Some(std::path::Path::new(THIS_PROGRAM).into());
    // Plugins that a host of this user has probed are not probed again.
    let state = state_place(None).map(|place| place.path);
    let mut registry = Registry::new(plugin_dirs(&plugins.plugin_dirs), Vec::new())
        .trying(program, state.as_deref());
    Ok(registry.scan())
}
