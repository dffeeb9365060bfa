//! A disk that is full again and again: space of the queues is free again when they are empty.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::tmpfs::Tmpfs;
use evbus::store::deadletters::Filter;
use evbus::{Host, PutError};
use evbus_testkit::plugin_dir;
use tempfile::TempDir;

/// The size of the disk in mebibytes, and how often it is filled; `EVBUS_LONG_TESTS=1` increases both.
fn extent() -> (usize, usize) {
    if std::env::var_os("EVBUS_LONG_TESTS").is_some() {
        (100, 20)
    } else {
        (16, 4)
    }
}

/// A host on a small disk whose destination `filled` can be away, and whose `other` is not affected by that.
struct Bench {
    host: Host,
    acct: PathBuf,
    disk: Tmpfs,
    _plugins: TempDir,
    _dir: TempDir,
}

fn acct(is_away: bool) -> String {
    let path = if is_away {
        "/nowhere/at/all"
    } else {
        "/dev/null"
    };
    let policy =
        "evbus: {durable: true, queue: {events: 50}, retry: {first_delay: 0.01, max_delay: 0.05}}";
    format!(
        "fixture-good:\n- filled: {{path: {path}, {policy}}}\n- other: {{path: /dev/null, {policy}}}\n"
    )
}

impl Bench {
    async fn new(mebibytes: usize) -> Self {
        let (disk, dir) = (
            Tmpfs::mount(&format!("{mebibytes}m")),
            tempfile::tempdir().unwrap(),
        );
        let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
        let file = dir.path().join("acct.yml");
        fs::write(&file, acct(true)).unwrap();
        let host = Host::builder()
            .acct_file(file.as_path())
            .plugin_dir(plugins.path())
            .state_dir(disk.path().join("state"));
        Self {
            host: host.start().await.unwrap(),
            acct: file,
            disk,
            _plugins: plugins,
            _dir: dir,
        }
    }

    async fn set_away(&self, is_away: bool) {
        fs::write(&self.acct, acct(is_away)).unwrap();
        self.host.reload().await.unwrap();
    }

    /// Puts durable events until the disk is full; returns how many bytes it accepted.
    async fn fill(&self) -> usize {
        let body = "x".repeat(100_000);
        let mut bytes = 0;
        loop {
            match self.host.bus().put("filled", &body).await {
                Ok(_) => bytes += body.len(),
                Err(PutError::NotStored { .. }) => return bytes,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn size(&self) -> u64 {
        size(&self.disk.path().join("state/queues"))
    }

    async fn wait_until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) -> Duration {
        let started = Instant::now();
        while !is(self) {
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        started.elapsed()
    }

    async fn drain(&self) {
        self.set_away(false).await;
        self.wait_until("an empty queue", |bench| {
            bench.host.bus().status()[0].counts.queued == 0
        })
        .await;
    }
}

fn size(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_disk_that_was_full_takes_durable_events_whenever_the_queues_are_empty() {
    let (mebibytes, rounds) = extent();
    let bench = Bench::new(mebibytes).await;
    let first = bench.fill().await;
    assert!(first > mebibytes * 400_000, "{first} bytes fit");
    for round in 0..rounds {
        bench.drain().await;
        for profile in ["other", "filled"] {
            let put = bench.host.bus().put(profile, "another").await;
            put.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        bench.set_away(true).await;
        let full = bench.size();
        // In every second round, the disk is filled while the files shrink.
        if round % 2 == 0 {
            let took = bench
                .wait_until("small files", |bench| bench.size() < 2_000_000)
                .await;
            println!(
                "round {round}: {full} to {} bytes in {took:?}",
                bench.size()
            );
        }
        let again = bench.fill().await;
        assert!(
            again > first * 9 / 10,
            "round {round}: {again} bytes fit, {first} at first"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_spills_to_a_full_disk_is_not_taken_before_it_is_there() {
    let (disk, dir) = (Tmpfs::mount("4m"), tempfile::tempdir().unwrap());
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = dir.path().join("acct.yml");
    let text = "fixture-good: {'*': {path: /nowhere/at/all, evbus: {when_full: spill, queue: {events: 1}}}}\n";
    fs::write(&acct, text).unwrap();
    let host = Host::builder()
        .acct_file(acct.as_path())
        .plugin_dir(plugins.path())
        .state_dir(disk.path().join("state"));
    let host = host.start().await.unwrap();
    // The first one stays in memory, the second one goes to disk.
    for body in ["1", "2"] {
        host.bus().put("p", body).await.unwrap();
    }
    let mut filler = fs::File::create(disk.path().join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    let body = "x".repeat(100_000);
    let puts: Vec<_> = (0..5)
        .map(|_| {
            let (bus, body) = (host.bus().clone(), body.clone());
            tokio::spawn(async move { bus.put("p", &body).await })
        })
        .collect();
    let started = Instant::now();
    while host.bus().status()[0].disk_fault.is_none() {
        assert!(started.elapsed() < PATIENCE, "the disk is full");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = host.shutdown(Duration::from_millis(100)).await;
    let mut kept = 1;
    for put in puts {
        kept += u64::from(put.await.unwrap().is_ok());
    }
    let on_disk = left[0].counts.queued_on_disk;
    assert!(on_disk >= kept, "{kept} were to be there, {on_disk} are");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_store_is_small_again() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = dir.path().join("acct.yml");
    let text = "fixture-good:\n  refused: {path: /dev/null, reject_containing: x}\n";
    fs::write(&acct, text).unwrap();
    let state = dir.path().join("state");
    let host = Host::builder()
        .acct_file(acct.as_path())
        .plugin_dir(plugins.path())
        .state_dir(&state);
    let host = host.start().await.unwrap();
    let body = "x".repeat(100_000);
    for _ in 0..100 {
        host.bus().put("refused", &body).await.unwrap();
    }
    assert!(host.bus().drain(PATIENCE).await);
    let all = Filter::default();
    let mut purged = 0;
    while purged < 100 {
        purged += host.purge(&all).await.unwrap();
    }
    let started = Instant::now();
    while size(&state.join("queues")) > 1_000_000 {
        assert!(
            started.elapsed() < PATIENCE,
            "{}",
            size(&state.join("queues"))
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
