//! Certificates made for one test, and a client that shows and checks them.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use tempfile::TempDir;

use super::http::{self, Answer};
use super::venv_program;

/// A folder of certificates (`NAME.pem`) and keys (`NAME.key`): `ca`, its `server`, `renewed` and
/// `client`; and `stranger`, a CA of its own, with its `impostor` for both uses. Servers are
/// `localhost`, `127.0.0.1` and, for who comes through a proxy, `collector.example`.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    /// Makes them all anew; `None` where the tests' Python environment is not there.
    pub(crate) fn make() -> Option<Certificates> {
        let python = venv_program("python")?;
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates.py");
        let made = Command::new(python).arg(script).arg(folder.path()).status().unwrap();
        assert!(made.success(), "{script} failed");
        Some(Certificates(folder))
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Puts one certificate and its key in the place of another's.
    pub(crate) fn replace(&self, old: &str, new: &str) {
        for ending in ["key", "pem"] {
            let file = |name: &str| self.path(&format!("{name}.{ending}"));
            fs::copy(file(new), file(old)).unwrap();
        }
    }

    /// One request over TLS that trusts the certificate authority `ca`, with the certificate of
    /// `client` if there is one.
    pub(crate) fn request(
        &self,
        address: SocketAddr,
        ca: &str,
        client: Option<&str>,
        line: &str,
    ) -> io::Result<Answer> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.config(ca, client), name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        stream.write_all(http::head(address, line, &[], b"").as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(http::parse(&bytes))
    }

    /// A client's settings: whom it trusts, and what it shows.
    pub(crate) fn config(&self, ca: &str, client: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.path(&format!("{ca}.pem")))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{client}.key")));
                let chain = vec![certificate(&self.path(&format!("{client}.pem")))];
                builder.with_client_auth_cert(chain, key.unwrap()).unwrap()
            }
        })
    }

    /// What a server of the tests shows.
    pub(crate) fn server(&self, name: &str) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let chain = vec![certificate(&self.path(&format!("{name}.pem")))];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    /// A server that lets in only who shows a certificate of `ca`.
    pub(crate) fn server_for_clients(&self, name: &str, ca: &str) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let chain = vec![certificate(&self.path(&format!("{name}.pem")))];
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.path(&format!("{ca}.pem")))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap());
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    /// The certificate that a server shows.
    pub(crate) fn shown_by(&self, address: SocketAddr) -> Vec<u8> {
        let mut stream = TcpStream::connect(address).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(self.config("ca", None), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        connection.peer_certificates().unwrap()[0].to_vec()
    }

    /// A certificate as a server shows it.
    pub(crate) fn der(&self, name: &str) -> Vec<u8> {
        certificate(&self.path(&format!("{name}.pem"))).to_vec()
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}
