//! One thread that copies bytes from one Unix socket to others.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use evbus_wire::{PUB_SOCKET, PULL_SOCKET};

/// What it reads at a time: as much as the host.
const READ_BYTES: usize = 64 * 1024;

/// Makes the two sockets, and ends when the program or a listener does.
pub(super) fn copy(listeners: usize, sockets: &Path) {
    let publish = UnixListener::bind(sockets.join(PUB_SOCKET)).unwrap();
    let pull = UnixListener::bind(sockets.join(PULL_SOCKET)).unwrap();
    let mut listeners: Vec<UnixStream> = (0..listeners)
        .map(|_| publish.accept().unwrap().0)
        .collect();
    let (mut program, _) = pull.accept().unwrap();
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = program.read(&mut buffer) {
        for listener in &mut listeners {
            if listener.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    }
}
