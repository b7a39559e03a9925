# Seals the secrets of the deployment: an envelope around the root of its software keys.
resource "aws_kms_key" "root" {
  description             = "Aegis ${var.name}: seals the deployment's root secret"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_protection ? 30 : 7
  policy                  = local.key_policy.root
  tags                    = local.tags
}

resource "aws_kms_alias" "root" {
  name          = "alias/${var.name}-root"
  target_key_id = aws_kms_key.root.key_id
}

# Signs the tokens of agents and humans; its public half is what /.well-known/jwks.json shows.
resource "aws_kms_key" "token" {
  description              = "Aegis ${var.name}: signs access tokens"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = "ECC_NIST_P256"
  deletion_window_in_days  = var.deletion_protection ? 30 : 7
  policy                   = local.key_policy.token
  tags                     = local.tags
}

resource "aws_kms_alias" "token" {
  name          = "alias/${var.name}-token"
  target_key_id = aws_kms_key.token.key_id
}

# The account's administrators manage these keys and cannot use them: only the roles that iam.tf gives leave can. Whoever
# may change a key's policy can change that, which CloudTrail tells of.
locals {
  key_policy = {
    for key, uses in {
      root  = { for action in ["kms:Decrypt", "kms:Encrypt"] : action => [for name, grants in local.kms_root : name if contains(grants, action)] }
      token = { for action in ["kms:GetPublicKey", "kms:Sign"] : action => [for name, grants in local.kms_token : name if contains(grants, action)] }
      } : key => jsonencode({
        Version = "2012-10-17"
        Statement = concat(
          [{
            Sid       = "Administer"
            Effect    = "Allow"
            Principal = { AWS = "arn:${local.aws}:iam::${local.account}:root" }
            Action = [
              "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey", "kms:DisableKey",
              "kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy",
              "kms:GetKeyRotationStatus", "kms:GetPublicKey", "kms:ListGrants", "kms:ListKeyPolicies",
              "kms:ListResourceTags", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:TagResource",
              "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
            ]
            Resource = "*"
          }],
          [for action, names in uses : {
            Sid       = replace(action, "kms:", "")
            Effect    = "Allow"
            Principal = { AWS = sort([for name in names : aws_iam_role.function[name].arn]) }
            Action    = action
            Resource  = "*"
          }],
          # What may change keys that it made, by their tag, changes none of these, whatever tag they come to bear.
          [for makers in [sort([for name in keys(local.kms_makes) : aws_iam_role.function[name].arn])] : {
            Sid       = "NotByMakers"
            Effect    = "Deny"
            Principal = { AWS = makers }
            Action    = ["kms:CreateAlias", "kms:DeleteAlias", "kms:DisableKey", "kms:EnableKey", "kms:ScheduleKeyDeletion", "kms:TagResource"]
            Resource  = "*"
          } if length(makers) > 0]
        )
    })
  }
}
