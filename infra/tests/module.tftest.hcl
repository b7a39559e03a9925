# What the module makes, without AWS and without an emulator: the provider's schemas alone.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/aegis" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:111122223333:key/1", key_id = "1" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:111122223333:aegis-alerts" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:111122223333:aegis" }
  }
  mock_resource "aws_lambda_function" {
    defaults = {
      arn        = "arn:aws:lambda:eu-central-1:111122223333:function:aegis"
      invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/functions/aegis/invocations"
    }
  }
  mock_resource "aws_cloudwatch_event_bus" {
    defaults = { arn = "arn:aws:events:eu-central-1:111122223333:event-bus/aegis" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-central-1:111122223333:rule/aegis" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:aegis" }
  }
  mock_resource "aws_api_gateway_rest_api" {
    defaults = { execution_arn = "arn:aws:execute-api:eu-central-1:111122223333:api" }
  }
}

# Each table its own, so that a statement tells which it is about.
override_resource {
  target = aws_dynamodb_table.state
  values = { arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/aegis-state" }
}

override_resource {
  target = aws_dynamodb_table.journal
  values = {
    arn        = "arn:aws:dynamodb:eu-central-1:111122223333:table/aegis-journal"
    stream_arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/aegis-journal/stream/1"
  }
}

override_resource {
  target = aws_dynamodb_table.permit_keys
  values = { arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/aegis-permit-keys" }
}

variables {
  oidc_issuer    = "https://login.example"
  oidc_client_id = "aegis"
}

run "without_keys_of_kms" {
  assert {
    condition     = length(regexall("kms:", jsonencode(local.statements["authorizer"]))) == 0
    error_message = "The authorizer has no KMS."
  }
  assert {
    condition     = length(regexall("kms:CreateKey|kms:ListAliases|aws:ResourceTag", jsonencode(local.statements))) == 0
    error_message = "Nobody makes keys at KMS, or looks at any, unless it is said so."
  }
  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.environment[0].variables["AEGIS_KMS_MADE_BY"] == ""])
    error_message = "A function that may make no keys does not know how to mark them."
  }
  assert {
    condition     = length(regexall("NotByMakers", join("", values(local.key_policy)))) == 0
    error_message = "Nobody is refused who may do nothing."
  }
}

run "that_makes_keys_at_kms" {
  variables {
    makes_kms_keys = true
  }

  assert {
    condition = (
      sort([for function, has in local.statements : function if length(regexall("kms:CreateKey", jsonencode(has))) > 0])
      == tolist(["op-key-create", "op-key-rotate", "scheduled"])
    )
    error_message = "Three functions make keys."
  }
  assert {
    condition = alltrue(flatten([
      for has in values(local.statements) : [
        for statement in has : try(statement.Condition.StringEquals["aws:RequestTag/aegis:made-by"], "") == "aegis"
        if length(setintersection(statement.Action, ["kms:CreateKey", "kms:TagResource"])) > 0
      ]
    ]))
    error_message = "What is made, or tagged, bears the deployment's mark."
  }
  assert {
    condition = alltrue(flatten([
      for has in values(local.statements) : [
        for statement in has : try(statement.Condition.StringEquals["aws:ResourceTag/aegis:made-by"], "") == "aegis"
        if anytrue([for resource in statement.Resource : endswith(resource, ":key/*")]) && !contains(statement.Action, "kms:TagResource")
      ]
    ]))
    error_message = "What is done with all keys is done with those alone that bear the mark."
  }
  assert {
    condition = (
      [for function, has in local.statements : function if length(regexall("kms:(Schedule|Disable|Enable|DeleteAlias)", jsonencode(has))) > 0]
      == ["scheduled"]
    )
    error_message = "One function ends, disables and enables keys."
  }
  assert {
    condition     = alltrue([for policy in values(local.key_policy) : length(regexall("NotByMakers", policy)) == 1])
    error_message = "The deployment's own keys refuse those who may tag."
  }
  assert {
    condition     = length(regexall("kms:", jsonencode(local.statements["authorizer"]))) == 0
    error_message = "The authorizer has no KMS."
  }
}

