//! The objects of `http_request_complete.v0`: requests as the endpoints of a mixed platform see them.
//!
//! What belongs together agrees: the status with the decisions, the URL's parts with the whole, the
//! TLS version with its ciphers. Header values are in lower case, as the reference says.

use super::earlier;
use super::object::{ObjectWriter, push_comma, push_strings};
use super::population::{Family, Module, Population, Site, client_ip, family, serial_number};
use super::random::Random;
use crate::event::{Timestamp, push_string};

/// How likely each status is, in a thousand: 92 % succeed, 2 % are sent elsewhere, 4 % are the
/// client's mistakes and 2 % the server's.
const STATUSES: [(u32, i32); 17] = [
    (860, 200),
    (26, 201),
    (10, 202),
    (20, 204),
    (4, 206),
    (3, 301),
    (7, 302),
    (10, 304),
    (6, 400),
    (8, 401),
    (8, 403),
    (13, 404),
    (5, 429),
    (7, 500),
    (5, 502),
    (6, 503),
    (2, 504),
];

const READING: [(u32, &str); 3] = [(94, "get"), (4, "head"), (2, "options")];
const WRITING: [(u32, &str); 4] = [(70, "post"), (12, "put"), (10, "patch"), (8, "delete")];

/// A path's template, whether requests to it write, and what it answers with.
struct Route {
    path: &'static str,
    writes: bool,
    content: &'static str,
}

const fn route(path: &'static str, writes: bool, content: &'static str) -> Route {
    Route { path, writes, content }
}

const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

const ROUTES: [(u32, Route); 14] = [
    (12, route("/", false, HTML)),
    (16, route("/v1/orders/########", false, JSON)),
    (7, route("/v1/orders", true, JSON)),
    (14, route("/api/users/@@@@@@@@-@@@@-4@@@-a@@@-@@@@@@@@@@@@/sessions", false, JSON)),
    (10, route("/assets/app.@@@@@@@@.js", false, "text/javascript")),
    (8, route("/img/products/######/thumb.webp", false, "image/webp")),
    (6, route("/graphql", true, JSON)),
    (4, route("/hooks/payments", true, "text/plain")),
    (8, route("/search", false, HTML)),
    (5, route("/healthz", false, "text/plain")),
    (6, route("/v2/devices/dev-@@@@@@/telemetry", true, JSON)),
    (2, route("/überblick/größe-##", false, HTML)),
    (1, route("/files/Q#%20report%20(final).pdf", false, "application/pdf")),
    (1, route("/legacy/cgi-bin\\report.exe", false, HTML)),
];

const QUERIES: [(u32, &str); 10] = [
    (46, ""),
    (16, "page=##&limit=50"),
    (10, "since=2025-0#-1#T0#:00:00Z&cursor=@@@@@@@@@@@@@@@@"),
    (8, "ids=######,######,######"),
    (7, "utm_source=mail&utm_campaign=c####"),
    (4, "q=%E6%9D%B1%E4%BA%AC&page=#"),
    (3, "q=größe+##&lang=de"),
    (2, "filter=\"open\"&sort=-created"),
    (2, "path=C:\\exports\\##"),
    (2, "emoji=🚦&n=##"),
];

const CIPHERS_1_3: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const CIPHERS_1_2: [&str; 2] =
    ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"];

const LOG_MESSAGES: [&str; 4] =
    ["rate limit at ## of 100", "bot score ##", "sent to blue pool", "header \"X-Tenant\" added"];

/// What is known of a request before it is written.
struct Exchange<'s> {
    site: &'s Site,
    secure: bool,
    route: &'static Route,
    method: &'static str,
    status: i32,
    path: String,
    query: String,
    family: &'static Family,
    agent: String,
    request_length: u32,
    response_length: u32,
}

/// Writes the fields of one request that ended at `now`.
pub(super) fn write(
    object: &mut ObjectWriter<'_, '_>,
    random: &mut Random,
    population: &Population,
    site: &Site,
    now: Timestamp,
) {
    let exchange = Exchange::new(random, site);
    exchange.write_before_http(object, random, now);
    exchange.write_request(object, random);
    exchange.write_response(object, random);
    exchange.write_after_http(object, random, population);
}

