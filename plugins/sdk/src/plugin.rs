//! A provider or a matcher as the root module of a plugin.

use std::panic::{AssertUnwindSafe, catch_unwind};

use evbus_abi::v1::{
    CompletionV1, ConfigFaultV1, ConnectOutcomeV1, HostV1, InfoV1, LevelV1, MatcherFnsV1,
    PatternFaultV1, PatternSetV1, PluginV1, PluginV1Ref, ProviderV1,
};
use evbus_abi::{PrefixTypeTrait, RErr, RNone, ROk, RResult, RSlice, RSome, RStr, RString, RVec};

use crate::matcher::PatternSet;
use crate::reading::{self, Reading};
use crate::{ConfigFault, ConnectError, Matcher, PatternFault, Provider};
use crate::{config, instance, log_bridge};

/// The root module of a plugin that serves a [`Provider`].
///
/// [`export_provider!`](crate::export_provider) calls it; a program that links a provider statically can
/// call it too. The module is never freed.
pub fn provider_plugin<P: Provider>(
    id: &'static str,
    version: &'static str,
    description: &'static str,
) -> PluginV1Ref {
    log_bridge::limit(P::LOG_CEILINGS);
    PluginV1 {
        info: info(id, version, description),
        attach: log_bridge::attach,
        provider: RSome(ProviderV1 {
            names: provider_names::<P>,
            config_schema: config_schema::<P>,
            check_config: check_config::<P>,
            connect: connect::<P>,
        }),
        matcher: RNone,
    }
    .leak_into_prefix()
}

/// The root module of a plugin that is a [`Matcher`]; see [`provider_plugin`].
pub fn matcher_plugin<M: Matcher>(
    id: &'static str,
    version: &'static str,
    description: &'static str,
) -> PluginV1Ref {
    PluginV1 {
        info: info(id, version, description),
        attach: log_bridge::attach,
        provider: RNone,
        matcher: RSome(MatcherFnsV1 {
            names: matcher_names::<M>,
            compile: compile::<M>,
        }),
    }
    .leak_into_prefix()
}

fn info(id: &'static str, version: &'static str, description: &'static str) -> InfoV1 {
    InfoV1 {
        id: id.into(),
        version: version.into(),
        description: description.into(),
    }
}

/// Prepares a shared library, once, before its root module is created: panics and log lines of its own
/// copies of the standard library and of `tracing` go to the host instead of standard error.
#[doc(hidden)]
pub fn prepare_library() {
    log_bridge::install();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|at| format!(" at {}:{}", at.file(), at.line()))
            .unwrap_or_default();
        let text = format!(
            "the plugin panicked{place}: {}",
            panic.payload_as_str().unwrap_or("no message")
        );
        log_bridge::write(LevelV1::ERROR, "panic", &text);
    }));
}

fn owned(names: &[&str]) -> RVec<RString> {
    names.iter().map(|name| RString::from(*name)).collect()
}

extern "C" fn provider_names<P: Provider>() -> RVec<RString> {
    owned(P::NAMES)
}

extern "C" fn matcher_names<M: Matcher>() -> RVec<RString> {
    owned(M::NAMES)
}

extern "C" fn config_schema<P: Provider>() -> RString {
    let _voice = log_bridge::enter_library();
    contained(|| {
        let schema = schemars::generate::SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<P::Config>();
        RString::from(schema.as_value().to_string())
    })
    // If the schema cannot be written, `true` accepts everything.
    .unwrap_or_else(|_| RString::from("true"))
}

extern "C" fn check_config<P: Provider>(json: RStr<'_>) -> RVec<ConfigFaultV1> {
    let _voice = log_bridge::enter_library();
    let panicked = |panic| {
        let message = format!("the plugin panicked while it checked the configuration: {panic}");
        vec![ConfigFault::new("", message)]
    };
    let faults = contained(|| {
        let Reading {
            config,
            mut faults,
            unread,
        } = reading::read::<P::Config>(json.as_str(), P::OTHER_NAMES);
        if let Some(config) = config {
            let checked = contained(|| P::check(&config).err().unwrap_or_default());
            let checked = checked.unwrap_or_else(panicked);
            let known: Vec<String> = faults.iter().map(|it| it.path.clone()).collect();
            // The schema may already have reported the same key.
            let is_new = |it: &ConfigFault| it.path.is_empty() || !known.contains(&it.path);
            let checked = checked.into_iter().filter(is_new);
            faults.extend(checked.filter(|it| it.stands_without(&unread)));
        }
        faults
    })
    .unwrap_or_else(panicked);
    faults.into_iter().map(ConfigFault::into_abi).collect()
}

extern "C" fn connect<P: Provider>(
    json: RStr<'_>,
    host: HostV1,
    done: CompletionV1<ConnectOutcomeV1>,
) {
    // A panic drops the completion, which the host treats as a failed attempt.
    let _ = contained(|| match config::parse_config(json.as_str()) {
        Ok(config) => instance::start::<P>(config, host, done),
        Err(faults) => {
            let reason = faults.first().map(ToString::to_string).unwrap_or_default();
            done.complete(RErr(ConnectError::Permanent(reason).into_abi()));
        }
    });
}

extern "C" fn compile<M: Matcher>(
    patterns: RSlice<'_, RStr<'_>>,
) -> RResult<PatternSetV1, RVec<PatternFaultV1>> {
    let _voice = log_bridge::enter_library();
    let patterns: Vec<&str> = patterns.iter().map(RStr::as_str).collect();
    let compiled = contained(|| M::compile(&patterns)).unwrap_or_else(|panic| {
        let message = format!("the plugin panicked while it compiled the patterns: {panic}");
        Err(vec![PatternFault { index: 0, message }])
    });
    match compiled {
        Ok(set) => ROk(PatternSetV1::new(PatternSet(set))),
        Err(faults) => RErr(faults.into_iter().map(PatternFault::into_abi).collect()),
    }
}

/// Runs plugin code; a panic becomes its message.
fn contained<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| instance::message(&*panic).to_owned())
}
