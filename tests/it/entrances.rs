//! The real proxies of the machine, with the very snippets that their pages in `docs/entrances` begin with: known
//! traffic goes through them, and the events are what was sent. Also syslog as a program of ours sends it.
//!
//! A proxy that is not installed is skipped with a line.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, patiently};
use crate::support::output_of;
use crate::support::tls::Certificates;

const AGENT: &str = r#"Agent "q" \ back #1"#;

/// A proxy with its upstream, and the daemon that reads its log.
struct Stage {
    folder: TempDir,
    daemon: Daemon,
    proxy: SocketAddr,
    upstream: SocketAddr,
    running: Option<Child>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            // Proxies with workers end them when they are asked to.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

/// Where a program is, or a line that it is not there.
fn program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders.iter().map(|it| Path::new(it).join(name)).find(|it| it.exists());
    if found.is_none() {
        println!("skipped: {name} is not installed");
    }
    found
}

/// The snippet that a page begins with, with another path for its log and another address for syslog.
fn snippet(page: &str, replaced: &[(&str, &str)]) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/entrances").join(page);
    let text = fs::read_to_string(page).unwrap();
    let begin = text.split("```text\n").nth(1).unwrap();
    let snippet = begin.split("```").next().unwrap().to_owned();
    replaced.iter().fold(snippet, |text, (from, to)| {
        assert!(text.contains(from), "the page has {from}");
        text.replace(from, to)
    })
}

