resource "aws_api_gateway_rest_api" "this" {
  name        = var.name
  description = "Aegis ${var.name}"
  tags        = local.tags

  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

# Called for every request, also without a token: a decision that is cached is a revoked agent that still works. What an identity
# source names AWS wants to be there, or it answers by itself and no record tells of it; so this names what every request has. By
# default it would be the token, and an empty one AWS does not take.
resource "aws_api_gateway_authorizer" "this" {
  name                             = "${var.name}-authorizer"
  rest_api_id                      = aws_api_gateway_rest_api.this.id
  type                             = "REQUEST"
  authorizer_uri                   = aws_lambda_function.this["authorizer"].invoke_arn
  authorizer_result_ttl_in_seconds = 0
  identity_source                  = "context.identity.sourceIp"
}

# Each place in each route's path, by how deep it lies: Terraform makes a resource after its parent only where the two are
# different blocks.
locals {
  parts = { for path in toset(local.routes[*].path) : path => compact(split("/", path)) }
  places = {
    for depth in range(1, 7) : depth => {
      for path in distinct([
        for parts in values(local.parts) : join("/", slice(parts, 0, depth)) if length(parts) >= depth
        ]) : path => {
        part   = element(split("/", path), depth - 1)
        parent = join("/", slice(split("/", path), 0, depth - 1))
      }
    }
  }
  too_deep = [for path, parts in local.parts : path if length(parts) > 6]

  place = merge(aws_api_gateway_resource.depth_1, aws_api_gateway_resource.depth_2, aws_api_gateway_resource.depth_3, aws_api_gateway_resource.depth_4, aws_api_gateway_resource.depth_5, aws_api_gateway_resource.depth_6)
  calls = { for route in local.routes : "${route.method} ${route.path}" => route }
}

resource "aws_api_gateway_resource" "depth_1" {
  for_each = local.places[1]

  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_rest_api.this.root_resource_id
  path_part   = each.value.part
}

resource "aws_api_gateway_resource" "depth_2" {
  for_each = local.places[2]

  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_resource.depth_1[each.value.parent].id
  path_part   = each.value.part
}

resource "aws_api_gateway_resource" "depth_3" {
  for_each = local.places[3]

  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_resource.depth_2[each.value.parent].id
  path_part   = each.value.part
}

resource "aws_api_gateway_resource" "depth_4" {
  for_each = local.places[4]

  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_resource.depth_3[each.value.parent].id
  path_part   = each.value.part
}

resource "aws_api_gateway_resource" "depth_5" {
  for_each = local.places[5]

  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_resource.depth_4[each.value.parent].id
  path_part   = each.value.part
}

resource "aws_api_gateway_resource" "depth_6" {
  for_each = local.places[6]

  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_resource.depth_5[each.value.parent].id
  path_part   = each.value.part
}

# A path or a method that is none of the above. The function of the routes without a credential says so, and serves no others.
resource "aws_api_gateway_resource" "other" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_rest_api.this.root_resource_id
  path_part   = "{proxy+}"
}

resource "aws_api_gateway_method" "other" {
  rest_api_id   = aws_api_gateway_rest_api.this.id
  resource_id   = aws_api_gateway_resource.other.id
  http_method   = "ANY"
  authorization = "NONE"
}

resource "aws_api_gateway_integration" "other" {
  rest_api_id             = aws_api_gateway_rest_api.this.id
  resource_id             = aws_api_gateway_resource.other.id
  http_method             = aws_api_gateway_method.other.http_method
  type                    = "AWS_PROXY"
  integration_http_method = "POST"
  uri                     = aws_lambda_function.this["public"].invoke_arn
}

resource "aws_api_gateway_method" "route" {
  for_each = local.calls

  rest_api_id = aws_api_gateway_rest_api.this.id
  resource_id = local.place[trimprefix(each.value.path, "/")].id
  # What reads messages says itself which methods it has: clients of MCP look for its 405.
  http_method   = each.value.function == "mcp" ? "ANY" : each.value.method
  authorization = each.value.operation == null ? "NONE" : "CUSTOM"
  authorizer_id = each.value.operation == null ? null : aws_api_gateway_authorizer.this.id

  lifecycle {
    precondition {
      condition     = length(local.too_deep) == 0
      error_message = "api.tf makes paths of up to 6 parts: ${join(", ", local.too_deep)}"
    }
  }
}

resource "aws_api_gateway_integration" "route" {
  for_each = local.calls

  rest_api_id             = aws_api_gateway_rest_api.this.id
  resource_id             = aws_api_gateway_method.route[each.key].resource_id
  http_method             = aws_api_gateway_method.route[each.key].http_method
  type                    = "AWS_PROXY"
  integration_http_method = "POST"
  uri                     = aws_lambda_function.this[each.value.function].invoke_arn
}

