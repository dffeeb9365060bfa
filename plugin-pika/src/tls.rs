//! TLS: trusted authorities and the client certificate.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use evbus_sdk::{ConfigFault, Secret, read_file};
use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::config::SslOptions;

/// More bytes than any bundle of certificates has.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads the files and creates the TLS connector. Blocks on the files.
///
/// # Errors
///
/// Every fault, at the key of the file.
pub(crate) fn connector(options: &SslOptions) -> Result<RustlsConnector, Vec<ConfigFault>> {
    if !options.verify {
        return unverified(identity(options)?).map_err(|fault| vec![fault]);
    }
    let (identity, roots) = both(identity(options), roots(options).map_err(|it| vec![it]))?;
    let made = match identity {
        Some((chain, key)) => roots.connector_with_single_cert(chain, key),
        None => roots.connector_with_no_client_auth(),
    };
    made.map_err(|error| vec![unusable(options, error)])
}

/// The authorities to trust.
fn roots(options: &SslOptions) -> Result<RustlsConnectorConfig, ConfigFault> {
    match &options.ca_file {
        Some(file) => Ok(RustlsConnectorConfig::default()
            .with_parsable_certificates(certificates("ca_file", file)?)),
        None => RustlsConnectorConfig::new_with_native_certs().map_err(|error| {
            let why = format!("the system's certificate authorities cannot be read: {error}");
            fault(
                "ca_file",
                format!("{why}; name a file of certificate authorities"),
            )
        }),
    }
}

/// Two things that were looked at, or the faults of both.
fn both<A, B>(
    one: Result<A, Vec<ConfigFault>>,
    other: Result<B, Vec<ConfigFault>>,
) -> Result<(A, B), Vec<ConfigFault>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(mut faults), Err(more)) => {
            faults.extend(more);
            Err(faults)
        }
        (Err(faults), _) | (_, Err(faults)) => Err(faults),
    }
}

fn unverified(identity: Option<Identity>) -> Result<RustlsConnector, ConfigFault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault("verify", error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    let config = match identity {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| fault("cert_file", format!("cannot be used with its key: {error}")))?,
        None => builder.with_no_client_auth(),
    };
    Ok(config.into())
}

/// The client's certificate and key, if configured.
fn identity(options: &SslOptions) -> Result<Option<Identity>, Vec<ConfigFault>> {
    let Some(cert_file) = &options.cert_file else {
        let without = |key| vec![fault(key, "given without a `cert_file`")];
        return match (&options.key_file, &options.password) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(without("key_file")),
            (None, Some(_)) => Err(without("password")),
        };
    };
    let chain = certificates("cert_file", cert_file).map_err(|it| vec![it]);
    let password = options.password.as_ref();
    let key = match &options.key_file {
        Some(file) => private_key("key_file", file, password),
        // What is wrong with the file has been said.
        None if chain.is_err() => return chain.map(|_| None),
        None => private_key("cert_file", cert_file, password),
    };
    both(chain, key.map_err(|it| vec![it])).map(Some)
}

fn private_key(
    key: &str,
    file: &Path,
    password: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, ConfigFault> {
    let pem = read(key, file)?;
    let Some(password) = password else {
        return PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| {
            let hint = "expected a PEM file with an unencrypted key, or a `password` beside it";
            fault(key, format!("{}: {error}; {hint}", file.display()))
        });
    };
    decrypt(&pem, password.reveal()).map_err(|error| {
        let hint = "expected an ENCRYPTED PRIVATE KEY (`openssl pkcs8 -topk8` makes one) and its \
                    password";
        fault(key, format!("{}: {error}; {hint}", file.display()))
    })
}

fn decrypt(pem: &str, password: &str) -> Result<PrivateKeyDer<'static>, String> {
    const LABEL: &str = "ENCRYPTED PRIVATE KEY";
    // The file may also contain certificates.
    let start = pem
        .find(&format!("-----BEGIN {LABEL}-----"))
        .ok_or("it contains no encrypted key")?;
    let end = format!("-----END {LABEL}-----");
    let length = pem[start..].find(&end).ok_or("its key is truncated")? + end.len();
    let (_, document) =
        SecretDocument::from_pem(&pem[start..start + length]).map_err(|error| error.to_string())?;
    let decrypted = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
        .map_err(|error| error.to_string())?
        .decrypt(password)
        .map_err(|error| error.to_string())?;
    Ok(PrivatePkcs8KeyDer::from(decrypted.as_bytes().to_vec()).into())
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigFault> {
    let pem = read(key, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(not_a_certificate(key, file, "it contains none")),
        Err(error) => Err(not_a_certificate(key, file, error)),
    }
}

fn read(key: &str, file: &Path) -> Result<String, ConfigFault> {
    let content = read_file(file, MAX_FILE_BYTES)
        .map_err(|why| fault(key, format!("cannot read {}: {why}", file.display())))?;
    String::from_utf8(content).map_err(|_| {
        let file = file.display();
        fault(
            key,
            format!("{file}: expected text in PEM, found other bytes"),
        )
    })
}

fn not_a_certificate(key: &str, file: &Path, found: impl Display) -> ConfigFault {
    let file = file.display();
    fault(
        key,
        format!("{file}: expected certificates in PEM: {found}"),
    )
}

/// Faults that show only when everything is combined.
fn unusable(options: &SslOptions, error: impl Display) -> ConfigFault {
    let key = match (&options.cert_file, &options.ca_file) {
        (Some(_), _) => "cert_file",
        (None, _) => "ca_file",
    };
    fault(key, format!("cannot be used: {error}"))
}

fn fault(key: &str, message: impl Into<String>) -> ConfigFault {
    const KEYS: &[&str] = &[
        "connection.ssl_options.ca_file",
        "connection.ssl_options.cert_file",
        "connection.ssl_options.key_file",
        "connection.ssl_options.password",
        "connection.ssl_options.verify",
    ];
    ConfigFault::of_keys(format!("connection.ssl_options.{key}"), message, KEYS)
}

/// Accepts any certificate, for `verify: false`. The peer still has to own it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
