# One role for each function, with what it needs and no more. What a statement is about stands in the tables below.
locals {
  operation_of = { for function, operations in local.operations : function => operations[0] }

  # Partitions of the state table, by their beginnings, which IAM compares, and who reads the journal. The suite `halves` holds
  # every write and every read of the scenarios against this file, and whether each partition is written by whom it lets
  # (tests/src/roles.rs).
  # - decides: what deciding on a request writes: whoever leaves its scope is stopped in the same write.
  # - asks: an operation decides again, and opens and redeems approvals besides.
  # - changes: what the operations of a kind change, by what their names begin with. Those that use a key, or read, change nothing.
  # - counts: uses are counted before they are made, and every request as it comes.
  # - by_itself: what nobody's request changes.
  partitions = jsondecode(file("${path.module}/partitions.json"))
  decides    = local.partitions.decides
  asks       = concat(local.partitions.decides, local.partitions.asks)
  changes    = local.partitions.changes

  # What they made is remembered by the caller's Idempotency-Key.
  repeatable = toset([for route in local.routes : route.function if route.idempotent])

  counts = { for function in concat(["authorizer"], keys(local.operation_of)) : function => local.partitions.counts }

  state_writes = merge(
    {
      for function, operation in local.operation_of : function => distinct(concat(
        local.asks,
        lookup(local.changes, operation, lookup(local.changes, "${split(".", operation)[0]}.", [])),
        contains(local.repeatable, function) ? ["idempotency/*"] : [],
      ))
    },
    local.partitions.by_itself,
    {
      authorizer = local.decides
      mcp        = []
    }
  )

  # Who searches the audit trail; two more find records by their ids. Everybody but `publish`, which tells of what is there already,
  # writes it; nobody changes it.
  # `publish` finds again what it was once handed by the stream, and nothing else.
  journal_readers = concat(
    [
      for function, operation in local.operation_of : function if anytrue([
        anytrue([for prefix in local.partitions.reads_journal.prefixes : startswith(operation, prefix)]),
        anytrue([for suffix in local.partitions.reads_journal.suffixes : endswith(operation, suffix)]),
        contains(local.partitions.reads_journal.operations, operation),
      ])
    ],
    local.partitions.reads_journal.by_itself
  )
  journal_writers = [for function in keys(local.functions) : function if function != "publish"]

  # Every operation computes with the digest key or with keys of the deployment, all sealed under `root`; so do rotation
  # and the signatures of webhooks. The authorizer has no KMS at all.
  kms_root = merge(
    { for function in keys(local.operation_of) : function => ["kms:Decrypt"] },
    {
      respond   = ["kms:Decrypt"]
      scheduled = ["kms:Decrypt"]
      setup     = ["kms:Encrypt"]
      webhooks  = ["kms:Decrypt"]
    }
  )

  kms_token = merge(
    {
      for function, operation in local.operation_of : function => ["kms:Sign"]
      if contains(["agent.issue", "credential.issue", "public"], operation)
    },
    { setup = ["kms:GetPublicKey"] }
  )

  # What is done at KMS with the keys that Aegis stands in front of: by each operation its own, and `scheduled` ends them when
  # their destruction is due. The suite `aws-kms` holds what is asked of KMS against this file.
  kms_actions = jsondecode(file("${path.module}/kms_actions.json"))
  kms_doer    = merge(local.operation_of, { scheduled = "scheduled" })
  kms_managed = {
    for function, doer in local.kms_doer : function => local.kms_actions.with_registered[doer]
    if contains(keys(local.kms_actions.with_registered), doer)
  }

  # What it takes to have KMS make keys: only keys that say by a tag whose they are, and what is done with those alone.
  kms_makes = {
    for function, doer in local.kms_doer : function => local.kms_actions.to_make[doer]
    if var.makes_kms_keys && contains(keys(local.kms_actions.to_make), doer)
  }
  kms_mark = { "aegis:made-by" = var.name }
  # What is judged by something else than the tag of a key.
  kms_beside_keys = ["kms:CreateKey", "kms:ListAliases", "kms:TagResource"]
  kms_made = {
    for function, doer in local.kms_doer : function => sort(setsubtract(
      concat(lookup(local.kms_managed, function, []), lookup(local.kms_makes, function, [])), local.kms_beside_keys
    ))
    # What Aegis has made is nobody's to register.
    if var.makes_kms_keys && doer != "key.register"
  }

  # Whom those keys are meant for: what tells who else can use them must know.
  kms_looks = { for function in keys(local.kms_doer) : function => concat(lookup(local.kms_managed, function, []), lookup(local.kms_makes, function, [])) }
  kms_principals = {
    aegis       = [for function in sort(distinct(concat(keys(local.kms_managed), keys(local.kms_makes)))) : aws_iam_role.function[function].arn]
    break_glass = sort(var.break_glass_arns)
  }

  permit_key_actions = merge(
    { for function in keys(local.operation_of) : function => ["dynamodb:GetItem"] if function != "public" },
    { authorizer = ["dynamodb:PutItem"] }
  )

  # What one function alone does.
  own_statements = {
    # Holds no key, and no right of an agent's: an operation decides on what the agent's own token proves.
    mcp = [
      {
        Sid    = "Operations"
        Effect = "Allow"
        Action = ["lambda:InvokeFunction"]
        # By their names: a function is made after its role.
        Resource = [
          for function in sort(local.asked_by_messages) :
          "arn:${local.aws}:lambda:${local.region}:${local.account}:function:${var.name}-${function}"
        ]
      },
    ]
    publish = [
      {
        Sid      = "Stream"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
        Resource = [aws_dynamodb_table.journal.stream_arn]
      },
      # What is to be told again, by its time.
      {
        Sid      = "Again"
        Effect   = "Allow"
        Action   = ["dynamodb:Query"]
        Resource = ["${aws_dynamodb_table.journal.arn}/index/gsi1"]
      },
      {
        Sid      = "AgainWhole"
        Effect   = "Allow"
        Action   = ["dynamodb:BatchGetItem"]
        Resource = [aws_dynamodb_table.journal.arn]
      },
      # Knows no resources.
      { Sid = "Streams", Effect = "Allow", Action = ["dynamodb:ListStreams"], Resource = ["*"] },
      { Sid = "Bus", Effect = "Allow", Action = ["events:PutEvents"], Resource = [aws_cloudwatch_event_bus.this.arn] },
      { Sid = "Undelivered", Effect = "Allow", Action = ["sqs:SendMessage"], Resource = [aws_sqs_queue.dead["publish"].arn] },
    ]
    anomaly = [
      {
        Sid      = "Queue"
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        Resource = [aws_sqs_queue.consumer["anomaly"].arn]
      },
    ]
    webhooks = [
      {
        Sid      = "Queue"
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        Resource = [aws_sqs_queue.consumer["webhooks"].arn]
      },
    ]
    respond = [
      {
        Sid      = "Queue"
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        Resource = [aws_sqs_queue.consumer["respond"].arn]
      },
      { Sid = "Alert", Effect = "Allow", Action = ["sns:Publish"], Resource = [aws_sns_topic.alerts.arn] },
    ]
  }

  statements = {
    for function in keys(local.functions) : function => concat(
      [
        {
          Sid      = "Log"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${aws_cloudwatch_log_group.function[function].arn}:*"]
        },
      ],
      # `publish` has all it needs in what it is called with.
      [
        for reads in [contains(keys(local.state_writes), function)] : {
          Sid      = "ReadState"
          Effect   = "Allow"
          Action   = ["dynamodb:BatchGetItem", "dynamodb:GetItem"]
          Resource = [aws_dynamodb_table.state.arn]
        } if reads
      ],
      [
        # Who lists, and who looks up by an index. Which operations never do is not known of all, so that each may.
        for looks in [contains(keys(local.state_writes), function) && !contains(local.partitions.looks_for_nothing, function)] : {
          Sid      = "SearchState"
          Effect   = "Allow"
          Action   = ["dynamodb:Query"]
          Resource = [aws_dynamodb_table.state.arn, "${aws_dynamodb_table.state.arn}/index/*"]
        } if looks
      ],
      [
        # An item is put, a counter is added to, and their partitions begin with `i:` and `n:`
        # (shared/aws/src/store/layout.rs). Nothing is deleted: what expires, DynamoDB removes by itself.
        for partitions in [lookup(local.state_writes, function, [])] : {
          Sid      = "WriteState"
          Effect   = "Allow"
          Action   = ["dynamodb:PutItem"]
          Resource = [aws_dynamodb_table.state.arn]
          Condition = {
            "ForAllValues:StringLike" = {
              "dynamodb:LeadingKeys" = [for partition in sort(partitions) : "i:${partition}"]
            }
          }
        } if length(partitions) > 0
      ],
      [
        for partitions in [lookup(local.counts, function, [])] : {
          Sid      = "Count"
          Effect   = "Allow"
          Action   = ["dynamodb:UpdateItem"]
          Resource = [aws_dynamodb_table.state.arn]
          Condition = {
            "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = [for partition in partitions : "n:${partition}"] }
          }
        } if length(partitions) > 0
      ],
      [
        # A record stays: none is put with what DynamoDB would remove it by, beside another or in its place. Where a request names
        # no partition, or no attribute, these conditions hold; a put, alone or in a transaction, names both.
        for writes in [contains(local.journal_writers, function)] : {
          Sid      = "WriteJournal"
          Effect   = "Allow"
          Action   = ["dynamodb:PutItem"]
          Resource = [aws_dynamodb_table.journal.arn]
          Condition = {
            "ForAllValues:StringLike"      = { "dynamodb:LeadingKeys" = ["i:record/*"] }
            "ForAllValues:StringNotEquals" = { "dynamodb:Attributes" = ["ttl"] }
          }
        } if writes
      ],
      [
        # How far the journal is told, which goes by itself after a day.
        for beats in [function == "scheduled"] : {
          Sid       = "Heartbeat"
          Effect    = "Allow"
          Action    = ["dynamodb:PutItem"]
          Resource  = [aws_dynamodb_table.journal.arn]
          Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["i:heartbeat/*"] } }
        } if beats
      ],
      [
        for reads in [contains(local.journal_readers, function)] : {
          Sid      = "ReadJournal"
          Effect   = "Allow"
          Action   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]
          Resource = [aws_dynamodb_table.journal.arn, "${aws_dynamodb_table.journal.arn}/index/*"]
        } if reads
      ],
      [
        # A record that something else names.
        for finds in [contains(local.partitions.finds_records, function)] : {
          Sid      = "FindRecords"
          Effect   = "Allow"
          Action   = ["dynamodb:GetItem"]
          Resource = [aws_dynamodb_table.journal.arn]
        } if finds
      ],
      [
        for actions in [lookup(local.permit_key_actions, function, [])] : {
          Sid      = "PermitKeys"
          Effect   = "Allow"
          Action   = actions
          Resource = [aws_dynamodb_table.permit_keys.arn]
        } if length(actions) > 0
      ],
      [
        for actions in [lookup(local.kms_root, function, [])] : {
          Sid      = "RootKey"
          Effect   = "Allow"
          Action   = actions
          Resource = [aws_kms_key.root.arn]
        } if length(actions) > 0
      ],
      [
        for actions in [lookup(local.kms_token, function, [])] : {
          Sid      = "TokenKey"
          Effect   = "Allow"
          Action   = actions
          Resource = [aws_kms_key.token.arn]
        } if length(actions) > 0
      ],
      [
        for actions in [lookup(local.kms_managed, function, [])] : {
          Sid      = "ManagedKeys"
          Effect   = "Allow"
          Action   = [for action in actions : action if action != "kms:ListAliases"]
          Resource = sort(var.managed_key_arns)
        } if length(actions) > 0 && length(var.managed_key_arns) > 0
      ],
      [
        # Of aliases KMS allows all or none.
        for actions in [lookup(local.kms_looks, function, [])] : {
          Sid      = "Aliases"
          Effect   = "Allow"
          Action   = ["kms:ListAliases"]
          Resource = ["*"]
        } if contains(actions, "kms:ListAliases") && (length(var.managed_key_arns) > 0 || var.makes_kms_keys)
      ],
      [
        for actions in [lookup(local.kms_made, function, [])] : {
          Sid       = "MadeKeys"
          Effect    = "Allow"
          Action    = actions
          Resource  = ["arn:${local.aws}:kms:${local.region}:${local.account}:key/*"]
          Condition = { StringEquals = { for tag, value in local.kms_mark : "aws:ResourceTag/${tag}" => value } }
        } if length(actions) > 0
      ],
      [
        for actions in [lookup(local.kms_makes, function, [])] : {
          Sid      = "MakeKeys"
          Effect   = "Allow"
          Action   = ["kms:CreateKey"]
          Resource = ["*"]
          Condition = {
            StringEquals                = { for tag, value in local.kms_mark : "aws:RequestTag/${tag}" => value }
            "ForAllValues:StringEquals" = { "aws:TagKeys" = concat(keys(local.kms_mark), ["aegis:token"]) }
          }
        } if length(actions) > 0
      ],
      [
        # What is made with tags is tagged. The keys `root` and `token` refuse it (kms.tf).
        for actions in [lookup(local.kms_makes, function, [])] : {
          Sid      = "TagKeys"
          Effect   = "Allow"
          Action   = ["kms:TagResource"]
          Resource = ["arn:${local.aws}:kms:${local.region}:${local.account}:key/*"]
          Condition = {
            StringEquals                = { for tag, value in local.kms_mark : "aws:RequestTag/${tag}" => value }
            "ForAllValues:StringEquals" = { "aws:TagKeys" = concat(keys(local.kms_mark), ["aegis:token"]) }
          }
        } if length(actions) > 0
      ],
      [
        # KMS asks of the alias what it asks of the key.
        for actions in [[for action in lookup(local.kms_makes, function, []) : action if endswith(action, "eAlias")]] : {
          Sid      = "MadeAliases"
          Effect   = "Allow"
          Action   = actions
          Resource = ["arn:${local.aws}:kms:${local.region}:${local.account}:alias/aegis/*"]
        } if length(actions) > 0
      ],
      [for statement in lookup(local.own_statements, function, []) : statement],
    )
  }
}

resource "aws_iam_role" "function" {
  for_each = toset(keys(local.functions))

  name = "${var.name}-${each.key}"
  tags = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  for_each = toset(keys(local.functions))

  name   = "needs"
  role   = aws_iam_role.function[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.statements[each.key] })
}
