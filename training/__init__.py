"""What a training run needs around the trainer: flags, data, checkpoints, logs."""
