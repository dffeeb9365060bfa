//! Certificates for TLS listeners, created for each broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BrokerError;
use super::server::last_lines;
use crate::system::{self, Need};

/// What [`Certificates::client_key_encrypted`] is encrypted with.
pub const CLIENT_KEY_PASSWORD: &str = "client-key-secret";

/// Whether a TLS listener asks its clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It does not ask.
    NotAsked,
    /// A client without a certificate signed by the authority is refused.
    Required,
}

/// A certificate authority of its own, with a server's and a client's certificate; PEM files.
///
/// The server's certificate is good for `localhost` and 127.0.0.1 and no other name.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The server's certificate.
    pub server_cert: PathBuf,
    /// The server's key (PKCS #8).
    pub server_key: PathBuf,
    /// A client's certificate.
    pub client_cert: PathBuf,
    /// The client's key (PKCS #8).
    pub client_key: PathBuf,
    /// The client's key, encrypted with [`CLIENT_KEY_PASSWORD`].
    pub client_key_encrypted: PathBuf,
}

impl Certificates {
    /// Makes them in `dir`, which must exist. Two calls give two authorities that do not trust each
    /// other.
    ///
    /// # Errors
    ///
    /// When the `openssl` program is missing or fails.
    pub fn generate(dir: &Path) -> Result<Self, BrokerError> {
        system::check(&[Need::OpenSsl])?;
        let made = Self {
            ca: dir.join("ca.pem"),
            server_cert: dir.join("server.pem"),
            server_key: dir.join("server.key"),
            client_cert: dir.join("client.pem"),
            client_key: dir.join("client.key"),
            client_key_encrypted: dir.join("client-encrypted.key"),
        };
        let ca_key = dir.join("ca.key");
        let extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";
        certificate("evbus test authority", extensions, None, &made.ca, &ca_key)?;
        let signer = Some((made.ca.as_path(), ca_key.as_path()));
        let extensions = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth";
        certificate(
            "localhost",
            extensions,
            signer,
            &made.server_cert,
            &made.server_key,
        )?;
        let extensions = "extendedKeyUsage=clientAuth";
        certificate(
            "evbus test client",
            extensions,
            signer,
            &made.client_cert,
            &made.client_key,
        )?;
        openssl(
            Command::new("openssl")
                .args(["pkey", "-aes256", "-passout"])
                .arg(format!("pass:{CLIENT_KEY_PASSWORD}"))
                .arg("-in")
                .arg(&made.client_key)
                .arg("-out")
                .arg(&made.client_key_encrypted),
        )?;
        Ok(made)
    }

    /// Writes the server's key and certificate into one file, as Kafka wants them.
    pub(crate) fn join_server(&self, into: &Path) -> Result<(), BrokerError> {
        let read = |path: &Path| fs::read(path).map_err(BrokerError::file("read", path));
        let joined = [read(&self.server_key)?, read(&self.server_cert)?].concat();
        fs::write(into, joined).map_err(BrokerError::file("write", into))
    }
}

fn certificate(
    name: &str,
    extensions: &str,
    signer: Option<(&Path, &Path)>,
    cert: &Path,
    key: &Path,
) -> Result<(), BrokerError> {
    // A configuration of our own: the system's adds extensions, and may be missing.
    let config = cert.with_extension("cnf");
    let text = format!(
        "[req]\nprompt=no\ndistinguished_name=name\nx509_extensions=extensions\n\
         [name]\nCN={name}\n[extensions]\n{extensions}\n"
    );
    fs::write(&config, text).map_err(BrokerError::file("write", &config))?;
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-noenc", "-days", "30"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-config"])
        .arg(&config)
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(cert);
    if let Some((ca, ca_key)) = signer {
        command.arg("-CA").arg(ca).arg("-CAkey").arg(ca_key);
    }
    openssl(&mut command)
}

fn openssl(command: &mut Command) -> Result<(), BrokerError> {
    let output = command.output().map_err(BrokerError::io("start openssl"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(BrokerError::Tool {
        tool: "openssl",
        why: format!(
            "{}: {}",
            output.status,
            last_lines(&String::from_utf8_lossy(&output.stderr))
        ),
    })
}
