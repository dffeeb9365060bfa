//! Follows the plugin directories and the acct file.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::deployment::Deployment;
use evbus_plugin::PluginWatch;

/// Has the deployment look again whenever one of them may have changed.
pub(super) async fn follow(mut watch: PluginWatch, deployment: Arc<Mutex<Deployment>>) {
    let mut again = None;
    loop {
        match again {
            // What the watch has seen meanwhile is looked at, too.
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
