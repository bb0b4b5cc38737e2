//! Settings of a daemon, put together by what they mean. What a test changes of them it changes here, so
//! that a change that finds nothing to change fails, where a search in text would do nothing.
//!
//! They are written as JSON, which every reader of YAML takes.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::fake_kinesis::FakeKinesis;

/// Settings on free ports of loopback, with the data in the daemon's folder, `DIR`.
#[derive(Clone)]
pub(crate) struct Settings(Value);

impl Settings {
    pub(crate) fn new() -> Settings {
        Settings(json!({
            "data_dir": "DIR/data",
            "ingest": {"http": {"listen": "127.0.0.1:0"}},
            "api": {"listen": "127.0.0.1:0"},
            "journal": {},
            "stop": {},
            "destinations": [],
            "subscriptions": [],
        }))
    }

    /// Data that outlives a daemon.
    pub(crate) fn data_dir(self, folder: &Path) -> Settings {
        self.with("data_dir", folder.to_str().unwrap())
    }

    pub(crate) fn in_memory(self) -> Settings {
        self.journal("durability", "memory")
    }

    pub(crate) fn journal_bytes(self, size: &str) -> Settings {
        self.journal("max_bytes", size)
    }

    pub(crate) fn retention(self, time: &str) -> Settings {
        self.journal("retention", time)
    }

    fn journal(mut self, key: &str, value: &str) -> Settings {
        self.0["journal"][key] = value.into();
        self
    }

    pub(crate) fn drain_limit(mut self, limit: &str) -> Settings {
        self.0["stop"]["drain_limit"] = limit.into();
        self
    }

    pub(crate) fn ingest_tls(mut self, tls: Tls) -> Settings {
        self.0["ingest"]["http"]["tls"] = tls.0;
        self
    }

    pub(crate) fn api_tls(mut self, tls: Tls) -> Settings {
        self.0["api"]["tls"] = tls.0;
        self
    }

    pub(crate) fn api_listen(mut self, address: SocketAddr) -> Settings {
        self.0["api"]["listen"] = address.to_string().into();
        self
    }

    pub(crate) fn api_connections(mut self, most: u32) -> Settings {
        self.0["api"]["max_connections"] = most.into();
        self
    }

    fn with(mut self, key: &str, value: &str) -> Settings {
        self.0[key] = value.into();
        self
    }

    /// Another destination.
    /// The most bytes of an event that HTTP takes.
    pub(crate) fn max_event(mut self, size: &str) -> Settings {
        self.0["ingest"]["http"]["max_event"] = size.into();
        self
    }

    pub(crate) fn destination(mut self, destination: Destination) -> Settings {
        self.0["destinations"].as_array_mut().unwrap().push(destination.0);
        self
    }

    /// Another subscription.
    pub(crate) fn subscription(mut self, subscription: Subscription) -> Settings {
        self.0["subscriptions"].as_array_mut().unwrap().push(subscription.0);
        self
    }

    /// The same with one destination changed, which must be there.
    pub(crate) fn change(
        mut self,
        id: &str,
        change: impl FnOnce(Destination) -> Destination,
    ) -> Settings {
        let all = self.0["destinations"].as_array_mut().unwrap();
        let found = all.iter_mut().find(|it| it["id"] == id);
        let found = found.unwrap_or_else(|| panic!("no destination `{id}`"));
        *found = change(Destination(found.take())).0;
        self
    }

    /// The same with one subscription in another's place, which must be there.
    pub(crate) fn replace(mut self, id: &str, subscription: Subscription) -> Settings {
        let all = self.0["subscriptions"].as_array_mut().unwrap();
        let found = all.iter_mut().find(|it| it["id"] == id);
        *found.unwrap_or_else(|| panic!("no subscription `{id}`")) = subscription.0;
        self
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// A destination that sends without waiting for more.
pub(crate) struct Destination(Value);

impl Destination {
    fn new(id: &str, target: Value) -> Destination {
        Destination(json!({"id": id, "target": target, "batch": {"linger": "10ms"}}))
    }

    pub(crate) fn kinesis(id: &str, service: &FakeKinesis) -> Destination {
        let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
        let url = format!("http://{}", service.address);
        // Keys of its own, for commands run in the tests' environment, which has none.
        let keys = json!({"aws_access_key_id": "AKIATESTINGTESTING00", "aws_secret_access_key": "s3cret-key"});
        let auth = json!({"creds": keys});
        let target = json!({"stream_arn": arn, "auth": auth, "endpoint_url": url});
        Destination::new(id, json!({"kinesis": target}))
    }

    /// The same with settings of its target, such as `partition_key`.
    pub(crate) fn with_kinesis(mut self, settings: Value) -> Destination {
        let target = self.0["target"]["kinesis"].as_object_mut().unwrap();
        target.extend(settings.as_object().unwrap().clone());
        self
    }

    pub(crate) fn file(id: &str, path: impl fmt::Display) -> Destination {
        Destination::new(id, json!({"file": {"path": path.to_string()}}))
    }

    pub(crate) fn id(mut self, id: &str) -> Destination {
        self.0["id"] = id.into();
        self
    }

    pub(crate) fn linger(mut self, time: &str) -> Destination {
        self.0["batch"]["linger"] = time.into();
        self
    }

    pub(crate) fn drop_oldest(mut self) -> Destination {
        self.0["overflow"] = "drop_oldest".into();
        self
    }

    /// Its share of the journal.
    pub(crate) fn max_pending_bytes(mut self, size: &str) -> Destination {
        self.0["max_pending_bytes"] = size.into();
        self
    }

    /// Another stream, which only those of Kinesis have.
    pub(crate) fn stream(mut self, name: &str) -> Destination {
        let arn = self.0["target"].pointer_mut("/kinesis/stream_arn");
        let arn = arn.unwrap_or_else(|| panic!("no stream"));
        *arn = format!("arn:aws:kinesis:us-east-1:123456789012:stream/{name}").into();
        self
    }

    /// Another place to write to, which only files have.
    pub(crate) fn path(mut self, path: &str) -> Destination {
        let place = self.0["target"].pointer_mut("/file/path");
        *place.unwrap_or_else(|| panic!("no file")) = path.into();
        self
    }
}

/// A subscription to requests.
pub(crate) struct Subscription(Value);

impl Subscription {
    pub(crate) fn new(id: &str, destinations: &[&str]) -> Subscription {
        let sources = json!([{"type": "http_request_complete.v0"}]);
        Subscription(json!({"id": id, "sources": sources, "destinations": destinations}))
    }

    pub(crate) fn filter(mut self, filter: &str) -> Subscription {
        self.0["sources"][0]["filter"] = filter.into();
        self
    }
}

/// Which files make a listener speak TLS.
pub(crate) struct Tls(Value);

impl Tls {
    pub(crate) fn new(certificate: &Path, key: &Path) -> Tls {
        Tls(json!({"certificate": certificate, "key": key}))
    }

    pub(crate) fn client_ca(mut self, file: &Path) -> Tls {
        self.0["client_ca"] = file.to_str().unwrap().into();
        self
    }

    pub(crate) fn client_certificates(mut self, word: &str) -> Tls {
        self.0["client_certificates"] = word.into();
        self
    }
}
