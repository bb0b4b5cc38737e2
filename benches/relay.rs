//! Plain produce of a file's lines, by a producer with the relay's properties: what `relay.py` holds the relay against.
//! It measures nothing itself; its caller counts the time and the CPU that it takes.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot go on has failed"
)]

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let [brokers, topic, file] = arguments.as_slice() else {
        // `cargo bench` runs all of them.
        println!("needs BROKERS TOPIC FILE; `benches/relay.py` calls it");
        return;
    };
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    for line in text.lines() {
        loop {
            let record = BaseRecord::<(), str>::to(topic).payload(line);
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(5));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}
