//! The command line: one file per command.
//!
//! Data goes to standard output, everything else to standard error.

mod acct;
mod acct_options;
mod check;
mod check_events;
mod deadletters;
mod exec;
mod exit;
mod host_options;
mod host_place;
mod letter;
mod lines;
mod listen;
mod log_writer;
mod logging;
mod message_line;
mod output;
mod plugins;
mod put;
mod recorded;
mod reload;
mod render;
mod route;
mod run;
mod schema;
mod secret_file;
mod signals;
mod status;
mod target;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;
use std::{io, panic};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use evbus::plugin::ExitGuard;
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use exit::Exit;
use logging::LogLevel;

const STYLES: clap::builder::Styles = clap::builder::Styles::styled()
    .header(clap::builder::styling::AnsiColor::Green.on_default().bold())
    .usage(clap::builder::styling::AnsiColor::Green.on_default().bold())
    .literal(clap::builder::styling::AnsiColor::Cyan.on_default().bold())
    .placeholder(clap::builder::styling::AnsiColor::Cyan.on_default());

/// An event bus host: gives events to every destination whose pattern matches their profile.
#[derive(Debug, Parser)]
#[command(name = "evbus", version, long_version = LONG_VERSION.as_str(), styles = STYLES, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done; 1 an event was not delivered, or a check found a fault; \
2 wrong use; 70 a plugin called exit; 75 the disk is full, try again later; \
78 unusable configuration. `evbus exec` ends as its command does: `evbus exec --help`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How much to say on standard error: error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "L")]
    log_level: Option<LogLevel>,
}

/// What `--version` says: who asks is about to report a fault, or to look for a plugin that fits.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    // A build may have no repository; whoever packages it says which commit it is of.
    let commit = option_env!("EVBUS_COMMIT").unwrap_or("unknown");
    format!(
        "{}\nplugin ABI {}\ntarget {}-{}{}\ncommit {commit}",
        env!("CARGO_PKG_VERSION"),
        evbus::plugin::ABI_VERSION,
        std::env::consts::ARCH,
        std::env::consts::OS,
        if cfg!(target_env = "musl") {
            "-musl"
        } else {
            "-gnu"
        },
    )
});

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Put(put::PutArgs),
    Listen(listen::ListenArgs),
    Route(route::RouteArgs),
    Check(check::CheckArgs),
    Plugins(plugins::PluginsArgs),
    Schema(schema::SchemaArgs),
    Exec(exec::ExecArgs),
    Render(render::RenderArgs),
    Acct(acct::AcctArgs),
    Status(status::StatusArgs),
    Reload(reload::ReloadArgs),
    Deadletters(deadletters::DeadlettersArgs),
    /// The process of one plugin; the host starts it
    #[command(hide = true)]
    PluginChild {
        /// The plugin's id, for whoever lists processes
        plugin: String,
    },
}

/// The program for isolated plugins: this one, and it stays this one when its file is replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Where plugins are looked for.
#[derive(Debug, Args)]
struct PluginDirs {
    /// Directory with plugin files (.so); may come several times. Searched before the directories
    /// of `EVBUS_PLUGIN_PATH`, ~/.local/share/evbus/plugins, /usr/local/lib/evbus/plugins and
    /// /usr/lib/evbus/plugins
    #[arg(long = "plugin-dir", value_name = "D", value_parser = OsStringValueParser::new().try_map(named_dir))]
    plugin_dirs: Vec<PathBuf>,
}

impl PluginDirs {
    /// What is wrong with a directory that is given, if it cannot be searched.
    fn fault(dir: &Path) -> Option<Exit> {
        let found = match dir.metadata() {
            Ok(found) if found.is_dir() => return None,
            Ok(_) => "it is not a directory; give the directory that the plugin files are in",
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "there is no such directory; create it or give another"
            }
            // Why it cannot be looked at is said where it is searched.
            Err(_) => return None,
        };
        Some(Exit::usage(format!(
            "--plugin-dir {}: {found}",
            dir.display()
        )))
    }

    /// Refuses directories that cannot be searched.
    fn check(&self) -> Result<(), Exit> {
        Exit::of_all(
            (self.plugin_dirs.iter())
                .filter_map(|dir| Self::fault(dir))
                .collect(),
        )
    }
}