resource "aws_lambda_permission" "api" {
  for_each = toset(concat(keys(local.operations), ["mcp"]))

  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this[each.key].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.this.execution_arn}/*"
}

resource "aws_lambda_permission" "authorizer" {
  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["authorizer"].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.this.execution_arn}/authorizers/${aws_api_gateway_authorizer.this.id}"
}

# What the gateway answers by itself, in the shape of functions/src/problem.rs. A status is fixed, and so is all of a body
# but the gateway's own values and, where the authorizer refused, what it said.
locals {
  # Status, code, title.
  gateway_problems = {
    API_CONFIGURATION_ERROR        = [500, "internal", "the request failed"]
    AUTHORIZER_CONFIGURATION_ERROR = [503, "unavailable", "the authorizer did not answer"]
    AUTHORIZER_FAILURE             = [503, "unavailable", "the authorizer did not answer"]
    BAD_REQUEST_BODY               = [400, "invalid-request", "the body cannot be read"]
    BAD_REQUEST_PARAMETERS         = [400, "invalid-request", "the parameters cannot be read"]
    # Besides what has no name of its own: a path that does not exist, asked for with an Authorization header.
    DEFAULT_4XX                  = [404, "no-such-route", "no such path; see /v1/openapi.json"]
    DEFAULT_5XX                  = [500, "internal", "the request failed"]
    EXPIRED_TOKEN                = [404, "no-such-route", "no such path; see /v1/openapi.json"]
    INTEGRATION_FAILURE          = [503, "unavailable", "the function did not answer"]
    INTEGRATION_TIMEOUT          = [503, "unavailable", "the function did not answer in time"]
    INVALID_SIGNATURE            = [404, "no-such-route", "no such path; see /v1/openapi.json"]
    MISSING_AUTHENTICATION_TOKEN = [404, "no-such-route", "no such path; see /v1/openapi.json"]
    QUOTA_EXCEEDED               = [429, "limit-reached", "too many requests"]
    REQUEST_TOO_LARGE            = [413, "too-large", "a body is at most 1 MiB"]
    RESOURCE_NOT_FOUND           = [404, "no-such-route", "no such path; see /v1/openapi.json"]
    THROTTLED                    = [429, "limit-reached", "too many requests"]
    UNAUTHORIZED                 = [401, "unauthenticated", "a valid bearer token is required"]
    UNSUPPORTED_MEDIA_TYPE       = [415, "invalid-request", "the body cannot be read"]
    WAF_FILTERED                 = [403, "denied", "the firewall refused the request"]
  }

  gateway_bodies = merge(
    {
      for type, problem in local.gateway_problems : type => {
        type       = "urn:aegis:problem:${problem[1]}"
        title      = problem[2]
        status     = tonumber(problem[0])
        code       = problem[1]
        request_id = "$context.requestId"
      }
    },
    {
      ACCESS_DENIED = {
        type       = "urn:aegis:problem:$context.authorizer.code"
        title      = "$context.authorizer.title"
        status     = 403
        code       = "$context.authorizer.code"
        reason     = "$context.authorizer.reason"
        record     = "$context.authorizer.record"
        request_id = "$context.authorizer.request_id"
      }
    }
  )

  gateway_headers = {
    THROTTLED = { "gatewayresponse.header.Retry-After" = "'1'" }
    # Where tokens come from, a gateway that is called by its own name cannot say.
    UNAUTHORIZED = {
      "gatewayresponse.header.WWW-Authenticate" = var.public_url == "" ? "'Bearer'" : "'Bearer resource_metadata=\"${trimsuffix(var.public_url, "/")}/.well-known/oauth-protected-resource\"'"
    }
  }
}

resource "aws_api_gateway_gateway_response" "problem" {
  for_each = local.gateway_bodies

  rest_api_id        = aws_api_gateway_rest_api.this.id
  response_type      = each.key
  status_code        = each.value.status
  response_templates = { "application/json" = jsonencode(each.value) }

  response_parameters = merge(
    {
      "gatewayresponse.header.Cache-Control" = "'no-store'"
      "gatewayresponse.header.Content-Type"  = "'application/problem+json'"
    },
    lookup(local.gateway_headers, each.key, {})
  )
}

resource "aws_api_gateway_deployment" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id

  # The file itself decides how the API is made of the routes.
  triggers = {
    api = sha256(jsonencode([
      local.routes,
      local.gateway_bodies,
      local.gateway_headers,
      aws_api_gateway_authorizer.this.id,
      { for key, integration in aws_api_gateway_integration.route : key => [integration.resource_id, integration.uri] },
      filesha256("${path.module}/api.tf"),
    ]))
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [
    aws_api_gateway_gateway_response.problem,
    aws_api_gateway_integration.other,
    aws_api_gateway_integration.route,
  ]
}

resource "aws_api_gateway_stage" "this" {
  rest_api_id   = aws_api_gateway_rest_api.this.id
  deployment_id = aws_api_gateway_deployment.this.id
  stage_name    = "live"
  tags          = local.tags

  # Functions that are asked before the store is there would refuse.
  depends_on = [aws_lambda_invocation.setup]
}

resource "aws_api_gateway_method_settings" "all" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  stage_name  = aws_api_gateway_stage.this.stage_name
  method_path = "*/*"

  settings {
    # By method they are paid for, each by itself; those of the stage, which the alarm is on, are there anyway.
    metrics_enabled        = false
    throttling_rate_limit  = var.throttling_rate
    throttling_burst_limit = var.throttling_burst
  }
}
