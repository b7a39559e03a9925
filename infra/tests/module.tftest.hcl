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
  mock_resource "aws_dynamodb_table" {
    defaults = {
      arn        = "arn:aws:dynamodb:eu-central-1:111122223333:table/aegis"
      stream_arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/aegis/stream/1"
    }
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
