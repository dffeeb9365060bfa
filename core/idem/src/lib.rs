//! The events that Idem documents, as types.
//!
//! Each has a constructor that fills in the tags `ref` and `type`, reads both what the documentation
//! shows and what Idem 25 actually fires, and keeps unknown keys. This crate does not fire events: each type
//! creates its event, and `Bus::put_idem` of the crate `evbus` fires it, with the host's run name unless the event has
//! its own:
//!
//! ```
//! use evbus_idem::{ExecEvent, Status, StatusEvent};
//!
//! let event = StatusEvent::new(Status::Running).event()?;
//! assert_eq!(event.profile(), "idem-status");
//!
//! let backup = ExecEvent::new("exec.backup.run", true)
//!     .ret(serde_json::json!({"files": 12}))
//!     .comment("all files are kept")
//!     .run_name("nightly");
//! assert_eq!(backup.event()?.profile(), "idem-exec");
//! # Ok::<(), evbus_event::EventError>(())
//! ```
//!
//! Listeners read them with `serde_json`:
//!
//! ```
//! use evbus_idem::{Status, StatusEvent};
//!
//! let body = br#"{"tags": {"ref": "idem.state.update_status", "type": "state-status"},
//!                 "message": "FINISHED", "run_name": "nightly"}"#;
//! let event: StatusEvent = serde_json::from_slice(body)?;
//! assert_eq!(event.message, Status::Finished);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! [`schemas`] returns their JSON Schemas, [`Checker`] validates recorded events against them.
//! `docs/EVENTS.md` describes the formats.
//!
//! The module [`sls`] renders SLS files that fire events, and passes each event to a function.
//!
//! API boundary: all of it is `evbus::idem` and `evbus::sls`. Nothing here blocks except rendering.

mod body;
#[cfg(feature = "check")]
mod check;
mod chunk;
mod error;
mod esm;
mod exec;
mod high;
mod logger;
mod low;
mod presence;
mod run;
mod schema;
pub mod sls;
mod state;
mod status;

pub use body::{Body, Documented, Tags};
#[cfg(feature = "check")]
pub use check::{Checked, Checker, Fault};
pub use chunk::{Chunk, ChunkEvent, ChunkType};
pub use error::{ErrorEvent, ErrorTags};
pub use esm::{EsmEvent, EsmMessage, EsmMetadata, EsmType};
pub use exec::{ExecEvent, ExecReturn, ExecType};
pub use high::{Call, HighEvent, HighState, HighType};
pub use logger::{LoggerEvent, LoggerTags, UnwrappedLoggerEvent};
pub use low::{LowEvent, LowType};
pub use presence::Comment;
pub use run::{RunEvent, RunResult, RunType};
pub use schema::{Schema, schema, schemas};
pub use state::{
    StateCall, StateContext, StateEvent, StatePostEvent, StatePostType, StatePreEvent,
    StatePreType, StateReturn,
};
pub use status::{Status, StatusEvent, StatusType};

/// The profile of log events.
pub const LOGGER: &str = <LoggerEvent as Documented>::PROFILE;
