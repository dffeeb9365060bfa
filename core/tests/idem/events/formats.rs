//! Every message format of Idem's documentation.

use serde_json::Value;

/// The formats, verbatim.
const FORMATS: [(&str, &str); 9] = [
    (
        "idem-status",
        r#"{
"tags": {"ref": "idem.state.update_status", "type": "state-status"},
"message": "FINISHED/CREATED/GATHERING/COMPILING/RUNNING/COMPILATION_ERROR/GATHER_ERROR/RUNTIME_ERROR/UNDEFINED",
"run_name": "The user supplied run-name"
}"#,
    ),
    (
        "idem-low",
        r#"{
"tags": {"ref": "idem.run.init.start", "type": "state-low-data"},
"message": [
{
"name": "Name of the state",
"state": "Reference on the hub to state plugin",
"fun": "The state function name",
"__sls__": "The sls source",
"__id__": "The state id, usually it will be the same as name",
"order": 100000
}
],
"run_name": "The user supplied run-name"
}"#,
    ),
    (
        "idem-high",
        r#"{
"message": {
"Reference on the hub to the state plugin": {
"__sls__": "The stem/name of the sls source",
"The reference to the state plugin": ["The reference to the state function"]
}
},
"run_name": "The user supplied run-name",
"tags": {"ref": "idem.sls_source.init.gather", "type": "state-high-data"}
}"#,
    ),
    (
        "idem-state",
        r#"{
"message": {
"Name of the state": {
"The reference to the state function": {
"ctx": {"run_name": "The run_name specified on the cli", "test": false},
"kwargs": {},
"name": "Name of the state"
}
}
},
"run_name": "The user supplied run-name",
"tags": {
"ref": "Reference on the hub to the state function that fired the event",
"type": "state-pre",
"acct_details": "Information that can link this event to acct credentials in the calling function"
}
}"#,
    ),
    (
        "idem-state",
        r#"{
"message": {
"changes": {"old": [], "new": []},
"comment": "",
"name": "Name of the state",
"result": true
},
"run_name": "The user supplied run-name",
"tags": {"ref": "Reference on the hub to the state function that fired the event", "type": "state-post",
"acct_details": "Information that can link this event to acct credentials in the calling function"
}
}"#,
    ),
    (
        "idem-chunk",
        r#"{
"message": {
"name": "Name of the state",
"state": "Reference on the hub to the state plugin",
"fun": "Reference on the hub to the state function",
"__id__": "The state id, usually same as name",
"__sls__": "Tye sls source",
"order": 100000
},
"run_name": "The user supplied run-name",
"tags": {"ref": "Reference on the hub to the state function that fired the event", "type": "state-post"
}
}"#,
    ),
    (
        "idem-run",
        r#"{
"message": {
"name": "Name of the state",
"__id__": "The state id",
"order": "An integer that helps idem determine which states to run first",
"__run_num": "The run number of the state",
"changes": "A dictionary of changes made in the state",
"comment": "A comment supplied by the state",
"esm_tag": "The key used to store this state in the ESM cache",
"tag": "The key used to store this state in the RUNS internal structure",
"new_state": "The state of a resource after a run",
"old_state": "The state of a resource before a run",
"result": "True if the state ran successfully, else False"
},
"run_name": "The user supplied run-name",
"tags": {"ref": "idem.rules.init.run", "type": "state-result",
"acct_details": "Information that can link this event to acct credentials in the calling function"
}
}"#,
    ),
    (
        "idem-exec",
        r#"{
"message": {"result": true, "ret": "Any object", "comment": "Any string"},
"run_name": "The user supplied run-name",
"tags": {
"type": "exec-post",
"ref": "A reference to the function on the hub that fired this event",
"acct_details": "Information that can link this event to acct credentials in the calling function"
}
}"#,
    ),
    (
        "idem-logger",
        r#"{
"message": "The log message",
"run_name": "The user supplied run-name",
"tags": {
"module": "module that produced the log",
"level": "log level name",
"timestamp": "asctime timestamp",
"ref": "A reference to the function on the hub that fired this event"
}
}"#,
    ),
];

/// The positions where the documentation describes a value instead of showing one, each with a value.
const DESCRIBED: [(&str, &str, &str); 5] = [
    ("idem-status", "/message", r#""FINISHED""#),
    ("idem-run", "/message/__run_num", "3"),
    ("idem-run", "/message/changes", r#"{"new": 1}"#),
    ("idem-run", "/message/order", "100000"),
    ("idem-run", "/message/result", "true"),
];

/// The formats as they are documented, by profile.
pub(crate) fn documented() -> Vec<(&'static str, Value)> {
    let read =
        |(profile, text): &(&'static str, &str)| (*profile, serde_json::from_str(text).unwrap());
    FORMATS.iter().map(read).collect()
}

/// The positions of a profile's format at which a value is described.
pub(crate) fn described(profile: &str) -> Vec<&'static str> {
    let of_profile = DESCRIBED.iter().filter(|(of, ..)| *of == profile);
    of_profile.map(|(_, pointer, _)| *pointer).collect()
}

/// The formats with a value at each of these positions.
pub(crate) fn filled() -> Vec<(&'static str, Value)> {
    let mut formats = documented();
    for (profile, body) in &mut formats {
        for (_, pointer, value) in DESCRIBED.iter().filter(|(of, ..)| of == profile) {
            *body.pointer_mut(pointer).unwrap() = serde_json::from_str(value).unwrap();
        }
    }
    formats
}
