variable "name" {
  description = "What everything is called by: `NAME-…`. One deployment serves one organisation."
  type        = string
  default     = "aegis"

  # Of a function's 64 characters the longest name in routes.json takes 26.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "3 to 32 of a-z, 0-9 and -, a letter first."
  }
}

variable "artifacts" {
  description = "The folder with the zips, as `cargo xtask zips` makes them: anomaly.zip, authorizer.zip, mcp.zip, operation.zip, publish.zip, respond.zip, scheduled.zip, setup.zip, webhooks.zip."
  type        = string
}

variable "deployment_epoch" {
  description = "Raised by one after a restore: whatever was issued before is refused from then on."
  type        = number
  default     = 1

  validation {
    condition     = var.deployment_epoch >= 1 && floor(var.deployment_epoch) == var.deployment_epoch
    error_message = "A whole number, 1 at first."
  }
}

variable "state_table" {
  description = "What the table of state is called, where it is not `NAME-state`: after a restore, which makes a table of another name."
  type        = string
  default     = null
}

variable "journal_table" {
  description = "The same of the audit trail, where it is not `NAME-journal`."
  type        = string
  default     = null
}

variable "public_url" {
  description = "Where callers reach the API, without a slash at its end: the issuer of its tokens. Empty: tokens name the deployment by a URN."
  type        = string
  default     = ""
}

variable "oidc_issuer" {
  description = "The OpenID provider that humans log in at, by its issuer: without one nobody could."
  type        = string
}

variable "oidc_client_id" {
  description = "What the OpenID provider knows Aegis as: the `aud` of the ID tokens it takes."
  type        = string
}

variable "oidc_human_claim" {
  description = "The claim that says who somebody is, for as long as Aegis knows her: `sub`, or `email` where the provider verifies it."
  type        = string
  default     = "sub"

  validation {
    condition     = contains(["sub", "email"], var.oidc_human_claim)
    error_message = "It is sub or email."
  }
}

variable "rebind_issuer" {
  description = "Whether the humans may come from another provider, or another claim, than before: each name then stands for who has it there, with all agents of whoever had it before. For one apply; then false again."
  type        = bool
  default     = false
}

variable "oidc_scopes" {
  description = "What a login asks the provider for, `openid` among them: what brings the claims that say who somebody is and which roles she has."
  type        = list(string)
  default     = ["openid"]

  validation {
    condition     = contains(var.oidc_scopes, "openid")
    error_message = "Without openid there is no ID token."
  }
}

variable "approval_page" {
  description = "Whether humans answer approvals in a browser, too, at PUBLIC_URL/approve/…: the provider must take PUBLIC_URL/approve/login as an address to lead back to, for a public client with PKCE."
  type        = bool
  default     = false

  validation {
    condition     = !var.approval_page || var.public_url != ""
    error_message = "The page needs public_url."
  }
}

variable "roles" {
  description = "Who has which role: role (admin, operator, auditor, user) to claims, each `claim:value`."
  type        = map(list(string))
  default     = {}

  validation {
    condition     = alltrue([for role in keys(var.roles) : contains(["admin", "operator", "auditor", "user"], role)])
    error_message = "The roles are admin, operator, auditor and user."
  }
}

variable "managed_key_arns" {
  description = "KMS keys of this region and account that may be registered, by `aegis key register --aws-kms-key`: their ARNs. Aegis uses them, and schedules their deletion when it is to destroy them; their own policies must leave that to IAM."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.managed_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "Each is the ARN of a key, not of an alias: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }

  # Each role names them all, and the policies of a role have 10,240 characters.
  validation {
    condition     = length(var.managed_key_arns) <= 64
    error_message = "At most 64 keys: what a role may do has to name each of them, and AWS takes no more than 10,240 characters of it. Further keys are another deployment's, or are made by Aegis (makes_kms_keys)."
  }
}

variable "makes_kms_keys" {
  description = "Whether Aegis may have KMS make keys, by `aegis key create --backend kms` and when such a key is rotated. They bear the tag `aegis:made-by` with this deployment's name, and stay when it is destroyed."
  type        = bool
  default     = false
}

variable "break_glass_arns" {
  description = "Roles or users that may use and change managed keys in an emergency, without Aegis: their ARNs. `aegis key lockdown` leaves a key to Aegis and to them."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.break_glass_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/[^*?]+$", arn))])
    error_message = "Each is the ARN of one role or user: arn:aws:iam::ACCOUNT:role/NAME."
  }
}

variable "memory_size" {
  description = "Of a function, in MB, by its name; `default` for those that are not named. Processor time grows with it."
  type        = map(number)
  default     = {}
}

variable "timeout" {
  description = "Of a function, in seconds, by its name; `default` for those that are not named. At most 60; the gateway waits 29 for what is behind the API."
  type        = map(number)
  default     = {}

  # Who claims a response has it for two minutes: a function that goes on for longer would carry it out beside another.
  validation {
    condition     = alltrue([for seconds in values(var.timeout) : seconds >= 1 && seconds <= 60])
    error_message = "A function is given 1 to 60 seconds."
  }
}

variable "log_level" {
  description = "What the functions log: error, warn, info, debug, or directives by module."
  type        = string
  default     = "info"
}

variable "log_retention_days" {
  description = "How long logs are kept. Audit records lie in the journal, for ever."
  type        = number
  default     = 90
}

variable "deletion_protection" {
  description = "Whether the tables refuse to be deleted, and the keys of the deployment wait 30 days rather than 7. Turn it off in an apply of its own before `destroy`."
  type        = bool
  default     = true
}

variable "throttling_rate" {
  description = "Requests a second that the API takes of each method of each path, on average. The account's own limit counts over all of them."
  type        = number
  default     = 500
}

variable "throttling_burst" {
  description = "Requests that the API takes at once of each method of each path."
  type        = number
  default     = 1000
}

variable "max_detection_lag_seconds" {
  description = "From when on the alarm about detection goes off. Aegis itself becomes careful after 300."
  type        = number
  default     = 300
}

variable "alarm_actions" {
  description = "What else hears of alarms, beside the topic for alerts: ARNs."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Put on everything that takes tags, beside `aegis:deployment`."
  type        = map(string)
  default     = {}
}

variable "webhooks_to_this_machine" {
  description = "For tests on an emulator alone, never on AWS, where it is refused: webhooks may be sent to the machine that the functions run on. On AWS it is the functions' own runtime that listens there."
  type        = bool
  default     = false

  # The account of emulators, which is nobody's on AWS.
  validation {
    condition     = !var.webhooks_to_this_machine || data.aws_caller_identity.this.account_id == "000000000000"
    error_message = "Only on an emulator: on AWS the functions' own runtime listens on their machine."
  }
}

locals {
  tags    = merge(var.tags, { "aegis:deployment" = var.name })
  account = data.aws_caller_identity.this.account_id
  region  = data.aws_region.this.name
  aws     = data.aws_partition.this.partition
}
