"""Configurations of the model and of training: defaults, help texts, allowed values; presets."""
