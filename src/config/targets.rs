//! What holds for targets beside their form: where they may send without TLS, that their region can be,
//! that their file can be written; and what targets of the API may do.

use super::control::read_control;
use super::decode::Section;
use super::machine::{check_input_file, check_output_file};
use super::mistakes::Mistake;
use super::text::Text;
use crate::control::ControlSettings;
use crate::form::{Form as _, Nature, noted};
use crate::report::nearest;
use crate::sinks::{ApiTargets, Outbound, Target};

/// Reads a target, and refuses one that would send events without TLS to where nobody allowed it, to no
/// region, or to where this machine cannot write.
pub(super) fn read_target(section: &mut Section<'_>, outbound: &Outbound) -> Option<Target> {
    let target = Target::form(section, None)?;
    for (at, url) in target.addresses() {
        if let Err(barred) = outbound.check_plain_http(&url) {
            let message = format!("`{}` {barred} ({})", at.name(), barred.code());
            section.push(Mistake::at(section.place_at(&at.path), message));
        }
    }
    for unfit in target.unfit() {
        section.push(match section.text_at(&unfit.path) {
            Some(text) => text.wrong(unfit.problem),
            None => Mistake::at(section.place_at(&unfit.path), unfit.problem),
        });
    }
    for at in noted(&target) {
        match (at.nature, section.text_at(&at.path)) {
            (Nature::OutputFile, Some(path)) => check_output_file(section, &path),
            // `probe` is librdkafka's word for "look where systems have it".
            (Nature::InputFile, Some(path)) if path.value != "probe" => {
                check_input_file(section, &path);
            }
            (Nature::Arn, Some(arn)) => check_region(section, &arn, target.endpoint_url()),
            _ => {}
        }
    }
    Some(target)
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

/// Reads what targets made through the API may do (`outbound`, `callbacks` and `control.api_targets`) with how
/// much memory all that is made through it may take, in bytes, if that is given; and how the control plane is
/// kept, which stands beside it.
/// `local` says whether only this machine can ask for such targets.
pub(super) fn read_api_targets(
    root: &mut Section<'_>,
    local: bool,
) -> Option<((ApiTargets, Option<usize>), ControlSettings)> {
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
        let settings = read_control(control);
        let memory = control.optional("max_memory").size(0..=u64::MAX);
        let memory = memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let leave = control.optional("api_targets").section_or_empty(|section| {
            let mut flag = |name| section.optional(name).bool().unwrap_or(false);
            Some((flag("endpoint_url"), flag("default_credentials")))
        });
        Some((leave?, memory, settings))
    });
    let ((endpoint_url, default_credentials), memory, control) = leave?;
    let targets = ApiTargets { outbound, endpoint_url, default_credentials, external_id: None };
    Some(((targets, memory), control))
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

/// Each kind of target, made of what its form gives as examples: a new kind is tested by being there.
#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::config::{Document, Format};
    use crate::form::describe;
    use crate::sinks::{Batch, DEFAULT_TIMEOUT, LogOutput};

    /// A section of settings with an example for each that must be there.
    fn example(schema: &Value) -> Value {
        if let Some(example) = schema.get("examples").map(|it| it[0].clone()) {
            return example;
        }
        let needed = schema["required"].as_array().cloned().unwrap_or_default();
        let needed = needed.iter().filter_map(Value::as_str);
        needed.map(|name| (name.to_owned(), example(&schema["properties"][name]))).collect()
    }

    fn targets() -> Vec<(String, Target)> {
        let schema = describe::<Target>(false);
        let kinds = schema["properties"].as_object().cloned().unwrap_or_else(Map::new);
        assert!(kinds.len() > 4, "not all kinds: {kinds:?}");
        let read = |(name, schema): (String, Value)| {
            let text = json!({"target": {(&*name): example(&schema)}}).to_string();
            let variable = |_: &str| Some("s".repeat(40));
            let document = Document::parse("t.json", text, Format::Json, &variable).unwrap();
            let outbound = Outbound::loopback();
            let target = document
                .decode(|it| it.required("target").section(|it| read_target(it, &outbound)));
            let target = target.unwrap_or_else(|mistakes| panic!("{name}: {mistakes}"));
            (name, target)
        };
        kinds.into_iter().map(read).collect()
    }

    #[tokio::test]
    async fn every_kind_is_called_as_settings_name_it_and_opens_without_asking_anybody() {
        for (name, target) in targets() {
            assert_eq!(target.kind(), name);
            let limits = target.limits();
            assert!(limits.max_record_bytes <= limits.max_bytes, "{name}");
            assert!(limits.max_records > 0 && limits.in_flight > 0, "{name}");
            let sink = target.open(LogOutput::Stdout, DEFAULT_TIMEOUT, None).await.unwrap();
            assert_eq!(sink.deliver(&Batch { records: vec![] }).await, [], "{name}");
        }
    }

    #[test]
    fn what_is_shown_of_every_kind_has_none_of_its_secrets() {
        for (name, target) in targets() {
            let secrets: Vec<_> =
                noted(&target).into_iter().filter(|it| it.nature == Nature::Secret).collect();
            let shown = format!("{target} {target:?} {}", crate::form::shown(Some(&target)));
            for secret in secrets {
                assert!(!shown.contains(&secret.text), "{name}.{}: {shown}", secret.path);
            }
        }
    }
}
