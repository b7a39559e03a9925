output "api_url" {
  description = "Where the API answers, without a slash at its end."
  value       = aws_api_gateway_stage.this.invoke_url
}

output "api_id" {
  description = "Of the REST API."
  value       = aws_api_gateway_rest_api.this.id
}

output "stage_name" {
  description = "Of the API's only stage."
  value       = aws_api_gateway_stage.this.stage_name
}

output "bus_name" {
  description = "The EventBridge bus with every audit record and every recommendation."
  value       = aws_cloudwatch_event_bus.this.name
}

output "alerts_topic_arn" {
  description = "The SNS topic with what a person should see: subscribe to it."
  value       = aws_sns_topic.alerts.arn
}

output "state_table" {
  description = "The DynamoDB table with everything but the audit trail."
  value       = aws_dynamodb_table.state.name
}

output "journal_table" {
  description = "The DynamoDB table with the audit trail."
  value       = aws_dynamodb_table.journal.name
}

output "permit_keys_table" {
  description = "The DynamoDB table with the public keys of permits."
  value       = aws_dynamodb_table.permit_keys.name
}

output "root_key_arn" {
  description = "The KMS key that seals the deployment's root secret."
  value       = aws_kms_key.root.arn
}

output "token_key_arn" {
  description = "The KMS key that signs access tokens."
  value       = aws_kms_key.token.arn
}

output "function_names" {
  description = "Each function as AWS knows it, by its name in routes.json or its program's."
  value       = { for name, function in aws_lambda_function.this : name => function.function_name }
}

output "role_names" {
  description = "The role of each function, by the same names."
  value       = { for name, role in aws_iam_role.function : name => role.name }
}
