variable "principal" {
  type        = string
  description = "The ARN of the role or user that Sluicegate itself runs as"
}

variable "external_id" {
  type        = string
  description = "What Sluicegate presents: `external_id` of GET /self for roles named through the API, or that of the settings file"
  validation {
    condition     = length(var.external_id) >= 2
    error_message = "An external id has at least two characters; without one, anybody could have Sluicegate write here."
  }
}

variable "role_name" {
  type        = string
  description = "The name of the role to make"
  default     = "sluicegate-delivery"
}

variable "kinesis_stream_arns" {
  type        = list(string)
  description = "Kinesis data streams to deliver to"
  default     = []
}

variable "kinesis_aggregate" {
  type        = bool
  description = "Also allow what Kinesis streams with `aggregate: kpl` ask"
  default     = false
}

variable "delivery_stream_arns" {
  type        = list(string)
  description = "Firehose delivery streams to deliver to"
  default     = []
}

variable "log_group_arns" {
  type        = list(string)
  description = "CloudWatch log groups to deliver to"
  default     = []
}

variable "kms_key_arns" {
  type        = list(string)
  description = "The keys of Kinesis streams that are encrypted with customer managed keys"
  default     = []
}

variable "check" {
  type        = bool
  description = "Also allow what `check --online`, `destination check` and automatic settings ask"
  default     = true
}
