//! What an operator says about each event, in the language of Jinja: an [`Expression`] has a value for an event, a
//! [`Template`] is text with expressions in it.
//!
//! Both are compiled once and evaluated for each event, against the names that `names` lists. An evaluation ends: its
//! steps, the data it makes and its result are limited ([`MAX_STEPS`], [`MAX_TEXT`]). The body of an event is parsed when
//! an expression first refers to it, and kept in [`Parsed`] for the others.
//!
//! API boundary: the host and the SDK use this crate, and it uses neither. Authors of plugins see
//! `evbus_sdk::Template`. Nothing here blocks for longer than the limits allow.

#![allow(
    clippy::needless_pass_by_value,
    reason = "the engine passes the arguments of filters by value"
)]

mod body;
mod engine;
mod expression;
mod fault;
mod filters;
mod json;
mod names;
pub mod places;
mod python;
mod spelling;
mod subject;
mod template;
mod text;
pub mod words;

pub use body::{MAX_BODY, Parsed};
pub use engine::MAX_STEPS;
pub use expression::Expression;
pub use fault::{Fault, SyntaxFault};
pub use json::MAX_JSON;
pub use names::{HIDDEN_VARIABLE, NAMES};
pub use python::add_to as add_python_to;
pub use subject::{Sample, Subject};
pub use template::{Template, is_template};
pub use text::MAX_TEXT;
