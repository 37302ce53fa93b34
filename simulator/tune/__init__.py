"""Tuning: a search for the settings of an experiment that make a metric best on sequences it has not seen."""
