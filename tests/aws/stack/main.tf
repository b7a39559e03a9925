# The module as the test suite deploys it: on an emulator, or, without an endpoint, on an account of AWS. What differs from a
# team's own stack stands here alone.
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
  description = "Where the emulator answers; without it, it is AWS, with the credentials and the region of the environment."
  type        = string
  default     = null
}

variable "provider_keys" {
  description = "The JWK set of the tests' own identity provider, where it must be served from within reach of AWS."
  type        = string
  default     = "{}"
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

variable "state_table" {
  description = "As in the module."
  type        = string
  default     = null
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

locals {
  on_emulator = var.endpoint != null
  account     = local.on_emulator ? "000000000000" : one(data.aws_caller_identity.this[*].account_id)
}

data "aws_caller_identity" "this" {
  count = local.on_emulator ? 0 : 1
}

data "aws_region" "this" {}

provider "aws" {
  region                      = local.on_emulator ? "us-east-1" : null
  access_key                  = local.on_emulator ? "test" : null
  secret_key                  = local.on_emulator ? "test" : null
  skip_credentials_validation = local.on_emulator
  skip_metadata_api_check     = local.on_emulator
  skip_region_validation      = local.on_emulator
  s3_use_path_style           = local.on_emulator
  # A thing that is there is there at once.
  retry_mode = "standard"

  dynamic "endpoints" {
    for_each = var.endpoint[*]
    content {
      apigateway = endpoints.value
      cloudwatch = endpoints.value
      dynamodb   = endpoints.value
      events     = endpoints.value
      iam        = endpoints.value
      kms        = endpoints.value
      lambda     = endpoints.value
      logs       = endpoints.value
      s3         = endpoints.value
      scheduler  = endpoints.value
      sns        = endpoints.value
      sqs        = endpoints.value
      sts        = endpoints.value
    }
  }
}

module "aegis" {
  source = "../../../infra"

  name       = var.name
  artifacts  = var.artifacts
  public_url = var.public_url

  # Their receiver is a test.
  webhooks_to_this_machine = local.on_emulator
  approval_page            = var.approval_page
  oidc_issuer              = local.on_emulator ? var.oidc_issuer : local.provider_url
  oidc_client_id           = var.oidc_client_id
  roles                    = var.roles
  deployment_epoch         = var.deployment_epoch
  state_table              = var.state_table
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
  for_each = local.on_emulator ? toset(["op-key-create", "op-key-rotate", "scheduled"]) : []

  name = "aliases-on-the-emulator"
  role = module.aegis.role_names[each.key]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["kms:CreateAlias", "kms:DeleteAlias"], Resource = "*" },
      { Effect = "Allow", Action = "kms:DescribeKey", Resource = "arn:aws:kms:us-east-1:${local.account}:alias/aegis/*" },
    ]
  })
}

output "api_url" {
  value = module.aegis.api_url
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
      Resource  = "arn:aws:sqs:${data.aws_region.this.name}:${local.account}:${var.name}-told"
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

# The tests' identity provider, where AWS must reach it: what it says is public, and never changes. The tests have its key.
locals {
  provider_url = one([for api in aws_api_gateway_rest_api.provider : "https://${api.id}.execute-api.${data.aws_region.this.name}.amazonaws.com/idp"])
  provider_says = {
    ".well-known/openid-configuration" = jsonencode({
      issuer                 = local.provider_url
      jwks_uri               = "${coalesce(local.provider_url, "none")}/jwks"
      authorization_endpoint = "${coalesce(local.provider_url, "none")}/authorize"
      token_endpoint         = "${coalesce(local.provider_url, "none")}/token"
    })
    "jwks" = var.provider_keys
  }
  provider_paths = local.on_emulator ? [] : [".well-known", "jwks"]
}

resource "aws_api_gateway_rest_api" "provider" {
  count = local.on_emulator ? 0 : 1
  name  = "${var.name}-provider"
}

resource "aws_api_gateway_resource" "provider" {
  for_each    = toset(local.provider_paths)
  rest_api_id = aws_api_gateway_rest_api.provider[0].id
  parent_id   = aws_api_gateway_rest_api.provider[0].root_resource_id
  path_part   = each.key
}

resource "aws_api_gateway_resource" "discovery" {
  count       = local.on_emulator ? 0 : 1
  rest_api_id = aws_api_gateway_rest_api.provider[0].id
  parent_id   = aws_api_gateway_resource.provider[".well-known"].id
  path_part   = "openid-configuration"
}

locals {
  provider_resources = local.on_emulator ? {} : {
    ".well-known/openid-configuration" = aws_api_gateway_resource.discovery[0].id
    "jwks"                             = aws_api_gateway_resource.provider["jwks"].id
  }
}

resource "aws_api_gateway_method" "provider" {
  for_each      = local.provider_resources
  rest_api_id   = aws_api_gateway_rest_api.provider[0].id
  resource_id   = each.value
  http_method   = "GET"
  authorization = "NONE"
}

resource "aws_api_gateway_integration" "provider" {
  for_each          = local.provider_resources
  rest_api_id       = aws_api_gateway_rest_api.provider[0].id
  resource_id       = each.value
  http_method       = aws_api_gateway_method.provider[each.key].http_method
  type              = "MOCK"
  request_templates = { "application/json" = "{\"statusCode\": 200}" }
}

resource "aws_api_gateway_method_response" "provider" {
  for_each    = local.provider_resources
  rest_api_id = aws_api_gateway_rest_api.provider[0].id
  resource_id = each.value
  http_method = aws_api_gateway_method.provider[each.key].http_method
  status_code = "200"
}

resource "aws_api_gateway_integration_response" "provider" {
  for_each           = local.provider_resources
  rest_api_id        = aws_api_gateway_rest_api.provider[0].id
  resource_id        = each.value
  http_method        = aws_api_gateway_integration.provider[each.key].http_method
  status_code        = aws_api_gateway_method_response.provider[each.key].status_code
  response_templates = { "application/json" = local.provider_says[each.key] }
}

resource "aws_api_gateway_deployment" "provider" {
  count       = local.on_emulator ? 0 : 1
  rest_api_id = aws_api_gateway_rest_api.provider[0].id
  triggers    = { says = sha256(jsonencode(local.provider_says)) }
  depends_on  = [aws_api_gateway_integration_response.provider]
}

resource "aws_api_gateway_stage" "provider" {
  count         = local.on_emulator ? 0 : 1
  rest_api_id   = aws_api_gateway_rest_api.provider[0].id
  deployment_id = aws_api_gateway_deployment.provider[0].id
  stage_name    = "idp"
}

output "provider_url" {
  value = local.provider_url
}
