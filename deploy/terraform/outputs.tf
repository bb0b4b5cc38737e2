output "role_arn" {
  description = "What goes into `auth.role.role_arn` of the destinations"
  value       = aws_iam_role.delivery.arn
}
