//! What a plugin file exports.

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{ROption, RStr};

use super::{HostV1, MatcherFnsV1, ProviderV1};

/// Who a plugin is, as its manifest says, too. The text lives in the plugin, which is never unloaded.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfoV1 {
    /// Unique name; two files with one id and different content are both refused.
    pub id: RStr<'static>,
    /// The plugin's own version, semantic versioning; says nothing about this contract's.
    pub version: RStr<'static>,
    /// One line for `evbus plugins list`.
    pub description: RStr<'static>,
}

/// The root module of a plugin: who it is and what it serves.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginV1Ref, prefix_fields = PluginV1Prefix)))]
#[sabi(missing_field(panic))]
pub struct PluginV1 {
    /// Who it is.
    pub info: InfoV1,
    /// Gives the library a voice for what belongs to no instance: what it says while it checks a
    /// configuration, compiles or matches patterns, or from threads of its own. Called once, before
    /// anything of `provider` and `matcher` but their names. Does not block. The library keeps the
    /// host as long as it likes; `link` of this one does nothing.
    pub attach: extern "C" fn(HostV1),
    /// Present when it serves ingress providers.
    pub provider: ROption<ProviderV1>,
    /// Present when it is a match plugin.
    #[sabi(last_prefix_field)]
    pub matcher: ROption<MatcherFnsV1>,
}

impl RootModule for PluginV1Ref {
    abi_stable::declare_root_module_statics! {PluginV1Ref}
    const BASE_NAME: &'static str = "evbus_plugin";
    const NAME: &'static str = "evbus_plugin";
    const VERSION_STRINGS: VersionStrings = abi_stable::package_version_strings!();
}
