# A deployment as a team would have it in a stack of its own.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Where it runs."
  type        = string
  default     = "eu-central-1"
}

variable "artifacts" {
  description = "The folder with the zips, as `cargo xtask zips` names it."
  type        = string
}

variable "oidc_issuer" {
  description = "The OpenID provider that humans log in at."
  type        = string
}

variable "oidc_client_id" {
  description = "What that provider knows Aegis as."
  type        = string
}

variable "security_mail" {
  description = "Who is told of what a person should see."
  type        = string
}

variable "public_url" {
  description = "Where callers reach the API by a name of your own, before people log in there. Empty: by the API's own address, and tokens name the deployment by a URN."
  type        = string
  default     = ""
}

variable "deployment_epoch" {
  description = "Raised by one after a restore."
  type        = number
  default     = 1
}

variable "rebind_issuer" {
  description = "Whether the names of another provider mean the same people; for one apply."
  type        = bool
  default     = false
}

module "aegis" {
  source = "../.."

  name             = "aegis"
  artifacts        = var.artifacts
  deployment_epoch = var.deployment_epoch
  oidc_issuer      = var.oidc_issuer
  oidc_client_id   = var.oidc_client_id
  rebind_issuer    = var.rebind_issuer
  public_url       = var.public_url

  roles = {
    admin    = ["group:platform"]
    operator = ["group:security"]
    auditor  = ["group:audit"]
    user     = ["group:engineering"]
  }

  # A busy fleet signs far more often than it does anything else.
  memory_size = { authorizer = 512, op-key-sign = 512 }

  tags = { team = "platform" }
}

resource "aws_sns_topic_subscription" "security" {
  topic_arn = module.aegis.alerts_topic_arn
  protocol  = "email"
  endpoint  = var.security_mail
}

output "api_url" {
  description = "What `aegis --url` takes, where `public_url` is empty."
  value       = module.aegis.api_url
}

output "bus_name" {
  description = "The EventBridge bus with every audit record and every recommendation."
  value       = module.aegis.bus_name
}

output "alerts_topic_arn" {
  description = "The SNS topic with what a person should see."
  value       = module.aegis.alerts_topic_arn
}
