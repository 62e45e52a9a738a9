//! A second network namespace, to send packets from.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;
use std::{io, thread};

use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::netns::{enter_new, ip};

/// How long a packet is given to be lost: one that passes needs microseconds.
const LOST_AFTER: Duration = Duration::from_millis(300);

/// How long it may take to be told no: an answer by ICMP that comes while the caller still sends does
/// not count, and the next packet goes after a second (`tcp_v4_err` of the kernel).
const SAID_AFTER: Duration = Duration::from_secs(5);

/// A second namespace, wired to the one of the thread that makes it: `here` is 10.9.0.1/16 and
/// fd00:9::1, the neighbour has 10.9.0.2 to 10.9.0.9 and fd00:9::2 to fd00:9::9.
pub(crate) struct Neighbour {
    errands: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Neighbour {
    pub(crate) fn new() -> Self {
        let (errands, inbox) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            enter_new().expect("root makes namespaces");
            tell.send(rustix::thread::gettid().as_raw_nonzero()).expect("the test waits");
            inbox.into_iter().for_each(|errand| errand());
        });
        let tid = told.recv().expect("the neighbour told its number");
        ip(&format!("link add here type veth peer name there netns {tid}"));
        ip("addr add 10.9.0.1/16 dev here");
        ip("addr add fd00:9::1/64 dev here nodad");
        ip("link set here up");
        let neighbour = Self { errands };
        neighbour.within(|| {
            for n in 2..10 {
                ip(&format!("addr add 10.9.0.{n}/16 dev there"));
                ip(&format!("addr add fd00:9::{n}/64 dev there nodad"));
            }
            ip("link set there up");
        });
        neighbour
    }

    /// Whether a connection from `source`, an address of the neighbour, to `port` here opens.
    pub(crate) fn connects(&self, source: &str, port: u16) -> bool {
        self.connect(source, port, LOST_AFTER).is_none()
    }

    /// Why such a connection does not open, if it does not and this is said.
    pub(crate) fn refusal(&self, source: &str, port: u16) -> Option<io::ErrorKind> {
        self.connect(source, port, SAID_AFTER)
    }

    /// A connection from `source` to `port` here that stays open.
    pub(crate) fn stays(&self, source: &str, port: u16) -> OwnedFd {
        let (source, here) = addresses(source, port);
        self.within(move || connect(source, here, SAID_AFTER)).expect("it opens")
    }

    fn connect(&self, source: &str, port: u16, patience: Duration) -> Option<io::ErrorKind> {
        let (source, here) = addresses(source, port);
        self.within(move || connect(source, here, patience).err().map(|error| error.kind()))
    }

    fn within<T: Send + 'static>(&self, errand: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let errand = Box::new(move || drop(tell.send(errand())));
        self.errands.send(errand).expect("the neighbour lives as long as the test");
        told.recv().expect("the errand did not panic")
    }
}

fn addresses(source: &str, port: u16) -> (IpAddr, SocketAddr) {
    let source: IpAddr = source.parse().expect("the row holds an address");
    let here = if source.is_ipv4() { "10.9.0.1" } else { "fd00:9::1" };
    (source, SocketAddr::new(here.parse().expect("an address"), port))
}

fn connect(source: IpAddr, to: SocketAddr, patience: Duration) -> io::Result<OwnedFd> {
    let family = if source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    // connect(2) keeps to the time limit of sending.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket)
}