impl<'s> Exchange<'s> {
    fn new(random: &mut Random, site: &'s Site) -> Exchange<'s> {
        let route = random.weighted(&ROUTES);
        let method = *random.weighted(if route.writes { &WRITING[..] } else { &READING[..] });
        let status = *random.weighted(&STATUSES);
        let query = if route.writes && random.chance(90) { "" } else { random.weighted(&QUERIES) };
        let family = family(random);
        let has_body = matches!(method, "post" | "put" | "patch");
        let has_answer = !matches!(method, "head" | "options") && !matches!(status, 204 | 304);
        Exchange {
            site,
            secure: random.chance(94),
            route,
            method,
            status,
            path: random.fill(route.path),
            query: random.fill(query),
            family,
            agent: random.fill(family.agent),
            request_length: if has_body { random.size(11) * 31 + random.below(31) } else { 0 },
            response_length: if has_answer { random.size(14) * 37 + random.below(37) } else { 0 },
        }
    }

    /// What a module decided: nothing where the site has no modules, `invalid` where it has not this
    /// one.
    fn decision(&self, module: Module) -> Option<&'static str> {
        if self.site.is_bare() {
            return None;
        }
        if !self.site.uses(module) {
            return Some("invalid");
        }
        Some(if self.is_blocked_by(module) { "block" } else { "allow" })
    }

    /// Of the modules that could have caused the status, the first is the one that did.
    fn is_blocked_by(&self, module: Module) -> bool {
        match (self.status, module) {
            (401, Module::BasicAuth) | (403, Module::IpPolicy) | (503, Module::CircuitBreaker) => {
                true
            }
            (401, Module::OAuth) => !self.site.uses(Module::BasicAuth),
            (403, Module::WebhookVerification) => !self.site.uses(Module::IpPolicy),
            _ => false,
        }
    }

    fn write_before_http(
        &self,
        object: &mut ObjectWriter<'_, '_>,
        random: &mut Random,
        now: Timestamp,
    ) {
        let site = self.site;
        if !matches!(self.status, 401 | 403 | 503) {
            object.boolean("backend.connection_reused", random.chance(80));
        }
        if let Some(decision) = self.decision(Module::BasicAuth) {
            object.text("basic_auth.decision", decision);
        }
        if site.uses(Module::BasicAuth) {
            object.text("basic_auth.username", &random.fill("svc-reader-##"));
        }
        if let Some(decision) = self.decision(Module::CircuitBreaker) {
            let probes = decision == "allow" && random.chance(2);
            let decision = if probes { "allow_while_open" } else { decision };
            object.text("circuit_breaker.decision", decision);
        }
        if site.uses(Module::Compression) {
            let algorithm = self.compression();
            let saved = if algorithm == "none" { 0 } else { self.response_length / 4 * 3 };
            object.text("compression.algorithm", algorithm);
            object.number("compression.bytes_saved", saved);
        }
        let milliseconds = if random.chance(70) { random.size(17) } else { random.size(7) };
        let age = u64::from(milliseconds) * 1_000_000 + u64::from(random.below(1_000_000));
        object.text("conn.client_ip", &client_ip(random));
        object.text("conn.server_ip", &site.server_ip());
        object.text("conn.server_name", &site.host);
        object.number("conn.server_port", if self.secure { 443 } else { 80 });
        object.time("conn.start_ts", earlier(now, age));
    }

