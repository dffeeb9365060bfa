//! Just enough of Kafka's protocol to know that a server is ready, and to make and remove topics:
//! a tool of Kafka's own takes seconds for each of these.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::brokers::HOST;

const LIMIT: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 1024 * 1024;

// The last versions of each request before the compact encoding.
const METADATA: (i16, i16) = (3, 7);
const CREATE_TOPICS: (i16, i16) = (19, 4);
const DELETE_TOPICS: (i16, i16) = (20, 3);

/// Succeeds when the server serves requests and knows itself as a member of the cluster.
pub(super) fn ready(port: u16) -> Result<(), String> {
    let mut answer = call(port, METADATA, |body| {
        body.extend(0_i32.to_be_bytes()); // of no topic
        body.push(0);
    })?;
    answer.skip(4)?; // throttle time
    match answer.i32()? {
        0 => Err("the cluster has no member yet".to_owned()),
        _ => Ok(()),
    }
}

/// Asks for a topic with one replica of each partition.
pub(super) fn create_topic(port: u16, name: &str, partitions: u32) -> Result<(), String> {
    let mut answer = call(port, CREATE_TOPICS, |body| {
        body.extend(1_i32.to_be_bytes());
        string(body, name);
        body.extend(partitions.to_be_bytes());
        body.extend(1_i16.to_be_bytes()); // replicas
        body.extend(0_i32.to_be_bytes()); // no assignment by hand
        body.extend(0_i32.to_be_bytes()); // no settings
        body.extend(10_000_i32.to_be_bytes()); // ms
        body.push(0); // not only to validate
    })?;
    answer.skip(4 + 4)?; // throttle time, number of topics
    answer.string()?;
    let code = answer.i16()?;
    let message = answer.string()?;
    check(code, &message)
}

/// Asks for a topic's removal.
pub(super) fn delete_topic(port: u16, name: &str) -> Result<(), String> {
    let mut answer = call(port, DELETE_TOPICS, |body| {
        body.extend(1_i32.to_be_bytes());
        string(body, name);
        body.extend(10_000_i32.to_be_bytes()); // ms
    })?;
    answer.skip(4 + 4)?; // throttle time, number of topics
    answer.string()?;
    let code = answer.i16()?;
    check(code, "")
}

/// The number of partitions of a topic that have a leader; `None` when the topic is not known.
pub(super) fn led_partitions(port: u16, name: &str) -> Result<Option<u32>, String> {
    let mut answer = call(port, METADATA, |body| {
        body.extend(1_i32.to_be_bytes());
        string(body, name);
        body.push(0); // do not create it
    })?;
    answer.skip(4)?; // throttle time
    for _ in 0..answer.i32()? {
        answer.skip(4)?; // node
        answer.string()?; // host
        answer.skip(4)?; // port
        answer.string()?; // rack
    }
    answer.string()?; // cluster
    answer.skip(4 + 4)?; // controller, number of topics
    if answer.i16()? != 0 {
        return Ok(None);
    }
    answer.string()?;
    answer.skip(1)?; // internal
    let mut led = 0;
    for _ in 0..answer.i32()? {
        answer.skip(2 + 4)?; // error, partition
        led += u32::from(answer.i32()? >= 0);
        answer.skip(4)?; // epoch
        for _ in 0..3 {
            let nodes = usize::try_from(answer.i32()?).unwrap_or(0);
            answer.skip(nodes * 4)?; // replicas, those in sync, those offline
        }
    }
    Ok(Some(led))
}

fn check(code: i16, message: &str) -> Result<(), String> {
    if code == 0 {
        Ok(())
    } else {
        Err(format!("error code {code} {message}").trim_end().to_owned())
    }
}

fn call(
    port: u16,
    (key, version): (i16, i16),
    body: impl FnOnce(&mut Vec<u8>),
) -> Result<Answer, String> {
    let text = |error: std::io::Error| format!("port {port}: {error}");
    let mut request = vec![0; 4];
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(0_i32.to_be_bytes()); // correlation
    string(&mut request, "evbus-xtask");
    body(&mut request);
    let length = u32::try_from(request.len() - 4).unwrap_or(u32::MAX);
    request[..4].copy_from_slice(&length.to_be_bytes());

    let address = SocketAddr::new(HOST.parse().expect("an address"), port);
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).map_err(text)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(text)?;
    stream.write_all(&request).map_err(text)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(text)?;
    let length = u32::from_be_bytes(length) as usize;
    if !(4..=MAX_ANSWER).contains(&length) {
        return Err(format!("port {port}: the answer is not Kafka's"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).map_err(text)?;
    Ok(Answer { bytes, at: 4 }) // behind the correlation
}

fn string(body: &mut Vec<u8>, text: &str) {
    // Kafka's names have at most 249 characters: a longer name is truncated here and then refused by the server.
    let bytes = &text.as_bytes()[..text.len().min(1000)];
    body.extend(u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
    body.extend(bytes);
}

struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let taken = self
            .bytes
            .get(self.at..self.at.saturating_add(count))
            .ok_or("the answer ends early")?;
        self.at += count;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), String> {
        self.take(count).map(drop)
    }

    fn i16(&mut self) -> Result<i16, String> {
        let bytes = self.take(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn i32(&mut self) -> Result<i32, String> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A string; an absent one is empty.
    fn string(&mut self) -> Result<String, String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}
