"""Recorders: run a model and write down which experts its routers chose.

The modules that run a model import torch and transformers (the ``record`` extra); import them
only where a recording is made.
"""
