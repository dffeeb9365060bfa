//! One connection to the broker, made within a time limit and reliably closed.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evbus_sdk::{ConfigFault, ConnectError, tokio, tracing};
use futures_core::Stream;
use lapin::options::ConfirmSelectOptions;
use lapin::tcp::RustlsConnector;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cause::{self, Stage};
use crate::config::{ConnectionConfig, SslOptions};
use crate::endpoint::Endpoint;
use crate::outcome::{Cause, Failure};
use crate::tls;

/// How often a silent connection is checked: lapin reports every end except an orderly one of its own.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The longest wait for the broker's answer to an orderly close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Makes connections, always to the same broker.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    endpoint: Endpoint,
    tls: Option<RustlsConnector>,
    properties: ConnectionProperties,
    within: Duration,
    channels: u16,
}

impl Connector {
    /// Reads the TLS files; blocks on them. `channels`: so many are open at once.
    ///
    /// # Errors
    ///
    /// A fault of the configuration.
    pub(crate) fn new(config: &ConnectionConfig, channels: u16) -> Result<Self, ConnectError> {
        let unusable = |faults: Vec<ConfigFault>| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            ConnectError::permanent(faults.join("; "))
        };
        let endpoint = Endpoint::new(config).map_err(unusable)?;
        let tls = if endpoint.is_tls() {
            let system = SslOptions {
                verify: true,
                ..SslOptions::default()
            };
            let options = config.ssl_options.as_ref().unwrap_or(&system);
            if !options.verify {
                tracing::warn!("the certificate of {endpoint} is not checked (verify: false)");
            }
            Some(tls::connector(options).map_err(unusable)?)
        } else {
            None
        };
        let mut properties = ConnectionProperties::default().with_connection_name("evbus".into());
        for (name, value) in config.client_properties.iter().flatten() {
            // `Config::check` has refused names that are too long.
            if let Ok(name) = lapin::types::ShortString::try_new(name.as_str()) {
                properties = properties.with_client_property(name, value.to_string().into());
            }
        }
        Ok(Self {
            endpoint,
            tls,
            properties,
            within: config.timeout(),
            channels,
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects and logs in, within the configured time.
    ///
    /// # Errors
    ///
    /// Says where to, and why not.
    pub(crate) async fn connect(&self) -> Result<Session, ConnectError> {
        let socket = Socket::default();
        let stage = Arc::new(Mutex::new(Stage::Resolving));
        let runtime = lapin::runtime::default_runtime().map_err(|error| {
            ConnectError::retry(format!("cannot start a runtime for lapin: {error}"))
        })?;
        let opening = {
            let (tls, socket, within) = (self.tls.clone(), socket.clone(), self.within);
            let stage = Arc::clone(&stage);
            let at = move |now| *stage.lock().unwrap_or_else(PoisonError::into_inner) = now;
            Connection::connector(
                self.endpoint.uri().clone(),
                runtime,
                // Runs on lapin's thread, which a timeout around the whole would not stop.
                async move |uri, runtime| {
                    let authority = &uri.authority;
                    let opening = async {
                        let host = (authority.host.as_str(), authority.port);
                        let addresses: Vec<_> = tokio::net::lookup_host(host).await?.collect();
                        at(Stage::Dialling);
                        let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                        if let AsyncTcpStream::Plain(plain) = &stream {
                            socket.keep(plain.get_ref().as_fd())?;
                        }
                        let stream = match &tls {
                            Some(tls) => {
                                at(Stage::Handshake);
                                stream.into_rustls(tls, &authority.host).await?
                            }
                            None => stream,
                        };
                        at(Stage::Greeting);
                        Ok::<_, io::Error>(stream)
                    };
                    let opened = tokio::time::timeout(within, opening).await;
                    Ok(opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
                },
                self.properties.clone(),
            )
        };
        let error = match tokio::time::timeout(self.within, opening).await {
            Ok(Ok(connection)) => {
                let session = Session {
                    connection,
                    socket,
                    given_up: watch::Sender::default(),
                    blocked: watch::Sender::default(),
                };
                return self.has_channels(session);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        socket.hang_up();
        let stage = *stage.lock().unwrap_or_else(PoisonError::into_inner);
        Err(cause::connect_error(&self.endpoint, stage, error.as_ref()).await)
    }

    /// Checks that all channels that the destination uses at once can be opened.
    fn has_channels(&self, session: Session) -> Result<Session, ConnectError> {
        match session.connection.configuration().channel_max() {
            // 0 means no limit.
            most if most != 0 && most < self.channels => Err(ConnectError::permanent(format!(
                "cannot use {}: a connection may have only {most} channel (`channel_max` of the broker or the `url`), but this destination needs {}; raise it, or set `declare: false`",
                self.endpoint, self.channels
            ))),
            _ => Ok(session),
        }
    }
}

/// A second reference to the connection's socket. lapin's thread ends with the socket; without this, a broker that
/// stopped answering would keep the thread alive.
#[derive(Debug, Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn keep(&self, socket: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        let socket = TcpStream::from(socket.try_clone_to_owned()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        Ok(())
    }

    fn hang_up(&self) {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(socket) = socket {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// An open connection; dropping it closes it at once.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    socket: Socket,
    given_up: watch::Sender<Option<String>>,
    blocked: watch::Sender<Option<String>>,
}

impl Session {
    /// Whether it can be used for publishes.
    pub(crate) fn is_usable(&self) -> bool {
        self.given_up.borrow().is_none() && self.connection.status().connected()
    }

    /// The largest frame in bytes, as negotiated with the broker.
    pub(crate) fn frame_max(&self) -> usize {
        self.connection.configuration().frame_max() as usize
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// A new channel whose publishes the broker confirms.
    pub(crate) async fn confirming_channel(&self) -> lapin::Result<Channel> {
        let channel = self.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(channel)
    }

    /// Marks it as unusable; those who wait for it get this reason.
    pub(crate) fn give_up(&self, reason: &str) {
        self.given_up.send_if_modified(|given_up| {
            let first = given_up.is_none();
            if first {
                *given_up = Some(reason.to_owned());
            }
            first
        });
    }

    /// Why the broker accepts no publishes, if so.
    pub(crate) fn blocked(&self) -> Option<String> {
        let told = self.blocked.borrow().clone();
        let known = || self.connection.status().blocked();
        told.or_else(|| known().then(|| "low on resources".to_owned()))
    }

    /// Waits until the broker accepts publishes, or the connection is lost.
    pub(crate) async fn unblocked(&self) {
        let mut blocked = self.blocked.subscribe();
        // The sender is part of `self`.
        let _ = blocked.wait_for(Option::is_none).await;
    }

    /// Waits for an answer of the broker.
    ///
    /// # Errors
    ///
    /// The connection is lost, or it was silent for `within`, not counting the time for which it blocks
    /// the connection: those are failures of the connection. Or it blocks the connection and
    /// `within` has passed since `began`: then the host has to be answered, but nothing is lost.
    pub(crate) async fn answer<T>(
        &self,
        began: Instant,
        within: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut answer = pin!(answer);
        let mut blocked = self.blocked.subscribe();
        let mut given_up = self.given_up.subscribe();
        let mut until = Instant::now() + within;
        loop {
            let limit = match *blocked.borrow_and_update() {
                Some(_) => began + within,
                None => until,
            };
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                // lapin answers some of those that wait when a connection ends, not all.
                Ok(reason) = given_up.wait_for(Option::is_some) => {
                    return Err(Failure::Connection(reason.clone().unwrap_or_default()));
                }
                _ = blocked.changed() => until = Instant::now() + within,
                () = tokio::time::sleep_until(limit) => {
                    return Err(match self.blocked() {
                        Some(why) => Failure::Blocked(why),
                        None => Failure::Connection(format!(
                            "no answer from the broker within {within:?}"
                        )),
                    });
                }
            }
        }
    }

    /// Waits until the connection is lost and returns why. `blocking` is called when the broker stops accepting
    /// publishes, with the reason, and when it accepts them again.
    pub(crate) async fn lost(&self, blocking: impl Fn(Option<&str>)) -> String {
        let why = self.watch(blocking).await;
        self.give_up(&why);
        // A caller that waits for the broker to accept publishes again learns that it is gone.
        self.blocked.send_replace(None);
        why
    }

    async fn watch(&self, blocking: impl Fn(Option<&str>)) -> String {
        let mut events = pin!(self.connection.events_listener());
        let mut given_up = self.given_up.subscribe();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let event = tokio::select! {
                event = poll_fn(|context| events.as_mut().poll_next(context)) => event,
                given_up = given_up.wait_for(Option::is_some) => {
                    return given_up.ok().and_then(|reason| reason.clone()).unwrap_or_default();
                }
                _ = look.tick() => {
                    if self.connection.status().connected() {
                        continue;
                    }
                    return "the connection ended".to_owned();
                }
            };
            let blocked = match event {
                Some(Event::ConnectionBlocked(reason)) => Some(reason),
                Some(Event::ConnectionUnblocked) => None,
                Some(Event::Error(error)) => match Failure::of(&error) {
                    // If the connection ends, too, the reason comes in an event of its own.
                    Failure::Channel(Cause::Destination | Cause::Event, _) => continue,
                    _ if self.connection.status().connected() => continue,
                    failure => return failure.to_string(),
                },
                None => return "the connection ended".to_owned(),
                _ => continue,
            };
            // Several alarms may be active; the block is reported once.
            if self.blocked.send_replace(blocked.clone()) != blocked {
                blocking(blocked.as_deref());
            }
        }
    }

    /// Closes it in order, within a few seconds.
    pub(crate) async fn close(&self) {
        if self.blocked().is_some() {
            // A broker that blocks does not read the close; it notices when it sends heartbeats.
            return self.socket.hang_up();
        }
        let closing = self.connection.close(200, "closed by evbus".into());
        // A broker that is gone does not answer; the connection is dropped anyway.
        let _ = tokio::time::timeout(CLOSE_WITHIN, closing).await;
        self.socket.hang_up();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.socket.hang_up();
    }
}