    fn compression(&self) -> &'static str {
        match self.route.content {
            "image/webp" | "application/pdf" => "none",
            _ if self.response_length < 256 => "none",
            _ if self.site.index % 8 == 5 => "deflate",
            _ => "gzip",
        }
    }

    fn write_request(&self, object: &mut ObjectWriter<'_, '_>, random: &mut Random) {
        object.number("http.request.body_length", self.request_length);
        let mut headers = Headers::new(object.value("http.request.headers"));
        headers.add("Accept", self.family.accept);
        if random.chance(40) {
            headers.add("Accept-Encoding", "gzip, deflate, br");
        }
        if self.request_length > 0 {
            headers.add("Content-Type", self.route.content);
        }
        if random.chance(15) {
            headers.add("Referer", &format!("https://{}/", self.site.host));
        }
        if random.chance(25) {
            headers.add("X-Request-Id", &random.fill("@@@@@@@@@@@@@@@@"));
        }
        headers.finish();
        let scheme = if self.secure { "https" } else { "http" };
        let mark = if self.query.is_empty() { "" } else { "?" };
        let (host, path, query) = (&self.site.host, &self.path, &self.query);
        object.text("http.request.method", self.method);
        object.text("http.request.url.host", host);
        object.text("http.request.url.path", path);
        object.text("http.request.url.query", query);
        object.text("http.request.url.raw", &format!("{scheme}://{host}{path}{mark}{query}"));
        object.text("http.request.url.scheme", scheme);
        object.text("http.request.user_agent", &self.agent);
    }

    fn write_response(&self, object: &mut ObjectWriter<'_, '_>, random: &mut Random) {
        object.number("http.response.body_length", self.response_length);
        let mut headers = Headers::new(object.value("http.response.headers"));
        if random.chance(60) {
            headers.add("Cache-Control", random.pick(&["no-store", "max-age=3600", "private"]));
        }
        if self.site.uses(Module::Compression) && self.compression() != "none" {
            headers.add("Content-Encoding", self.compression());
        }
        if self.response_length > 0 {
            headers.add("Content-Type", self.route.content);
        }
        if random.chance(30) {
            headers.add("Etag", &random.fill("\"@@@@@@@@@@@@\""));
        }
        match self.status {
            201 | 301 | 302 => headers.add("Location", &random.fill("/v1/orders/########")),
            401 => headers.add("Www-Authenticate", "basic realm=\"staff\""),
            429 | 503 => headers.add("Retry-After", &random.between(1, 120).to_string()),
            _ => {}
        }
        if random.chance(8) {
            let session = random.fill("sid=@@@@@@@@@@@@; httponly");
            headers.add_all("Set-Cookie", &[&session, "theme=dark; path=/"]);
        }
        headers.finish();
        object.number("http.response.status_code", self.status);
    }

    fn write_after_http(
        &self,
        object: &mut ObjectWriter<'_, '_>,
        random: &mut Random,
        population: &Population,
    ) {
        let site = self.site;
        if let Some(decision) = self.decision(Module::IpPolicy) {
            object.text("ip_policy.decision", decision);
        }
        if self.secure {
            object.text("ja4_fingerprint", &population.ja4(random, self.family));
        }
        if site.uses(Module::OAuth) {
            let blocked = self.is_blocked_by(Module::OAuth);
            let user = random.skewed(5_000);
            object.text("oauth.app_client_id", &format!("app-{:08x}", site.index));
            object.text("oauth.decision", if blocked { "block" } else { "allow" });
            if !blocked {
                object.text("oauth.user.id", &(100_000 + user).to_string());
                object.text("oauth.user.name", &population.full_name(user));
            }
        }
        if self.secure {
            let modern = random.chance(88);
            let ciphers = if modern { &CIPHERS_1_3[..] } else { &CIPHERS_1_2[..] };
            object.text("tls.cipher_suite", random.pick(ciphers));
            if site.uses(Module::MutualTls) {
                let serial = serial_number(random, 8);
                object.text("tls.client_cert.serial_number", &serial);
                object.text("tls.client_cert.subject.cn", &random.fill("device-#####"));
            }
            object.text("tls.version", if modern { "1.3" } else { "1.2" });
        }
        if site.uses(Module::TrafficPolicy) {
            write_logs(object.value("traffic_policy.logs"), random, population, site);
        }
        if let Some(decision) = self.decision(Module::WebhookVerification) {
            object.text("webhook_verification.decision", decision);
        }
    }
}

/// Writes what the site's traffic policy logged: one to two entries that nest a free map.
pub(super) fn write_logs(
    out: &mut String,
    random: &mut Random,
    population: &Population,
    site: &Site,
) {
    out.push('[');
    for _ in 0..*random.weighted(&[(3, 1), (1, 2)]) {
        push_comma(out);
        let mut entry = ObjectWriter::new(out);
        let message = random.pick(&LOG_MESSAGES);
        entry.text("metadata.message", &random.fill(message));
        entry.text("metadata.endpoint_id", &population.id("ep", site.index));
        entry.number("metadata.rule", random.below(12));
        entry.finish();
    }
    out.push(']');
}

/// A map of headers under way. Names are written as they are, values in lower case.
struct Headers<'o> {
    out: &'o mut String,
}

impl<'o> Headers<'o> {
    fn new(out: &'o mut String) -> Headers<'o> {
        out.push('{');
        Headers { out }
    }

    fn add(&mut self, name: &str, value: &str) {
        self.add_all(name, &[value]);
    }

    fn add_all(&mut self, name: &str, values: &[&str]) {
        push_comma(self.out);
        push_string(self.out, name);
        self.out.push(':');
        let start = self.out.len();
        push_strings(self.out, values);
        self.out[start..].make_ascii_lowercase();
    }

    fn finish(self) {
        self.out.push('}');
    }
}
