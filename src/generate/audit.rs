//! The objects of audit events: API resources as they stood when somebody made, changed or removed
//! them.
//!
//! Values follow from the names of the fields; a field of which nothing is known here gets a value
//! that fits its type.

use super::custom::Source;
use super::object::{ObjectWriter, push_comma, push_strings};
use super::population::{Person, Population, REGIONS, client_ip, serial_number};
use super::random::Random;
use super::{earlier, later};
use crate::event::{Field, FieldType, Timestamp, ksuid, push_string};

/// Where the API would be.
const API: &str = "https://api.example.net";

/// One day in nanoseconds.
const DAY: u64 = 86_400_000_000_000;

/// What ids of a resource begin with, and the collection in which the API serves it: by the first
/// part of the event type's name, or by the name of the field that refers to it.
const RESOURCES: [(&str, &str, &str); 25] = [
    ("agent_ingress", "agin", "agent_ingresses"),
    ("agent_session", "ts", "tunnel_sessions"),
    ("api_key", "ak", "api_keys"),
    ("certificate", "cert", "tls_certificates"),
    ("certificate_authority", "ca", "certificate_authorities"),
    ("created_by", "usr", "users"),
    ("credential", "cr", "credentials"),
    ("domain", "rd", "reserved_domains"),
    ("event_destination", "ed", "event_destinations"),
    ("event_subscription", "esb", "event_subscriptions"),
    ("ip_policy", "ipp", "ip_policies"),
    ("ip_policy_rule", "ipr", "ip_policy_rules"),
    ("ip_restriction", "ipx", "ip_restrictions"),
    ("last_updated_by", "usr", "users"),
    ("secret", "secret", "vault_secrets"),
    ("service_user", "bot", "bot_users"),
    ("session", "ts", "tunnel_sessions"),
    ("ssh_certificate_authority", "sshca", "ssh_certificate_authorities"),
    ("ssh_host_certificate", "shcrt", "ssh_host_certificates"),
    ("ssh_public_key", "sshcr", "ssh_credentials"),
    ("ssh_user_certificate", "sucrt", "ssh_user_certificates"),
    ("tcp_address", "ra", "reserved_addrs"),
    ("tls_certificate", "cert", "tls_certificates"),
    ("tunnel_credential", "cr", "credentials"),
    ("vault", "vault", "vaults"),
];

/// The targets of a destination, with the two ways of signing in of those that have two.
const TARGETS: [(&str, Option<[&str; 2]>); 5] = [
    ("target.firehose.", Some(["target.firehose.auth.role.", "target.firehose.auth.creds."])),
    ("target.kinesis.", Some(["target.kinesis.auth.role.", "target.kinesis.auth.creds."])),
    (
        "target.cloudwatch_logs.",
        Some(["target.cloudwatch_logs.auth.role.", "target.cloudwatch_logs.auth.creds."]),
    ),
    ("target.datadog.", None),
    ("target.azure_logs_ingestion.", None),
];

/// Event types that subscriptions ask for.
const SUBSCRIBED: [&str; 6] = [
    "http_request_complete.v0",
    "tcp_connection_closed.v0",
    "ip_policy_created.v0",
    "ip_policy_updated.v0",
    "api_key_deleted.v0",
    "domain_updated.v0",
];

/// Groups that are there or not, and in how many cases of a hundred they are not.
const OPTIONAL: [(&str, u32); 5] = [
    ("certificate.", 20),
    ("certificate_management_status.", 20),
    ("certificate_management_status.provisioning_job.", 80),
    ("deprecated.", 85),
    ("expires_at", 70),
];

/// What became of which kind of resource.
pub(super) struct Change {
    prefix: &'static str,
    collection: &'static str,
    /// Such as `created`, or `stop`.
    verb: String,
}

impl Change {
    /// The change that an event type of that name reports.
    pub(super) fn of(event_type: &str) -> Change {
        let (stem, _) = event_type.rsplit_once('.').unwrap_or((event_type, ""));
        let (resource, verb) = stem.rsplit_once('_').unwrap_or((stem, ""));
        let (prefix, collection) = resource_named(resource);
        Change { prefix, collection, verb: verb.to_owned() }
    }

