"""Registry of estimators, correlators, checks, passes and protocols, one record each, with names of all stored values.

Screens, slides, the terminal, the schema and the documentation take formula, cost, name and meaning from here. Nothing
here loads torch: a record only names the function that computes it.
"""
