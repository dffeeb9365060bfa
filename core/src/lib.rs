//! The evbus event bus host.
//!
//! Programs fire events under a profile name; the host gives each event to every destination whose
//! pattern matches; destinations are served by plugins that it finds at run time.
//!
//! The program `evbus` (`src/cli`) is built on this library. A program that wants a bus of its own
//! embeds a [`Host`]. This example reads its events itself, through the built-in provider `internal`,
//! and links its match plugin:
//!
//! ```
//! use std::time::Duration;
//!
//! use evbus::Host;
//! use evbus::plugin::Plugin;
//! use evbus_sdk::{Matcher, Matches, PatternFault, matcher_plugin};
//!
//! /// Patterns are beginnings of names.
//! struct Prefix(Vec<String>);
//!
//! impl Matcher for Prefix {
//!     const NAMES: &'static [&'static str] = &["prefix"];
//!
//!     fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternFault>> {
//!         Ok(Self(patterns.iter().map(ToString::to_string).collect()))
//!     }
//!
//!     fn matches(&self, name: &str, matches: &mut Matches<'_>) {
//!         for (index, prefix) in self.0.iter().enumerate() {
//!             if name.starts_with(prefix) {
//!                 matches.push(index);
//!             }
//!         }
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let acct = dir.path().join("acct.yml");
//! std::fs::write(&acct, "match_plugin: prefix\ninternal:\n  idem-:\n    routing_key: mine\n")?;
//!
//! let host = Host::builder()
//!     .acct_file(acct)
//!     .linked(Plugin::linked(matcher_plugin::<Prefix>("prefix", "1.0.0", "prefixes")))
//!     .run_name("nightly")
//!     .start()
//!     .await?;
//! let mut mine = host.internal("mine");
//! let bus = host.bus();
//!
//! // Waits for room:
//! let fired = bus.put("idem-status", "FINISHED").await?;
//! assert_eq!(fired.destinations, 1);
//! assert_eq!(
//!     mine.recv().await.body,
//!     r#"{"tags":{},"message":"FINISHED","run_name":"nightly"}"#
//! );
//!
//! // Never waits, and says when there is no room; with tags:
//! bus.put_nowait_tagged("idem-run", &["a"], [("type".to_owned(), "state-result".into())])?;
//! assert_eq!(mine.recv().await.profile, "idem-run");
//!
//! let lanes = host.shutdown(Duration::from_secs(10)).await;
//! assert_eq!(lanes[0].counts.accepted, 2);
//! # Ok(())
//! # }
//! ```
//!
//! The path of an event: [`event`] creates it, the [`Bus`] passes it to the listeners ([`sockets`]) and
//! asks the router which lanes it belongs to, and a `lane` queues it and passes it to its plugin's
//! instance ([`plugin`]). [`acct`] reads the file that defines the destinations. `docs/ARCHITECTURE.md`
//! describes the whole.

/// The acct file: read, decrypted, written, and what it says.
pub mod acct {
    pub use evbus_acct::{
        AcctDocument, AcctError, AcctFile, AcctKey, AcctSource, Cipher, CryptoError,
        DEFAULT_MATCH_PLUGIN, Entry, JsonObject, KeySource, Location, MAX_FILE_BYTES,
        MAX_SECRET_BYTES, Position, RenderPipe, SECRET_TIMEOUT, Section, byte_size, end_commands,
        is_parsing, load, parse,
    };
    pub use evbus_destination::{
        BatchCaps, Config, DeadLetterLimits, DeadLettersFull, Dedup, DiskLimits, Isolation, Policy,
        QueueLimits, Rate, Retry, WhenFull,
    };
    pub use evbus_expression::Expression;
}

/// Plugins: found, described, installed, and run in processes of their own.
pub mod plugin {
    pub use evbus_plugin::{
        ABI_VERSION, Catalog, CompileError, EXIT_CODE, ExitGuard, Plugin, PluginDir,
        PluginDirSource, PluginReport, PluginState, Registry, child_main, inspect, install,
        plugin_dirs, release_startup_code, return_freed_memory,
    };
}

/// The event sockets of a host, and Salt masters as sources of events.
pub mod sockets {
    pub use evbus_sockets::{
        Framing, LISTENER_QUEUE_BYTES, LostSync, MAX_FRAME_BYTES, PUB_SOCKET, PULL_SOCKET,
        PublisherCounts, PullCounts, SaltMaster, SaltMasterStatus, SocketDir, SocketError,
        SocketGroup,
    };
}

/// The state directory of a host, and the dead letters in it.
pub mod store {
    pub use evbus_store::{StateDir, StateError, StateLimits, deadletters};
}

pub use evbus_delivery::{
    Bus, Counts, EndReason, Fired, FiredCounts, INTERNAL, INTERNAL_QUEUE_BYTES,
    INTERNAL_QUEUE_EVENTS, InstanceState, InternalEvent, InternalReader, LaneStatus, PausedBy,
    PutError, Route, Router, Undecided,
};
pub use evbus_destination::Destination;
pub use evbus_event as event;
pub use evbus_event::{Event, EventBuilder, EventError, EventId, Serial, pop_serial};
pub use evbus_host::{
    Examination, Given, Host, HostBuilder, LOG_EVENTS_QUEUE, LogEvents, Plan, Planned, ReloadError,
    StartError, TooFewOpenFiles, Trial, control,
};
pub use evbus_idem as idem;
pub use evbus_idem::sls;
