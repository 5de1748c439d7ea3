"""From a checked YAML to a finished run folder, and what surrounds it: plan, doctor, report, proof."""
