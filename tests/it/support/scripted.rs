//! A receiver of callbacks whose answer to each request is computed from the request's lines.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::receiver::read_request;

/// What a request is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// This status.
    Status(u16),
    /// This status with this `Retry-After`.
    RetryAfter(u16, u64),
    /// Nothing, until the other side gives up.
    Nothing,
    /// The connection is closed without an answer.
    Cut,
}

type Script = Box<dyn FnMut(&[String]) -> Reply + Send>;

/// A running receiver.
pub(crate) struct Scripted {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    script: Script,
    requests: Vec<Vec<String>>,
    taken: Vec<String>,
}

impl Scripted {
    pub(crate) fn start(script: impl FnMut(&[String]) -> Reply + Send + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script: Script = Box::new(script);
        let shared =
            Arc::new(Mutex::new(Shared { script, requests: Vec::new(), taken: Vec::new() }));
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Scripted { address, shared }
    }

    /// Answers in another way from now on.
    pub(crate) fn set(&self, script: impl FnMut(&[String]) -> Reply + Send + 'static) {
        self.shared.lock().unwrap().script = Box::new(script);
    }

    /// The lines of each request so far, whatever the answer.
    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        self.shared.lock().unwrap().requests.clone()
    }

    /// The lines of requests that were answered with a 2xx, sorted.
    pub(crate) fn taken(&self) -> Vec<String> {
        let mut taken = self.shared.lock().unwrap().taken.clone();
        taken.sort();
        taken
    }
}

fn serve(stream: TcpStream, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(stream);
    while let Some((_, body)) = read_request(&mut reader) {
        let lines: Vec<String> = body.lines().map(str::to_owned).collect();
        let reply = {
            let mut shared = shared.lock().unwrap();
            shared.requests.push(lines.clone());
            let reply = (shared.script)(&lines);
            if matches!(reply, Reply::Status(200..=299)) {
                shared.taken.extend(lines);
            }
            reply
        };
        let (status, header) = match reply {
            Reply::Status(status) => (status, String::new()),
            Reply::RetryAfter(status, seconds) => (status, format!("retry-after: {seconds}\r\n")),
            // Reads on until the other side has closed, which it does when it gives up.
            Reply::Nothing => continue,
            Reply::Cut => return,
        };
        let answer = format!("HTTP/1.1 {status} X\r\n{header}content-length: 7\r\n\r\nbecause");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
