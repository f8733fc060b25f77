"""Films that tests record."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path


def assert_plays(film: Path, frames: int = 6) -> None:
    """Decode a film to its end, without an error, and see that it has frames of a page's size."""
    decode = ["ffmpeg", "-v", "error", "-i", film, "-f", "null", "-"]
    assert not subprocess.run(decode, capture_output=True, text=True, check=True).stderr
    ask = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", film]
    (stream,) = json.loads(subprocess.run(ask, capture_output=True, check=True).stdout)["streams"]
    assert stream["codec_name"] in ("vp8", "vp9")
    assert int(stream["nb_read_frames"]) >= frames
    assert stream["width"] >= 800
