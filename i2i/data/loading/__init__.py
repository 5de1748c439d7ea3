"""From a data set to batches: order, loader processes, the cache."""
