resource "aws_cloudwatch_event_bus" "this" {
  name = var.name
  tags = local.tags
}

resource "aws_sns_topic" "alerts" {
  name = "${var.name}-alerts"
  tags = local.tags
}

# A rule calls a function once for each event; a queue between them lets the function take many at once. `most` of a function run at
# once: without it a backlog has hundreds, which write to the same items and take the account's concurrency from the authorizer.
locals {
  consumers = {
    anomaly = { detail_types = ["AuditRecord", "AuditRecords", "Heartbeat"], batch = 10, window = 1, most = 5 }
    respond = { detail_types = ["AgentRecommendation"], batch = 10, window = 0, most = 5 }
    # More than two would only post the same things twice.
    webhooks = { detail_types = ["AuditRecord", "AuditRecords"], batch = 10, window = 1, most = 2 }
  }
}

# Within the queue itself rather than a resource of its own, which would wait another 25 s.
locals {
  from_bus = {
    for queue, consumer in merge([for name in keys(local.consumers) : { "${name}" = name, "${name}-dead" = name }]...) : queue => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "FromBus"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = "arn:${local.aws}:sqs:${local.region}:${local.account}:${var.name}-${queue}"
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.consumer[consumer].arn } }
      }]
    })
  }
}

locals {
  each_minute = ["scheduled", "webhooks"]
}

# What could not be delivered: from the journal by `publish`, from the bus or a queue by a consumer.
resource "aws_sqs_queue" "dead" {
  for_each = toset(concat(["publish"], keys(local.consumers)))

  name                      = "${var.name}-${each.key}-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  policy                    = try(local.from_bus["${each.key}-dead"], null)
  tags                      = local.tags
}

resource "aws_sqs_queue" "consumer" {
  for_each = local.consumers

  name                       = "${var.name}-${each.key}"
  message_retention_seconds  = 345600
  visibility_timeout_seconds = 6 * lookup(local.timeout, each.key, 60)
  sqs_managed_sse_enabled    = true
  policy                     = local.from_bus[each.key]
  tags                       = local.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[each.key].arn
    maxReceiveCount     = 5
  })
}

resource "aws_cloudwatch_event_rule" "consumer" {
  for_each = local.consumers

  name           = "${var.name}-${each.key}"
  event_bus_name = aws_cloudwatch_event_bus.this.name
  event_pattern  = jsonencode({ source = ["aegis"], detail-type = each.value.detail_types })
  tags           = local.tags
}

resource "aws_cloudwatch_event_target" "consumer" {
  for_each = local.consumers

  rule           = aws_cloudwatch_event_rule.consumer[each.key].name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = "queue"
  arn            = aws_sqs_queue.consumer[each.key].arn

  dead_letter_config {
    arn = aws_sqs_queue.dead[each.key].arn
  }
}

resource "aws_lambda_event_source_mapping" "consumer" {
  for_each = local.consumers

  event_source_arn                   = aws_sqs_queue.consumer[each.key].arn
  function_name                      = aws_lambda_function.this[each.key].arn
  batch_size                         = each.value.batch
  maximum_batching_window_in_seconds = each.value.window
  function_response_types            = ["ReportBatchItemFailures"]
  tags                               = local.tags

  dynamic "scaling_config" {
    for_each = each.value.most[*]

    content {
      maximum_concurrency = scaling_config.value
    }
  }
}

# The journal is the outbox: what is committed is told, at least once, in the order of each record's shard.
resource "aws_lambda_event_source_mapping" "publish" {
  event_source_arn               = aws_dynamodb_table.journal.stream_arn
  function_name                  = aws_lambda_function.this["publish"].arn
  starting_position              = "TRIM_HORIZON"
  batch_size                     = 100
  bisect_batch_on_function_error = true
  # As often as it takes: what the bus does not take is given up after half a day, half of what the stream keeps.
  maximum_retry_attempts        = -1
  maximum_record_age_in_seconds = 43200
  function_response_types       = ["ReportBatchItemFailures"]
  tags                          = local.tags

  # What nobody takes from the bus is gone.
  depends_on = [aws_cloudwatch_event_target.consumer, aws_lambda_event_source_mapping.consumer]

  destination_config {
    on_failure {
      destination_arn = aws_sqs_queue.dead["publish"].arn
    }
  }
}

# Rotation that is due, what expired, intents that were left unfinished; deliveries that failed.
resource "aws_scheduler_schedule" "minute" {
  for_each = toset(local.each_minute)

  name                = "${var.name}-${each.key}"
  schedule_expression = "rate(1 minute)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.this[each.key].arn
    role_arn = aws_iam_role.scheduler.arn
    input    = jsonencode({})

    # The next minute does what this one could not: this is about calls that Lambda does not take, below about those that fail.
    retry_policy {
      maximum_event_age_in_seconds = 60
      maximum_retry_attempts       = 0
    }
  }

  depends_on = [aws_iam_role_policy.scheduler]
}

# A schedule's call is queued by Lambda, which would make a failed one twice more.
resource "aws_lambda_function_event_invoke_config" "minute" {
  for_each = toset(local.each_minute)

  function_name                = aws_lambda_function.this[each.key].function_name
  maximum_event_age_in_seconds = 60
  maximum_retry_attempts       = 0
}

resource "aws_iam_role" "scheduler" {
  name = "${var.name}-scheduler"
  tags = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "scheduler" {
  name = "needs"
  role = aws_iam_role.scheduler.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = [for function in local.each_minute : aws_lambda_function.this[function].arn]
    }]
  })
}
