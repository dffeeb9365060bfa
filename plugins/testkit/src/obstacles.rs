//! What a configuration may name by mistake: other things than regular files, and ports with another protocol.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes things in a directory that no plugin may read as a file, and may not wait for: a named pipe, a
/// socket and a file of one byte more than `max`; a device is among them, too. With each comes what
/// [`read_file`](evbus_sdk::read_file) says of it.
pub fn odd_files(dir: &Path, max: u64) -> [(PathBuf, String); 4] {
    let socket = dir.join("socket");
    // The socket's file remains after it is closed.
    UnixListener::bind(&socket).expect("a socket");
    let large = dir.join("large");
    File::create(&large)
        .and_then(|file| file.set_len(max + 1))
        .expect("a hole takes no room");
    [
        (
            named_pipe(&dir.join("pipe")),
            "it is a named pipe".to_owned(),
        ),
        (socket, "it is a socket".to_owned()),
        ("/dev/zero".into(), "it is a device".to_owned()),
        (large, format!("it has more than {max} bytes")),
    ]
}

/// Makes a named pipe that nobody writes to.
pub fn named_pipe(path: &Path) -> PathBuf {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo is installed").success());
    path.to_owned()
}

/// A port at which everybody is answered with these bytes, or with nothing, until the process ends.
pub fn port_that_answers(answer: Option<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            match answer {
                None => held.push(stream),
                Some(answer) => {
                    // The peer may be gone already.
                    let _ = stream.read(&mut [0; 512]);
                    let _ = stream.write_all(answer);
                }
            }
        }
    });
    address
}
