locals {
  routes = jsondecode(file("${path.module}/routes.json"))

  # Routes that share an operation share a function.
  operations = { for route in local.routes : route.function => coalesce(route.operation, "public")... if route.function != "mcp" }

  # What the function that reads messages calls.
  asked_by_messages = toset([for route in local.routes : route.function if route.asked_by_messages])

  functions = merge(
    {
      for function, operations in local.operations : function => {
        bin         = "operation"
        environment = { AEGIS_OPERATION = operations[0] }
      }
    },
    {
      authorizer = { bin = "authorizer", environment = {} }
      mcp        = { bin = "mcp", environment = { AEGIS_FUNCTION_PREFIX = "${var.name}-" } }
      setup      = { bin = "setup", environment = {} }
      publish    = { bin = "publish", environment = {} }
      anomaly    = { bin = "anomaly", environment = {} }
      respond    = { bin = "respond", environment = { AEGIS_ALERT_TOPIC = aws_sns_topic.alerts.arn } }
      scheduled  = { bin = "scheduled", environment = {} }
      webhooks   = { bin = "webhooks", environment = {} }
    }
  )

  bins = toset([for function in values(local.functions) : function.bin])

  # The gateway waits 29 s for an operation, and an authorizer that takes longer than a few is as good as none.
  timeout = merge(
    { authorizer = 10, setup = 60, publish = 60, anomaly = 60, respond = 60, scheduled = 55, webhooks = 60 },
    var.timeout
  )

  memory_size = merge({ default = 256 }, var.memory_size)

  environment = {
    AEGIS_STATE_TABLE              = aws_dynamodb_table.state.name
    AEGIS_JOURNAL_TABLE            = aws_dynamodb_table.journal.name
    AEGIS_PERMIT_KEYS_TABLE        = aws_dynamodb_table.permit_keys.name
    AEGIS_BUS                      = aws_cloudwatch_event_bus.this.name
    AEGIS_ROOT_KEY                 = aws_kms_key.root.arn
    AEGIS_TOKEN_KEY                = aws_kms_key.token.arn
    AEGIS_DEPLOYMENT_EPOCH         = tostring(var.deployment_epoch)
    AEGIS_PUBLIC_URL               = var.public_url
    AEGIS_OIDC_ISSUER              = var.oidc_issuer
    AEGIS_OIDC_CLIENT_ID           = var.oidc_client_id
    AEGIS_OIDC_HUMAN_CLAIM         = var.oidc_human_claim
    AEGIS_OIDC_SCOPES              = join(" ", var.oidc_scopes)
    AEGIS_APPROVAL_PAGE            = tostring(var.approval_page)
    AEGIS_WEBHOOKS_TO_THIS_MACHINE = tostring(var.webhooks_to_this_machine)
    AEGIS_ROLES                    = jsonencode(var.roles)
    AEGIS_KMS_MADE_BY              = var.makes_kms_keys ? local.kms_mark["aegis:made-by"] : ""
    AEGIS_LOG                      = var.log_level
  }
}

locals {
  # A bucket's name has 63 characters at most. What is too long for that is told apart by its digest.
  bucket = [
    for name in [var.name, substr(sha256(var.name), 0, 16)] : "${name}-artifacts-${local.account}-${local.region}"
    if length("${name}-artifacts-${local.account}-${local.region}") <= 63
  ][0]
}

# One upload for each program rather than one for each function.
resource "aws_s3_bucket" "artifacts" {
  bucket        = local.bucket
  force_destroy = true
  tags          = local.tags
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  bucket                  = aws_s3_bucket.artifacts.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_object" "artifact" {
  for_each = local.bins

  bucket      = aws_s3_bucket.artifacts.id
  key         = "${each.key}-${filesha256("${var.artifacts}/${each.key}.zip")}.zip"
  source      = "${var.artifacts}/${each.key}.zip"
  source_hash = filesha256("${var.artifacts}/${each.key}.zip")

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  tags              = local.tags
}

resource "aws_lambda_function" "this" {
  for_each = local.functions

  function_name    = "${var.name}-${each.key}"
  role             = aws_iam_role.function[each.key].arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = ["x86_64"]
  s3_bucket        = aws_s3_object.artifact[each.value.bin].bucket
  s3_key           = aws_s3_object.artifact[each.value.bin].key
  source_code_hash = filebase64sha256("${var.artifacts}/${each.value.bin}.zip")
  memory_size      = lookup(local.memory_size, each.key, local.memory_size.default)
  timeout          = lookup(local.timeout, each.key, lookup(local.timeout, "default", 28))
  tags             = local.tags

  environment {
    variables = merge(
      local.environment,
      each.value.environment,
      contains(lookup(local.kms_looks, each.key, []), "kms:GetKeyPolicy") ? {
        AEGIS_KMS_PRINCIPALS = jsonencode(local.kms_principals)
      } : {}
    )
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }

  # A function that runs before its rights are there fails in ways that nobody needs to see.
  depends_on = [aws_iam_role_policy.function]
}

# Initialises the store, seals the root secret and ties the deployment to where its humans come from; what is there already it
# leaves as it is. Runs again for another program, another epoch or another provider; with another provider, or another claim, it
# fails unless told that names mean the same people there, and until it succeeds nobody logs in.
resource "aws_lambda_invocation" "setup" {
  function_name = aws_lambda_function.this["setup"].function_name
  input         = jsonencode({ deployment_epoch = var.deployment_epoch, rebind_issuer = var.rebind_issuer })

  triggers = {
    program = aws_lambda_function.this["setup"].source_code_hash
    epoch   = tostring(var.deployment_epoch)
    oidc    = jsonencode([var.oidc_issuer, var.oidc_client_id, var.oidc_human_claim])
    rebind  = tostring(var.rebind_issuer)
  }
}
