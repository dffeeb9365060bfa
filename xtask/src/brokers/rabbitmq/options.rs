//! How a private `RabbitMQ` can differ from the default, and its configuration files.

use std::fmt::Write as _;
use std::path::Path;

use crate::brokers::{Certificates, ClientCertificate, HOST, PASSWORD, USER};

/// The options of a [`RabbitMq`](crate::brokers::RabbitMq), in addition to the user [`USER`], who has all permissions.
// No `Debug`: it holds passwords.
#[derive(Default)]
pub struct RabbitMqBuilder {
    pub(super) tls: Option<ClientCertificate>,
    pub(super) vhosts: Vec<String>,
    pub(super) users: Vec<(String, String)>,
    pub(super) permissions: Vec<[String; 5]>,
    pub(super) settings: Vec<String>,
    pub(super) for_benchmarks: bool,
}

impl RabbitMqBuilder {
    /// A TLS listener too, with [`Certificates`] of its own.
    #[must_use]
    pub fn tls(mut self, client: ClientCertificate) -> Self {
        self.tls = Some(client);
        self
    }

    /// A virtual host beside `/`.
    #[must_use]
    pub fn vhost(mut self, name: &str) -> Self {
        self.vhosts.push(name.to_owned());
        self
    }

    /// A user without any permission.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Permissions of a user in a virtual host: regular expressions over the names of exchanges and
    /// queues to configure, to write to and to read from. An empty one permits nothing.
    #[must_use]
    pub fn permission(
        mut self,
        user: &str,
        vhost: &str,
        [configure, write, read]: [&str; 3],
    ) -> Self {
        self.permissions
            .push([user, vhost, configure, write, read].map(str::to_owned));
        self
    }

    /// A line of rabbitmq.conf.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.to_owned());
        self
    }

    /// As fast as the machine allows, at the price of a slower start.
    #[must_use]
    pub fn for_benchmarks(mut self) -> Self {
        self.for_benchmarks = true;
        self
    }

    /// Users, virtual hosts and permissions as the server's JSON definitions.
    pub(super) fn definitions(&self) -> String {
        let vhosts = || std::iter::once("/").chain(self.vhosts.iter().map(String::as_str));
        let vhost_items: Vec<_> = vhosts().map(|name| object(&[("name", name)])).collect();
        let users = std::iter::once((USER, PASSWORD, "administrator")).chain(
            self.users
                .iter()
                .map(|(name, password)| (&**name, &**password, "")),
        );
        let user_items: Vec<_> = users
            .map(|(name, password, tags)| {
                object(&[("name", name), ("password", password), ("tags", tags)])
            })
            .collect();
        let own = vhosts().map(|vhost| [USER, vhost, ".*", ".*", ".*"]);
        let others = self
            .permissions
            .iter()
            .map(|permission| permission.each_ref().map(String::as_str));
        let permission_items: Vec<_> = own
            .chain(others)
            .map(|values| {
                let keys = ["user", "vhost", "configure", "write", "read"];
                object(&std::array::from_fn::<_, 5, _>(|i| (keys[i], values[i])))
            })
            .collect();
        format!(
            "{{\"vhosts\":[{}],\"users\":[{}],\"permissions\":[{}]}}",
            vhost_items.join(","),
            user_items.join(","),
            permission_items.join(",")
        )
    }

    /// The server's configuration file.
    pub(super) fn settings(
        &self,
        dir: &Path,
        port: u16,
        tls: Option<(u16, &Certificates)>,
    ) -> String {
        let dir = dir.display();
        let mut text = format!(
            "listeners.tcp.1 = {HOST}:{port}\n\
             load_definitions = {dir}/definitions.json\n\
             disk_free_limit.absolute = 1MB\n\
             log.file = false\n\
             log.console = true\n\
             log.console.level = info\n"
        );
        let mut line = |setting: std::fmt::Arguments<'_>| {
            writeln!(text, "{setting}").expect("a String takes everything");
        };
        if let (Some((port, made)), Some(client)) = (tls, self.tls) {
            line(format_args!("listeners.ssl.1 = {HOST}:{port}"));
            line(format_args!(
                "ssl_options.cacertfile = {}",
                made.ca.display()
            ));
            line(format_args!(
                "ssl_options.certfile = {}",
                made.server_cert.display()
            ));
            line(format_args!(
                "ssl_options.keyfile = {}",
                made.server_key.display()
            ));
            let (verify, required) = match client {
                ClientCertificate::NotAsked => ("verify_none", false),
                ClientCertificate::Required => ("verify_peer", true),
            };
            line(format_args!("ssl_options.verify = {verify}"));
            line(format_args!(
                "ssl_options.fail_if_no_peer_cert = {required}"
            ));
        }
        for setting in &self.settings {
            line(format_args!("{setting}"));
        }
        text
    }
}

/// A JSON object of strings.
fn object(fields: &[(&str, &str)]) -> String {
    let text = |value: &str| {
        value.chars().fold(String::from('"'), |mut out, c| {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c < ' ' => {
                    write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes everything");
                }
                c => out.push(c),
            }
            out
        }) + "\""
    };
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, value)| format!("{}:{}", text(key), text(value)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_json_whatever_the_names() {
        assert_eq!(
            object(&[("name", "a\"b\\c\u{1}")]),
            r#"{"name":"a\"b\\c\u0001"}"#
        );
    }
}
