//! The event that reports that another event was not delivered.

use serde_json::{Map, Value, json};

use crate::{ContentType, Event};

/// The tag `ref` of such an event, as Idem has it.
const REF: &str = "idem.event.publish_error_callback_handler";

/// The event that Idem fires, on the same profile, for an event that `provider` did not deliver;
/// `None` for an event that is itself an error event, so that error events never cause more of them.
pub fn error_event(event: &Event, provider: &str, error: &str) -> Option<Event> {
    if event
        .attributes()
        .any(|(key, value)| key == "ref" && value == REF)
    {
        return None;
    }
    let envelope = match event.content_type() {
        ContentType::Json => serde_json::from_slice(event.body()).unwrap_or_default(),
        ContentType::Msgpack | ContentType::Text => Value::Null,
    };
    let mut tags = match envelope.get("tags") {
        Some(Value::Object(tags)) => tags.clone(),
        // What the body does not tell, the string tags beside it do.
        _ => event
            .attributes()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect::<Map<String, Value>>(),
    };
    tags.insert("ref".to_owned(), REF.into());
    tags.insert("plugin".to_owned(), provider.into());
    let run_name = envelope.get("run_name").cloned().unwrap_or_default();
    let run_name = if run_name.is_string() {
        run_name
    } else {
        "".into()
    };
    Event::builder(event.profile())
        .unwrapped(&json!({
            "tags": tags,
            "run_name": run_name,
            "publish_event_error_message": error,
        }))
        // A body that was made a moment ago from one that was well.
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_event_has_the_tags_of_its_event_and_is_never_told_of_itself() {
        let event = Event::builder("idem-run")
            .tag("type", "state-result")
            .tag("count", 3)
            .run_name("nightly")
            .message("x")
            .expect("an event");
        let told = error_event(&event, "kafka", "rejected: too large").expect("it is told");
        assert_eq!(told.profile(), "idem-run");
        let body: Value = serde_json::from_slice(told.body()).expect("JSON");
        assert_eq!(
            body,
            json!({
                "tags": {"type": "state-result", "count": 3, "ref": REF, "plugin": "kafka"},
                "run_name": "nightly",
                "publish_event_error_message": "rejected: too large",
            })
        );
        assert!(error_event(&told, "kafka", "again").is_none());
    }
}
