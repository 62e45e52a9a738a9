//! A second network namespace, to send packets from.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
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

/// The neighbour's network, and that of whoever is reached through here.
const NEXT: u8 = 9;
const BEYOND: u8 = 8;

/// A second namespace, wired to the one of the thread that makes it: `here` is 10.9.0.1/16 and
/// fd00:9::1, the neighbour has 10.9.0.2 to 10.9.0.9 and fd00:9::2 to fd00:9::9.
pub(crate) struct Neighbour {
    errands: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Neighbour {
    pub(crate) fn new() -> Self {
        Self::wired(NEXT)
    }

    /// A third namespace, 10.8.0.2 and fd00:8::2, which the neighbour reaches through here.
    pub(crate) fn beyond(&self) -> Self {
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{switch}"), "1").expect("root routes");
        }
        let beyond = Self::wired(BEYOND);
        for (it, from, to) in [(self, NEXT, BEYOND), (&beyond, BEYOND, NEXT)] {
            it.within(move || {
                ip(&format!("route add 10.{to}.0.0/16 via 10.{from}.0.1"));
                ip(&format!("route add fd00:{to}::/64 via fd00:{from}::1"));
            });
        }
        beyond
    }

    fn wired(net: u8) -> Self {
        let (errands, inbox) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            enter_new().expect("root makes namespaces");
            tell.send(rustix::thread::gettid().as_raw_nonzero()).expect("the test waits");
            inbox.into_iter().for_each(|errand| errand());
        });
        let tid = told.recv().expect("the neighbour told its number");
        ip(&format!("link add here{net} type veth peer name there netns {tid}"));
        ip(&format!("addr add 10.{net}.0.1/16 dev here{net}"));
        ip(&format!("addr add fd00:{net}::1/64 dev here{net} nodad"));
        ip(&format!("link set here{net} up"));
        let neighbour = Self { errands };
        neighbour.within(move || {
            for n in 2..10 {
                ip(&format!("addr add 10.{net}.0.{n}/16 dev there"));
                ip(&format!("addr add fd00:{net}::{n}/64 dev there nodad"));
            }
            ip("link set there up");
        });
        neighbour
    }

    /// Has somebody listen there.
    pub(crate) fn listener(&self, port: u16) -> TcpListener {
        self.within(move || TcpListener::bind(("::", port))).expect("the port is free")
    }

    /// Whether a connection from `source` to `port` of whoever is beyond opens.
    pub(crate) fn connects_beyond(&self, source: &str, port: u16) -> bool {
        self.connect(source, BEYOND, 2, port, LOST_AFTER).is_none()
    }

    /// What sends datagrams from `source` to `port` here.
    pub(crate) fn sender(&self, source: &str, port: u16) -> UdpSocket {
        let (source, here) = addresses(source, NEXT, 1, port);
        let sender = self.within(move || UdpSocket::bind((source, 0))).expect("it has the address");
        sender.connect(here).expect("there is a route");
        sender
    }

    /// Whether a datagram from `source` comes to `socket`, which is open here.
    pub(crate) fn reaches(&self, source: &str, socket: &UdpSocket) -> bool {
        let port = socket.local_addr().expect("it is bound").port();
        self.sender(source, port).send(b"knock").expect("it is sent, whatever becomes of it");
        socket.set_read_timeout(Some(LOST_AFTER)).expect("a time");
        socket.recv(&mut [0; 9]).is_ok()
    }

    /// Whether a connection from `source`, an address of the neighbour, to `port` here opens.
    pub(crate) fn connects(&self, source: &str, port: u16) -> bool {
        self.connect(source, NEXT, 1, port, LOST_AFTER).is_none()
    }

    /// Why such a connection does not open, if it does not and this is said.
    pub(crate) fn refusal(&self, source: &str, port: u16) -> Option<io::ErrorKind> {
        self.connect(source, NEXT, 1, port, SAID_AFTER)
    }

    /// A connection from `source` to `port` here that stays open.
    pub(crate) fn stays(&self, source: &str, port: u16) -> OwnedFd {
        let (source, here) = addresses(source, NEXT, 1, port);
        self.within(move || connect(source, here, SAID_AFTER)).expect("it opens")
    }

    fn connect(
        &self,
        source: &str,
        net: u8,
        host: u8,
        port: u16,
        patience: Duration,
    ) -> Option<io::ErrorKind> {
        let (source, to) = addresses(source, net, host, port);
        self.within(move || connect(source, to, patience).err().map(|error| error.kind()))
    }

    fn within<T: Send + 'static>(&self, errand: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let errand = Box::new(move || drop(tell.send(errand())));
        self.errands.send(errand).expect("the neighbour lives as long as the test");
        told.recv().expect("the errand did not panic")
    }
}

/// An address of the neighbour, and one of the same family in `net`.
fn addresses(source: &str, net: u8, host: u8, port: u16) -> (IpAddr, SocketAddr) {
    let source: IpAddr = source.parse().expect("the row holds an address");
    let to = match source.is_ipv4() {
        true => format!("10.{net}.0.{host}"),
        false => format!("fd00:{net}::{host}"),
    };
    (source, SocketAddr::new(to.parse().expect("an address"), port))
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
