//! A Kinesis of our own for the faults that emulators do not make: throttled records inside a 200,
//! whole calls that fail, connections cut after the records were taken, outages.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What the service does with its next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes everything.
    Well,
    /// Refuses every third record with a throttle inside a 200.
    Throttling,
    /// Answers 500 to whole calls.
    Failing,
    /// Refuses whole calls as a wrong permission would.
    Denying,
    /// Takes everything, and cuts the connection before answering.
    CuttingAfter,
    /// Takes the connection and the request, and never answers.
    Hanging,
}

/// What became of one taking of a record.
#[derive(Clone, Debug)]
pub(crate) struct Take {
    /// When its answer began to be sent, if all of it was.
    pub answered: Option<Instant>,
    /// The stream that it was sent to.
    pub stream: Arc<str>,
}

#[derive(Default)]
struct Taken {
    /// How often each record's data was taken.
    records: HashMap<String, u32>,
    keys: HashMap<String, String>,
    /// Each record's takings, in order, by the hash of its data.
    takes: HashMap<u64, Vec<Take>>,
    requests: u64,
}

/// A running fake.
pub(crate) struct FakeKinesis {
    pub address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    taken: Arc<Mutex<Taken>>,
}

impl FakeKinesis {
    pub(crate) fn start(mood: Mood) -> FakeKinesis {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fake = FakeKinesis { address, mood: Arc::new(Mutex::new(mood)), taken: Arc::default() };
        let (mood, taken) = (Arc::clone(&fake.mood), Arc::clone(&fake.taken));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mood, taken) = (Arc::clone(&mood), Arc::clone(&taken));
                std::thread::spawn(move || serve(&stream, &mood, &taken));
            }
        });
        fake
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Each record's data and how often it was taken.
    pub(crate) fn records(&self) -> HashMap<String, u32> {
        self.taken.lock().unwrap().records.clone()
    }

    /// For each record what became of each of its takings, in order.
    pub(crate) fn takes(&self) -> Vec<Vec<Take>> {
        self.taken.lock().unwrap().takes.values().cloned().collect()
    }

    /// Each record's data and its partition key.
    pub(crate) fn partition_keys(&self) -> HashMap<String, String> {
        self.taken.lock().unwrap().keys.clone()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.taken.lock().unwrap().requests
    }
}

fn serve(stream: &TcpStream, mood: &Mutex<Mood>, taken: &Mutex<Taken>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let mood = *mood.lock().unwrap();
        taken.lock().unwrap().requests += 1;
        let mut unanswered = Vec::new();
        let (status, answer) = match mood {
            Mood::Hanging => {
                // Whoever sent it is gone before this thread is.
                std::thread::park();
                return;
            }
            Mood::Failing => ("500 Internal Server Error", json!({"__type": "InternalFailure"})),
            Mood::Denying => (
                "400 Bad Request",
                json!({"__type": "AccessDeniedException", "message": "not authorized to perform: kinesis:PutRecords"}),
            ),
            Mood::Well | Mood::Throttling | Mood::CuttingAfter => {
                let (answer, records) = take(&request, mood, &mut taken.lock().unwrap());
                unanswered = records;
                ("200 OK", answer)
            }
        };
        if mood == Mood::CuttingAfter {
            return;
        }
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\nx-amzn-requestid: 1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut writer = stream;
        let began = Instant::now();
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
        taken.lock().unwrap().answered(&unanswered, began);
    }
}

impl Taken {
    /// Notes that all of an answer was sent, for the records taken with it.
    fn answered(&mut self, records: &[(u64, usize)], began: Instant) {
        for (record, at) in records {
            self.takes.get_mut(record).unwrap()[*at].answered = Some(began);
        }
    }
}

/// Takes a request's records. Gives the answer, and where each one's taking is noted.
fn take(request: &Value, mood: Mood, taken: &mut Taken) -> (Value, Vec<(u64, usize)>) {
    let mut failed = 0;
    let mut noted = Vec::new();
    let (_, stream) = request["StreamARN"].as_str().unwrap().rsplit_once('/').unwrap();
    let stream: Arc<str> = stream.into();
    let mut results = Vec::new();
    for (at, record) in request["Records"].as_array().unwrap().iter().enumerate() {
        if mood == Mood::Throttling && at % 3 == 0 {
            failed += 1;
            results.push(json!({
                "ErrorCode": "ProvisionedThroughputExceededException",
                "ErrorMessage": "Rate exceeded for shard shardId-000000000000",
            }));
            continue;
        }
        let data = decode_base64(record["Data"].as_str().unwrap());
        let key = record["PartitionKey"].as_str().unwrap().to_owned();
        taken.keys.insert(data.clone(), key);
        let hash = hash(&data);
        let takes = taken.takes.entry(hash).or_default();
        noted.push((hash, takes.len()));
        takes.push(Take { answered: None, stream: Arc::clone(&stream) });
        *taken.records.entry(data).or_default() += 1;
        results.push(json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"}));
    }
    (json!({"FailedRecordCount": failed, "Records": results}), noted)
}

fn hash(data: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

fn read_request(reader: &mut impl std::io::BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        let header = line.split_once(':');
        if let Some((_, value)) =
            header.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// Decodes standard base64 of UTF-8 text.
pub(crate) fn decode_base64(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}