    fn is_beginning(&self) -> bool {
        matches!(self.verb.as_str(), "created" | "start")
    }

    /// Writes the resource as it stood at the source's time.
    pub(super) fn write<'f>(
        &self,
        object: &mut ObjectWriter<'_, 'f>,
        source: &mut Source<'_>,
        person: &Person,
        fields: &'f [Field],
    ) {
        let mut draft = Draft::new(self, source, person);
        for field in fields {
            if !draft.absent.iter().any(|start| field.name.starts_with(start)) {
                draft.push(object.value(&field.name), field);
            }
        }
    }
}

/// Whether events of a type tell of a resource: the last part of the name says what became of it.
pub(super) fn is_resource(event_type: &str) -> bool {
    let verb = event_type.split_once('.').and_then(|(stem, _)| stem.rsplit_once('_'));
    verb.is_some_and(|(resource, _)| RESOURCES.iter().any(|(known, ..)| *known == resource))
}

/// The id prefix and collection of a resource; made-up ones for what is not a resource.
fn resource_named(name: &str) -> (&'static str, &'static str) {
    let known = RESOURCES.iter().find(|(known, ..)| *known == name);
    known.map_or(("res", "resources"), |(_, prefix, collection)| (prefix, collection))
}

fn uri(collection: &str, id: &str) -> String {
    let collection = if id.starts_with("bot_") { "bot_users" } else { collection };
    format!("{API}/{collection}/{id}")
}

/// Writes who did it and how: most by an API key, the rest of the people in the dashboard.
pub(super) fn write_principal(
    envelope: &mut ObjectWriter<'_, '_>,
    random: &mut Random,
    population: &Population,
    person: &Person,
) {
    envelope.text("principal.id", &person.id);
    envelope.text("principal.subject", &person.subject);
    if person.is_service || random.chance(60) {
        let key = population.id("ak", person.index);
        envelope.text("principal.source", "API");
        envelope.text("principal.credential.id", &key);
        envelope.text("principal.credential.uri", &uri("api_keys", &key));
    } else {
        envelope.text("principal.source", "Dashboard");
        envelope.value("principal.credential").push_str("null");
    }
}

/// One resource while it is written.
struct Draft<'d, 'g> {
    change: &'d Change,
    source: &'d mut Source<'g>,
    person: &'d Person,
    id: String,
    /// The id of the other resource that was referred to last.
    other: String,
    created: Timestamp,
    key_type: &'static str,
    host: String,
    region: &'static str,
    /// The paths that this resource does not have begin with one of these.
    absent: Vec<&'static str>,
}

impl<'d, 'g> Draft<'d, 'g> {
    fn new(change: &'d Change, source: &'d mut Source<'g>, person: &'d Person) -> Draft<'d, 'g> {
        let random = &mut *source.random;
        let oldest = if change.prefix == "ts" { 3 * DAY } else { 400 * DAY };
        let age = if change.is_beginning() { 0 } else { random.bits() % oldest };
        let created = earlier(source.now, age).whole_seconds();
        let chosen = random.below(TARGETS.len() as u32) as usize;
        let unused = random.below(2) as usize;
        let mut absent = Vec::new();
        for (at, (target, ways)) in TARGETS.iter().enumerate() {
            if at != chosen {
                absent.push(*target);
            } else if let Some(ways) = ways {
                absent.push(ways[unused]);
            }
        }
        absent.extend(OPTIONAL.iter().filter(|(_, rate)| random.chance(*rate)).map(|(at, _)| *at));
        if change.is_beginning() {
            absent.push("stopped_at");
        }
        let id = ksuid(change.prefix, created, random.wide_bits());
        let key_type = random.pick(&["ed25519", "ecdsa", "rsa"]);
        let region = random.pick(&REGIONS);
        let host = source.population.site(random).host;
        let other = String::new();
        Draft { change, source, person, id, other, created, key_type, host, region, absent }
    }

