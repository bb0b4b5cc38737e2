//! Targets as the settings file writes them: one reader a kind; and what those of the API may do.

use super::decode::{Section, Text};
use super::machine::check_output_file;
use super::mistakes::Mistake;
use crate::report::nearest;
use crate::sinks::{
    ApiTargets, Auth, CloudwatchLogsTarget, DebugTarget, FileTarget, FirehoseTarget, KinesisTarget,
    Outbound, Secret, Target, TargetError,
};

pub(super) fn read_target(section: &mut Section<'_>, outbound: &Outbound) -> Option<Target> {
    section.one_of(&[
        ("kinesis", &|section| encrypted(section, outbound, read_kinesis)),
        ("firehose", &|section| encrypted(section, outbound, read_firehose)),
        ("cloudwatch_logs", &|section| encrypted(section, outbound, read_cloudwatch_logs)),
        ("debug", &|section| encrypted(section, outbound, read_debug)),
        ("file", &read_file),
    ])
}

/// Reads a target, and refuses one that would send events without TLS to where nobody allowed it.
fn encrypted(
    section: &mut Section<'_>,
    outbound: &Outbound,
    read: impl Fn(&mut Section<'_>) -> Option<Target>,
) -> Option<Target> {
    let target = read(section)?;
    if let Some((name, url)) = target.given_url()
        && let Err(barred) = outbound.check_plain_http(&url)
    {
        let message = format!("`{name}` {barred} ({})", barred.code());
        section.push(Mistake::at(section.place_of(name), message));
    }
    Some(target)
}

/// What all AWS targets share: the resource's ARN, who we are, and where the service is.
struct Aws<'d> {
    arn: Option<Text<'d>>,
    auth: Option<Auth>,
    endpoint_url: Option<String>,
}

fn read_aws<'d>(section: &mut Section<'d>, arn_key: &'static str) -> Aws<'d> {
    Aws {
        arn: section.required(arn_key).string(),
        auth: match section.optional("auth").section(|auth| Some(read_auth(auth))) {
            Some(auth) => auth,
            None => Some(Auth::DefaultChain),
        },
        endpoint_url: section.optional("endpoint_url").string().map(|it| it.value.to_owned()),
    }
}

fn read_auth(section: &mut Section<'_>) -> Option<Auth> {
    section.one_of(&[
        ("role", &|role| {
            let role_arn = role.required("role_arn").string();
            let external_id = role.optional("external_id").string();
            Some(Auth::Role {
                role_arn: role_arn?.value.to_owned(),
                external_id: external_id.map(|text| text.value.to_owned()),
            })
        }),
        ("creds", &|creds| {
            let id = creds.required("aws_access_key_id").string();
            let secret = creds.required("aws_secret_access_key").string();
            Some(Auth::Keys {
                aws_access_key_id: id?.value.to_owned(),
                aws_secret_access_key: Secret::new(secret?.value),
            })
        }),
    ])
}

/// Gives a target's refusal the place of the setting it is about.
fn placed<T>(
    section: &Section<'_>,
    arn: Option<&Text<'_>>,
    result: Result<T, TargetError>,
) -> Option<T> {
    let error = match result {
        Ok(target) => return Some(target),
        Err(error) => error,
    };
    let message = format!("{error} ({})", error.code());
    section.push(match &error {
        TargetError::RoleArn { .. } | TargetError::Auth { .. } => {
            Mistake::at(section.place_of("auth"), message)
        }
        TargetError::Setting { name, .. } => Mistake::at(section.place_of(name), message),
        _ => match arn {
            Some(text) => text.wrong(message),
            None => Mistake::at(section.place(), message),
        },
    });
    None
}

/// That an ARN names a region that AWS has, or could have: else nothing is ever delivered, since no
/// host has such a name. Emulators and private endpoints may call theirs what they like.
fn check_region(section: &Section<'_>, arn: &Text<'_>, endpoint_url: Option<&str>) {
    let region = arn.value.split(':').nth(3).unwrap_or_default();
    if endpoint_url.is_some() || region.is_empty() || could_be_region(region) {
        return;
    }
    let message = arn.wrong(format!("`{}` names no region of AWS", arn.shown()));
    section.push(match nearest(region, KNOWN_REGIONS) {
        Some(known) => message.help(format!("did you mean `{known}`?")),
        None => {
            message.help("a region is, for example, `us-east-1`; an emulator needs `endpoint_url`")
        }
    });
}

