//! The plugin's process: what `evbus plugin-child` does.
//!
//! The main thread reads the socket and ends the process with it, whatever the plugin does. A
//! second one loads the plugin and calls it, a third sends what the socket did not take at once.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;

use evbus_abi::v1::{
    BatchV1, CompletionV1, ConnectFailureV1, ConnectOutcomeV1, HostV1, InstanceV1, LevelV1,
};
use evbus_abi::{RErr, ROk};
use rustix::fs::{FileType, fstat};
use rustix::process::{Signal, getpid, kill_process, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use super::outbox::{Outbox, RemoteHost, RemoteVoice};
use super::probe;
use super::spawn::{COMMAND, receive_image};
use super::wire::{self, ReceivedEvent, ToChild, ToHost, one_line};
use crate::Plugin;
use bytes::Bytes;

/// How much sooner than its host the kernel ends this process when memory runs out (the host
/// usually has 0, the most is 1000).
const OOM_SCORE: i32 = 500;

/// Runs the process of one plugin until the host releases it.
///
/// The evbus program calls it for its hidden command `plugin-child`. A program that embeds a host and
/// names itself with `HostBuilder::isolation_program` must call it before anything else if its first
/// argument is `plugin-child`. Standard input is the host's socket. Returns if it is not; otherwise it
/// blocks and ends the process itself.
pub fn child_main() -> ExitCode {
    let Err(reason) = run();
    // There is no host to inform.
    eprintln!("error: {COMMAND}: {reason}");
    ExitCode::from(2)
}

fn run() -> Result<std::convert::Infallible, String> {
    let socket = take_socket()?;
    ignore_signals();
    go_first();
    go_with_the_host();
    let image = receive_image(&socket).map_err(|error| error.to_string())?;
    let mut sending = socket.try_clone().map_err(|error| error.to_string())?;
    // Whether the host is gone shows when its greeting is read.
    let _ = sending.write_all(&wire::greeting());
    let mut socket = BufReader::with_capacity(64 * 1024, socket);
    let Ok(first) = wire::read(&mut socket) else {
        end();
    };
    if let Some(other) = wire::other_version(&first) {
        return Err(wire::refused_host(&other));
    }
    let outbox = Arc::new(Outbox::new(sending));
    let (calls, queue) = mpsc::channel();
    spawn("evbus sender", {
        let outbox = Arc::clone(&outbox);
        move || outbox.run()
    })?;
    spawn("evbus caller", move || {
        serve(image, &queue, &outbox);
    })?;
    loop {
        match wire::read(&mut socket) {
            // The queue is bounded by the host's limit of batches in flight. Its receiver lives as long as the
            // process.
            Ok(frame) => drop(calls.send(frame)),
            Err(_) => end(),
        }
    }
}

/// Takes the socket off standard input, which a plugin or its child processes might read.
fn take_socket() -> Result<UnixStream, String> {
    let stdin = std::io::stdin();
    let is_socket =
        fstat(&stdin).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    if !is_socket {
        return Err(
            "only the host starts this command, for destinations with `isolate: process`"
                .to_owned(),
        );
    }
    let socket = stdin
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| error.to_string())?;
    let nothing = File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
    rustix::stdio::dup2_stdin(&nothing).map_err(|error| error.to_string())?;
    Ok(UnixStream::from(socket))
}

/// A terminal and a service manager send these to all processes of a host, but the host decides when a plugin ends:
/// after the queued events.
fn ignore_signals() {
    // Catching is the safe way to ignore a signal; it stays caught after the runtime is gone.
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
    {
        let _inside = runtime.enter();
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
            // Without the signal, exceeding a file size limit is an error of the write.
            SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()),
        ] {
            // If this fails, a signal ends the process early, and the host starts another.
            drop(signal(kind));
        }
    }
}

/// If memory runs out, the kernel ends the plugin before the host.
fn go_first() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(FILE).ok();
    if now.is_none_or(|now| now.trim().parse().unwrap_or(0) < OOM_SCORE) {
        // This may be forbidden; then the kernel chooses.
        let _ = std::fs::write(FILE, OOM_SCORE.to_string());
    }
}