/// An upstream that answers 500 for paths with `fail` in them, and else 200, with ten bytes.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).to_lowercase();
                let length = head.split("content-length: ").nth(1);
                let length = length.and_then(|it| it.split("\r\n").next()?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = stream.read_exact(&mut body);
                let status = if head.contains("fail") { "500 Sorry" } else { "200 OK" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789"
                );
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Stage {
    /// A daemon with an entrance, `DIR` and `SYSLOG` in which are filled in.
    fn new(entrance: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        let daemon = Daemon::start(&format!(
            r#"
data_dir: {at}/data
ingest:
  http: {{ listen: "127.0.0.1:0" }}
  {}
destinations:
  - {{ id: out, target: {{ file: {{ path: "{at}/out.ndjson" }} }}, batch: {{ linger: 10ms }} }}
subscriptions:
  - id: all
    sources: [{{ type: http_request_complete.v0 }}, {{ type: tcp_connection_closed.v0 }}]
    destinations: [out]
"#,
            entrance.replace("LOGS", &at)
        ));
        let (proxy, upstream) = (free_address(), upstream());
        Stage { folder, daemon, proxy, upstream, running: None }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Where syslog is listened for.
    fn syslog(&self) -> SocketAddr {
        let log = self.daemon.log();
        let line = log.lines().find(|it| it.contains("syslog is listened for")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// Starts a proxy, and waits until it takes connections.
    fn run(&mut self, program: &Path, arguments: &[&str]) {
        let log = fs::File::create(self.folder.path().join("proxy.out")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.running = Some(child.unwrap());
        let proxy = self.proxy;
        patiently("the proxy listens", || TcpStream::connect(proxy).is_ok());
    }

    /// Sends bytes to the proxy, and waits for its answer's end.
    fn send(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(self.proxy).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }

    /// The traffic that every proxy gets.
    fn send_requests(&self) {
        let host = "Host: shop.example\r\nConnection: close\r\n";
        let get = format!(
            "GET /a%20b?x=1&y=%22 HTTP/1.1\r\n{host}User-Agent: {AGENT}\r\nReferer: http://Ref.example/A\r\n\r\n"
        );
        self.send(get.as_bytes());
        let post =
            format!("POST /fail HTTP/1.1\r\n{host}User-Agent: x\r\nContent-Length: 3\r\n\r\nabc");
        self.send(post.as_bytes());
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("out.ndjson")).unwrap_or_default();
        text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect()
    }

    /// The event whose request has a path, once it is there.
    fn event(&self, path: &str) -> Value {
        let mut found = None;
        patiently(&format!("there is {path}"), || {
            found = self
                .events()
                .into_iter()
                .find(|it| it["object"]["http"]["request"]["url"]["path"] == path);
            found.is_some()
        });
        found.unwrap()["object"].take()
    }

    /// Checks what every proxy tells of the requests.
    fn check(&self, proxy: &str) -> (Value, Value) {
        self.send_requests();
        let (get, post) = (self.event("/a%20b"), self.event("/fail"));
        assert_eq!(get["http"]["request"]["method"], "get", "{get}");
        assert_eq!(get["http"]["request"]["url"]["query"], "x=1&y=%22", "{get}");
        assert_eq!(get["http"]["response"]["status_code"], 200, "{get}");
        assert_eq!(get["conn"]["client_ip"], "127.0.0.1", "{get}");
        assert_eq!(get["proxy"]["name"], proxy, "{get}");
        assert_eq!(get["proxy"]["protocol"], "HTTP/1.1", "{get}");
        assert_eq!(post["http"]["request"]["method"], "post", "{post}");
        assert_eq!(post["http"]["response"]["status_code"], 500, "{post}");
        let letters = output_of(
            &["dead-letters", "list", "-c", self.daemon.path("sluicegate.yaml").to_str().unwrap()],
            "",
        );
        assert_eq!(letters, "", "every line fits the format");
        (get, post)
    }
}

#[test]
fn the_real_nginx_with_the_snippet_of_its_page() {
    let Some(nginx) = program("nginx") else { return };
    let mut stage = Stage::new(r#"files: [{ path: "LOGS/nginx.log", format: nginx }]"#);
    let log = stage.path("nginx.log");
    let snippet = snippet("nginx.md", &[("/var/log/nginx/sluicegate.log", &log)]);
    let (proxy, upstream, folder) = (stage.proxy, stage.upstream, stage.path(""));
    let settings = format!(
        "daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{\n{snippet}\n\
         client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;\n\
         uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         server {{ listen {proxy}; location / {{ proxy_pass http://{upstream}; }}\n\
         location /none {{ proxy_pass http://127.0.0.1:1; }} }}\n}}\n"
    );
    let path = stage.path("nginx.conf");
    fs::write(&path, settings).unwrap();
    let errors = stage.path("error.log");
    stage.run(&nginx, &["-c", &path, "-e", &errors]);
    let (get, _) = stage.check("nginx");
    assert_eq!(get["http"]["request"]["user_agent"], AGENT);
    assert_eq!(get["http"]["request"]["headers"]["Referer"], json!(["http://ref.example/a"]));
    assert_eq!(get["http"]["request"]["url"]["raw"], "http://shop.example/a%20b?x=1&y=%22");
    assert_eq!(get["http"]["response"]["body_length"], 10);
    assert_eq!(get["conn"]["server_name"], "shop.example");
    assert_eq!(get["conn"]["server_port"], i64::from(stage.proxy.port()));
    assert_eq!(get["proxy"]["upstream"], stage.upstream.to_string());
    assert_eq!(get["proxy"]["upstream_status"], 200);
    stage.send(b"GET /gr\xc3\xb6\xffx HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(stage.event("/grö\\xFFx")["proxy"]["escaped"], true);
    stage.send(b"\x16\x03\x01garbage\r\n\r\n");
    stage.send(b"GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(stage.event("/none")["http"]["response"]["status_code"], 502);
    let garbage = |it: &&Value| it["object"]["proxy"]["request_line"] == "\u{16}\u{3}\u{1}garbage";
    assert_eq!(stage.events().iter().filter(garbage).count(), 1);
    // As logrotate does it: renamed, then opened anew at a signal.
    fs::rename(&log, format!("{log}.1")).unwrap();
    let pid = fs::read_to_string(stage.path("nginx.pid")).unwrap();
    assert!(Command::new("kill").args(["-USR1", pid.trim()]).status().unwrap().success());
    patiently("the log is opened anew", || Path::new(&log).exists());
    stage.send(b"GET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stage.event("/after");
}

#[test]
fn the_real_apache_with_the_snippet_of_its_page() {
    let Some(apache) = program("apache2") else { return };
    let mut stage = Stage::new(r#"files: [{ path: "LOGS/apache.log", format: apache }]"#);
    let log = stage.path("apache.log");
    let snippet = snippet("apache.md", &[("/var/log/apache2/sluicegate.log", &log)]);
    let (proxy, upstream, folder) = (stage.proxy, stage.upstream, stage.path(""));
    let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http"]
        .map(|it| format!("LoadModule {it}_module /usr/lib/apache2/modules/mod_{it}.so\n"))
        .concat();
    let settings = format!(
        "ServerRoot {folder}\nPidFile {folder}/apache.pid\nListen {proxy}\n{modules}\
         ServerName shop.example\nErrorLog {folder}/error.log\n{snippet}\nProxyPass / http://{upstream}/\n"
    );
    let path = stage.path("apache.conf");
    fs::write(&path, settings).unwrap();
    stage.run(&apache, &["-f", &path, "-D", "FOREGROUND"]);
    let (get, _) = stage.check("apache");
    assert_eq!(get["http"]["request"]["user_agent"], AGENT);
    assert_eq!(get["http"]["request"]["headers"]["Referer"], json!(["http://ref.example/a"]));
    assert_eq!(get["http"]["response"]["body_length"], 10);
    assert_eq!(get["conn"]["server_name"], "shop.example");
    stage.send(b"GET /gr\xc3\xb6\xffx HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(stage.event("/grö\\xFFx")["proxy"]["escaped"], true);
}

#[test]
fn the_real_haproxy_with_the_snippet_of_its_page() {
    let Some(haproxy) = program("haproxy") else { return };
    let mut stage = Stage::new(r#"syslog: { listen: "127.0.0.1:0", format: haproxy }"#);
    let syslog = stage.syslog().to_string();
    let snippet = snippet("haproxy.md", &[("127.0.0.1:5140", &syslog)]);
    let (proxy, upstream, tcp) = (stage.proxy, stage.upstream, free_address());
    let tcp_snippet = snippet.replace("httplog", "tcplog");
    let settings = format!(
        "defaults\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
         frontend web\n mode http\n {snippet}\n bind {proxy}\n default_backend app\n\
         backend app\n mode http\n server s1 {upstream}\n\
         frontend tcp\n mode tcp\n {tcp_snippet}\n bind {tcp}\n default_backend tapp\n\
         backend tapp\n mode tcp\n server s2 {upstream}\n"
    );
    let path = stage.path("haproxy.cfg");
    fs::write(&path, settings).unwrap();
    stage.run(&haproxy, &["-db", "-f", &path]);
    let (get, _) = stage.check("haproxy");
    assert_eq!(get["proxy"]["listener"], "web");
    assert_eq!(
        (&get["proxy"]["cluster"], &get["proxy"]["upstream"]),
        (&json!("app"), &json!("s1"))
    );
    assert_eq!(get["proxy"]["response_flags"], "----");
    // The same upstream behind a frontend that knows no HTTP.
    stage.proxy = tcp;
    stage.send(b"GET /tcp HTTP/1.1\r\nHost: h\r\n\r\n");
    let closed = |it: &Value| {
        it["event_type"] == "tcp_connection_closed.v0" && it["object"]["proxy"]["upstream"] == "s2"
    };
    patiently("the connection is told", || stage.events().iter().any(closed));
    let events = stage.events();
    let object = &events.iter().find(|it| closed(it)).unwrap()["object"];
    assert!(object["conn"]["bytes_out"].as_i64().unwrap() > 10, "{object}");
    assert_eq!(object["conn"]["client_ip"], "127.0.0.1");
}

#[test]
fn the_real_caddy_with_the_snippet_of_its_page() {
    let Some(caddy) = program("caddy") else { return };
    let mut stage = Stage::new(r#"files: [{ path: "LOGS/caddy.log", format: caddy }]"#);
    let log = stage.path("caddy.log");
    let snippet = snippet("caddy.md", &[("/var/log/caddy/sluicegate.log", &log)]);
    let (port, upstream) = (stage.proxy.port(), stage.upstream);
    let settings = format!(
        "{{\n admin off\n auto_https off\n}}\nhttp://:{port} {{\n bind 127.0.0.1\n{snippet}\n reverse_proxy {upstream}\n}}\n"
    );
    let path = stage.path("Caddyfile");
    fs::write(&path, settings).unwrap();
    stage.run(&caddy, &["run", "--config", &path, "--adapter", "caddyfile"]);
    let (get, _) = stage.check("caddy");
    assert_eq!(get["http"]["request"]["user_agent"], AGENT);
    assert_eq!(get["http"]["request"]["url"]["raw"], "http://shop.example/a%20b?x=1&y=%22");
    assert_eq!(get["http"]["response"]["body_length"], 10);
    assert_eq!(get["conn"]["server_name"], "shop.example");
}

#[test]
fn syslog_is_taken_over_udp_and_tcp_in_every_framing() {
    let stage = Stage::new(r#"syslog: { listen: "127.0.0.1:0", format: nginx }"#);
    let line = |path: &str| {
        format!(
            "198.51.100.7 - - [26/Nov/2026:15:54:47 +0100] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"x\""
        )
    };
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let old = format!("<190>Nov 26 15:54:48 web nginx: {}", line("/udp"));
    udp.send_to(old.as_bytes(), stage.syslog()).unwrap();
    stage.event("/udp");
    let new = |path| format!("<190>1 2026-11-26T15:54:48Z web nginx - - - {}", line(path));
    let counted = new("/counted");
    let mut tcp = TcpStream::connect(stage.syslog()).unwrap();
    let stream =
        format!("{}\n{} {counted}<190>nginx: bad\n{}", new("/lines"), counted.len(), new("/last"));
    // In pieces, as a network may bring it.
    for piece in stream.as_bytes().chunks(100) {
        tcp.write_all(piece).unwrap();
    }
    stage.event("/lines");
    stage.event("/counted");
    drop(tcp);
    stage.event("/last");
    let settings = stage.daemon.path("sluicegate.yaml");
    let listed = output_of(&["dead-letters", "list", "-c", settings.to_str().unwrap()], "");
    assert!(listed.contains("(ingest.syslog)  tcp/127.0.0.1:"), "{listed}");
}

#[test]
fn syslog_of_a_sender_that_is_not_allowed_is_refused_and_counted() {
    let stage =
        Stage::new(r#"syslog: { listen: "127.0.0.1:0", format: nginx, allow: [192.0.2.0/24] }"#);
    let mut tcp = TcpStream::connect(stage.syslog()).unwrap();
    let mut byte = [0];
    assert_eq!(tcp.read(&mut byte).unwrap_or(0), 0, "the connection is closed");
    let metrics = crate::support::http::get(stage.daemon.api, "/metrics").body;
    let counted = "sluicegate_ingest_refused_total{code=\"ERR_SLUICEGATE_1152\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn syslog_in_tls_is_taken_from_clients_with_a_certificate_alone() {
    let Some(certificates) = Certificates::make() else { return };
    let path = |name: &str| certificates.path(name).display().to_string();
    let tls = format!(
        "{{ certificate: {}, key: {}, client_ca: {} }}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let stage =
        Stage::new(&format!(r#"syslog: {{ listen: "127.0.0.1:0", format: nginx, tls: {tls} }}"#));
    let send = |client: Option<&str>, path: &str| {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(certificates.config("ca", client), name).unwrap();
        let socket = TcpStream::connect(stage.syslog()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        let message = format!(
            "<190>1 2026-11-26T15:54:48Z web nginx - - - 198.51.100.7 - - [26/Nov/2026:15:54:47 +0100] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"x\""
        );
        let written = stream.write_all(format!("{} {message}", message.len()).as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
        // Until the other side has read it, or refused.
        let _ = stream.read(&mut [0]);
        written
    };
    let _refused = send(None, "/without");
    let _refused = send(Some("impostor"), "/impostor");
    send(Some("client"), "/with").unwrap();
    stage.event("/with");
    let status = crate::support::http::get(stage.daemon.api, "/status").json();
    assert_eq!(status["ingest"]["syslog"]["messages"], 1, "{status}");
    // TLS is all that is spoken: neither plain TCP nor UDP.
    let mut plain = TcpStream::connect(stage.syslog()).unwrap();
    plain.write_all(b"<190>nginx: plain\n").unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _alert = plain.read_to_end(&mut Vec::new());
    assert!(UdpSocket::bind(stage.syslog()).is_ok(), "nobody has the port over UDP");
    let status = crate::support::http::get(stage.daemon.api, "/status").json();
    assert_eq!(status["ingest"]["syslog"]["messages"], 1, "{status}");
}
