//! The events that Idem documents, as types.
//!
//! Each has a constructor that fills in the tags `ref` and `type`, reads both what the documentation
//! shows and what Idem 25 really fires, and keeps the keys it does not know. Fire one with
//! [`Bus::put_idem`]; it gets the host's run name unless it has one of its own:
//!
//! ```
//! use evbus::idem::{ExecEvent, Status, StatusEvent};
//! # async fn example(bus: &evbus::Bus) -> Result<(), evbus::PutError> {
//! bus.put_idem(&StatusEvent::new(Status::Running)).await?;
//!
//! let backup = ExecEvent::new("exec.backup.run", true)
//!     .ret(serde_json::json!({"files": 12}))
//!     .comment("all files are kept")
//!     .run_name("nightly");
//! bus.put_idem(&backup).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Listeners read them with `serde_json`:
//!
//! ```
//! use evbus::idem::{Status, StatusEvent};
//!
//! let body = br#"{"tags": {"ref": "idem.state.update_status", "type": "state-status"},
//!                 "message": "FINISHED", "run_name": "nightly"}"#;
//! let event: StatusEvent = serde_json::from_slice(body)?;
//! assert_eq!(event.message, Status::Finished);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! [`schemas`] gives each one's JSON Schema, [`Checker`] holds recorded events against them.
//! `docs/EVENTS.md` has the formats as a page.

mod body;
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
mod state;
mod status;

pub use body::{Body, Documented, Tags};
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

use serde::Serialize;

/// The profile of log events.
pub(crate) const LOGGER: &str = <LoggerEvent as Documented>::PROFILE;

use crate::{Bus, Fired, PutError};

impl Bus {
    /// Fires a documented event under its profile, with this host's run name unless it has one; see
    /// [`put_event`](Self::put_event).
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_idem<T, M>(&self, body: &Body<T, M>) -> Result<Fired, PutError>
    where
        Body<T, M>: Documented,
        T: Serialize,
        M: Serialize,
    {
        self.put_event(body.event_with(self.event(<Body<T, M>>::PROFILE))?)
            .await
    }

    /// As [`put_idem`](Self::put_idem), without waiting; see
    /// [`put_event_nowait`](Self::put_event_nowait).
    ///
    /// # Errors
    ///
    /// As [`put_nowait`](Self::put_nowait).
    pub fn put_idem_nowait<T, M>(&self, body: &Body<T, M>) -> Result<Fired, PutError>
    where
        Body<T, M>: Documented,
        T: Serialize,
        M: Serialize,
    {
        self.put_event_nowait(body.event_with(self.event(<Body<T, M>>::PROFILE))?)
    }
}
