# The IAM role through which Sluicegate delivers, with the least that it needs: what `setup.sh` and
# `sluicegate aws policy` make, as a module. See README.md.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 4.0"
    }
  }
}

resource "aws_iam_role" "delivery" {
  name               = var.role_name
  description        = "Sluicegate delivers events through this role"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "delivery" {
  name   = "sluicegate-deliver"
  role   = aws_iam_role.delivery.id
  policy = data.aws_iam_policy_document.delivery.json
}

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "OnlyThisSluicegate"
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = [var.principal]
    }
    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.external_id]
    }
  }
}

locals {
  # With or without the `:*` that the console writes.
  log_group_arns = [for arn in var.log_group_arns : trimsuffix(arn, ":*")]
}

data "aws_iam_policy_document" "delivery" {
  dynamic "statement" {
    for_each = length(var.kinesis_stream_arns) > 0 ? [true] : []
    content {
      sid       = "PutRecords"
      actions   = ["kinesis:PutRecords"]
      resources = var.kinesis_stream_arns
    }
  }
  dynamic "statement" {
    for_each = length(var.kinesis_stream_arns) > 0 && var.check ? [true] : []
    content {
      sid       = "DescribeStreamSummary"
      actions   = ["kinesis:DescribeStreamSummary"]
      resources = var.kinesis_stream_arns
    }
  }
  dynamic "statement" {
    for_each = length(var.kinesis_stream_arns) > 0 && var.kinesis_aggregate ? [true] : []
    content {
      sid       = "ListShards"
      actions   = ["kinesis:ListShards"]
      resources = var.kinesis_stream_arns
    }
  }
  dynamic "statement" {
    for_each = length(var.kms_key_arns) > 0 ? [true] : []
    content {
      sid       = "GenerateDataKey"
      actions   = ["kms:GenerateDataKey"]
      resources = var.kms_key_arns
      condition {
        test     = "StringLike"
        variable = "kms:ViaService"
        values   = ["kinesis.*.amazonaws.com*"]
      }
    }
  }
  dynamic "statement" {
    for_each = length(var.delivery_stream_arns) > 0 ? [true] : []
    content {
      sid       = "PutRecordBatch"
      actions   = ["firehose:PutRecordBatch"]
      resources = var.delivery_stream_arns
    }
  }
  dynamic "statement" {
    for_each = length(var.delivery_stream_arns) > 0 && var.check ? [true] : []
    content {
      sid       = "DescribeDeliveryStream"
      actions   = ["firehose:DescribeDeliveryStream"]
      resources = var.delivery_stream_arns
    }
  }
  dynamic "statement" {
    for_each = length(local.log_group_arns) > 0 ? [true] : []
    content {
      sid       = "PutLogEvents"
      actions   = ["logs:PutLogEvents"]
      resources = [for arn in local.log_group_arns : "${arn}:log-stream:*"]
    }
  }
  dynamic "statement" {
    for_each = length(local.log_group_arns) > 0 ? [true] : []
    content {
      sid       = "CreateLogStream"
      actions   = ["logs:CreateLogStream"]
      resources = [for arn in local.log_group_arns : "${arn}:*"]
    }
  }
  dynamic "statement" {
    for_each = length(local.log_group_arns) > 0 && var.check ? [true] : []
    content {
      sid       = "DescribeLogStreams"
      actions   = ["logs:DescribeLogStreams"]
      resources = [for arn in local.log_group_arns : "${arn}:*"]
    }
  }
}
