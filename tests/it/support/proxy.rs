//! A TCP proxy before a server of the tests: it passes everything on, cuts it, lets it hang, or leaves
//! notices of PostgreSQL out.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use super::daemon::pause;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    /// All is passed on.
    Open,
    /// Those that there are end, and new ones end at once.
    Cut,
    /// Nothing is passed on, and nothing ends: a network that swallows packets.
    Hole,
    /// Notices of PostgreSQL are left out of new connections.
    WithoutNotices,
}

const WAYS: [Way; 4] = [Way::Open, Way::Cut, Way::Hole, Way::WithoutNotices];

pub(crate) struct Proxy {
    pub port: u16,
    way: Arc<AtomicU8>,
}

impl Proxy {
    /// A proxy on a free port of loopback before another port, as long as the process lives.
    pub(crate) fn before(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(AtomicU8::new(Way::Open as u8));
        let of_proxy = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let way = Arc::clone(&of_proxy);
                thread::spawn(move || serve(&client, server, &way));
            }
        });
        Proxy { port, way }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
    }
}

fn way_of(way: &AtomicU8) -> Way {
    WAYS[usize::from(way.load(Ordering::SeqCst))]
}

fn serve(client: &TcpStream, server: u16, way: &Arc<AtomicU8>) {
    while way_of(way) == Way::Hole {
        pause();
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
    let filtered = way_of(way) == Way::WithoutNotices;
    let (from, to, of_pass) =
        (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(way));
    let back = thread::spawn(move || pass(from, to, &of_pass, filtered));
    pass(client.try_clone().unwrap(), server, way, false);
    let _ = back.join();
}

/// Passes bytes on until either side or the proxy ends it.
fn pass(mut from: TcpStream, mut to: TcpStream, way: &AtomicU8, filtered: bool) {
    from.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut buffer = [0; 16 << 10];
    let mut frames = Frames::default();
    loop {
        match way_of(way) {
            Way::Cut => break,
            Way::Hole => {
                pause();
                continue;
            }
            Way::Open | Way::WithoutNotices => {}
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                let bytes = &buffer[..length];
                let passed = if filtered { frames.without_notices(bytes) } else { bytes.to_vec() };
                if to.write_all(&passed).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// The messages that PostgreSQL sends: a letter, a length that counts itself, and the rest.
#[derive(Default)]
struct Frames(Vec<u8>);

impl Frames {
    fn without_notices(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(bytes);
        let mut passed = Vec::new();
        while let Some(length) = self.0.get(1..5) {
            let length = 1 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.0.len() < length {
                break;
            }
            let message: Vec<u8> = self.0.drain(..length).collect();
            if message[0] != b'A' {
                passed.extend(message);
            }
        }
        passed
    }
}