run "that_tells_when_it_fails" {
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["scheduled-errors"].dimensions["FunctionName"] == "aegis-scheduled"
    error_message = "Somebody hears when what happens by itself fails."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["webhooks-age"].metric_name == "ApproximateAgeOfOldestMessage"
      && aws_cloudwatch_metric_alarm.this["webhooks-age"].dimensions == tomap({ QueueName = "aegis-webhooks" })
      && aws_cloudwatch_metric_alarm.this["webhooks-age"].threshold > aws_sqs_queue.consumer["webhooks"].visibility_timeout_seconds
    )
    error_message = "Somebody hears when records wait for webhooks for longer than one failure explains."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["stream-age"].metric_name == "IteratorAge"
      && aws_cloudwatch_metric_alarm.this["stream-age"].dimensions == tomap({ FunctionName = "aegis-publish" })
      && aws_cloudwatch_metric_alarm.this["stream-age"].threshold == 60000
    )
    error_message = "Somebody hears when records are told later than they are committed."
  }
  assert {
    condition = alltrue([
      for consumer in ["anomaly", "publish", "respond", "webhooks"] :
      aws_cloudwatch_metric_alarm.this["${consumer}-dead"].metric_name == "ApproximateNumberOfMessagesVisible"
      && aws_cloudwatch_metric_alarm.this["${consumer}-dead"].dimensions == tomap({ QueueName = "aegis-${consumer}-dead" })
      && aws_cloudwatch_metric_alarm.this["${consumer}-dead"].threshold == 0
    ])
    error_message = "Somebody hears of each message that was given up."
  }
  assert {
    condition = (
      [for name, alarm in aws_cloudwatch_metric_alarm.this : name if alarm.treat_missing_data == "breaching"]
      == ["detection-lag"]
    )
    error_message = "Of detection silence is an alarm, and of what only failures tell of it is none."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["detection-lag"].dimensions == tomap({ Deployment = "aegis" })
    error_message = "Another deployment's detection is none of this one's."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["detection-lag"].period >= 300
    error_message = "What is told once a minute is not missed when it comes a little later."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : length(alarm.alarm_actions) > 0 && length(alarm.ok_actions) > 0])
    error_message = "Each alarm is heard."
  }
}

