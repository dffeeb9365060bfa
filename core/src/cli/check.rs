//! `evbus check`: checks the acct file, the plugins and every entry.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evbus::acct::{Expression, Isolation, Policy, WhenFull};
use evbus::plugin::{Catalog, PluginState};
use evbus::{INTERNAL, Plan, Planned};
use evbus_report::{counted, size};
use serde_json::{Value, json};

use super::check_events;
use super::check_show;
use super::exit::{Exit, error, note};
use super::host_options::{
    DescribedHost, HostOptions, all_not_started, duration, raise_file_limit,
};
use super::output::{json_line, table};

/// Check a host's acct file, plugins and flags (and, with --connect, its far systems), or recorded
/// events
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus check --acct-file acct.yml
  evbus check --acct-file acct.yml --connect
  evbus check --acct-file acct.yml --sock-dir /run/evbus --state-dir /var/lib/evbus
  evbus check --acct-file acct.yml --show event.json
  evbus check --events recorded-events.jsonl

Takes the flags of `evbus run` and reports everything that would make it refuse to start, without \
starting, creating or changing anything. A host may be running.

Exit codes: 0 no faults; 1 a plugin file, a far system or an event has a fault; 2 a flag has a fault; \
75 the disk of the state directory is full; 78 the acct file or a directory cannot be used.")]
pub(super) struct CheckArgs {
    /// Acct file, which defines the destinations
    #[arg(
        long,
        value_name = "F",
        env = "ACCT_FILE",
        required_unless_present = "events"
    )]
    acct_file: Option<PathBuf>,
    /// Validate the recorded events of this file, lines {"profile": ..., "body": ...}, against the
    /// formats that `evbus schema` shows, and check nothing else; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["connect", "plugin_dirs"])]
    events: Option<PathBuf>,
    /// Show what the templates and expressions of each entry give for the events of this file, lines
    /// {"profile": ..., "body": ...}, and check nothing else; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["connect", "events"])]
    show: Option<PathBuf>,
    /// Print one JSON line per destination with its full policy, defaults included; with --events
    /// one line per fault, then one with the totals
    #[arg(long)]
    json: bool,
    /// Also connect to every destination
    #[arg(long)]
    connect: bool,
    /// Also exit with 1 for warnings: a provider that no plugin serves, a plugin file or
    /// name that another one replaces, two entries of a provider with the same pattern, a topic or
    /// routing key that is a profile name with /, a file without destinations
    #[arg(long)]
    strict: bool,
    /// Maximum wait for each connection: seconds, or with units such as 30s, 5m, 7d
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// The flags that the host is run with
    #[command(flatten)]
    host: HostOptions,
}

pub(super) async fn run(args: CheckArgs) -> Result<(), Exit> {
    if let Some(file) = &args.events {
        return check_events::run(file, args.json).await;
    }
    // clap requires it unless --events is there.
    let acct_file = args.acct_file.unwrap_or_default();
    let DescribedHost {
        builder,
        state,
        mut faults,
    } = args.host.describe(Some(acct_file.clone()));
    raise_file_limit();
    let found = builder.examine().await;
    let catalog = found.catalog;
    for dir in &found.in_use {
        note(&format!(
            "a host is running in {}; a second one cannot be started there",
            dir.display()
        ));
    }
    for sentence in found.waits {
        note(&sentence);
    }
    if let Some(file) = &args.show {
        Exit::of_all(all_not_started(found.faults, state.as_ref()).await)?;
        let Some(plan) = &found.plan else {
            return Ok(());
        };
        return check_show::run(plan, file, args.json).await;
    }
    let report = if args.strict { error } else { note };
    let plugins_well = check_plugins(&catalog, report);
    let mut doubts = catalog.shadowed().len();
    let mut links = Links::default();
    if let Some(plan) = found.plan {
        let mut served = plan.served().iter();
        if served.any(|planned| planned.destination().provider == INTERNAL) {
            note(
                "provider internal: `evbus run` delivers no events to its destinations, because only a program that embeds the host can read its queues",
            );
        }
        doubts +=
            unserved(&plan, report) + twice(&plan, report) + nothing(&plan, &acct_file, report);
        doubts += named_by_profile(&plan, report);
        links = if args.connect {
            let links = connect(plan, args.timeout).await;
            if let Some(dir) = found.in_use.first().filter(|_| links.has_failed) {
                note(&beside_a_host(dir));
            }
            links
        } else {
            let served = plan.into_served().into_iter();
            Links {
                all: served.map(|planned| (planned.into(), "-")).collect(),
                has_failed: false,
            }
        };
    }
    let is_strictly_well = !args.strict || (doubts == 0 && none_is_replaced(&catalog));
    // If nothing is usable, only the faults are shown.
    let has_table = !args.json && (!links.all.is_empty() || found.faults.is_empty());
    let unsaid = match &state {
        Some(_) => WhenFull::Spill,
        None => WhenFull::Block,
    };
    let mut rows = Vec::new();
    for (planned, link) in &links.all {
        if args.json {
            json_line(&policy_json(planned, unsaid, link))?;
        } else {
            rows.push(row(planned, unsaid, (*link).to_owned()));
        }
    }
    if has_table {
        show(rows)?;
    }
    faults.extend(all_not_started(found.faults, state.as_ref()).await);
    Exit::of_all(faults)?;
    if plugins_well && !links.has_failed && is_strictly_well {
        Ok(())
    } else {
        Err(Exit::silent())
    }
}

