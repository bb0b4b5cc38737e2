//! A Kinesis of our own for the faults that emulators do not make: throttled records inside a 200,
//! whole calls that fail, connections cut after the records were taken, outages. It has shards, of which one
//! may be throttled.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
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
    /// Refuses what goes to its second shard, in the words of the service.
    SecondShardThrottled,
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

/// A shard: its number, and the lowest and highest hash that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub number: usize,
    pub range: (u128, u128),
    pub is_open: bool,
}

impl Shard {
    pub(crate) fn id(&self) -> String {
        format!("shardId-{:012}", self.number)
    }

    fn has(&self, hash: u128) -> bool {
        self.is_open && (self.range.0..=self.range.1).contains(&hash)
    }
}

/// An entry of a request as it came in, and where it went.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub request: u64,
    pub shard: String,
    pub key: String,
    pub explicit_hash_key: Option<u128>,
    pub data: Vec<u8>,
    pub is_taken: bool,
}

#[derive(Default)]
struct Taken {
    shards: Vec<Shard>,
    /// All entries of all requests, in order.
    entries: Vec<Entry>,
    /// What a description of the stream has beside its name.
    description: Value,
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
        FakeKinesis::with_shards(1, mood)
    }

    /// One whose stream has so many shards of equal size.
    pub(crate) fn with_shards(count: usize, mood: Mood) -> FakeKinesis {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fake = FakeKinesis { address, mood: Arc::new(Mutex::new(mood)), taken: Arc::default() };
        let (mood, taken) = (Arc::clone(&fake.mood), Arc::clone(&fake.taken));
        let size = u128::MAX / count as u128;
        let shard = |number: usize| {
            let from = size * number as u128;
            let to = if number + 1 == count { u128::MAX } else { from + size - 1 };
            Shard { number, range: (from, to), is_open: true }
        };
        taken.lock().unwrap().shards = (0..count).map(shard).collect();
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

    /// All entries so far, in order.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.taken.lock().unwrap().entries.clone()
    }

    /// Open and closed shards.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        self.taken.lock().unwrap().shards.clone()
    }

    /// Closes a shard and opens two in its place.
    pub(crate) fn split(&self, number: usize) {
        let shards = &mut self.taken.lock().unwrap().shards;
        let (from, to) = shards[number].range;
        shards[number].is_open = false;
        let middle = from + (to - from) / 2;
        for range in [(from, middle), (middle + 1, to)] {
            shards.push(Shard { number: shards.len(), range, is_open: true });
        }
    }

    /// What the stream's description says beside its name; null: nobody may ask.
    pub(crate) fn describe(&self, description: Value) {
        self.taken.lock().unwrap().description = description;
    }

    pub(crate) fn requests(&self) -> u64 {
        self.taken.lock().unwrap().requests
    }
}

fn serve(stream: &TcpStream, mood: &Mutex<Mood>, taken: &Mutex<Taken>) {
    let mut reader = BufReader::new(stream);
    while let Some((operation, request)) = read_request(&mut reader) {
        let mood = *mood.lock().unwrap();
        if operation != "PutRecords" {
            if !asked(stream, &operation, &taken.lock().unwrap()) {
                return;
            }
            continue;
        }
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
            Mood::Well | Mood::Throttling | Mood::SecondShardThrottled | Mood::CuttingAfter => {
                let (answer, records) = take(&request, mood, &mut taken.lock().unwrap());
                unanswered = records;
                ("200 OK", answer)
            }
        };
        if mood == Mood::CuttingAfter {
            return;
        }
        let began = Instant::now();
        if !answered(stream, status, &answer) {
            return;
        }
        taken.lock().unwrap().answered(&unanswered, began);
    }
}

/// Sends an answer; tells whether all of it went out.
fn answered(mut stream: &TcpStream, status: &str, answer: &Value) -> bool {
    let body = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\nx-amzn-requestid: 1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).is_ok()
}

/// Answers a question about the stream.
fn asked(stream: &TcpStream, operation: &str, taken: &Taken) -> bool {
    let answer = match operation {
        _ if taken.description.is_null() => {
            let denied = json!({"__type": "AccessDeniedException", "message": "not authorized"});
            return answered(stream, "400 Bad Request", &denied);
        }
        "ListShards" => {
            let of = |shard: &Shard| {
                json!({
                    "ShardId": shard.id(),
                    "HashKeyRange": {
                        "StartingHashKey": shard.range.0.to_string(),
                        "EndingHashKey": shard.range.1.to_string(),
                    },
                    "SequenceNumberRange": {"StartingSequenceNumber": "1"},
                })
            };
            let open = taken.shards.iter().filter(|it| it.is_open);
            json!({"Shards": open.map(of).collect::<Vec<_>>()})
        }
        _ => {
            let mut summary = json!({
                "StreamName": "s", "StreamARN": "s", "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1, "EnhancedMonitoring": [],
                "OpenShardCount": taken.shards.iter().filter(|it| it.is_open).count(),
            });
            let members = taken.description.as_object().unwrap().clone();
            summary.as_object_mut().unwrap().extend(members);
            json!({"StreamDescriptionSummary": summary})
        }
    };
    answered(stream, "200 OK", &answer)
}

impl Taken {
    /// The open shard of a hash.
    fn shard(&self, hash: u128) -> Shard {
        *self.shards.iter().find(|it| it.has(hash)).unwrap()
    }

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
        let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
        let key = record["PartitionKey"].as_str().unwrap().to_owned();
        let explicit_hash_key = record["ExplicitHashKey"].as_str().map(|it| it.parse().unwrap());
        let shard = taken.shard(explicit_hash_key.unwrap_or_else(|| hash_of(&key)));
        let is_taken = match mood {
            Mood::Throttling => at % 3 != 0,
            Mood::SecondShardThrottled => shard.number != 1,
            _ => true,
        };
        taken.entries.push(Entry {
            request: taken.requests,
            shard: shard.id(),
            key: key.clone(),
            explicit_hash_key,
            data: data.clone(),
            is_taken,
        });
        if !is_taken {
            failed += 1;
            let message = format!(
                "Rate exceeded for shard {} in stream s under account 123456789012.",
                shard.id()
            );
            results.push(json!({
                "ErrorCode": "ProvisionedThroughputExceededException",
                "ErrorMessage": message,
            }));
            continue;
        }
        let data = String::from_utf8_lossy(&data).into_owned();
        taken.keys.insert(data.clone(), key);
        let hash = hash(&data);
        let takes = taken.takes.entry(hash).or_default();
        noted.push((hash, takes.len()));
        takes.push(Take { answered: None, stream: Arc::clone(&stream) });
        *taken.records.entry(data).or_default() += 1;
        results.push(json!({"SequenceNumber": "1", "ShardId": shard.id()}));
    }
    (json!({"FailedRecordCount": failed, "Records": results}), noted)
}

/// Where the service places a partition key.
pub(crate) fn hash_of(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key.as_bytes()).into())
}

fn hash(data: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// The operation that is asked for, and its parameters.
fn read_request(reader: &mut impl std::io::BufRead) -> Option<(String, Value)> {
    let (mut length, mut operation) = (0, String::new());
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
        let target = header.filter(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"));
        if let Some((_, operation_of)) = target.and_then(|(_, value)| value.trim().split_once('.'))
        {
            operation_of.clone_into(&mut operation);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((operation, serde_json::from_slice(&body).ok()?))
}

/// Decodes standard base64 of UTF-8 text.
pub(crate) fn decode_base64(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}
