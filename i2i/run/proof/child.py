"""One process of a proof: trains in a folder, or continues there, and may die at a moment.

python -m i2i.run.proof.child '{"config": "my.yaml", "overrides": [], "folder": "out", "moment": null}'
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from i2i.core.errors import I2IError
from i2i.run.experiment import Experiment
from i2i.run.proof.moments import Moment, execute
from i2i.run.start import train


def train_until(config: str, overrides: Sequence[str], folder: Path, moment: Moment | None) -> int:
    """Trains in a folder with ``--resume auto``; returns the exit code, unless the moment comes first.

    The configuration's own trackers do not hear of it: a rehearsal is nobody else's business.
    """
    try:
        experiment = Experiment.load(config, overrides)
        experiment.trackers.clear()
        if moment is not None:
            execute(experiment, folder, moment)
        code, _ = train(experiment, folder, resume="auto")
    except I2IError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return code


def main() -> int:
    told = json.loads(sys.argv[1])
    moment = Moment(**told["moment"]) if told["moment"] else None
    return train_until(told["config"], told["overrides"], Path(told["folder"]), moment)


if __name__ == "__main__":
    sys.exit(main())
