"""Where the project's files are."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent  # the folder of modelserver.py, config.yaml and web/
