//! Apache Kafka itself for the tests: clusters of child processes in KRaft mode. One of a single broker is shared
//! by the tests that leave it alone.
//!
//! Where Java or Kafka is not there (`tests/kafka/fetch.sh` fetches it), there is no cluster, and a line says so.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::daemon::pause;
use super::tls::Certificates;

/// How long a cluster may take for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// What keeps a JVM small and quick to start.
const JAVA: [&str; 4] = ["-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// The user whom SASL lets in, by each mechanism, with this password.
pub(crate) const USER: (&str, &str) = ("sluicegate", "correct horse");

/// A message of a topic.
pub(crate) struct Arrived {
    pub key: Option<String>,
    pub value: String,
    /// Its first header.
    pub hops: Option<String>,
}

pub(crate) struct Cluster {
    nodes: Vec<Node>,
    certificates: Option<Certificates>,
    folder: TempDir,
}

/// The ports of one broker, and what it needs to be started again.
struct Node {
    number: usize,
    plain: u16,
    controller: u16,
    tls: u16,
    sasl: u16,
    running: Option<Child>,
}

impl Cluster {
    /// The one broker that tests share, which ends with the process.
    pub(crate) fn shared() -> Option<&'static Cluster> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Cluster::start(1)).as_ref()
    }

    /// Starts so many brokers, each a controller too.
    pub(crate) fn start(brokers: usize) -> Option<Cluster> {
        let Some(jars) = jars() else {
            println!(
                "skipped: no Apache Kafka; `tests/kafka/fetch.sh target/apache-kafka` fetches it"
            );
            return None;
        };
        let node = |number| Node {
            number,
            plain: free_port(),
            controller: free_port(),
            tls: free_port(),
            sasl: free_port(),
            running: None,
        };
        let mut cluster = Cluster {
            nodes: (1..=brokers).map(node).collect(),
            certificates: Certificates::make(),
            folder: tempfile::tempdir().unwrap(),
        };
        for number in 1..=brokers {
            cluster.format(&jars, number);
        }
        for number in 1..=brokers {
            cluster.restart(number);
        }
        cluster.wait_for_brokers();
        Some(cluster)
    }

    /// Where brokers are reached without TLS, by whoever comes.
    pub(crate) fn brokers(&self) -> String {
        self.addresses(|node| node.plain)
    }

    /// Where they speak TLS.
    pub(crate) fn tls(&self) -> String {
        self.addresses(|node| node.tls)
    }

    /// Where they speak TLS and ask for a user.
    pub(crate) fn sasl(&self) -> String {
        self.addresses(|node| node.sasl)
    }

    /// The certificates of the cluster, whose CA is `ca`; none where they cannot be made.
    pub(crate) fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    fn addresses(&self, port: impl Fn(&Node) -> u16) -> String {
        let all = self.nodes.iter().map(|node| format!("127.0.0.1:{}", port(node)));
        all.collect::<Vec<_>>().join(",")
    }

    /// Kills a broker.
    pub(crate) fn kill(&mut self, number: usize) {
        stop(&mut self.nodes[number - 1].running);
    }

    /// Starts a broker that was killed.
    pub(crate) fn restart(&mut self, number: usize) {
        let Some(jars) = jars() else { return };
        let folder = self.node_folder(number);
        let log = fs::File::options().create(true).append(true).open(folder.join("out")).unwrap();
        // It ends when this process does, however that ends: then the shell's input is closed.
        let script = r#"java "$@" </dev/null & cat >/dev/null; kill -9 $!"#;
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .args(JAVA)
            .args(["-cp", &format!("{}/*", jars.display()), "kafka.Kafka"])
            .arg(folder.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes[number - 1].running = Some(child);
    }

    fn node_folder(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    fn format(&self, jars: &Path, number: usize) {
        let folder = self.node_folder(number);
        fs::create_dir(&folder).unwrap();
        let file = folder.join("server.properties");
        fs::write(&file, self.properties(number)).unwrap();
        let (user, password) = USER;
        let mut command = Command::new("java");
        command
            .args(JAVA)
            .args(["-cp", &format!("{}/*", jars.display()), "kafka.tools.StorageTool", "format"])
            .args(["--cluster-id", "c2x1aWNlZ2F0ZS10ZXN0cw", "--config"])
            .arg(&file);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let scram = format!("{mechanism}=[name={user},password={password}]");
            command.args(["--add-scram", &scram]);
        }
        let output = command.output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    fn properties(&self, number: usize) -> String {
        let Node { plain, controller, tls, sasl, .. } = self.nodes[number - 1];
        let voters =
            self.nodes.iter().map(|it| format!("{}@127.0.0.1:{}", it.number, it.controller));
        let voters = voters.collect::<Vec<_>>().join(",");
        let logs = self.node_folder(number).join("logs");
        let logs = logs.display();
        let copies = self.nodes.len();
        let mut all = format!(
            "process.roles=broker,controller\n\
             node.id={number}\n\
             controller.quorum.voters={voters}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL\n\
             log.dirs={logs}\n\
             auto.create.topics.enable=false\n\
             offsets.topic.num.partitions=3\n\
             offsets.topic.replication.factor={copies}\n\
             transaction.state.log.num.partitions=3\n\
             transaction.state.log.replication.factor={copies}\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\n\
             group.consumer.min.session.timeout.ms=1000\n\
             group.consumer.session.timeout.ms=6000\n\
             group.consumer.min.heartbeat.interval.ms=200\n\
             group.consumer.heartbeat.interval.ms=500\n\
             broker.heartbeat.interval.ms=500\n\
             broker.session.timeout.ms=3000\n\
             log.retention.check.interval.ms=500\n\
             log.initial.task.delay.ms=500\n\
             file.delete.delay.ms=100\n\
             num.network.threads=2\n\
             num.io.threads=2\n\
             message.max.bytes=12000000\n\
             replica.fetch.max.bytes=12000000\n"
        );
        let mut listeners =
            format!("PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}");
        if let Some(certificates) = &self.certificates {
            let read = |file: &str| fs::read_to_string(certificates.path(file)).unwrap();
            let keystore = self.node_folder(number).join("keystore.pem");
            fs::write(&keystore, read("server.key") + &read("server.pem")).unwrap();
            listeners += &format!(",SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl}");
            let (user, password) = USER;
            let module = "org.apache.kafka.common.security";
            all += &format!(
                "ssl.keystore.type=PEM\n\
                 ssl.keystore.location={}\n\
                 sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
                 listener.name.sasl_ssl.plain.sasl.jaas.config={module}.plain.PlainLoginModule \
                 required user_{user}=\"{password}\";\n",
                keystore.display()
            );
            for scram in ["scram-sha-256", "scram-sha-512"] {
                all += &format!(
                    "listener.name.sasl_ssl.{scram}.sasl.jaas.config={module}.scram.ScramLoginModule \
                     required;\n"
                );
            }
        }
        all + "listeners=" + &listeners + "\n"
    }

    fn wait_for_brokers(&self) {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let began = Instant::now();
        loop {
            let metadata = consumer.fetch_metadata(None, Duration::from_secs(2));
            if metadata.as_ref().is_ok_and(|it| it.brokers().len() == self.nodes.len()) {
                return;
            }
            let log = || fs::read_to_string(self.node_folder(1).join("out")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "the brokers do not come: {metadata:?}\n{}", log());
            pause();
        }
    }

    /// A client's settings.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers()).set("log_level", "0");
        config
    }

    /// Makes a topic that every broker has a copy of, with settings of its own.
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let copies = i32::try_from(self.nodes.len()).unwrap();
        self.ask(|admin, options| async move {
            let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
            for (name, value) in settings {
                new = new.set(name, value);
            }
            admin.create_topics([&new], &options).await
        });
    }

    /// Makes a topic of which this one broker has the only copy.
    pub(crate) fn create_topic_at(&self, topic: &str, partitions: usize, broker: i32) {
        self.ask(|admin, options| async move {
            let replicas: Vec<&[i32]> = vec![std::slice::from_ref(&broker); partitions];
            let replication = TopicReplication::Variable(&replicas);
            let new = NewTopic::new(topic, i32::try_from(partitions).unwrap(), replication);
            admin.create_topics([&new], &options).await
        });
    }

    /// Has this one broker take over all partitions of a topic, and waits until it has.
    pub(crate) fn move_to(&self, topic: &str, partitions: i32, broker: i32) {
        let Some(jars) = jars() else { return };
        let each =
            |number| format!(r#"{{"topic":"{topic}","partition":{number},"replicas":[{broker}]}}"#);
        let all: Vec<String> = (0..partitions).map(each).collect();
        let plan = format!(r#"{{"version":1,"partitions":[{}]}}"#, all.join(","));
        let file = self.folder.path().join("plan.json");
        fs::write(&file, plan).unwrap();
        let tool = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
        let output = Command::new("java")
            .args(JAVA)
            .args(["-cp", &format!("{}/*", jars.display()), tool, "--bootstrap-server"])
            .args([&self.brokers(), "--execute", "--reassignment-json-file"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let consumer: BaseConsumer = self.client().create().unwrap();
        let began = Instant::now();
        loop {
            let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
            let mut found = metadata.topics()[0].partitions().iter();
            if found.all(|it| it.leader() == broker && it.replicas() == [broker]) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the partitions do not move");
            pause();
        }
    }

    /// Changes settings of a topic.
    pub(crate) fn change_topic(&self, topic: &str, settings: &[(&str, &str)]) {
        self.ask(|admin, options| async move {
            let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
            for (name, value) in settings {
                change = change.set(name, value);
            }
            admin.alter_configs([&change], &options).await
        });
    }

    pub(crate) fn delete_topic(&self, topic: &str) {
        self.ask(|admin, options| async move { admin.delete_topics(&[topic], &options).await });
    }

    /// All messages of a topic, up to the ends that its partitions have now.
    pub(crate) fn read(&self, topic: &str, partitions: i32) -> Vec<Arrived> {
        let mut config = self.client();
        config.set("group.id", "reader").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut left = 0;
        let mut places = TopicPartitionList::new();
        for partition in 0..partitions {
            let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
            left += high - low;
            places.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&places).unwrap();
        let mut all = Vec::new();
        while (all.len() as i64) < left {
            let message = consumer.poll(PATIENCE).expect("a message in time").unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let hops = message.headers().and_then(|all| all.iter().next()?.value);
            all.push(Arrived {
                key: message.key().map(text),
                value: message.payload().map(text).unwrap_or_default(),
                hops: hops.map(text),
            });
        }
        all
    }

    /// Does something again and again until the oldest message of partition 0 is this or a later one.
    pub(crate) fn wait_for_low_watermark(&self, topic: &str, wanted: i64, mut act: impl FnMut()) {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let began = Instant::now();
        loop {
            let found = consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap();
            if found.0 >= wanted {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "nothing is thrown away: {found:?}");
            std::thread::sleep(Duration::from_secs(1));
            act();
        }
    }

    /// Asks until the answer is good: of a broker that was just started it need not be.
    fn ask<A, T, F>(&self, ask: impl Fn(AdminClient<DefaultClientContext>, AdminOptions) -> F)
    where
        A: std::fmt::Debug,
        T: std::fmt::Debug,
        F: Future<Output = rdkafka::error::KafkaResult<Vec<Result<A, T>>>>,
    {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let began = Instant::now();
        loop {
            let admin = self.client().create().unwrap();
            let done = runtime.block_on(ask(admin, AdminOptions::new()));
            if done.as_ref().is_ok_and(|all| all.iter().all(Result::is_ok)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{done:?}");
            pause();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            stop(&mut node.running);
        }
    }
}

/// Closes the input of a broker's shell, which then kills it, and waits for that.
fn stop(running: &mut Option<Child>) {
    if let Some(mut child) = running.take() {
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Kafka's folder, if it and Java are there.
fn jars() -> Option<PathBuf> {
    let given = std::env::var_os("SLUICEGATE_TEST_KAFKA").map(PathBuf::from);
    let fetched = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/apache-kafka"));
    let folder = given.unwrap_or(fetched);
    let java = Command::new("java").arg("-version").stderr(Stdio::null()).status();
    (folder.join("pom.xml").exists() && java.is_ok_and(|it| it.success())).then_some(folder)
}
