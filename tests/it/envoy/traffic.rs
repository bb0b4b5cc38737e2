//! The real Envoy: HTTP and TCP listeners before a small upstream, known traffic, and its events field by field.

use super::*;

/// Where the upstream, the proxy and its listeners are.
struct Proxy {
    child: Child,
    web: SocketAddr,
    web6: SocketAddr,
    secure: SocketAddr,
    tcp: SocketAddr,
    upstream: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free(address: &str) -> SocketAddr {
    TcpListener::bind(address).unwrap().local_addr().unwrap()
}

/// An upstream that keeps connections open, answers with ten bytes, and hangs up on `/reset`.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                while let Some(head) = head_of(&mut stream) {
                    if head.starts_with("get /reset") {
                        return;
                    }
                    let length = head.split("content-length: ").nth(1);
                    let length = length.and_then(|it| it.split("\r\n").next()?.parse().ok());
                    let mut body = vec![0; length.unwrap_or(0)];
                    if stream.read_exact(&mut body).is_err() {
                        return;
                    }
                    let answer =
                        b"HTTP/1.1 200 OK\r\nX-Answer: Yes\r\nContent-Length: 10\r\n\r\n0123456789";
                    stream.write_all(answer).unwrap();
                }
            });
        }
    });
    address
}

fn head_of(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).to_lowercase())
}

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// An access log of a kind, with a token.
fn log(kind: &str, more: &Value) -> Value {
    let mut config = json!({
        "@type": format!("{TYPES}.access_loggers.grpc.v3.{kind}GrpcAccessLogConfig"),
        "common_config": {
            "log_name": "main",
            "transport_api_version": "V3",
            "buffer_flush_interval": "0.1s",
            "grpc_service": {
                "envoy_grpc": {"cluster_name": "sluicegate"},
                "initial_metadata": [{"key": "authorization", "value": "Bearer s3cret"}],
            },
        },
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let name = format!("envoy.access_loggers.{}_grpc", kind.to_lowercase());
    json!([{"name": name, "typed_config": config}])
}

/// The filters of HTTP and of TCP.
fn filters() -> (Value, Value) {
    let headers = json!({
        "additional_request_headers_to_log": ["x-odd", ":method"],
        "additional_response_headers_to_log": ["x-answer"],
    });
    let web = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "web",
            "access_log": log("Http", &headers),
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")},
            }],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/none"}, "route": {"cluster": "nobody"}},
                {"name": "shop", "match": {"prefix": "/"}, "route": {"cluster": "app"}},
            ]}]},
        },
    });
    let tcp = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": format!("{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": "tcp", "cluster": "app", "access_log": log("Tcp", &json!({})),
        },
    });
    (web, tcp)
}

