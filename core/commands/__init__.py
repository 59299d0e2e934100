"""The verbs of the command line. Each takes the parsed options and returns an exit code."""
