//! `idem-exec`: what an exec function returned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::presence::{Comment, given};
use crate::{Body, Documented, Tags};

/// What an exec function returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecReturn {
    /// Whether it succeeded.
    pub result: bool,
    /// The return value: any JSON value.
    pub ret: Value,
    /// The comment; Idem omits it if there is none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schemars(with = "Comment")]
    pub comment: Option<Comment>,
    /// Any other keys.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The tag `type` of [`ExecEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExecType {
    /// `exec-post`
    ExecPost,
}

/// `idem-exec`: the return of an exec function.
///
/// ```json
/// {
///   "tags": {
///     "ref": "A reference to the function on the hub that fired this event", "type": "exec-post",
///     "acct_details": "Information that can link this event to acct credentials"
///   },
///   "message": {"result": true, "ret": "Any object", "comment": "Any string"},
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", idem-exec. Idem 25 fires a list as the comment, or no
/// comment. `evbus exec` fires it for a command.
pub type ExecEvent = Body<Tags<ExecType>, ExecReturn>;

impl Documented for ExecEvent {
    const PROFILE: &'static str = "idem-exec";
}

impl ExecEvent {
    /// The result of the function `reference`, with a null return value and without a comment.
    pub fn new(reference: &str, result: bool) -> Self {
        Self::tagged(
            Some(reference.to_owned()),
            ExecType::ExecPost,
            ExecReturn {
                result,
                ret: Value::Null,
                comment: None,
                more: Map::new(),
            },
        )
        .acct_details(Value::Null)
    }

    /// Sets the return value.
    #[must_use]
    pub fn ret(mut self, ret: impl Into<Value>) -> Self {
        self.message.ret = ret.into();
        self
    }

    /// Adds a comment.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<Comment>) -> Self {
        self.message.comment = Some(comment.into());
        self
    }
}
