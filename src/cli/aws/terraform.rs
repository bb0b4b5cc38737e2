//! The policies of `sluicegate aws policy` as resources of Terraform.
//!
//! Roles are made there; for a user or role that exists already there is a policy to attach.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::{Identity, PRINCIPAL, Policy, Who};

/// The file that `terraform apply` takes, with the provider `hashicorp/aws`.
pub(super) fn resources(identities: &BTreeMap<Who, Identity>, asked: &Policy) -> String {
    let mut text = String::new();
    let principal = match &asked.principal {
        None if identities.keys().any(|who| who.role().is_some()) => {
            text.push_str(
                "variable \"principal\" {\n  type        = string\n  description = \"The ARN of the role or user that Sluicegate runs as\"\n}\n\n",
            );
            PRINCIPAL
        }
        given => given.as_deref().unwrap_or(PRINCIPAL),
    };
    for (number, (who, identity)) in identities.iter().enumerate() {
        let policy = encoded(&identity.policy(&asked.kms_key));
        let delivers = identity.destinations.join(", ");
        // Writing to a string cannot fail.
        let _ = match who {
            Who::Daemon => write!(
                text,
                "# To be attached to what Sluicegate runs as.\nresource \"aws_iam_policy\" \"sluicegate_daemon\" {{\n  name   = \"sluicegate-daemon\"\n  policy = {policy}\n}}\n\n"
            ),
            Who::Key(id) => write!(
                text,
                "# To be attached to the user of the access key {id}, for {delivers}.\nresource \"aws_iam_policy\" \"sluicegate_{number}\" {{\n  name   = \"sluicegate-{id}\"\n  policy = {policy}\n}}\n\n"
            ),
            Who::Role(arn) => {
                let path = arn.split_once(":role/").map_or(arn.as_str(), |(_, path)| path);
                let name = path.rsplit('/').next().unwrap_or(path);
                let path = quoted(&format!("/{}", &path[..path.len() - name.len()]));
                let name = quoted(name);
                let trust = encoded(&identity.trust(principal));
                write!(
                    text,
                    "# For {delivers}.\nresource \"aws_iam_role\" \"sluicegate_{number}\" {{\n  name               = {name}\n  path               = {path}\n  assume_role_policy = {trust}\n}}\n\nresource \"aws_iam_role_policy\" \"sluicegate_{number}\" {{\n  name   = \"sluicegate-deliver\"\n  role   = aws_iam_role.sluicegate_{number}.id\n  policy = {policy}\n}}\n\n"
                )
            }
        };
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A policy as an expression: what JSON calls an object is one in HCL too.
fn encoded(policy: &Value) -> String {
    let text = format!("{policy:#}").replace('\n', "\n  ");
    let whole = escaped(&text);
    let variable = format!("\"{}\"", escaped(PRINCIPAL));
    format!("jsonencode({})", whole.replace(&variable, "var.principal"))
}

fn quoted(text: &str) -> String {
    escaped(&Value::from(text).to_string())
}

/// Text in which nothing begins an interpolation or a directive of a template.
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}
