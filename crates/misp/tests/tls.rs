//! A real TLS server: who is trusted, who is not, and what is said of it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use misp::{Client, Misconfigured, MispError, Options, Outage};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use secrecy::SecretString;

const VERSION: &str = r#"{"version":"2.5.1"}"#;

/// An authority that certifies servers and clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Certified {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn certify(&self, name: &str) -> Certified {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certified { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// Serves one caller; asks for a certificate of `clients` where there is one.
fn serve(of: &Certified, clients: Option<&Authority>) -> String {
    drop(rustls::crypto::ring::default_provider().install_default());
    let verifier = clients.map(|authority| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap()
    });
    let builder = match verifier {
        Some(verifier) => ServerConfig::builder().with_client_cert_verifier(verifier),
        None => ServerConfig::builder().with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_slice(of.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(of.key.as_bytes()).unwrap();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // A handshake that fails is what some of the tests are about.
        let _ = answer(stream, config);
    });
    url
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut byte = [0; 1];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let length = VERSION.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{VERSION}"
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn version(url: &str, options: Options) -> Result<String, MispError> {
    let options = Options { timeout: Duration::from_secs(5), ..options };
    let client = Client::new(url, &SecretString::from("a-key"), &options)?;
    client.version().map(|version| version.version)
}

fn trusting(authority: &Authority) -> Options {
    Options { ca_pem: Some(authority.pem().into_bytes()), ..Options::default() }
}

#[test]
fn an_authority_that_is_named_is_trusted() {
    let authority = Authority::new();
    let url = serve(&authority.certify("127.0.0.1"), None);
    assert_eq!(version(&url, trusting(&authority)), Ok("2.5.1".into()));
}

#[track_caller]
fn check_untrusted(url: &str, options: Options) {
    let error = version(url, options).unwrap_err();
    let is_it =
        matches!(error, MispError::Misconfigured { why: Misconfigured::Certificate(_), .. });
    assert!(is_it, "{error:?}");
    assert!(error.to_string().contains("name the authority in `ca_file`"), "{error}");
}

#[test]
fn any_other_is_not() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.certify("127.0.0.1");
    check_untrusted(&serve(&server, None), Options::default());
    check_untrusted(&serve(&server, None), trusting(&other));
    // The right authority, and another server's name.
    check_untrusted(&serve(&authority.certify("misp.example.org"), None), trusting(&authority));
}

#[test]
fn without_verification_all_are() {
    let url = serve(&Authority::new().certify("127.0.0.1"), None);
    let options = Options { verify: false, ..Options::default() };
    assert_eq!(version(&url, options), Ok("2.5.1".into()));
}

#[test]
fn a_server_may_ask_for_our_certificate() {
    let authority = Authority::new();
    let server = authority.certify("127.0.0.1");
    let ours = authority.certify("web-1");
    let client_pem = SecretString::from(format!("{}{}", ours.certificate, ours.key));
    let with = Options { client_pem: Some(client_pem), ..trusting(&authority) };
    assert_eq!(version(&serve(&server, Some(&authority)), with), Ok("2.5.1".into()));

    let error = version(&serve(&server, Some(&authority)), trusting(&authority)).unwrap_err();
    let is_it =
        matches!(error, MispError::Misconfigured { why: Misconfigured::ClientCertificate(_), .. });
    assert!(is_it, "{error:?}");
    assert!(error.to_string().contains("`client_file`"), "{error}");
}

#[test]
fn what_cannot_be_used_is_said_before_any_call() {
    let setup = |options| version("https://127.0.0.1:1", options).unwrap_err().to_string();
    let bad = || Some(b"no certificate at all".to_vec());
    let ca = setup(Options { ca_pem: bad(), ..Options::default() });
    assert!(ca.contains("`ca_file`"), "{ca}");
    let client = Some(SecretString::from("no certificate at all"));
    let client = setup(Options { client_pem: client, ..Options::default() });
    assert!(
        client.contains("`client_file`") && !client.contains("no certificate at all"),
        "{client}"
    );
    let proxy = setup(Options { proxy: Some("::".into()), ..Options::default() });
    assert!(proxy.contains("`proxy`"), "{proxy}");
}

/// A server without TLS where TLS was asked for, and the other way round: nothing is wrong with
/// certificates, and the key is not sent.
#[test]
fn a_server_of_the_other_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let error = version(&url, Options::default()).unwrap_err();
    assert!(matches!(error, MispError::Later { why: Outage::Unreachable(_), .. }), "{error:?}");
}
