"""The loop and what it needs: schedules, precision, loading, checkpoints, logs."""
