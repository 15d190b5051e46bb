"""What a long run has measured, kept part by part: a run that was cut off goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rounds import Samples


@dataclass(frozen=True, slots=True)
class Kept:
    """Samples in files of a folder, one a part."""

    folder: Path
    #: Of the run: what was measured otherwise is not taken for the same.
    scale: str

    def read(self, title: str) -> Samples | None:
        """Return a part's samples; ``None`` where there are none of this scale, or the file was not written whole."""
        try:
            found = json.loads(self._file(title).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        samples: Samples = found["samples"]
        return samples if found["scale"] == self.scale else None

    def write(self, title: str, samples: Samples) -> None:
        """Keep a part's samples. Raises ``OSError``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file(title).write_text(json.dumps({"scale": self.scale, "samples": samples}), "utf-8")

    def clear(self) -> None:
        """Keep nothing any more: what follows is another run. Raises ``OSError``."""
        for file in self.folder.glob("*.json"):
            file.unlink()

    def _file(self, title: str) -> Path:
        return self.folder / f"{title.replace(' ', '-')}.json"
