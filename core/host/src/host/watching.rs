//! Follows the plugin directories and the acct file, and looks after the state directory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::deployment::Deployment;
use evbus_plugin::PluginWatch;
use evbus_store::StateDir;

/// How often to check that the state directory still exists.
const LOOK: Duration = Duration::from_secs(2);

/// Logs if somebody removes or replaces the state directory or its lock, even if the host writes nothing.
pub(super) async fn look_after(state: StateDir) {
    let mut was_held = true;
    loop {
        tokio::time::sleep(LOOK).await;
        let is_held = state.is_held();
        if was_held && !is_held {
            tracing::error!(
                "the state directory {:?} or its lock was removed or replaced while the host was running; it is made again when an event has to be kept there; stop the host before you touch its state directory",
                state.path()
            );
        }
        was_held = is_held;
    }
}

/// Lets the deployment check again whenever files may have changed.
pub(super) async fn follow(mut watch: PluginWatch, deployment: Arc<Mutex<Deployment>>) {
    let mut again = None;
    loop {
        match again {
            // Changes that the watch notices in the meantime count too.
            Some(rest) => {
                let _ = tokio::time::timeout(rest, watch.changed()).await;
            }
            None => watch.changed().await,
        }
        let mut deployment = deployment.lock().await;
        if deployment.rescan(false).await.is_err() {
            return;
        }
        again = deployment.follow_acct_file(watch.is_being_written()).await;
    }
}
