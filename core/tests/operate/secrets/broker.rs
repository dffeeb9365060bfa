//! A broker that repeats the login of everybody who connects, in many forms, and refuses it.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Starts it and returns its port. It answers as long as the process lives.
pub(crate) fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            // A refused client may disconnect at any time.
            let _ = refuse(stream, count);
        }
    });
    port
}

fn refuse(mut stream: TcpStream, count: usize) -> io::Result<()> {
    stream.read_exact(&mut [0; 8])?;
    let mut start = vec![0, 10, 0, 10, 0, 9, 0, 0, 0, 0];
    start.extend(long("PLAIN"));
    start.extend(long("en_US"));
    stream.write_all(&frame(&start))?;
    let login = login(&read_frame(&mut stream)?);
    let said = match count % 4 {
        0 => login,
        1 => format!("{login:?}"),
        2 => STANDARD.encode(&login),
        _ => login.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02X}").unwrap();
            text
        }),
    };
    let said = &said.as_bytes()[..said.len().min(255)];
    let mut close = vec![0, 10, 0, 50];
    let code: u16 = [541, 530, 403][count / 4 % 3];
    close.extend(code.to_be_bytes());
    close.push(u8::try_from(said.len()).unwrap());
    close.extend(said);
    close.extend([0, 0, 0, 0]);
    stream.write_all(&frame(&close))?;
    read_frame(&mut stream).map(drop)
}

/// The login in a start-ok: it follows the mechanism's name.
fn login(start_ok: &[u8]) -> String {
    let at = memchr::memmem::find(start_ok, b"\x05PLAIN").unwrap() + 6;
    let (length, rest) = start_ok[at..].split_at(4);
    let length = u32::from_be_bytes(length.try_into().unwrap());
    String::from_utf8_lossy(&rest[..length as usize]).into_owned()
}

fn long(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&length, text.as_bytes()].concat()
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[1, 0, 0][..], &length, payload, &[0xCE]].concat()
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 7];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let mut payload = vec![0; length as usize + 1];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}