/// The form that AWS gives to names of regions, so that one which is opened tomorrow is taken today: the
/// beginnings are those of its partitions (`partitions.json` of its endpoint rules, `regionRegex`).
fn could_be_region(region: &str) -> bool {
    const BEGINNINGS: [&str; 16] = [
        "af", "ap", "ca", "cn", "eu", "eu-isoe", "eusc-de", "il", "me", "mx", "sa", "us", "us-gov",
        "us-iso", "us-isob", "us-isof",
    ];
    const DIRECTIONS: [&str; 9] = [
        "north",
        "south",
        "east",
        "west",
        "central",
        "northeast",
        "northwest",
        "southeast",
        "southwest",
    ];
    let mut parts = region.rsplitn(3, '-');
    let (number, direction, beginning) = (parts.next(), parts.next(), parts.next());
    number.is_some_and(|it| it.len() <= 2 && it.parse::<u8>().is_ok_and(|it| it > 0))
        && direction.is_some_and(|it| DIRECTIONS.contains(&it))
        && beginning.is_some_and(|it| BEGINNINGS.contains(&it))
}

/// Regions that AWS has (2025), only to say which was meant.
const KNOWN_REGIONS: [&str; 37] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

fn read_kinesis(section: &mut Section<'_>) -> Option<Target> {
    let Aws { arn, auth, endpoint_url } = read_aws(section, "stream_arn");
    let arn = arn?;
    check_region(section, &arn, endpoint_url.as_deref());
    let target = KinesisTarget::new(arn.value, auth?, endpoint_url);
    placed(section, Some(&arn), target).map(Target::Kinesis)
}

fn read_firehose(section: &mut Section<'_>) -> Option<Target> {
    let Aws { arn, auth, endpoint_url } = read_aws(section, "delivery_stream_arn");
    let arn = arn?;
    check_region(section, &arn, endpoint_url.as_deref());
    let target = FirehoseTarget::new(arn.value, auth?, endpoint_url);
    placed(section, Some(&arn), target).map(Target::Firehose)
}

fn read_cloudwatch_logs(section: &mut Section<'_>) -> Option<Target> {
    let Aws { arn, auth, endpoint_url } = read_aws(section, "log_group_arn");
    let log_stream = section.optional("log_stream").string().map(|text| text.value.to_owned());
    let arn = arn?;
    check_region(section, &arn, endpoint_url.as_deref());
    let target = CloudwatchLogsTarget::new(arn.value, log_stream, auth?, endpoint_url);
    placed(section, Some(&arn), target).map(Target::CloudwatchLogs)
}

fn read_debug(section: &mut Section<'_>) -> Option<Target> {
    let log = section.optional("log").bool();
    let callback_url = section.optional("callback_url").string().map(|text| text.value);
    let target = DebugTarget::new(log, callback_url);
    placed(section, None, target).map(Target::Debug)
}

fn read_file(section: &mut Section<'_>) -> Option<Target> {
    let path = section.required("path").string()?;
    check_output_file(section, &path);
    let mode = section.optional("mode").string();
    let target = FileTarget::new(path.value);
    let with_mode = |target: FileTarget| match &mode {
        Some(digits) => target.with_mode(digits.value),
        None => Ok(target),
    };
    placed(section, None, target.and_then(with_mode)).map(Target::File)
}

/// Reads what targets made through the API may do: `outbound`, `callbacks` and `control.api_targets`.
/// `local` says whether only this machine can ask for such targets.
pub(super) fn read_api_targets(root: &mut Section<'_>, local: bool) -> Option<ApiTargets> {
    let mut outbound = if local { Outbound::loopback() } else { Outbound::default() };
    root.optional("outbound").section(|section| {
        if section.has("allow") {
            outbound = Outbound::default();
        }
        let message = "must be a network such as `10.1.0.0/16`, an address, or the name of a host";
        read_hosts(section, "allow", message, &mut |text| outbound.allow(text))
    });
    root.optional("callbacks").section(|section| {
        let message = "must be the name of a host, without scheme or port";
        read_hosts(section, "allow_http", message, &mut |text| outbound.allow_plain_http(text))
    });
    let leave = root.optional("control").section_or_empty(|control| {
        control.optional("api_targets").section_or_empty(|section| {
            let mut flag = |name| section.optional(name).bool().unwrap_or(false);
            Some((flag("endpoint_url"), flag("default_credentials")))
        })
    });
    let (endpoint_url, default_credentials) = leave?;
    Some(ApiTargets { outbound, endpoint_url, default_credentials, external_id: None })
}

fn read_hosts(
    section: &mut Section<'_>,
    key: &'static str,
    expected: &str,
    allow: &mut dyn FnMut(&str) -> bool,
) -> Option<()> {
    let texts = section.optional(key).strings().unwrap_or_default();
    if texts.len() > Outbound::MAX {
        let message = format!("`{}.{key}` has more than {} hosts", section.path(), Outbound::MAX);
        section.push(Mistake::at(section.place_of(key), message));
    }
    for text in &texts {
        if !allow(text.value) {
            section.push(text.wrong(format!("`{}` {expected}", text.shown())));
        }
    }
    Some(())
}
