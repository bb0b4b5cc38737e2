# What ngrok's Terraform provider manages of a daemon, a resource of each kind; tests/it/ngrok applies it.

terraform {
  required_providers {
    ngrok = { source = "ngrok/ngrok" }
  }
}

provider "ngrok" {}

variable "note" { default = "made" }
variable "domain" { default = "a.example.net" }

resource "ngrok_event_destination" "d" {
  description = "d"
  metadata    = "m"
  format      = "JSON"
  target = { kinesis = {
    stream_arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s"
    auth = { creds = {
      aws_access_key_id     = "AKIAIOSFODNN7EXAMPLE"
      aws_secret_access_key = "wJalrXUtnFEMI"
    } }
  } }
}

resource "ngrok_event_subscription" "s" {
  description = var.note
  sources = [
    { type = "ip_policy_created.v0" },
    { type = "http_request_complete.v0", fields = ["conn.client_ip"] },
  ]
  destination_ids = [ngrok_event_destination.d.id]
}

resource "ngrok_ip_policy" "p" { description = var.note }

resource "ngrok_ip_policy_rule" "r" {
  ip_policy_id = ngrok_ip_policy.p.id
  cidr         = "203.0.113.0/24"
  action       = "allow"
}

resource "ngrok_ip_restriction" "x" {
  type          = "dashboard"
  enforced      = false
  ip_policy_ids = [ngrok_ip_policy.p.id]
}

resource "ngrok_service_user" "u" { name = "ci" }

resource "ngrok_api_key" "k" {
  description = "k"
  owner_id    = ngrok_service_user.u.id
}

resource "ngrok_credential" "c" {
  description = "c"
  acl         = ["bind:*.example.net"]
  owner_id    = ngrok_service_user.u.id
}

resource "ngrok_agent_ingress" "i" { domain = "connect.example.net" }

resource "ngrok_domain" "plain" { domain = var.domain }

resource "ngrok_domain" "pinned" {
  domain                        = "b.example.net"
  description                   = var.note
  resolves_to                   = ["us", "eu"]
  certificate_management_policy = { authority = "letsencrypt", private_key_type = "ecdsa" }
}

resource "ngrok_tcp_address" "t" { region = "us" }
