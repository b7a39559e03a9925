# The module as the test suite deploys it: on an emulator. What differs from a team's own stack stands here alone.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "endpoint" {
  description = "Where the emulator answers."
  type        = string
}

variable "artifacts" {
  description = "The folder with the zips."
  type        = string
}

variable "name" {
  description = "As in the module."
  type        = string
  default     = "aegis-test"
}

variable "oidc_issuer" {
  description = "As in the module."
  type        = string
  default     = ""
}

variable "oidc_client_id" {
  description = "As in the module."
  type        = string
  default     = ""
}

variable "roles" {
  description = "As in the module."
  type        = map(list(string))
  default     = {}
}

variable "approval_page" {
  description = "As in the module."
  type        = bool
  default     = false
}

variable "public_url" {
  description = "As in the module."
  type        = string
  default     = ""
}

variable "deployment_epoch" {
  description = "As in the module."
  type        = number
  default     = 1
}

variable "log_level" {
  description = "As in the module."
  type        = string
  default     = "info"
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  s3_use_path_style           = true
  # A thing that is there is there at once.
  retry_mode = "standard"

  endpoints {
    apigateway = var.endpoint
    cloudwatch = var.endpoint
    dynamodb   = var.endpoint
    events     = var.endpoint
    iam        = var.endpoint
    kms        = var.endpoint
    lambda     = var.endpoint
    logs       = var.endpoint
    s3         = var.endpoint
    scheduler  = var.endpoint
    sns        = var.endpoint
    sqs        = var.endpoint
    sts        = var.endpoint
  }
}

module "aegis" {
  source = "../../../infra"

  name       = var.name
  artifacts  = var.artifacts
  public_url = var.public_url

  # Their receiver is a test.
  webhooks_to_this_machine = true
  approval_page            = var.approval_page
  oidc_issuer              = var.oidc_issuer
  oidc_client_id           = var.oidc_client_id
  roles                    = var.roles
  deployment_epoch         = var.deployment_epoch
  log_level                = var.log_level
  deletion_protection      = false
  makes_kms_keys           = true
  managed_key_arns         = [aws_kms_key.managed.arn]
}

# A key that somebody has at KMS already.
resource "aws_kms_key" "managed" {
  description             = "Registered by a test"
  deletion_window_in_days = 7
}

# MiniStack judges what is asked of an alias by the alias, or by nothing, where KMS judges it by the key and the alias.
resource "aws_iam_role_policy" "aliases" {
  for_each = toset(["op-key-create", "op-key-rotate", "scheduled"])

  name = "aliases-on-the-emulator"
  role = module.aegis.role_names[each.key]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "kms:CreateAlias", Resource = "*" },
      { Effect = "Allow", Action = "kms:DescribeKey", Resource = "arn:aws:kms:us-east-1:000000000000:alias/aegis/*" },
    ]
  })
}

# Where the emulator has what AWS gives a name of its own.
output "api_path" {
  value = "/_aws/execute-api/${module.aegis.api_id}/${module.aegis.stage_name}"
}

output "bus_name" {
  value = module.aegis.bus_name
}

output "alerts_topic_arn" {
  value = module.aegis.alerts_topic_arn
}

output "state_table" {
  value = module.aegis.state_table
}

output "journal_table" {
  value = module.aegis.journal_table
}

output "permit_keys_table" {
  value = module.aegis.permit_keys_table
}

output "root_key_arn" {
  value = module.aegis.root_key_arn
}

output "token_key_arn" {
  value = module.aegis.token_key_arn
}

output "managed_key_arn" {
  value = aws_kms_key.managed.arn
}

output "function_names" {
  value = module.aegis.function_names
}

output "role_names" {
  value = module.aegis.role_names
}

# Somebody who wants to be told.
resource "aws_sqs_queue" "alerts" {
  name = "${var.name}-told"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:us-east-1:000000000000:${var.name}-told"
      Condition = { ArnEquals = { "aws:SourceArn" = module.aegis.alerts_topic_arn } }
    }]
  })
}

resource "aws_sns_topic_subscription" "alerts" {
  topic_arn = module.aegis.alerts_topic_arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.alerts.arn
}

output "alerts_queue_url" {
  value = aws_sqs_queue.alerts.url
}
