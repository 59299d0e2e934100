"""What a measurement will take and give, known before it begins."""
