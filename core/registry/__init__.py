"""One record for each estimator, correlator, check and protocol, and a name for every other stored value.

Screens, slides, the terminal, the schema and the documentation read formula, cost, name and meaning here. Nothing here
loads torch: a record names the function that computes it.
"""
