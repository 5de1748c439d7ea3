"""Contract checks that the author of a component runs on their own class.

    from i2i.testing import check_generator

    def test_generator():
        check_generator(MyGenerator, base_channels=8)

Each check builds the component as the framework would, puts it to the framework's uses on the CPU, and raises an
``AssertionError`` that tells which clause of the contract is broken. Arguments are those that a YAML would give; small
ones make a check fast. No test framework is needed, and ``python -O`` keeps the checks.
"""

from i2i.testing.data import check_dataset
from i2i.testing.losses import check_adversarial_loss, check_loss
from i2i.testing.networks import check_discriminator, check_generator
from i2i.testing.pipelines import check_pipeline

__all__ = [
    "check_adversarial_loss",
    "check_dataset",
    "check_discriminator",
    "check_generator",
    "check_loss",
    "check_pipeline",
]
