"""A training run: settings, data, encoders, checkpoints and logs."""
