//! `evbus schema`: shows the formats of Idem's events.

use clap::Args;
use evbus::idem::{schema, schemas};

use super::exit::Exit;
use super::output::{json_pretty, table};

/// List the documented formats of Idem's events, or show the JSON Schema of one
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus schema
  evbus schema idem-run
  evbus schema idem-run | jq .properties.message.required

`evbus check --events FILE` validates recorded events against these schemas.")]
pub(super) struct SchemaArgs {
    /// Profile of the JSON Schema to print; error-event for error events, which occur under any profile
    #[arg(value_name = "PROFILE")]
    profile: Option<String>,
}

pub(super) fn run(args: &SchemaArgs) -> Result<(), Exit> {
    let Some(profile) = &args.profile else {
        let rows = schemas().iter().map(|schema| {
            let types = match schema.types {
                [] => "-".to_owned(),
                types => types.join(","),
            };
            [schema.name, &types, schema.about, schema.source]
                .map(str::to_owned)
                .to_vec()
        });
        return table(&["profile", "type", "content", "source"], rows.collect());
    };
    if let Some(schema) = schema(profile) {
        return json_pretty(&schema.json()).map(|_| ());
    }
    let known: Vec<&str> = schemas().iter().map(|schema| schema.name).collect();
    Err(Exit::usage(format!(
        "no documented format for the profile {profile:?}; expected one of {}",
        known.join(", ")
    )))
}
