//! The command line: one file or directory per command.
//!
//! Data goes to standard output, everything else to standard error.

mod acct;
mod acct_options;
mod check;
mod check_events;
mod check_show;
mod command_line;
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
mod route_event;
mod run;
mod schema;
mod secret_file;
mod signals;
mod status;
mod target;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;
use std::{io, panic};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use evbus::plugin::ExitGuard;
use rustix::process::{Resource, Signal, getrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use exit::Exit;
use logging::LogLevel;

const STYLES: clap::builder::Styles = clap::builder::Styles::styled()
    .header(clap::builder::styling::AnsiColor::Green.on_default().bold())
    .usage(clap::builder::styling::AnsiColor::Green.on_default().bold())
    .literal(clap::builder::styling::AnsiColor::Cyan.on_default().bold())
    .placeholder(clap::builder::styling::AnsiColor::Cyan.on_default());

/// Event bus host: delivers each event to every destination whose pattern matches its profile.
#[derive(Debug, Parser)]
#[command(name = "evbus", version, long_version = LONG_VERSION.as_str(), styles = STYLES, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 success; 1 an event was not delivered, or a check found a fault; \
2 wrong usage; 70 a plugin called exit; 75 the disk is full, try again later; \
78 invalid configuration. `evbus exec` passes on the exit code of its command (126, 127 and 128+N \
as in a shell): see `evbus exec --help`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log verbosity: error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "L")]
    log_level: Option<LogLevel>,
}

/// The output of `--version`, for fault reports and for choosing a compatible plugin.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    // A build may have no repository; then the packager names the commit.
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
    /// Run one isolated plugin; started by the host
    #[command(hide = true)]
    PluginChild {
        /// The plugin's id, shown in lists of processes
        plugin: String,
    },
}

/// The program that runs isolated plugins: this one, even after its file is replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The directories that are searched for plugins.
#[derive(Debug, Args)]
struct PluginDirs {
    /// Directory with plugin files (.so); may be repeated. Searched before the directories in
    /// `EVBUS_PLUGIN_PATH`, ~/.local/share/evbus/plugins, /usr/local/lib/evbus/plugins and
    /// /usr/lib/evbus/plugins
    #[arg(long = "plugin-dir", value_name = "D", value_parser = OsStringValueParser::new().try_map(named_dir))]
    plugin_dirs: Vec<PathBuf>,
}

impl PluginDirs {
    /// The fault of a given directory that cannot be searched.
    fn fault(dir: &Path) -> Option<Exit> {
        let found = match dir.metadata() {
            Ok(found) if found.is_dir() => return None,
            Ok(_) => "not a directory; give the directory that contains the plugin files",
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "directory not found; create it, or give another"
            }
            // The search itself reports why it cannot be read.
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
        return Err("the value is empty; expected the path of a directory");
    }
    Ok(name.into())
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    evbus::plugin::return_freed_memory();
    print_no_panic_of_the_yaml_parser();
    let matches = command_line::read(Cli::command());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // For the life of the process, which ends without `exit`.
    let _guard = ExitGuard::arm();
    let (level, log_plugin) = match &cli.command {
        Command::Run(args) => (LogLevel::Info, args.log_plugin()),
        _ => (LogLevel::Warn, None),
    };
    // The threads of a host, or of the command of `exec`, must not wait for standard error.
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
    // Every writer to standard output flushes it. Exit handlers that plugins registered may crash or hang, and
    // this program has nothing left to do.
    ExitGuard::end_at_once(code)
}

/// Such a panic is caught and becomes an error about the file.
fn print_no_panic_of_the_yaml_parser() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !evbus::acct::is_parsing() {
            print(panic);
        }
    }));
}

/// How long to wait for standard error to take the last lines of a service.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

fn with_runtime<T>(command: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    check_file_limit()?;
    let runtime = start_runtime()?;
    runtime.spawn(keep_a_blocking_thread());
    survive_file_limits(&runtime);
    let result = runtime.block_on(command);
    // Work that is left behind may be waiting for a command.
    evbus::acct::end_commands();
    // A plugin or a read of standard input that hangs must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// Fewer open files than this are not enough for any command.
const LEAST_FILES: u64 = 16;

/// Refuses a limit on open files that everything would fail at, each thing with other words.
fn check_file_limit() -> Result<(), Exit> {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < LEAST_FILES => Err(Exit::config(format!(
            "evbus needs at least {LEAST_FILES} open files, but this process is limited to {limit}; raise the limit (`ulimit -n`, or LimitNOFILE= of the unit)"
        ))),
        _ => Ok(()),
    }
}

/// Starts the runtime with one thread for blocking work, before anything else needs one. If the system starts
/// no thread, the runtime panics and then waits for its threads, which never end. Therefore the process ends
/// before the panic unwinds, with one line as for any other refusal of the system.
fn start_runtime() -> Result<Runtime, Exit> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("it panicked");
        let exit = Exit::failed(format!(
            "cannot start a thread ({why}): raise the limit on processes (ulimit -u, or TasksMax= in the unit)"
        ));
        let code = exit.report();
        logging::flush(Some(LAST_LINES_WITHIN));
        ExitGuard::end_at_once(code)
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("cannot start the runtime: {error}")))?;
    // An error would mean that the work panicked, but it does nothing.
    let _ = runtime.block_on(async { tokio::task::spawn_blocking(|| ()).await });
    panic::set_hook(hook);
    Ok(runtime)
}

/// Keeps one thread for blocking work alive; such threads end after 10 idle seconds. If the system starts no
/// further thread, work waits for this one; without any, the runtime panics.
async fn keep_a_blocking_thread() {
    const EVERY: Duration = Duration::from_secs(4);
    loop {
        // An error means that the runtime is shutting down.
        let _ = tokio::task::spawn_blocking(|| ()).await;
        tokio::time::sleep(EVERY).await;
    }
}

/// Makes a write beyond the limit on file size fail instead of ending the process.
fn survive_file_limits(runtime: &Runtime) {
    let _inside = runtime.enter();
    // Catching is the safe way to ignore a signal; it stays caught when this is dropped.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw())));
}
