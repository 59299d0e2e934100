"""THE flow: one model, one text and one protocol become one profile, whose rows are stored."""
