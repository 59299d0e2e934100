"""Forecasts of a measurement's cost and output before it starts."""
