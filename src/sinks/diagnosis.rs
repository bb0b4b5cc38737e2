//! The words of each trouble: what failed, where that was learned, and what to type next.
//!
//! How a trouble is told, and the short advice of a fault's message, is in `trouble.rs`.

use super::arn::Arn;
use super::trouble::Trouble;
use super::{Auth, Target};

/// The words of a trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The trouble's name, for programs: never changed.
    pub name: &'static str,
    /// What failed, in general; a fault's message has the case.
    pub failed: &'static str,
    /// Where that was learned.
    pub learned: &'static str,
    /// What to type next.
    pub next: String,
}

/// Name, what failed, and where that was learned.
type General = (&'static str, &'static str, &'static str);

const NO_KEY: &str = "the key that encrypts the target may not, or cannot, be used";
const ANSWER: &str = "from AWS's answer";

const GENERAL: [(Trouble, General); 19] = [
    (
        Trouble::Name,
        ("dns", "the name of the service's host is not found", "from looking the name up"),
    ),
    (
        Trouble::Unreachable,
        (
            "unreachable",
            "no connection to the service comes about, or no answer in time",
            "from the connection",
        ),
    ),
    (Trouble::Tls, ("tls", "TLS with the service does not come about", "from the TLS handshake")),
    (
        Trouble::Proxy,
        (
            "proxy",
            "the proxy that the environment names does not lead to the service",
            "from the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY) and what the proxy did",
        ),
    ),
    (
        Trouble::Stranger,
        (
            "stranger",
            "what answered is not the service",
            "from the answer, which AWS would not give",
        ),
    ),
    (
        Trouble::Clock,
        (
            "clock",
            "this machine's clock is not that of AWS",
            "from AWS, which refused the signature for its time",
        ),
    ),
    (
        Trouble::NoCredentials,
        (
            "no_credentials",
            "there are no credentials to ask with",
            "from the places of credentials: `auth`, environment, profile files, web identity, container, instance metadata",
        ),
    ),
    (Trouble::UnknownKey, ("unknown_key", "AWS does not know the access key", ANSWER)),
    (
        Trouble::WrongSecret,
        (
            "wrong_secret",
            "the signature does not match: the secret access key is not that of the access key",
            ANSWER,
        ),
    ),
    (Trouble::Expired, ("expired", "the temporary credentials have expired", ANSWER)),
    (
        Trouble::Refused,
        (
            "refused",
            "the service does not accept the credentials, or they do not allow this",
            "from the answer of the service, or of the place that gives its tokens",
        ),
    ),
    (
        Trouble::RoleTrust,
        (
            "role_trust",
            "the role does not let the daemon in",
            "from STS, which refused `sts:AssumeRole`",
        ),
    ),
    (
        Trouble::OpenRole,
        (
            "open_role",
            "the role lets the daemon in without an external id, so anybody who has the daemon deliver elsewhere could have it write there (a confused deputy)",
            "from STS, which gave the role's credentials when asked without an external id",
        ),
    ),
    (
        Trouble::MissingAction,
        (
            "missing_action",
            "an IAM action is not allowed",
            "from AWS's answer, which may name the policy that denies it",
        ),
    ),
    (Trouble::Key, ("kms_key", NO_KEY, ANSWER)),
    (Trouble::KeyDenied, ("kms_key", NO_KEY, ANSWER)),
    (
        Trouble::MissingTarget,
        ("missing_target", "the target is not there, in this account and region", ANSWER),
    ),
    (
        Trouble::WrongRegion,
        (
            "wrong_region",
            "the ARN names another region than the one the target is in",
            "from asking in the other region, or from AWS, which refused the region of the signature",
        ),
    ),
    (
        Trouble::WrongKind,
        (
            "wrong_kind",
            "the target is there, but takes no events from us",
            "from the description of the target, or from AWS's answer",
        ),
    ),
];

/// The same where the service is none of AWS's.
const ELSEWHERE: [(Trouble, General); 3] = [
    (
        Trouble::Stranger,
        (
            "stranger",
            "what answered is not the service",
            "from the answer, which it would not give",
        ),
    ),
    (
        Trouble::Clock,
        ("clock", "this machine's clock is not that of the service", "from the date of its answer"),
    ),
    (
        Trouble::MissingTarget,
        ("missing_target", "what is written to is not there", "from the service's answer"),
    ),
];

impl Trouble {
    /// The trouble in words, for a target.
    #[must_use]
    pub fn words(self, target: &Target) -> Words {
        let elsewhere = ELSEWHERE.iter().filter(|_| target.settings().at_aws().is_none());
        let general = elsewhere.chain(&GENERAL).find(|(trouble, _)| *trouble == self);
        let (name, failed, learned) = general.map_or(("", "", ""), |(_, words)| *words);
        let next = target.settings().next(self).unwrap_or_else(|| self.next(target));
        Words { name, failed, learned, next }
    }

    /// What to type next, as far as it is the same for all targets.
    fn next(self, target: &Target) -> String {
        let place = Place::of(target);
        match self {
            Trouble::Name
            | Trouble::Unreachable
            | Trouble::Tls
            | Trouble::Proxy
            | Trouble::Stranger => place.on_the_way(self),
            Trouble::MissingTarget if !place.service.is_empty() => place.listing(),
            Trouble::MissingTarget | Trouble::Refused => place.on_the_way(self),
            Trouble::WrongRegion => {
                format!("{} (then put the region into the ARN)", place.listing())
            }
            Trouble::WrongKind => format!(
                "aws firehose describe-delivery-stream --region {} --delivery-stream-name {} --query DeliveryStreamDescription.DeliveryStreamType (it must be DirectPut, which cannot be changed: make another)",
                place.region, place.name
            ),
            _ => self.of_identity(&place, target.auth()),
        }
    }

    /// What to type about who asks, and what they may.
    fn of_identity(self, place: &Place, auth: Option<&Auth>) -> String {
        let Place { region, role, .. } = place;
        let trust = format!(
            "sluicegate aws policy -c FILE --principal ARN (then: aws iam update-assume-role-policy --role-name {role} --policy-document file://trust.json"
        );
        match (self, auth) {
            (Trouble::Clock, _) => "timedatectl status (then: timedatectl set-ntp true)".to_owned(),
            (Trouble::UnknownKey, Some(Auth::Keys(keys))) => format!(
                "aws sts get-access-key-info --access-key-id {} (whose it is; a region that the account has not turned on gives this too: aws account get-region-opt-status --region-name {region})", keys.aws_access_key_id
            ),
            (Trouble::UnknownKey, _) => format!(
                "aws sts get-caller-identity --region {region} (a region that the account has not turned on gives this too)"
            ),
            (Trouble::WrongSecret, _) => format!(
                "aws sts get-caller-identity --region {region} (with the same keys; if it fails too, set `aws_secret_access_key` anew)"
            ),
            (Trouble::Expired, _) => {
                "aws sso login, or whatever made them, and then: aws sts get-caller-identity"
                    .to_owned()
            }
            (Trouble::RoleTrust, _) => {
                format!("{trust}; the daemon's own identity needs `sts:AssumeRole` too)")
            }
            (Trouble::OpenRole, _) => format!("{trust})"),
            (Trouble::MissingAction, _) => {
                "sluicegate aws policy -c FILE (prints the policy that is needed)".to_owned()
            }
            (Trouble::Key | Trouble::KeyDenied, _) => {
                "sluicegate aws policy -c FILE --kms-key ARN (and: aws kms describe-key --key-id ARN)"
                    .to_owned()
            }
            _ => "aws sts get-caller-identity (as the daemon's user and with its environment; or give the target `auth`)".to_owned(),
        }
    }
}

/// What commands about a target are made of.
struct Place {
    host: String,
    port: u16,
    url: String,
    service: &'static str,
    region: String,
    name: String,
    role: String,
}

impl Place {
    fn of(target: &Target) -> Place {
        let arn = target.settings().at_aws().map(|it| it.arn);
        let service = arn.map_or("", Arn::service);
        let region = arn.map_or_else(String::new, |arn| arn.region().to_owned());
        let given = target.addresses().into_iter().map(|(_, url)| url).next();
        let given = target.settings().url().or(given);
        let host = given.as_ref().and_then(|url| url.host()).map(str::to_owned);
        let host = host.unwrap_or_else(|| format!("{service}.{region}.amazonaws.com"));
        let https = given.as_ref().is_none_or(|url| url.scheme_str() == Some("https"));
        let port = given.as_ref().and_then(hyper::Uri::port_u16);
        let port = port.unwrap_or(if https { 443 } else { 80 });
        // The path of a callback's URL may hold a secret.
        let url = format!("{}://{host}:{port}/", if https { "https" } else { "http" });
        let role = match target.auth() {
            Some(Auth::Role(role)) => role.role_arn.as_str().rsplit('/').next().unwrap_or_default(),
            _ => "ROLE",
        };
        let name = arn.map_or_else(String::new, |arn| arn.name().to_owned());
        Place { host, port, url, service, region, name, role: role.to_owned() }
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What to type about the way to the service.
    fn on_the_way(&self, trouble: Trouble) -> String {
        let Place { host, url, .. } = self;
        match trouble {
            Trouble::Name => format!(
                "getent hosts {host} (if it finds nothing: correct the region in the ARN or `endpoint_url`, or look at /etc/resolv.conf)"
            ),
            Trouble::Tls => format!(
                "openssl s_client -connect {} -servername {host} </dev/null (its issuer must be among this machine's root certificates: update-ca-certificates)",
                self.authority()
            ),
            Trouble::Proxy => format!(
                "env | grep -i _proxy && curl -v {url} (or leave the proxy out with NO_PROXY={host})"
            ),
            Trouble::MissingTarget | Trouble::Refused => {
                format!("curl -v {url} (and correct the target's settings)")
            }
            Trouble::Stranger => {
                format!("curl -v {url} (a proxy's page, or a wrong `endpoint_url`?)")
            }
            _ => format!(
                "curl -v {url} (if it hangs or is refused: a firewall, a missing VPC endpoint, or HTTPS_PROXY)"
            ),
        }
    }

    /// A command that shows what there is beside a target that is not.
    fn listing(&self) -> String {
        let Place { service, region, name, .. } = self;
        match *service {
            "firehose" => format!("aws firehose list-delivery-streams --region {region}"),
            "logs" => format!(
                "aws logs describe-log-groups --region {region} (then: aws logs create-log-group --region {region} --log-group-name {name})"
            ),
            _ => format!("aws kinesis list-streams --region {region}"),
        }
    }
}
