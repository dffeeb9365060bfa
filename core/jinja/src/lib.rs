//! Jinja templates, as far as they need no Python: the engine of acct files and SLS files.
//!
//! [`render`] renders a template, within limits, and returns a [`SourceMap`] from places in the text back to the
//! template. What Jinja2 has from Python is that of `evbus-expression`. Messages never contain a value,
//! because it may be a secret. This crate fires nothing and does not know what a template is for.
//!
//! API boundary: for the crates of `core/`; [`Location`], [`Position`] and [`TemplateError`] are re-exported by the
//! crate `evbus`. Rendering blocks for at most a second or two, and while it reads included templates.

mod engine;
mod error;
mod position;
mod source_map;

pub use engine::{
    Refusal, is_template, loader, path_of, render, render_with, without_last_line_end,
};
pub use error::TemplateError;
pub use position::{Location, Position, position_of};
pub use source_map::SourceMap;