/// The destinations that can be served, each with the text for its link.
#[derive(Default)]
struct Links {
    all: Vec<(Arc<Planned>, &'static str)>,
    has_failed: bool,
}

/// Connects to all destinations at once, and reports those that cannot be reached.
async fn connect(plan: Plan, limit: Duration) -> Links {
    let mut links = Links::default();
    for trial in plan.try_all(limit).await {
        let destination = trial.planned.destination();
        if !trial.closed {
            note(&format!(
                "destination {destination}: connected, but the plugin {} did not disconnect within a second",
                trial.planned.plugin_id()
            ));
        }
        let link = match &trial.link {
            Ok(()) => "connected",
            Err(reason) => {
                links.has_failed = true;
                error(&format!("destination {destination}: {reason}"));
                "failed"
            }
        };
        links.all.push((trial.planned, link));
    }
    links
}

/// The advice for destinations that cannot be connected, perhaps because the host in this directory is.
fn beside_a_host(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "the host that runs in {dir} may hold what a destination can open only once, such as a file, so that it cannot be tried here; `evbus status --sock-dir {dir}` shows whether the host is connected"
    )
}

fn show(rows: Vec<Vec<String>>) -> Result<(), Exit> {
    table(
        &[
            "provider",
            "index",
            "pattern",
            "plugin",
            "queue",
            "when full",
            "retry",
            "deadline",
            "link",
        ],
        rows,
    )
}

/// A destination with its full policy; durations in seconds, sizes in bytes. `unsaid` is the policy of a
/// full queue if the acct file does not set one.
fn policy_json(planned: &Planned, unsaid: WhenFull, link: &str) -> Value {
    let destination = planned.destination();
    let Policy {
        queue,
        disk,
        dead_letters,
        when_full,
        durable,
        retry,
        batch,
        ordered,
        deadline,
        required,
        isolate,
        when,
        body,
        rate,
        dedup,
    } = planned.policy();
    json!({
        "provider": destination.provider,
        "index": destination.index,
        "pattern": destination.pattern,
        "plugin": planned.plugin_id(),
        "link": link,
        "evbus": {
            "queue": {"events": queue.events, "bytes": queue.bytes},
            "disk": {"bytes": disk.bytes},
            "dead_letters": {
                "events": dead_letters.events,
                "bytes": dead_letters.bytes,
                "when_full": dead_letters.when_full.as_str(),
            },
            "when_full": when_full_text(when_full.unwrap_or(unsaid)),
            "durable": durable,
            "retry": {
                "first_delay": retry.first_delay.as_secs_f64(),
                "max_delay": retry.max_delay.as_secs_f64(),
                "max_attempts": retry.max_attempts,
                "max_age": retry.max_age.map(|age| age.as_secs_f64()),
                "max_crashes": retry.max_crashes,
            },
            "batch": {"events": batch.events, "bytes": batch.bytes},
            "ordered": ordered,
            "deadline": deadline.as_secs_f64(),
            "required": required,
            "isolate": if *isolate == Isolation::Process { "process" } else { "none" },
            "when": when.as_ref().map(Expression::source),
            "body": body.as_ref().map(Expression::source),
            "rate": rate.map(|rate| json!({"events": rate.events, "per": rate.per.as_secs_f64()})),
            "dedup": dedup.as_ref().map(|dedup| json!({
                "key": dedup.key.source(),
                "within": dedup.within.as_secs_f64(),
                "keep": dedup.keep,
            })),
        },
    })
}