/// The settings of an Envoy whose logs go to an address.
fn settings(proxy: &Proxy, logs: SocketAddr, certificates: &Certificates) -> String {
    let socket = |it: SocketAddr| json!({"socket_address": {"address": it.ip().to_string(), "port_value": it.port()}});
    let file = |name: &str| json!({"filename": certificates.path(name)});
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [
                {"certificate_chain": file("server.pem"), "private_key": file("server.key")},
            ]},
        },
    });
    let inspector = json!([{
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": {
            "@type": format!("{TYPES}.filters.listener.tls_inspector.v3.TlsInspector"),
            "enable_ja3_fingerprinting": true,
        },
    }]);
    let cluster = |name: &str, address: SocketAddr| {
        let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": socket(address)}}]}]);
        let endpoints = json!({"cluster_name": name, "endpoints": endpoints});
        json!({"name": name, "type": "STATIC", "load_assignment": endpoints})
    };
    let mut logs = cluster("sluicegate", logs);
    logs["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    let listener = |name: &str, at: SocketAddr, filter: &Value| json!({"name": name, "address": socket(at), "filter_chains": [{"filters": [filter]}]});
    let (web, tcp) = filters();
    let mut secure = listener("secure", proxy.secure, &web);
    secure["filter_chains"][0]["transport_socket"] = tls;
    secure["listener_filters"] = inspector;
    let listeners = json!([
        listener("web", proxy.web, &web),
        listener("web6", proxy.web6, &web),
        secure,
        listener("tcp", proxy.tcp, &tcp),
    ]);
    let nobody = cluster("nobody", SocketAddr::from(([127, 0, 0, 1], 1)));
    let clusters = json!([cluster("app", proxy.upstream), nobody, logs]);
    json!({
        "node": {"id": "edge-1", "cluster": "edge"},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
    .to_string()
}

impl Proxy {
    /// Starts Envoy, and waits until it takes connections. None, with a line, where it is not installed.
    fn start(stage: &Stage, certificates: &Certificates) -> Option<Proxy> {
        let program = venv_program("envoy")?;
        let mut proxy = Proxy {
            child: Command::new("true").spawn().unwrap(),
            web: free("127.0.0.1:0"),
            web6: free("[::1]:0"),
            secure: free("127.0.0.1:0"),
            tcp: free("127.0.0.1:0"),
            upstream: upstream(),
        };
        let path = stage.folder.path().join("envoy.json");
        fs::write(&path, settings(&proxy, stage.address(), certificates)).unwrap();
        let log = fs::File::create(stage.folder.path().join("envoy.out")).unwrap();
        let _ = proxy.child.wait();
        proxy.child = Command::new(program)
            .args(["--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        patiently("Envoy listens", || {
            if let Some(ended) = proxy.child.try_wait().unwrap() {
                let said = fs::read_to_string(stage.folder.path().join("envoy.out"));
                panic!("{ended}: {}", said.unwrap());
            }
            TcpStream::connect(proxy.web).is_ok()
        });
        Some(proxy)
    }
}

/// Sends bytes, and gives all that comes back.
fn send(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const TOKEN: &str = ", bearer_tokens: [s3cret], account_id: ac_1";

#[test]
fn the_real_envoy_tells_of_requests_field_by_field() {
    let Some(certificates) = Certificates::make() else { return };
    let stage = Stage::new(TOKEN, "");
    let Some(proxy) = Proxy::start(&stage, &certificates) else { return };
    // Two requests on one connection.
    let host = "Host: shop.example\r\n";
    let answer = send(
        proxy.web,
        format!(
            "GET /a%20b?x=1&y=%22 HTTP/1.1\r\n{host}User-Agent: Agent \"q\"\r\nReferer: http://Ref.example/A\r\n\
             X-Odd: gr\u{f6}\u{df} \"q\"\\\r\n\r\n\
             PURGE /second HTTP/1.1\r\n{host}Content-Length: 3\r\nConnection: close\r\n\r\nabc"
        )
        .as_bytes(),
    );
    assert_eq!(answer.matches("0123456789").count(), 2, "{answer}");
    let get = stage.of_path("/a%20b");
    let request = &get["http"]["request"];
    assert_eq!(request["method"], "get", "{get}");
    assert_eq!(request["url"]["query"], "x=1&y=%22");
    assert_eq!(request["url"]["raw"], "http://shop.example/a%20b?x=1&y=%22");
    assert_eq!(request["user_agent"], "Agent \"q\"");
    assert_eq!(request["headers"]["Referer"], json!(["http://ref.example/a"]));
    let odd = request["headers"]["X-Odd"][0].as_str().unwrap();
    assert!(odd.starts_with("gr") && odd.ends_with("\"q\"\\"), "{odd}");
    assert_eq!(get["http"]["response"]["status_code"], 200);
    assert_eq!(get["http"]["response"]["body_length"], 10);
    assert_eq!(get["http"]["response"]["headers"]["X-Answer"], json!(["yes"]));
    assert_eq!(get["conn"]["client_ip"], "127.0.0.1");
    assert_eq!(get["conn"]["server_ip"], "127.0.0.1");
    assert_eq!(get["conn"]["server_port"], i64::from(proxy.web.port()));
    assert_eq!(get["conn"]["server_name"], "shop.example");
    let of_proxy = &get["proxy"];
    assert_eq!(of_proxy["name"], "envoy");
    assert_eq!(of_proxy["node"], "edge-1");
    assert_eq!(of_proxy["cluster"], "app");
    assert_eq!(of_proxy["route"], "shop");
    assert_eq!(of_proxy["protocol"], "HTTP/1.1");
    assert_eq!(of_proxy["upstream"], proxy.upstream.to_string());
    assert_eq!(of_proxy["upstream_status"], 200);
    assert_eq!(of_proxy["retries"], 0);
    assert!(of_proxy["bytes_in"].as_i64().unwrap() > 100, "{get}");
    assert!(
        of_proxy["duration_ms"].as_f64().unwrap() >= of_proxy["first_byte_ms"].as_f64().unwrap()
    );
    let second = stage.of_path("/second");
    assert_eq!(second["http"]["request"]["method"], "purge", "{second}");
    assert_eq!(second["http"]["request"]["body_length"], 3);
    assert_eq!(second["proxy"]["client_port"], of_proxy["client_port"]);
    let event = stage.events().remove(0);
    assert_eq!(event["account_id"], "ac_1");
    let status = stage.status();
    assert_eq!(status["ingest"]["envoy"]["entries"], 2, "{status}");
    assert_eq!(status["ingest"]["envoy"]["streams"], 1);
}

#[test]
fn the_real_envoy_tells_of_resets_missing_upstreams_large_bodies_http_2_and_ipv6() {
    let Some(certificates) = Certificates::make() else { return };
    let stage = Stage::new(TOKEN, "");
    let Some(proxy) = Proxy::start(&stage, &certificates) else { return };
    let end = "Host: h\r\nConnection: close\r\n\r\n";
    send(proxy.web, format!("GET /reset HTTP/1.1\r\n{end}").as_bytes());
    let reset = stage.of_path("/reset");
    assert_eq!(reset["http"]["response"]["status_code"], 503, "{reset}");
    assert_eq!(reset["proxy"]["response_flags"], "UC");
    assert!(reset["proxy"]["upstream_status"].is_null(), "it did not answer");
    send(proxy.web, format!("GET /none HTTP/1.1\r\n{end}").as_bytes());
    let none = stage.of_path("/none");
    assert_eq!(none["http"]["response"]["status_code"], 503, "{none}");
    assert_eq!(none["proxy"]["response_flags"], "UF");
    assert!(none["proxy"]["extra"].as_str().unwrap().contains("connection_failure"), "{none}");
    let body = "x".repeat(2 << 20);
    let large = format!("POST /large HTTP/1.1\r\nContent-Length: {}\r\n{end}{body}", body.len());
    send(proxy.web, large.as_bytes());
    let large = stage.of_path("/large");
    assert_eq!(large["http"]["request"]["body_length"], 2 << 20, "{large}");
    send(proxy.web6, format!("GET /six HTTP/1.1\r\n{end}").as_bytes());
    let six = stage.of_path("/six");
    assert_eq!(
        (&six["conn"]["client_ip"], &six["conn"]["server_ip"]),
        (&json!("::1"), &json!("::1"))
    );
    // A client that hangs up before the answer.
    let mut gone = TcpStream::connect(proxy.web).unwrap();
    gone.write_all(b"POST /gone HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab").unwrap();
    patiently("the upstream is asked", || stage.status()["ingest"]["envoy"]["streams"] == 1);
    drop(gone);
    assert_eq!(stage.of_path("/gone")["proxy"]["response_flags"], "DC");
    // HTTP/2 in TLS, by curl, which has to be there for other tests too.
    let url = format!("https://localhost:{}/two?q", proxy.secure.port());
    let resolve = format!("localhost:{}:127.0.0.1", proxy.secure.port());
    let curl = Command::new("curl")
        .args(["-s", "--http2", "--resolve", &resolve, "--cacert"])
        .arg(certificates.path("ca.pem"))
        .arg(url)
        .output()
        .unwrap();
    assert_eq!(curl.stdout, b"0123456789", "{curl:?}");
    let two = stage.of_path("/two");
    assert_eq!(two["proxy"]["protocol"], "HTTP/2", "{two}");
    assert_eq!(two["http"]["request"]["url"]["scheme"], "https");
    assert_eq!(two["tls"]["version"], "1.3");
    assert!(two["tls"]["cipher_suite"].as_str().unwrap().starts_with("TLS_"), "{two}");
    assert_eq!(two["conn"]["server_name"], "localhost");
    assert_eq!(two["proxy"]["ja3"].as_str().unwrap().len(), 32, "{two}");
}

#[test]
fn the_real_envoy_tells_of_connections() {
    let Some(certificates) = Certificates::make() else { return };
    let stage = Stage::new(TOKEN, "");
    let Some(proxy) = Proxy::start(&stage, &certificates) else { return };
    let request = "GET /tcp HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut stream = TcpStream::connect(proxy.tcp).unwrap();
    let client = stream.local_addr().unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = [0; 64];
    stream.read_exact(&mut answer).unwrap();
    drop(stream);
    let closed = stage.event("a connection", |it| it["event_type"] == "tcp_connection_closed.v0");
    assert_eq!(closed["conn"]["bytes_in"], request.len(), "{closed}");
    assert_eq!(closed["conn"]["bytes_out"], answer.len());
    assert_eq!(closed["conn"]["client_ip"], "127.0.0.1");
    assert_eq!(closed["conn"]["server_port"], i64::from(proxy.tcp.port()));
    assert_eq!(closed["proxy"]["client_port"], i64::from(client.port()));
    assert_eq!(closed["proxy"]["upstream"], proxy.upstream.to_string());
    assert_eq!(closed["proxy"]["cluster"], "app");
    let (start, end) = (&closed["conn"]["start_ts"], &closed["conn"]["end_ts"]);
    assert!(start.as_str().unwrap() < end.as_str().unwrap(), "{closed}");
}
