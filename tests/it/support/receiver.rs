//! A receiver of callbacks, plain or in TLS, that answers with the status it is told to.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A running receiver.
pub(crate) struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    status: u16,
    requests: Vec<(String, String)>,
}

impl Receiver {
    /// Starts one that answers with a status; in TLS if there is a configuration for it.
    pub(crate) fn start(status: u16, tls: Option<Arc<ServerConfig>>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { status, requests: Vec::new() }));
        let receiver = Receiver { address, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &shared),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(connection, stream), &shared);
                    }
                });
            }
        });
        receiver
    }

    /// Answers with another status from now on.
    pub(crate) fn set(&self, status: u16) {
        self.shared.lock().unwrap().status = status;
    }

    /// The heads and bodies of all requests so far.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.shared.lock().unwrap().requests.clone()
    }

    /// The lines of all bodies since the last call, whatever the answer.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.shared.lock().unwrap().requests);
        requests.iter().flat_map(|(_, body)| body.lines()).map(str::to_owned).collect()
    }
}

fn serve(stream: impl Read + Write, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = read_request(&mut reader) {
        let status = {
            let mut shared = shared.lock().unwrap();
            shared.requests.push((head, body));
            shared.status
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 7\r\n\r\nbecause");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

pub(crate) fn read_request(reader: &mut BufReader<impl Read>) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}
