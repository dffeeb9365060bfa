//! Just enough AMQP 0-9-1 to know that a server lets a user in.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::HOST;

const LIMIT: Duration = Duration::from_secs(5);
const METHOD_FRAME: u8 = 1;
const FRAME_END: u8 = 0xCE;
const CONNECTION: u16 = 10;
const START: u16 = 10;
const START_OK: u16 = 11;
const TUNE: u16 = 30;
/// Servers answer the handshake with frames of a few hundred bytes.
const MAX_FRAME: usize = 64 * 1024;

/// Connects and logs in; the server has then accepted the user and asks to tune the connection.
///
/// # Errors
///
/// What happened instead.
pub(crate) fn log_in(port: u16, user: &str, password: &str) -> Result<(), String> {
    let text = |error: std::io::Error| format!("port {port}: {error}");
    let address = SocketAddr::new(HOST.parse().expect("an address"), port);
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).map_err(text)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(text)?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").map_err(text)?;
    expect(&mut stream, START).map_err(|error| format!("port {port}: {error}"))?;
    stream.write_all(&start_ok(user, password)).map_err(text)?;
    expect(&mut stream, TUNE).map_err(|error| format!("port {port}: login: {error}"))
}

fn start_ok(user: &str, password: &str) -> Vec<u8> {
    let response = format!("\0{user}\0{password}");
    let mut body = Vec::new();
    body.extend(CONNECTION.to_be_bytes());
    body.extend(START_OK.to_be_bytes());
    body.extend(0_u32.to_be_bytes()); // no client properties
    body.extend(b"\x05PLAIN");
    body.extend(
        u32::try_from(response.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    body.extend(response.as_bytes());
    body.extend(b"\x05en_US");

    let mut frame = vec![METHOD_FRAME, 0, 0];
    frame.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(body);
    frame.push(FRAME_END);
    frame
}

fn expect(stream: &mut TcpStream, method: u16) -> Result<(), String> {
    let mut head = [0; 7];
    stream
        .read_exact(&mut head)
        .map_err(|error| error.to_string())?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    if head[0] != METHOD_FRAME || !(4..=MAX_FRAME).contains(&length) {
        return Err("the answer is not AMQP 0-9-1".to_owned());
    }
    let mut body = vec![0; length + 1];
    stream
        .read_exact(&mut body)
        .map_err(|error| error.to_string())?;
    let found = (
        u16::from_be_bytes([body[0], body[1]]),
        u16::from_be_bytes([body[2], body[3]]),
    );
    if found == (CONNECTION, method) {
        Ok(())
    } else {
        Err(format!(
            "method {}.{} instead of {CONNECTION}.{method}",
            found.0, found.1
        ))
    }
}