run "that_lets_nobody_write_what_is_none_of_its_own" {
  # Of all statements about the state table, what writes there at all.
  assert {
    condition = alltrue(flatten([
      for has in values(local.statements) : [
        for statement in has : (
          length(setsubtract(statement.Action, ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"])) == 0
          || length(try(statement.Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], [])) > 0
        )
        if contains(statement.Resource, aws_dynamodb_table.state.arn)
      ]
    ]))
    error_message = "Who writes state writes partitions that are named."
  }
  assert {
    condition = (
      toset(flatten([
        for statement in local.statements["authorizer"] : try(statement.Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], [])
        if contains(statement.Resource, aws_dynamodb_table.state.arn)
      ]))
      == toset(["i:agent/*", "i:credential/*", "i:recommendation/*", "i:response/*", "i:responses", "n:live/*", "n:uses/*"])
    )
    error_message = "The authorizer stops agents, counts, and writes no keys, humans or rules."
  }
  assert {
    condition = (
      toset([for function, has in local.statements : function if anytrue(flatten([
        for statement in has : [
          for partition in try(statement.Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], []) : contains(["i:*", "n:*"], partition)
        ]
      ]))])
      == toset([])
    )
    error_message = "No function writes any partition it likes."
  }
  assert {
    condition = (
      toset(flatten([
        for statement in local.statements["setup"] : try(statement.Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], [])
        if contains(statement.Resource, aws_dynamodb_table.state.arn)
      ]))
      == toset(["i:deployment", "i:policy", "i:root"])
    )
    error_message = "What sets the deployment up writes no agents, keys or humans."
  }
  # Of all statements about the journal, what writes there at all.
  assert {
    condition = alltrue(flatten([
      for has in values(local.statements) : [
        for statement in has : (
          statement.Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] == (statement.Sid == "Heartbeat" ? ["i:heartbeat/*"] : ["i:record/*"])
          && (statement.Sid == "Heartbeat" || try(statement.Condition["ForAllValues:StringNotEquals"]["dynamodb:Attributes"], []) == ["ttl"])
        )
        if contains(statement.Resource, aws_dynamodb_table.journal.arn) && contains(statement.Action, "dynamodb:PutItem")
      ]
    ]))
    error_message = "A record is written among the records, without what it would be removed by."
  }
  assert {
    condition     = [for function, has in local.statements : function if anytrue([for statement in has : statement.Sid == "Heartbeat"])] == ["scheduled"]
    error_message = "One function says how far the journal is told."
  }
  assert {
    condition = (
      toset([for function, has in local.statements : function if !startswith(function, "op-") && anytrue([
        for statement in has : contains(statement.Resource, aws_dynamodb_table.journal.arn) && length(setintersection(statement.Action, ["dynamodb:GetItem", "dynamodb:Query"])) > 0
      ])])
      == toset(["anomaly", "scheduled", "webhooks"])
    )
    error_message = "Of what happens by itself three functions read the journal."
  }
  assert {
    condition = (
      toset([for function, has in local.statements : function if !startswith(function, "op-") && anytrue([
        for statement in has : contains(statement.Action, "dynamodb:Query") && anytrue([
          for resource in statement.Resource : startswith(resource, aws_dynamodb_table.journal.arn)
        ])
      ])])
      == toset(["publish", "scheduled"])
    )
    error_message = "And two look for what is in it."
  }
  assert {
    condition = (
      toset([for function, has in local.statements : function if !anytrue([
        for statement in has : contains(statement.Action, "dynamodb:Query") && contains(statement.Resource, aws_dynamodb_table.state.arn)
      ])])
      == toset(["authorizer", "mcp", "publish", "setup"])
    )
    error_message = "Who only ever reads what it can name looks for nothing else."
  }
  assert {
    condition = alltrue(flatten([
      for has in values(local.statements) : [
        for statement in has : length(setsubtract(statement.Action, ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"])) == 0
        if contains(statement.Resource, aws_dynamodb_table.journal.arn)
      ]
    ]))
    error_message = "Nobody updates or deletes in the journal."
  }
  assert {
    condition = (
      [for function, has in local.statements : function if anytrue([
        for statement in has : contains(statement.Resource, aws_dynamodb_table.permit_keys.arn) && contains(statement.Action, "dynamodb:PutItem")
      ])]
      == ["authorizer"]
    )
    error_message = "Only the authorizer writes the public keys of permits."
  }
  assert {
    condition = alltrue(flatten([
      for has in values(local.statements) : [for statement in has : [for action in statement.Action : !strcontains(action, "*")]]
    ]))
    error_message = "Each action is named."
  }
}

run "that_asks_whether_names_mean_the_same_people" {
  assert {
    condition     = jsondecode(aws_lambda_invocation.setup.input).rebind_issuer == false
    error_message = "Another provider's names are taken for the same people by whoever says so alone."
  }
  assert {
    condition     = aws_lambda_invocation.setup.triggers["oidc"] == jsonencode(["https://login.example", "aegis", "sub"])
    error_message = "Another provider, or another claim, is asked about."
  }
}

run "that_is_told_that_they_do" {
  variables {
    oidc_issuer      = "https://elsewhere.example"
    oidc_human_claim = "email"
    rebind_issuer    = true
  }

  assert {
    condition     = jsondecode(aws_lambda_invocation.setup.input).rebind_issuer
    error_message = "Who says so is heard."
  }
  assert {
    condition     = aws_lambda_invocation.setup.triggers["oidc"] == jsonencode(["https://elsewhere.example", "aegis", "email"])
    error_message = "The same programs are asked again."
  }
}

run "that_decides_each_time_and_keeps_what_it_must" {
  assert {
    condition     = aws_api_gateway_authorizer.this.authorizer_result_ttl_in_seconds == 0
    error_message = "A decision that is cached is a revoked agent that still works."
  }
  assert {
    condition     = aws_api_gateway_authorizer.this.identity_source == "context.identity.sourceIp"
    error_message = "A request without a token is the authorizer's to refuse, and to record."
  }
  assert {
    condition = alltrue([
      for table in [aws_dynamodb_table.state, aws_dynamodb_table.journal] :
      table.point_in_time_recovery[0].enabled && table.ttl[0].enabled && table.ttl[0].attribute_name == "ttl" && table.deletion_protection_enabled
    ])
    error_message = "Tables can be had back, and what expires goes by itself."
  }
  assert {
    condition     = aws_dynamodb_table.permit_keys.ttl[0].enabled && aws_dynamodb_table.permit_keys.ttl[0].attribute_name == "ttl"
    error_message = "The public keys of permits go by themselves."
  }
  assert {
    condition = (
      toset([for group in aws_cloudwatch_log_group.function : group.retention_in_days]) == toset([90])
      && length(aws_cloudwatch_log_group.function) == length(aws_lambda_function.this)
    )
    error_message = "Each function's log ends."
  }
}

run "that_alarms_for_no_stranger" {
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["authorizer-errors"].namespace == "Aegis"
      && aws_cloudwatch_metric_alarm.this["authorizer-errors"].dimensions == tomap({ Deployment = "aegis" })
    )
    error_message = "Lambda counts whoever has no token among the errors of the authorizer."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["api-5xx"].threshold == 0 && aws_cloudwatch_metric_alarm.this["api-5xx"].period == 60
    error_message = "Where the authorizer crashes, it cannot say so: the gateway does."
  }
}

