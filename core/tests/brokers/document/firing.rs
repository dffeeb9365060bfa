//! "Firing Events": the calls in Rust.

use std::time::Duration;

use evbus::{Fired, Host};
use evbus_testkit::plugin_dir;
use serde_json::{Value, json};

/// Receives what the examples fire, and nothing else.
const ACCT: &str = "internal:\n  idem-*:\n    routing_key: mine\n";

/// Starts a host, and asserts that the fired event arrives in the envelope.
async fn arrives(fire: impl AsyncFnOnce(evbus::Bus) -> Fired) {
    let plugins = tokio::task::spawn_blocking(|| plugin_dir(&["plugin-glob"])).await;
    let plugins = plugins.unwrap();
    let acct = plugins.path().join("acct.yml");
    std::fs::write(&acct, ACCT).unwrap();
    let host = Host::builder()
        .acct_file(acct)
        .plugin_dir(plugins.path())
        .run_name("The user-given run_name")
        .start()
        .await
        .unwrap();
    let mut mine = host.internal("mine");
    let fired = fire(host.bus().clone()).await;
    assert_eq!(fired.destinations, 1);
    let event = mine.recv().await;
    assert_eq!(event.profile, "idem-[plugin]");
    let body: Value = serde_json::from_slice(&event.body).unwrap();
    assert_eq!(
        body,
        json!({
            "tags": {},
            "message": "Any serializable object",
            "run_name": "The user-given run_name",
        })
    );
    let lanes = host.shutdown(Duration::from_secs(10)).await;
    assert_eq!(lanes[0].counts.accepted, 1);
}

/// `await hub.idem.event.put(body="Any serializable object", profile="idem-[plugin]", tags={})`
#[tokio::test(flavor = "multi_thread")]
async fn put_fires_any_serializable_object() {
    arrives(async |bus| {
        let fired = bus.put_tagged("idem-[plugin]", "Any serializable object", []);
        fired.await.unwrap()
    })
    .await;
}

/// `hub.idem.event.put_nowait(body="Any serializable object", profile="idem-[plugin]", tags={})`
#[tokio::test(flavor = "multi_thread")]
async fn put_nowait_fires_any_serializable_object() {
    arrives(async |bus| {
        bus.put_nowait_tagged("idem-[plugin]", "Any serializable object", [])
            .unwrap()
    })
    .await;
}
