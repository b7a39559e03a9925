# Keys and indexes as the storage port has them: any item, up to four index keys.
locals {
  # By what their attributes begin with. AWS wants names of three characters.
  indexes    = { g1 = "gsi1", g2 = "gsi2", g3 = "gsi3", g4 = "gsi4" }
  attributes = concat(["pk", "sk"], flatten([for index in keys(local.indexes) : ["${index}p", "${index}s"]]))
}

resource "aws_dynamodb_table" "state" {
  name                        = coalesce(var.state_table, "${var.name}-state")
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = local.tags

  dynamic "attribute" {
    for_each = local.attributes
    content {
      name = attribute.value
      type = "S"
    }
  }

  dynamic "global_secondary_index" {
    for_each = local.indexes
    content {
      name            = global_secondary_index.value
      hash_key        = "${global_secondary_index.key}p"
      range_key       = "${global_secondary_index.key}s"
      projection_type = "ALL"
    }
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }
}

# The audit trail and the outbox. No role may change or delete what is in it (iam.tf); only heartbeats, which tell of
# nothing, bear the attribute that has them expire.
resource "aws_dynamodb_table" "journal" {
  name                        = coalesce(var.journal_table, "${var.name}-journal")
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  stream_enabled              = true
  stream_view_type            = "NEW_IMAGE"
  deletion_protection_enabled = var.deletion_protection
  tags                        = local.tags

  dynamic "attribute" {
    for_each = local.attributes
    content {
      name = attribute.value
      type = "S"
    }
  }

  dynamic "global_secondary_index" {
    for_each = local.indexes
    content {
      name      = global_secondary_index.value
      hash_key  = "${global_secondary_index.key}p"
      range_key = "${global_secondary_index.key}s"
      # Each record is written into all of them, and hardly ever read: the store reads it by its key then.
      projection_type = "KEYS_ONLY"
    }
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }
}

# The public halves of the keys that authorizers sign permits with. The private halves never leave the memory of the
# instance that made them. Nothing here outlives a day, so there is nothing to restore.
resource "aws_dynamodb_table" "permit_keys" {
  name         = "${var.name}-permit-keys"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  tags         = local.tags

  attribute {
    name = "pk"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  server_side_encryption {
    enabled = true
  }
}
