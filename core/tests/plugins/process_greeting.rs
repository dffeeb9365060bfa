//! A plugin's process and a host of another version.

use std::fs::File;
use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::support::{evbus, stderr};

#[test]
fn a_host_of_another_version_is_refused_before_its_messages_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut host, stdin) = UnixStream::pair().unwrap();
    // Like a host, sends the plugin's file first.
    let file = File::open("/dev/null").unwrap();
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut descriptors = SendAncillaryBuffer::new(&mut space);
    assert!(descriptors.push(SendAncillaryMessage::ScmRights(&files)));
    let byte = [IoSlice::new(b"\n")];
    sendmsg(&host, &byte, &mut descriptors, SendFlags::empty()).unwrap();
    host.write_all(b"\x0b\0\0\0EVBP\x09\x009.9.9").unwrap();
    let mut command = evbus(dir.path());
    command.args(["plugin-child", "x"]);
    let output = command.stdin(OwnedFd::from(stdin)).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let ours = format!("this program is evbus {} (", env!("CARGO_PKG_VERSION"));
    for version in [&*ours, "host that started it is evbus 9.9.9 (protocol 9)"] {
        assert!(said.contains(version), "{said}");
    }
}
