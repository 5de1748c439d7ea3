"""Networks with published weights, for losses and metrics."""
