//! TLS to the database: rustls under `tokio-postgres`, as `sslmode` asks for it.
//!
//! It reads the files at each connection, so that renewed certificates are taken. Passwords are bound to the
//! connection (`SCRAM-SHA-256-PLUS`) where the server's certificate says how.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, ring as with_ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{self, ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::{TlsConnector, client};

use crate::https::{read_roots, system_roots};
use crate::store::settings::{PostgresUrl, SslMode};

/// Makes TLS connections of one kind.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// TLS as a URL asks for it; `None` where it is not to be spoken.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(super) fn new(url: &PostgresUrl) -> Result<Option<Tls>, String> {
        let verifier = match url.mode {
            SslMode::Disable => return Ok(None),
            SslMode::Prefer | SslMode::Require => Verifier { trusted: None, names: false },
            SslMode::VerifyCa => Verifier { trusted: Some(trusted(url)?), names: false },
            SslMode::VerifyFull => Verifier { trusted: Some(trusted(url)?), names: true },
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(with_ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &url.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let failed = |name: &str| {
                    let name = name.to_owned();
                    move |error: rustls::pki_types::pem::Error| format!("`{name}`: {error}")
                };
                let chain = CertificateDer::pem_file_iter(certificate)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(failed("sslcert"))?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(failed("sslkey"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
            }
        };
        Ok(Some(Tls(TlsConnector::from(Arc::new(config)))))
    }
}

fn trusted(url: &PostgresUrl) -> Result<Arc<WebPkiServerVerifier>, String> {
    let roots = match &url.roots {
        Some(file) => {
            let failed = |error| format!("`sslrootcert`, {}: {error}", file.display());
            read_roots(file).map_err(failed)?
        }
        None => system_roots(),
    };
    let provider = Arc::new(with_ring::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| format!("the CAs of this machine: {error}"))
}

/// Looks at the server's certificate as far as the mode asks for it.
#[derive(Debug)]
struct Verifier {
    /// Whose certificates are taken; `None` for anybody's.
    trusted: Option<Arc<WebPkiServerVerifier>>,
    /// Whether the certificate must name the host.
    names: bool,
}

fn provider() -> CryptoProvider {
    with_ring::default_provider()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        match trusted.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The chain is looked at before the name.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type TlsConnect = ToHost;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<ToHost> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(ToHost { connector: self.0.clone(), name })
    }
}

/// Makes one connection.
pub(super) struct ToHost {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for ToHost {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, stream).await.map(Stream) })
    }
}

/// A connection under TLS.
pub(super) struct Stream<S>(client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tls::TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.0.get_ref();
        let certificate = session.peer_certificates().and_then(|all| all.first());
        let binding = certificate.and_then(|it| Some(digest(hash_of(it)?, it).as_ref().to_vec()));
        binding.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// The DER encodings of the signature algorithms whose hash binds a channel (RFC 5929 §4.1): MD5 and SHA-1
/// stand for SHA-256; others have none.
const SIGNATURES: [(&[u8], &Algorithm); 8] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], &SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], &SHA512),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], &SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], &SHA512),
];

/// The hash of a certificate's own signature. A certificate is a sequence of what is signed, the algorithm
/// and the signature.
fn hash_of(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (all, _) = element(certificate, 0x30)?;
    let (_, rest) = element(all, 0x30)?;
    let (algorithm, _) = element(rest, 0x30)?;
    let (name, _) = element(algorithm, 0x06)?;
    SIGNATURES.iter().find(|(known, _)| *known == name).map(|(_, hash)| *hash)
}

/// The content of the DER element of this tag that begins here, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (short, rest) = rest.split_first()?;
    let octets = usize::from(short & 0x7f);
    let (length, rest) = match short {
        0..0x80 => (octets, rest),
        _ if octets > 4 => return None,
        _ => {
            let (length, rest) = rest.split_at_checked(octets)?;
            (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
        }
    };
    (*first == tag).then(|| rest.split_at_checked(length))?
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
