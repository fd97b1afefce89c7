"""Loss curves: read from logs, compared with measured ones, drawn."""