/// A stopped process cannot notice that its host is gone, and would keep its locks.
fn go_with_the_host() {
    // If this fails, a running process still notices the end of the socket.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}

/// Ends the process at once, so that no destructor of a plugin can hang.
fn end() -> ! {
    loop {
        // A process may always kill itself.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

/// Loads the plugin and carries out the host's calls, one after the other.
fn serve(image: OwnedFd, calls: &mpsc::Receiver<Bytes>, outbox: &Arc<Outbox>) {
    let fail = |permanent, reason: &str| {
        let reason = one_line(reason);
        outbox.answer(&ToHost::Failed { permanent, reason });
    };
    // The main thread holds the sender as long as the process lives.
    let first = calls.recv().unwrap_or_default();
    let (max_level, path, config) = match wire::message(&first) {
        Ok(ToChild::Connect {
            max_level,
            path,
            config,
        }) => (LevelV1(max_level), path, config),
        Ok(ToChild::Probe { path }) => return probe::serve(image, path.as_ref(), outbox),
        _ => end(),
    };
    let plugin = match Plugin::of_image(image, path.as_ref(), || ()) {
        Ok(plugin) => plugin,
        Err(reason) => {
            return fail(
                true,
                &format!("its process cannot load the plugin: {reason}"),
            );
        }
    };
    plugin.attach(HostV1::new(RemoteVoice(Arc::clone(outbox)), max_level));
    let instance = match connect(&plugin, config, max_level, outbox) {
        Some(ROk(instance)) => instance,
        Some(RErr(ConnectFailureV1 { permanent, reason })) => return fail(permanent, &reason),
        None => return fail(false, "the plugin dropped the request to connect"),
    };
    outbox.answer(&ToHost::Connected(instance.limits));
    // Events of a batch that is not complete yet.
    let mut received = Vec::new();
    while let Ok(frame) = calls.recv() {
        match wire::message(&frame) {
            Ok(ToChild::Events {
                batch,
                events,
                last,
            }) => {
                received.extend(events.received(&frame));
                if last {
                    publish(&instance, batch, std::mem::take(&mut received), outbox);
                }
            }
            Ok(ToChild::Close) => close(&instance, outbox),
            // A host connects only once and sends no other message.
            Ok(ToChild::Connect { .. } | ToChild::Probe { .. }) | Err(_) => end(),
        }
    }
}

fn connect(
    plugin: &Plugin,
    config: &str,
    max_level: LevelV1,
    outbox: &Arc<Outbox>,
) -> Option<ConnectOutcomeV1> {
    let (sender, answer) = mpsc::sync_channel(1);
    let host = HostV1::new(RemoteHost(Arc::clone(outbox)), max_level);
    let done = CompletionV1::new(move |connected| drop(sender.send(connected)));
    plugin.connect(config, host, done);
    answer.recv().ok().flatten()
}

fn publish(instance: &InstanceV1, batch: u64, events: Vec<ReceivedEvent>, outbox: &Arc<Outbox>) {
    let count = events.len();
    let published = BatchV1::new(events, count, |events, views| {
        for event in events {
            views.push(event.view(), event.attributes());
        }
    });
    let outbox = Arc::clone(outbox);
    let done = CompletionV1::new(move |outcome| {
        let outcome = Option::as_ref(&outcome).map(Into::into);
        outbox.answer(&ToHost::Outcome { batch, outcome });
    });
    instance.publish(published, done);
}

/// Closes the instance, and ends the process.
fn close(instance: &InstanceV1, outbox: &Outbox) {
    let (sender, closed) = mpsc::sync_channel(1);
    instance.close(CompletionV1::new(move |_| {
        // The receiver waits below.
        let _ = sender.send(());
    }));
    // A dropped completion closes the channel, which counts as closed too.
    let _ = closed.recv();
    outbox.answer(&ToHost::Closed);
    outbox.flush();
    end();
}