fn when_full_text(when_full: WhenFull) -> &'static str {
    match when_full {
        WhenFull::Spill => "spill",
        WhenFull::Block => "block",
        WhenFull::DropNewest => "drop_newest",
    }
}

fn row(planned: &Planned, unsaid: WhenFull, link: String) -> Vec<String> {
    let destination = planned.destination();
    let policy = planned.policy();
    let attempts = (policy.retry.max_attempts).map_or_else(
        || "no limit".to_owned(),
        |max| counted(max, "attempt", "attempts"),
    );
    vec![
        destination.provider,
        destination.index.to_string(),
        destination.pattern,
        match policy.isolate {
            Isolation::Process => format!("{} (process)", planned.plugin_id()),
            Isolation::None => planned.plugin_id().to_owned(),
        },
        format!(
            "{}, {}{}",
            counted(policy.queue.events as u64, "event", "events"),
            size(policy.queue.bytes as u64),
            if policy.durable { ", durable" } else { "" },
        ),
        when_full_text(policy.when_full.unwrap_or(unsaid)).to_owned(),
        format!(
            "{:?} to {:?}, {attempts}",
            policy.retry.first_delay, policy.retry.max_delay
        ),
        format!("{:?}", policy.deadline),
        link,
    ]
}

/// Reports plugin files that are not used. A file that another file of the same plugin replaces is a fault
/// only if the check is strict.
fn check_plugins(catalog: &Catalog, report_replaced: fn(&str)) -> bool {
    let mut well = true;
    for report in catalog.reports() {
        let file = report.file.as_ref().map(|file| file.display().to_string());
        let line = |reason: &str| format!("plugin {}: {reason}", file.unwrap_or_default());
        match &report.state {
            PluginState::Refused { reason } => {
                well = false;
                error(&line(reason));
            }
            PluginState::Discovered {
                reason: Some(reason),
            } => report_replaced(&line(reason)),
            _ => {}
        }
    }
    well
}

fn none_is_replaced(catalog: &Catalog) -> bool {
    (catalog.reports().iter()).all(|report| {
        matches!(
            report.state,
            PluginState::Loaded | PluginState::Discovered { reason: None }
        )
    })
}

/// Reports unserved providers that may belong to other tools, and returns their number. The other ones are
/// among the errors.
fn unserved(plan: &Plan, report: fn(&str)) -> usize {
    let mut count = 0;
    for provider in plan.unserved().iter().filter(|name| !plan.is_faulty(name)) {
        count += 1;
        report(&format!(
            "provider {provider}: no plugin serves it; ignore this if it belongs to another tool"
        ));
    }
    count
}

/// Reports a valid file without destinations. Returns 1 for such a file, else 0.
fn nothing(plan: &Plan, file: &Path, report: fn(&str)) -> usize {
    let is_nothing = plan.served().is_empty() && plan.errors().is_empty();
    if is_nothing {
        report(&format!(
            "the acct file {} has no destinations, so a host would deliver nothing; add an entry such as `file: {{\"idem-*\": {{path: events.jsonl}}}}`",
            file.display()
        ));
    }
    usize::from(is_nothing)
}

/// Reports entries whose far system gets a name for each profile, although those have `/`, and returns their number.
fn named_by_profile(plan: &Plan, report: fn(&str)) -> usize {
    let mut count = 0;
    for planned in plan.served() {
        for key in planned.named_by_profile() {
            count += 1;
            report(&format!(
                "destination {}: `{key}` is the whole profile name, with its `/`: each name becomes one of its own there, as far as the far system takes it; write a name, or a template such as `${{ parts[:2] | join('-') }}`",
                planned.destination()
            ));
        }
    }
    count
}

/// Reports entries of a provider with the same pattern, each of which gets every event, and returns their
/// number.
fn twice(plan: &Plan, report: fn(&str)) -> usize {
    if !plan.errors().is_empty() {
        // A pattern that is there twice may be one of them.
        return 0;
    }
    let mut seen = HashMap::new();
    let mut count = 0;
    for planned in plan.served() {
        let destination = planned.destination();
        let key = (destination.provider.clone(), destination.pattern.clone());
        if let Some(first) = seen.insert(key, destination.index) {
            count += 1;
            report(&format!(
                "destination {destination}: entry {first} of {} has the same pattern, so both get every event that matches",
                destination.provider
            ));
        }
    }
    count
}