    fn push(&mut self, out: &mut String, field: &Field) {
        let name = field.name.as_str();
        match &field.field_type {
            FieldType::String if self.is_null(name) => out.push_str("null"),
            FieldType::String => match self.text(name) {
                Some(text) => push_string(out, &text),
                None => self.source.push(out, name, &field.field_type),
            },
            FieldType::List(item) if **item == FieldType::String => {
                push_strings(out, &self.texts(name));
            }
            FieldType::List(_) => self.push_items(out, name),
            FieldType::Map(_) => self.push_options(out, name),
            other => self.source.push(out, name, other),
        }
    }

    /// Whether a field that the API may leave empty is empty; secrets always are.
    fn is_null(&mut self, name: &str) -> bool {
        let leaf = name.rsplit_once('.').map_or(name, |(_, leaf)| leaf);
        let rate = match leaf {
            "token" | "aws_secret_access_key" | "api_key" | "client_secret" => 100,
            "acme_challenge_cname_target" => 90,
            "issued_at" => 50,
            "owner_id" | "cname_target" => 10,
            _ => 0,
        };
        self.source.random.chance(rate)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.reference(name)
            .or_else(|| self.moment(name))
            .or_else(|| self.note(name))
            .or_else(|| self.certificate(name))
            .or_else(|| self.session(name))
            .or_else(|| self.address(name))
            .or_else(|| self.target(name))
    }

    /// Ids and addresses of this resource and of others.
    fn reference(&mut self, name: &str) -> Option<String> {
        match name {
            "id" | "session.id" => return Some(self.id.clone()),
            "uri" | "session.uri" => return Some(uri(self.change.collection, &self.id)),
            "owner_id" | "created_by" => return Some(self.person.id.clone()),
            "last_updated_by" => return Some(self.person.id.clone()),
            "ssh_certificate_authority_id" => return Some(self.other_id("sshca")),
            _ => {}
        }
        let (resource, part) = name.rsplit_once('.')?;
        let (prefix, collection) = resource_named(resource);
        match part {
            "id" if prefix == "usr" => self.other.clone_from(&self.person.id),
            "id" => self.other = self.other_id(prefix),
            "uri" => return Some(uri(collection, &self.other)),
            _ => return None,
        }
        Some(self.other.clone())
    }

    fn other_id(&mut self, prefix: &str) -> String {
        let index = self.source.random.skewed(2_000);
        self.source.population.id(prefix, index)
    }

    fn moment(&mut self, name: &str) -> Option<String> {
        let leaf = name.rsplit_once('.').map_or(name, |(_, leaf)| leaf);
        let time = match leaf {
            "started_at" if name.contains("provisioning_job") => self.source.now,
            "updated_at" if self.change.verb == "updated" => self.source.now,
            "stopped_at" => self.source.now,
            "retries_at" => later(self.source.now, DAY / 288),
            "created_at" | "updated_at" | "started_at" | "issued_at" => self.created,
            "not_before" | "valid_after" => self.created,
            "expires_at" => later(self.created, 30 * DAY),
            "renews_at" => later(self.source.now, 30 * DAY),
            "not_after" if self.change.prefix == "ca" => later(self.created, 3_650 * DAY),
            "not_after" | "valid_until" => later(self.created, 90 * DAY),
            _ => return None,
        };
        Some(time.whole_seconds().to_string())
    }

    /// What people write about a resource.
    fn note(&mut self, name: &str) -> Option<String> {
        let random = &mut *self.source.random;
        let template = match name {
            "description" => random.pick(&[
                "edge office ##",
                "",
                "rotated every ## days",
                "Büro Zürich, Etage #",
                "the \"blue\" pool",
                "nightly build agents ##",
                "支店 ## 🏬",
            ]),
            "metadata" => random.pick(&[
                "",
                "{\"team\":\"platform\",\"ticket\":1###}",
                "{\"site\":\"##\",\"path\":\"C:\\\\agents\"}",
                "owner=team-##",
            ]),
            "name" if self.change.prefix == "vault" => "vault-##",
            "name" => random.pick(&["db-password-##", "signing-key-##", "smtp-login"]),
            "vault_name" => "vault-##",
            "type" => random.pick(&["dashboard", "api", "agent", "endpoints"]),
            "action" => random.pick(&["allow", "allow", "deny"]),
            "format" => "json",
            _ => return None,
        };
        Some(random.fill(template))
    }

