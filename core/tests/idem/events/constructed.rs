//! The documentation's events, made with the constructors.

use std::collections::BTreeMap;

use evbus::idem::{
    Call, Chunk, ChunkEvent, ChunkType, ExecEvent, HighEvent, HighState, LoggerEvent, LowEvent,
    RunEvent, RunResult, StateCall, StateContext, StatePostEvent, StatePreEvent, Status,
    StatusEvent,
};
use evbus::{Event, EventError};
use serde_json::{Map, json};

type Made = Result<Event, EventError>;

const RUN_NAME: &str = "The user supplied run-name";
const ACCT: &str =
    "Information that can link this event to acct credentials in the calling function";
const FIRED_BY: &str = "Reference on the hub to the state function that fired the event";
const NAME: &str = "Name of the state";

pub(crate) fn status() -> Made {
    StatusEvent::new(Status::Finished)
        .run_name(RUN_NAME)
        .event()
}

pub(crate) fn low() -> Made {
    let mut state = Chunk::new(
        NAME,
        "Reference on the hub to state plugin",
        "The state function name",
        "The sls source",
    );
    assert_eq!(state.id, NAME, "the id is usually the name");
    "The state id, usually it will be the same as name".clone_into(&mut state.id);
    state.order = Some(100_000);
    LowEvent::new(vec![state]).run_name(RUN_NAME).event()
}

pub(crate) fn high() -> Made {
    let plugin = "The reference to the state plugin";
    let function = Call::Function("The reference to the state function".to_owned());
    let state = HighState::new(
        "The stem/name of the sls source",
        plugin,
        vec![function.clone()],
    );
    assert_eq!(state.calls(plugin), [function]);
    assert_eq!(state.calls("another"), []);
    let id = "Reference on the hub to the state plugin".to_owned();
    HighEvent::new(BTreeMap::from([(id, state)]))
        .run_name(RUN_NAME)
        .event()
}

pub(crate) fn pre() -> Made {
    let call = StateCall {
        ctx: Some(StateContext {
            run_name: "The run_name specified on the cli".to_owned(),
            test: false,
            more: Map::new(),
        }),
        kwargs: Some(Map::new()),
        name: Some(NAME.to_owned()),
        more: Map::new(),
    };
    StatePreEvent::new(NAME, "The reference to the state function", call)
        .reference(FIRED_BY)
        .acct_details(ACCT)
        .run_name(RUN_NAME)
        .event()
}

pub(crate) fn post() -> Made {
    let mut event = StatePostEvent::new(NAME, FIRED_BY, true);
    event.message.changes = json!({"old": [], "new": []}).as_object().cloned();
    event.acct_details(ACCT).run_name(RUN_NAME).event()
}

pub(crate) fn chunk() -> Made {
    let mut state = Chunk::new(
        NAME,
        "Reference on the hub to the state plugin",
        "Reference on the hub to the state function",
        "Tye sls source",
    );
    "The state id, usually same as name".clone_into(&mut state.id);
    state.order = Some(100_000);
    let mut event = ChunkEvent::new(FIRED_BY, state);
    assert_eq!(event.tags.kind, ChunkType::StateChunk, "as Idem fires it");
    event.tags.kind = ChunkType::StatePost;
    event.run_name(RUN_NAME).event()
}

pub(crate) fn run() -> Made {
    let mut output = RunResult::new("web", "exec", "run", 3, true);
    assert_eq!(
        (output.tag.as_str(), output.esm_tag.as_str()),
        ("exec_|-web_|-web_|-run", "exec_|-web_|-web_|-"),
        "as in a real run"
    );
    NAME.clone_into(&mut output.name);
    "The state id".clone_into(&mut output.id);
    output.order = Some(100_000);
    output.changes = Map::from_iter([("new".to_owned(), json!(1))]);
    output.comment = "A comment supplied by the state".into();
    "The key used to store this state in the ESM cache".clone_into(&mut output.esm_tag);
    "The key used to store this state in the RUNS internal structure".clone_into(&mut output.tag);
    output.new_state = "The state of a resource after a run".into();
    output.old_state = "The state of a resource before a run".into();
    RunEvent::new(output)
        .acct_details(ACCT)
        .run_name(RUN_NAME)
        .event()
}

pub(crate) fn exec() -> Made {
    ExecEvent::new(
        "A reference to the function on the hub that fired this event",
        true,
    )
    .ret("Any object")
    .comment("Any string")
    .acct_details(ACCT)
    .run_name(RUN_NAME)
    .event()
}

pub(crate) fn logger() -> Made {
    LoggerEvent::new(
        "module that produced the log",
        "log level name",
        "asctime timestamp",
        "A reference to the function on the hub that fired this event",
        "The log message",
    )
    .run_name(RUN_NAME)
    .event()
}
