//! The event of a command.

use std::ffi::OsStr;
use std::path::Path;

use evbus::idem::ExecEvent;
use serde_json::{Map, Value, json};

use super::capture::Tee;
use super::command::{End, Ended};

/// Builds the event of a command. Its arguments are left out because they may contain secrets.
pub(super) fn event(program: &OsStr, ended: &Ended) -> ExecEvent {
    let name = Path::new(program).file_name().unwrap_or(program);
    let comment = format!(
        "{} {} after {:.3} s",
        name.display(),
        ended.end,
        ended.duration.as_secs_f64()
    );
    let mut ret = Map::new();
    ret.insert("command".to_owned(), program.to_string_lossy().into());
    ret.insert("retcode".to_owned(), ended.end.code().into());
    let signal = match ended.end {
        End::Signal(signal) => signal.into(),
        _ => Value::Null,
    };
    ret.insert("signal".to_owned(), signal);
    ret.insert(
        "duration".to_owned(),
        json!((ended.duration.as_secs_f64() * 1e6).round() / 1e6),
    );
    let streams = &ended.streams;
    stream(&mut ret, "stdout", streams.stdout.as_ref());
    stream(&mut ret, "stderr", streams.stderr.as_ref());
    ret.insert("stderr_in_stdout".to_owned(), streams.together.into());
    ExecEvent::new("evbus.exec", ended.end == End::Exit(0))
        .ret(ret)
        .comment(comment)
}

/// Adds the end of an output, and how many bytes before it are left out; null if it was not captured.
fn stream(ret: &mut Map<String, Value>, name: &str, tee: Option<&Tee>) {
    let (text, left_out) = match tee.map(Tee::text) {
        Some((text, left_out)) => (text.into(), left_out.into()),
        None => (Value::Null, Value::Null),
    };
    ret.insert(name.to_owned(), text);
    ret.insert(format!("{name}_left_out"), left_out);
}