    fn certificate(&mut self, name: &str) -> Option<String> {
        let random = &mut *self.source.random;
        Some(match name {
            "ca_pem" | "certificate_pem" => pem(random),
            "subject_common_name" if self.change.prefix == "ca" => random.fill("Example CA ##"),
            "subject_common_name" => self.host.clone(),
            "issuer_common_name" => random.fill("Example Issuing CA R1#"),
            "serial_number" => serial_number(random, 16),
            "subject_organization" => "Example \"Org\" GmbH & Co. KG".to_owned(),
            "subject_organizational_unit" => "Platform".to_owned(),
            "subject_locality" => "Zürich".to_owned(),
            "subject_province" => "ZH".to_owned(),
            "subject_country" => "CH".to_owned(),
            "key_type" => self.key_type.to_owned(),
            "private_key_type" => random.pick(&["ecdsa", "ed25519", "rsa"]).to_owned(),
            "public_key" => format!("{} {}", self.ssh_algorithm(), base64(self.source.random, 68)),
            "certificate" => format!(
                "{}-cert-v01@openssh.com {}",
                self.ssh_algorithm(),
                base64(self.source.random, 240)
            ),
            "certificate_management_policy.authority" => "letsencrypt".to_owned(),
            "certificate_management_policy.private_key_type" => {
                random.pick(&["ecdsa", "rsa"]).to_owned()
            }
            "certificate_management_status.provisioning_job.error_code" => {
                random.pick(&["DNS_ERROR", "INTERNAL_ERROR"]).to_owned()
            }
            "certificate_management_status.provisioning_job.msg" => "waiting for DNS".to_owned(),
            _ => return None,
        })
    }