run "that_tells_what_is_on_record_for_half_a_day" {
  assert {
    condition = (
      aws_lambda_event_source_mapping.publish.maximum_retry_attempts == -1
      && aws_lambda_event_source_mapping.publish.maximum_record_age_in_seconds == 43200
    )
    error_message = "An outage of the bus is as long as it is: how often it was tried meanwhile does not count."
  }
  assert {
    condition = (
      aws_lambda_event_source_mapping.publish.destination_config[0].on_failure[0].destination_arn == aws_sqs_queue.dead["publish"].arn
      && contains(aws_lambda_event_source_mapping.publish.function_response_types, "ReportBatchItemFailures")
    )
    error_message = "What is given up is known, and nothing before it is told again."
  }
}

run "that_leaves_the_authorizer_room_when_there_is_a_backlog" {
  assert {
    condition = alltrue([
      for consumer in values(aws_lambda_event_source_mapping.consumer) : try(consumer.scaling_config[0].maximum_concurrency, 1000) <= 10
    ])
    error_message = "What takes from a queue is run so many times at once and no more."
  }
}

run "that_pays_for_no_metrics_that_nobody_reads" {
  assert {
    condition     = aws_api_gateway_method_settings.all.settings[0].metrics_enabled == false
    error_message = "Metrics by method cost for each method."
  }
  assert {
    condition     = alltrue([for config in aws_lambda_function_event_invoke_config.minute : config.maximum_retry_attempts == 0])
    error_message = "The next minute does what this one could not."
  }
}

run "that_is_as_large_as_it_may_be" {
  variables {
    name             = "a-deployment-of-a-very-long-name"
    makes_kms_keys   = true
    managed_key_arns = [for number in range(64) : format("arn:aws-us-gov:kms:us-gov-east-1:111122223333:key/mrk-%032d", number)]
  }

  # The names of the module's own things are longer on AWS than here.
  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.function : length(policy.policy) <= 9240])
    error_message = "AWS takes 10,240 characters of what a role may do."
  }
  assert {
    condition     = length(aws_s3_bucket.artifacts.bucket) <= 63 && endswith(aws_s3_bucket.artifacts.bucket, "-artifacts-111122223333-eu-central-1")
    error_message = "AWS takes 63 characters of a bucket's name."
  }
}

run "with_more_keys_than_a_role_can_name" {
  command = plan

  variables {
    managed_key_arns = [for number in range(65) : format("arn:aws:kms:eu-central-1:111122223333:key/%d", number)]
  }

  expect_failures = [var.managed_key_arns]
}

run "that_posts_to_no_machine_of_aws" {
  command = plan

  variables {
    webhooks_to_this_machine = true
  }

  expect_failures = [var.webhooks_to_this_machine]
}

# What is claimed is claimed for two minutes.
run "that_gives_a_function_more_than_a_minute" {
  command = plan

  variables {
    timeout = { scheduled = 61 }
  }

  expect_failures = [var.timeout]
}
