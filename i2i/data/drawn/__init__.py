"""The embedded data set: pictures drawn from a seed, with a known truth."""
