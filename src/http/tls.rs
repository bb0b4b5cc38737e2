//! TLS of a listener: certificate, key and client CA from files, read anew when they change.
//!
//! It settles what a handshake must look like. Who may do what once it is done is not its matter:
//! a client certificate opens the connection, the token opens the route.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

use crate::lock::lock;
use crate::supervision;

/// How often the files are looked at. Tools that renew certificates keep the old one valid for days;
/// a person who replaces one looks for a few seconds.
const REFRESH: Duration = Duration::from_secs(5);

/// Largest file: a bundle of all public CAs is a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// Which files make a listener speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate in PEM form, followed by those that lead to its CA.
    pub certificate: PathBuf,
    /// The certificate's private key in PEM form.
    pub key: PathBuf,
    /// From whose certificates clients are known; without it no client is asked for one.
    pub client_ca: Option<ClientCa>,
}

/// Which client certificates are good, and whether one must be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCa {
    /// The CA's certificates in PEM form.
    pub file: PathBuf,
    /// Whether a client without a certificate is refused. A wrong certificate always is.
    pub required: bool,
}

/// A file that cannot be used for TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` ({file}) {problem}")]
pub struct TlsError {
    /// The setting that names the file: `certificate`, `key` or `client_ca`.
    pub setting: &'static str,
    pub file: PathBuf,
    /// What is wrong with it, without its name.
    pub problem: String,
}

/// What stood in the files when they were last read.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl TlsSettings {
    /// Reads the files and tries whether they fit together.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn check(&self) -> Result<(), TlsError> {
        self.configure(&self.read()?).map(drop)
    }

    fn read(&self) -> Result<Files, TlsError> {
        let client_ca = self.client_ca.as_ref();
        Ok(Files {
            certificate: read("certificate", &self.certificate)?,
            key: read("key", &self.key)?,
            client_ca: client_ca.map(|ca| read("client_ca", &ca.file)).transpose()?,
        })
    }

    fn configure(&self, files: &Files) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates("certificate", &self.certificate, &files.certificate)?;
        let no_key = |problem: String| refuse("key", &self.key, problem);
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|error| no_key(format!("holds no private key in PEM form ({error})")))?;
        let no_certificate = |problem| refuse("certificate", &self.certificate, problem);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| no_certificate(error.to_string()))?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(ca), Some(pem)) => builder.with_client_cert_verifier(ca.verifier(pem, provider)?),
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                no_key("is not the key of the certificate".to_owned())
            }
            error => no_certificate(format!("cannot be used with its key: {error}")),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ClientCa {
    fn verifier(
        &self,
        pem: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let no = |problem: String| refuse("client_ca", &self.file, problem);
        let mut roots = RootCertStore::empty();
        for certificate in certificates("client_ca", &self.file, pem)? {
            roots.add(certificate).map_err(|error| {
                no(format!("holds a certificate that cannot be a CA's: {error}"))
            })?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = if self.required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|error| no(format!("cannot be used: {error}")))
    }
}

/// Whether one file can be read, whatever is in it.
///
/// # Errors
/// When it cannot.
pub fn check_tls_file(setting: &'static str, file: &Path) -> Result<(), TlsError> {
    read(setting, file).map(drop)
}

fn refuse(setting: &'static str, file: &Path, problem: String) -> TlsError {
    TlsError { setting, file: file.to_owned(), problem }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let contents = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes =
        contents().map_err(|error| refuse(setting, path, format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(refuse(setting, path, format!("is larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

fn certificates(
    setting: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let no = |problem| refuse(setting, path, problem);
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| no(format!("is not in PEM form ({error})")))?;
    if found.is_empty() {
        return Err(no("holds no certificate in PEM form".to_owned()));
    }
    Ok(found)
}

/// The TLS of one listener, as its files have it now.
#[derive(Clone)]
pub struct Tls {
    current: watch::Receiver<Arc<ServerConfig>>,
    runtime: Handle,
}

impl Tls {
    /// Reads the files, and goes on looking at them until this is dropped. A change that cannot be
    /// used is reported once and leaves what there was in force.
    pub fn open(settings: TlsSettings) -> Result<Tls, TlsError> {
        let files = settings.read()?;
        let (sender, current) = watch::channel(Arc::new(settings.configure(&files)?));
        let (settings, sender) = (Arc::new(settings), Arc::new(sender));
        let seen = Arc::new(Mutex::new(Ok(files)));
        let keep = move || refresh(Arc::clone(&settings), Arc::clone(&seen), Arc::clone(&sender));
        tokio::spawn(supervision::keep("certificates", keep));
        Ok(Tls { current, runtime: Handle::current() })
    }

    /// Where handshakes are done, whose signatures take a millisecond each: the runtime that this was opened on, so
    /// that they hold up nothing else where connections are served.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// What does the next handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.borrow()))
    }

    /// The same on a listener that speaks HTTP/2 and nothing else.
    #[cfg(feature = "envoy")]
    pub fn acceptor_for_http2(&self) -> TlsAcceptor {
        let mut config = ServerConfig::clone(&self.current.borrow());
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn refresh(
    settings: Arc<TlsSettings>,
    seen: Arc<Mutex<Result<Files, TlsError>>>,
    sender: Arc<watch::Sender<Arc<ServerConfig>>>,
) -> Result<(), String> {
    loop {
        tokio::select! {
            () = sender.closed() => return Ok(()),
            () = tokio::time::sleep(REFRESH) => {}
        }
        let reader = Arc::clone(&settings);
        let Ok(now) = spawn_blocking(move || reader.read()).await else { continue };
        if now == *lock(&seen) {
            continue;
        }
        let certificate = settings.certificate.display();
        let config = now.as_ref().map_err(Clone::clone).and_then(|it| settings.configure(it));
        match config {
            Ok(config) => {
                sender.send_replace(Arc::new(config));
                info!(%certificate, "the certificate was replaced");
            }
            Err(cause) => {
                error!(%certificate, %cause, "not replaced; the old certificate stays in force");
            }
        }
        *lock(&seen) = now;
    }
}
