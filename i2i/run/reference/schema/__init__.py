"""The JSON schema of the YAML: for editors, and for the configuration reference."""

from i2i.run.reference.schema.document import KEYS, REQUIRED_KEYS, config_schema

__all__ = ["KEYS", "REQUIRED_KEYS", "config_schema"]
