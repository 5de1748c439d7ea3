"""TensorBoard's event files, written where they are made.

TensorBoard's own writer hands events to a thread; when the disk is full the thread dies with a traceback, and the next
call raises what it met.
"""

import io
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np

from i2i.core.files.atomic import append


class Board:
    """Appends to an event file of its own in a run folder.

    Args:
        folder: The run folder.
        start: Steps done before; TensorBoard forgets what earlier files say of later ones.
    """

    def __init__(self, folder: Path, start: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog

        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        taken = len(list(folder.glob(f"{name}.*")))
        self.path = folder / f"{name}.{taken}"
        head: list[dict[str, Any]] = [{"file_version": "brain.Event:2"}]
        head.append({"step": start + 1, "session_log": SessionLog(status=SessionLog.START)})
        self._head = b"".join(_record(**event) for event in head)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers by tag.

        Raises:
            OSError: They cannot be written, and none of them is.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary
        from torch.utils.tensorboard.summary import scalar

        parts = [part for tag, value in values.items() for part in scalar(tag, value).value]
        self._append(_record(step=step, summary=Summary(value=parts)))

    def image(self, step: int, tag: str, pixels: np.ndarray) -> None:
        """Writes an image, uint8 ``[H, W, 3]``.

        Raises:
            OSError: It cannot be written.
        """
        from torch.utils.tensorboard.summary import image

        self._append(_record(step=step, summary=image(tag, pixels, dataformats="HWC")))

    def _append(self, record: bytes) -> None:
        append(self.path, record if self.path.exists() else self._head + record)


def _record(**event: Any) -> bytes:
    """Returns an event as it stands in the file: its length, its content, and the checksums of both."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    RecordWriter(content).write(Event(wall_time=time.time(), **event).SerializeToString())
    return content.getvalue()
