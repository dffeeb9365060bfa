//! Salvage without enough room for the copy.
#![allow(clippy::wildcard_imports)] // It is a part of the tests above it.

use super::*;

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_moves_nothing_and_the_next_start_recovers_all() {
    let source = tempfile::tempdir().unwrap();
    let damaged = fs::read(damaged(source.path()).await).unwrap();
    let disk = Tmpfs::new(&format!("{}", damaged.len() * 3 / 2));
    let dir = disk.0.path();
    let file = state(dir).store_file(&name("idem-*", 0));
    fs::write(&file, &damaged).unwrap();
    let before = files(dir);
    for _ in 0..3 {
        let state_dir = state(dir);
        let refused = Journal::open(&state_dir, &name("idem-*", 0)).unwrap_err();
        let refused = refused.to_string();
        let expected = format!("the disk of {} is full: cannot salvage", dir.display());
        assert!(refused.contains(&expected), "{refused}");
        assert!(refused.contains("free some"), "{refused}");
        assert_eq!(files(dir), before);
        assert!(fs::read(&file).unwrap() == damaged, "it is as it was");
    }
    disk.grow("32m");
    let (there, told) = account(dir).await;
    assert!(there >= 2970, "{there}");
    assert_eq!(there + told, 3000);
}

#[tokio::test]
async fn a_disk_that_is_full_while_the_store_is_used_is_waited_for() {
    let disk = Tmpfs::new("32m");
    let dir = disk.0.path();
    let file = filled(dir, 20_000).await;
    let state_dir = state(dir);
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / BLOCK / 2 * BLOCK;
    content[middle..middle + BLOCK].fill(0);
    fs::write(&file, content).unwrap();
    let filler = dir.join("filler");
    let mut hog = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut hog, &[1; 4096]).is_ok() {}
    let mut hog = Some(hog);
    let (mut there, mut damaged, mut from) = (0, 0, 0);
    let mut refused = 0;
    let patience = std::time::Instant::now();
    loop {
        let loaded = journal.read(from, 1000, usize::MAX).await.unwrap();
        damaged += loaded.damaged;
        there += loaded.events.len() as u64;
        from = loaded.events.last().map_or(from, |last| last.seq + 1);
        if loaded.complete_to.is_some() {
            break;
        }
        if loaded.events.is_empty() {
            refused += 1;
            assert!(patience.elapsed().as_secs() < 90, "there is room again");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if refused == 20
            && let Some(hog) = hog.take()
        {
            assert_eq!(kept(dir), 0, "nothing is moved while there is no room");
            journal.append(20_001, 0, &event(20_001), true);
            let reason = journal.receipt(20_001).written().await.unwrap_err();
            assert!(reason.contains("free some"), "{reason}");
            fs::remove_file(&filler).unwrap();
            drop(hog);
        }
    }
    assert!(refused >= 20);
    let missing = 20_001 - there - damaged;
    assert!((1..=30).contains(&missing), "{missing} are missing");
    assert_eq!(kept(dir), 1);
    journal.receipt(20_001).written().await.unwrap();
    journal.close().await.unwrap();
}
