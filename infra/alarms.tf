locals {
  alarm_actions = concat([aws_sns_topic.alerts.arn], var.alarm_actions)

  alarms = merge(
    {
      authorizer-errors = {
        about = "Requests are refused because the authorizer fails."
        # Not the errors that Lambda counts: whoever has no token is one of those. Where the authorizer crashes or runs out of its
        # time, it tells nothing, and the gateway answers 503: `api-5xx`.
        namespace = "Aegis", metric = "AuthorizerErrors", statistic = "Sum", above = 0, minutes = 1
        of        = { Deployment = aws_cloudwatch_event_bus.this.name }
      }
      api-5xx = {
        about     = "Requests fail that should not, also where the authorizer or a function crashes or runs out of its time."
        namespace = "AWS/ApiGateway", metric = "5XXError", statistic = "Sum", above = 0, minutes = 1
        of        = { ApiName = aws_api_gateway_rest_api.this.name, Stage = aws_api_gateway_stage.this.stage_name }
      }
      stream-age = {
        about     = "Records are told later than they are committed. Where none is told at all, detection-lag says so."
        namespace = "AWS/Lambda", metric = "IteratorAge", statistic = "Maximum", above = 60000, minutes = 1
        of        = { FunctionName = aws_lambda_function.this["publish"].function_name }
      }
      detection-lag = {
        about     = "Detection lies too far behind: nobody would notice what begins now."
        namespace = "Aegis", metric = "DetectionLagSeconds", statistic = "Maximum", above = var.max_detection_lag_seconds, minutes = 5
        of        = { Deployment = aws_cloudwatch_event_bus.this.name }
        # `scheduled` tells it each minute: where it does not, or detection never began, nobody would notice either.
        missing = "breaching"
      }
      webhooks-age = {
        about = "Records wait to be put on their way to webhooks. A receiver that is slow does not hold them up: webhooks fails, or does not come after."
        # A batch that failed once comes again after six minutes.
        namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", statistic = "Maximum", above = 600, minutes = 1
        of        = { QueueName = aws_sqs_queue.consumer["webhooks"].name }
      }
      scheduled-errors = {
        about     = "What happens by itself does not happen: rotation, the end of keys and approvals, surveys, the heartbeat. What one key fails at is in the log of scheduled."
        namespace = "AWS/Lambda", metric = "Errors", statistic = "Sum", above = 0, minutes = 5
        of        = { FunctionName = aws_lambda_function.this["scheduled"].function_name }
      }
    },
    {
      for name, queue in aws_sqs_queue.dead : "${name}-dead" => {
        about     = "Something could not be delivered and waits to be looked at."
        namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", statistic = "Maximum", above = 0, minutes = 1
        of        = { QueueName = queue.name }
      }
    }
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.about
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.of
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 60 * each.value.minutes
  evaluation_periods  = 1
  treat_missing_data  = lookup(each.value, "missing", "notBreaching")
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = local.tags
}