fn named_dir(name: OsString) -> Result<PathBuf, &'static str> {
    if name.is_empty() {
        return Err("it is empty; expected the path of a directory");
    }
    Ok(name.into())
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    evbus::plugin::return_freed_memory();
    let matches = without_empty_variables(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // As long as the process lives: it ends without `exit`.
    let _guard = ExitGuard::arm();
    let (level, log_plugin) = match &cli.command {
        Command::Run(args) => (LogLevel::Info, args.log_plugin()),
        _ => (LogLevel::Warn, None),
    };
    // What a host's threads, or a program's, must not wait for.
    let is_service = matches!(cli.command, Command::Run(_) | Command::Exec(_));
    let level = cli.log_level.unwrap_or(level);
    let log_events = logging::start(level, log_plugin, !is_service);
    let result = match cli.command {
        Command::Run(args) => with_runtime(run::run(args, log_events)),
        Command::Put(args) => with_runtime(put::run(args)),
        Command::Listen(args) => with_runtime(listen::run(args)),
        Command::Route(args) => with_runtime(route::run(args)),
        Command::Check(args) => with_runtime(check::run(args)),
        Command::Plugins(args) => plugins::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Exec(args) => with_runtime(exec::run(args)),
        Command::Render(args) => with_runtime(render::run(args)),
        Command::Acct(args) => acct::run(args),
        Command::Status(args) => with_runtime(status::run(args)),
        Command::Reload(args) => with_runtime(reload::run(args)),
        Command::Deadletters(args) => deadletters::run(&args),
        Command::PluginChild { .. } => return evbus::plugin::child_main(),
    };
    let code = match result {
        Ok(()) => 0,
        Err(exit) => exit.report(),
    };
    logging::flush(Some(LAST_LINES_WITHIN));
    // Standard output is flushed by whoever writes to it. What plugins have registered for the end of the process may crash or hang, as may what a damaged one
    // has instead of it; nothing of this program is left to be done.
    ExitGuard::end_at_once(code)
}

/// How long standard error may take for what a service says at its end.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

/// A variable that is set to nothing, as units and shells leave one, counts as one that is not set.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| match arg.get_env() {
            Some(name) if is_empty(name) => arg.env(None::<&'static str>),
            _ => arg,
        })
        .mut_subcommands(without_empty_variables)
}

fn with_runtime<T>(command: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    let runtime = start_runtime()?;
    runtime.spawn(keep_a_blocking_thread());
    survive_file_limits(&runtime);
    let result = runtime.block_on(command);
    // What is left behind may be waiting for one.
    evbus::acct::end_commands();
    // What hangs in a plugin or in a read of standard input must not hold the process.
    runtime.shutdown_background();
    result
}

/// Starts the runtime with one thread for what blocks, before anything else needs one. The runtime panics
/// where the system gives it no thread, and then waits for the threads it has, which do not end: so the end
/// comes before the panic unwinds, as one line like any other refusal of the system.
fn start_runtime() -> Result<Runtime, Exit> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("it panicked");
        let exit = Exit::failed(format!(
            "the system starts no more threads ({why}): raise the limit of processes (ulimit -u, or TasksMax= in the unit)"
        ));
        let code = exit.report();
        logging::flush(Some(LAST_LINES_WITHIN));
        ExitGuard::end_at_once(code)
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("the runtime cannot be started: {error}")))?;
    // An error means that the work panicked, and there is none.
    let _ = runtime.block_on(async { tokio::task::spawn_blocking(|| ()).await });
    panic::set_hook(hook);
    Ok(runtime)
}

/// Keeps one of the threads for what blocks, which end when they have had nothing to do for 10 seconds.
/// While there is one, work waits for it where the system gives no other; where there is none, the runtime
/// panics.
async fn keep_a_blocking_thread() {
    const EVERY: Duration = Duration::from_secs(4);
    loop {
        // An error means that the runtime ends.
        let _ = tokio::task::spawn_blocking(|| ()).await;
        tokio::time::sleep(EVERY).await;
    }
}

/// A limit of the size of files is an error of the write that meets it, and not the end of the process.
fn survive_file_limits(runtime: &Runtime) {
    let _inside = runtime.enter();
    // Catching is the safe way to ignore; what is caught stays so. Without it the limit ends the process.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw())));
}
