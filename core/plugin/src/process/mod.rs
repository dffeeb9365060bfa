//! Plugins in processes of their own: `isolate: process`.
//!
//! The host starts its own program again as `evbus plugin-child` (`spawn`, `start`), hands it the
//! plugin's file and its configuration over a socket (`wire`), and shows the lane an instance like any
//! other (`proxy`, `driver`, `talk`). The process loads the very same file and drives it through the
//! very same contract (`child`); neither the plugin nor the lane can tell the difference. When the
//! process dies, the events in flight are answered with retry, and the lane creates a new instance, as
//! it does after a panic.
//!
//! The same kind of process probes a plugin file that the host has never loaded (`probe`).
//!
//! The process lives as long as its socket: it ends at end of file, so it does not outlive a host that
//! was killed. One that is stopped does not read; for it there is the kernel's parent-death signal (`child`), which
//! follows the thread that started the process, so that is a thread that never ends (`spawn`).

mod child;
mod driver;
mod outbox;
mod probe;
mod proxy;
mod spawn;
mod start;
mod talk;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evbus_abi::v1::{HostObjectV1, InstanceV1, LevelV1};

use crate::ConnectFailure;
use crate::Plugin;

pub use child::child_main;
pub(crate) use probe::probe;

/// Creates instances of a plugin in processes of their own.
#[derive(Debug, Clone)]
pub struct Isolated {
    plugin: Arc<Plugin>,
    program: Option<Arc<Path>>,
}

impl PartialEq for Isolated {
    /// Whether both are the very same plugin.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plugin, &other.plugin)
    }
}

impl Isolated {
    /// For a plugin; `program` is an evbus program of this version.
    pub fn new(plugin: Arc<Plugin>, program: Option<Arc<Path>>) -> Self {
        Self { plugin, program }
    }

    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Starts a process and creates an instance in it, within `deadline`. Cancel safe: if the future is
    /// dropped, the process is ended.
    ///
    /// # Errors
    ///
    /// The process does not start, or the plugin in it does not create an instance in time.
    pub async fn connect(
        &self,
        config: &str,
        host: impl HostObjectV1,
        max_level: LevelV1,
        deadline: Duration,
    ) -> Result<InstanceV1, ConnectFailure> {
        let permanent = |reason: &str| ConnectFailure {
            permanent: true,
            reason: reason.to_owned(),
        };
        let Some(program) = &self.program else {
            return Err(permanent(
                "isolate: process needs the evbus program; set it with HostBuilder::isolation_program, or remove the key",
            ));
        };
        let path = self.plugin.path().unwrap_or(Path::new("")).display();
        let connect = wire::ToChild::Connect {
            max_level: max_level.0,
            path: &path.to_string(),
            config,
        };
        let Ok(request) = wire::opening(&connect) else {
            return Err(permanent(
                "the configuration is too large for a process of its own",
            ));
        };
        let start = start::Start {
            program: Arc::clone(program),
            plugin: Arc::clone(&self.plugin),
            request,
            deadline,
        };
        start.instance(host).await
    }
}

/// Why some plugins cannot run in another process.
pub const LINKED: &str = "the plugin is linked into this program and cannot run in a process of \
     its own; remove the key, or load the plugin from a file";
