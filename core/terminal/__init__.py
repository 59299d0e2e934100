"""What the command line prints: answers, progress, summaries and tables."""
