"""From a trained network to scores, thresholds and figures."""
