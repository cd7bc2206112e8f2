"""What every part may use: settings, the folder of a run, checkpoints, seeds."""
