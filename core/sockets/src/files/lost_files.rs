//! Notices socket files that are removed or replaced while the host runs: connected programs stay
//! connected, but no others can connect.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use crate::files::socket_file::Identity;
use crate::senders::connection::PullCounters;

/// How often they are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// The files to look at. A clone has the same.
pub(crate) type Files = Arc<Mutex<Vec<Identity>>>;

/// Looks at the files for as long as the host runs, logs each that is lost once, and counts those that are.
pub(crate) async fn watch(files: Files, counters: Arc<PullCounters>) {
    let mut lost = BTreeSet::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let known = files.lock().clone();
        // The disk may be slow, or gone.
        let looked = tokio::task::spawn_blocking(move || {
            let lost = known.iter().filter(|file| !file.is_there());
            lost.map(|file| file.path.clone())
                .collect::<BTreeSet<PathBuf>>()
        });
        // It does not panic, and is not aborted.
        let now = looked.await.unwrap_or_default();
        for path in now.difference(&lost) {
            tracing::error!(
                "the socket {path:?} was removed or replaced while the host was running, so programs can no longer connect to it; restart the host, or move the socket back"
            );
        }
        for path in lost.difference(&now) {
            tracing::info!("the socket {path:?} is back");
        }
        lost = now;
        (counters.lost_sockets).store(lost.len() as u64, Ordering::Relaxed);
    }
}
