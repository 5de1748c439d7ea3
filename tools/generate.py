"""Make images from noise with a trained model: see --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.cli import main

sys.exit(main("generate"))
