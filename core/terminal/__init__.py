"""What the command line prints: progress, summaries and tables."""