    fn ssh_algorithm(&self) -> &'static str {
        match self.key_type {
            "rsa" => "ssh-rsa",
            "ecdsa" => "ecdsa-sha2-nistp256",
            _ => "ssh-ed25519",
        }
    }

    fn session(&mut self, name: &str) -> Option<String> {
        let random = &mut *self.source.random;
        Some(match name {
            "agent_ip" => client_ip(random),
            "ingress_server_ip" => random.fill("198.51.100.1##"),
            "ingress_hostname" => format!("connect.{}.example.net", self.region),
            "user_agent" => random.fill("agent/3.#.# (build @@@@@@)"),
            "os" => random.pick(&["linux", "darwin", "windows", "freebsd"]).to_owned(),
            "arch" => random.pick(&["amd64", "arm64", "arm"]).to_owned(),
            "transport" => (*random.weighted(&[(9, "muxado"), (1, "ssh")])).to_owned(),
            "deprecated.upcoming_minimum_version" => random.fill("3.2#.0"),
            "deprecated.upcoming_enforcement_date" => {
                format!("2027-{:02}-01", random.between(1, 12))
            }
            "deprecated.message" => "please update the agent".to_owned(),
            "error" if self.change.verb == "stop" => {
                random.pick(&["connection lost", "stopped by the agent", "replaced"]).to_owned()
            }
            "error" => {
                (*random.weighted(&[(19, ""), (1, "authtoken is not valid: \"cr\"")])).to_owned()
            }
            _ => return None,
        })
    }

    fn address(&mut self, name: &str) -> Option<String> {
        let random = &mut *self.source.random;
        Some(match name {
            "domain" => self.host.clone(),
            "cname_target" => random.fill("@@@@@@@@@@@@.cname.example.net"),
            "acme_challenge_cname_target" => random.fill("@@@@@@@@@@@@.acme.example.net"),
            "addr" => random.fill("#.tcp.example.net:2####"),
            "region" => self.region.to_owned(),
            "cidr" => {
                let template = random.pick(&[
                    "203.0.113.1##/32",
                    "192.0.2.0/24",
                    "198.51.100.1##/32",
                    "2001:db8:1@@@::/48",
                ]);
                random.fill(template)
            }
            _ => return None,
        })
    }

    fn target(&mut self, name: &str) -> Option<String> {
        let (_, leaf) = name.strip_prefix("target.")?.rsplit_once('.')?;
        let template = match leaf {
            "role_arn" => "arn:aws:iam::123456789012:role/events-##",
            "aws_access_key_id" => "AKIAEXAMPLE#########",
            "delivery_stream_arn" => "arn:aws:firehose:us-east-2:123456789012:deliverystream/ev-##",
            "stream_arn" => "arn:aws:kinesis:us-east-2:123456789012:stream/ev-##",
            "log_group_arn" => "arn:aws:logs:us-east-2:123456789012:log-group:/edge/ev-##",
            "ddtags" => "env:prod,team:edge-##",
            "service" => "edge",
            "ddsite" => "US1",
            "tenant_id" | "client_id" => "00000000-0000-4000-8000-@@@@@@@@@@@@",
            "logs_ingestion_uri" => "https://dce-##.example.net",
            "data_collection_rule_id" => "dcr-@@@@@@@@@@@@",
            "data_collection_stream_name" => "Custom-Events_CL",
            _ => return None,
        };
        Some(self.source.random.fill(template))
    }

    fn texts(&mut self, name: &str) -> Vec<String> {
        let is_authority = self.change.prefix == "ca";
        let random = &mut *self.source.random;
        let fixed: &[&str] = match name {
            "key_usages" if is_authority => &["CertSign", "CRLSign"],
            "key_usages" => &["DigitalSignature", "KeyEncipherment"],
            "extended_key_usages" if is_authority => &[],
            "extended_key_usages" => &["ServerAuth"],
            "acl" if random.chance(50) => &[],
            "acl" => return vec![format!("bind:{}", self.host)],
            "principals" if self.change.prefix == "sucrt" => &["deploy", "ubuntu"],
            "subject_alternative_names.ips" if random.chance(70) => &[],
            "subject_alternative_names.ips" => return vec![random.fill("198.51.100.1##")],
            _ => return vec![self.host.clone()],
        };
        fixed.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Writes a list of references to other resources.
    fn push_items(&mut self, out: &mut String, name: &str) {
        out.push('[');
        let first = self.source.random.below(4) as usize;
        for at in first..=first + self.source.random.below(3) as usize {
            push_comma(out);
            let mut item = ObjectWriter::new(out);
            match name {
                "sources" => {
                    let event_type = SUBSCRIBED[at % SUBSCRIBED.len()];
                    let own = uri(self.change.collection, &self.id);
                    item.text("type", event_type);
                    item.text("uri", &format!("{own}/sources/{event_type}"));
                }
                "resolves_to" => {
                    item.text("value", REGIONS[at % REGIONS.len()]);
                }
                _ => {
                    let other =
                        if name == "destinations" { "event_destination" } else { "ip_policy" };
                    let (prefix, collection) = resource_named(other);
                    let id = self.other_id(prefix);
                    item.text("id", &id);
                    item.text("uri", &uri(collection, &id));
                }
            }
            item.finish();
        }
        out.push(']');
    }

    /// Writes the options or extensions of an SSH certificate.
    fn push_options(&mut self, out: &mut String, name: &str) {
        let mut options = ObjectWriter::new(out);
        if name == "extensions" {
            options.text("permit-pty", "");
            options.text("permit-user-rc", "");
        } else if self.source.random.chance(40) {
            options.text("force-command", "/usr/bin/backup --label \"nightly\"");
            options.text("source-address", "203.0.113.0/24");
        }
        options.finish();
    }
}

/// A certificate in the form of PEM, with a body that stands for none.
fn pem(random: &mut Random) -> String {
    let lines = (0..6).map(|_| base64(random, 64)).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

fn base64(random: &mut Random, length: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let bits = random.bits();
        let digits = (0..10).map(|at| char::from(DIGITS[(bits >> (6 * at)) as usize % 64]));
        text.extend(digits.take(length - text.len()));
    }
    text
}
