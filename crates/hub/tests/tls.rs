//! HTTPS: a certificate from files, another that takes its place, clients that dawdle.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use hub::{Hub, HubError, Settings, TlsError, TlsFiles};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::Running;

/// Writes a fresh certificate of 127.0.0.1 and its key.
fn certificate(folder: &Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.join("hub.pem"), key: folder.join("hub-key.pem") };
    fs::write(&files.certificate, made.cert.pem()).unwrap();
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

/// Asks as a client does that trusts the certificate in `trusted` alone.
fn ask(hub: &Running, trusted: &Path) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(IpAddr::from([127, 0, 0, 1]));
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(hub.address)?);
    stream.write_all(b"GET /users/heartbeat HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn settings(data: &Path, tls: TlsFiles) -> Settings {
    Settings { tls: Some(tls), ..Settings::new(data) }
}

#[test]
fn https_with_a_certificate_that_may_be_replaced() {
    let data = tempfile::tempdir().unwrap();
    let files = certificate(data.path());
    let hub = Running::start_with(settings(data.path(), files.clone()));
    // Whoever connects and says nothing keeps nobody waiting.
    let _silent: Vec<_> = (0..8).map(|_| TcpStream::connect(hub.address).unwrap()).collect();
    assert!(ask(&hub, &files.certificate).unwrap().starts_with("HTTP/1.0 200"));

    let before = data.path().join("before.pem");
    fs::rename(&files.certificate, &before).unwrap();
    certificate(data.path());
    assert!(ask(&hub, &files.certificate).unwrap().starts_with("HTTP/1.0 200"));
    assert!(ask(&hub, &before).is_err(), "the earlier certificate is not shown any more");

    // What cannot be used changes nothing.
    let good = data.path().join("good.pem");
    fs::rename(&files.certificate, &good).unwrap();
    fs::write(&files.certificate, "no certificate").unwrap();
    assert!(ask(&hub, &good).unwrap().starts_with("HTTP/1.0 200"));
}

#[test]
fn a_certificate_of_no_use_is_named() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = certificate(one.path());
    let open = |files: &TlsFiles| Hub::open(settings(data.path(), files.clone())).unwrap_err();
    let mixed = TlsFiles { key: certificate(other.path()).key, ..files.clone() };
    assert!(matches!(open(&mixed), HubError::Tls(TlsError::Pair { .. })));
    let gone = TlsFiles { certificate: data.path().join("gone.pem"), ..files };
    let error = open(&gone).to_string();
    assert!(error.contains("gone.pem") && error.contains("give a PEM file"), "{error}");
}

/// Beyond loopback, keys travel encrypted or not at all.
#[test]
fn beyond_this_machine_only_with_tls() {
    let data = tempfile::tempdir().unwrap();
    let listen = "0.0.0.0:0".parse().unwrap();
    let plain = Settings { listen, ..Settings::new(data.path()) };
    assert!(matches!(Hub::open(plain), Err(HubError::Insecure(_))));
    let files = certificate(data.path());
    let hub = Hub::open(Settings { listen, ..settings(data.path(), files) }).unwrap();
    assert!(hub.url().starts_with("https://"));
}
