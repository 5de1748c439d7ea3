"""The ground floor: errors, names and registries, plugins, configuration, whole files, progress, signals."""
